"""The bot's JSON becomes values of ours; what cannot be read is nonsense."""

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import orjson
import pytest

from mcp_gateway.domain.market import Candle
from mcp_gateway.domain.positions import Balance, Fee
from mcp_gateway.errors import BotUnavailable
from mcp_gateway.freqtrade import wire
from tests.support.recorded import body_of

pytestmark = pytest.mark.unit

ROW = {"__date_ts": 1763460000000, "open": 2, "high": 3.5, "low": 1.5, "close": 3, "volume": 0.1}


def told(name: str, **changed: Any) -> bytes:
    body = body_of(name)
    return orjson.dumps(body | changed if changed else body)


def table(*rows: dict[str, Any], columns: list[str] | None = None) -> bytes:
    names = columns or list(ROW)
    return orjson.dumps({"columns": names, "data": [[row[name] for name in names] for row in rows]})


def test_the_bots_own_word_becomes_its_state() -> None:
    """GET /show_config: dry_run is the mode, stake currency the quote, force entries the entries."""
    state = wire.bot_state(told("show_config"))
    assert (state.mode, state.state, state.spot) == ("dry-run", "running", True)
    assert (state.quote_currency, state.timeframe) == ("USDT", "5m")
    assert (state.max_open_positions, state.entries_enabled) == (2, True)
    assert state.version == "2026.9"


def test_a_live_futures_bot_is_told_as_what_it_is() -> None:
    """Both decide whether an order may go out, so neither may be guessed."""
    state = wire.bot_state(told("show_config", dry_run=False, trading_mode="futures"))
    assert (state.mode, state.spot) == ("live", False)


@pytest.mark.parametrize("unlimited", [-1, None])
def test_unlimited_slots_are_none(unlimited: int | None) -> None:
    """The bot says -1, or null for infinity."""
    assert wire.bot_state(told("show_config", max_open_trades=unlimited)).max_open_positions is None


def test_a_bot_that_does_not_say_whether_it_trades_real_money_is_nonsense() -> None:
    """A mode is never guessed."""
    with pytest.raises(BotUnavailable) as caught:
        wire.bot_state(told("show_config", dry_run=None))
    assert caught.value.code == "bot_nonsense"


def test_the_start_is_that_of_this_process() -> None:
    """bot_start is the first start ever, bot_startup the last; reconciliation needs the last."""
    at = datetime(2026, 1, 1, tzinfo=UTC)
    health = wire.health(told("health"), at)
    assert health.told_at == at
    assert health.started_at == datetime.fromisoformat(body_of("health")["bot_startup"])
    assert health.last_process_at is not None
    assert health.last_process_at.utcoffset() is not None


def test_a_bot_that_has_not_run_yet_has_no_moments() -> None:
    """All of /health is null before the first loop."""
    health = wire.health(told("health", last_process=None, bot_startup=None), None)
    assert (health.last_process_at, health.started_at) == (None, None)
    assert health.longest_uptime_s is None


def test_free_is_what_the_bot_may_spend() -> None:
    """tradable_balance_ratio keeps a part of the wallet away from the bot."""
    assert wire.balance(told("balance")) == Balance("USDT", Decimal(10000), Decimal(9900), True)


def test_a_wallet_without_quote_has_nothing_free() -> None:
    """What is not there can't be spent."""
    told_balance = wire.balance(told("balance", currencies=[], total=12.5, note=""))
    assert told_balance == Balance("USDT", Decimal("12.5"), Decimal(0), False)


def test_a_wallet_that_was_overspent_has_nothing_free() -> None:
    """A negative share would turn a limit around."""
    coin = {"currency": "USDT", "free": 5, "bot_owned": -3}
    assert wire.balance(told("balance", currencies=[coin])).free == 0


def coin(name: str, **changed: Any) -> dict[str, Any]:
    """Return a coin as GET /balance tells it: in the wallet, and no trade's."""
    return {
        "currency": name, "free": 0.5, "balance": 0.5, "used": 0.0, "bot_owned": 0,
        "est_stake": 50.0, "est_stake_bot": 0, "stake": "USDT", "side": "long",
        "is_position": False, "position": 0, "is_bot_managed": False,
    } | changed  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "shown"),
    [
        ({}, True),
        ({"free": 0, "used": 0.5}, True),
        ({"free": 0.5, "balance": None}, True),
        ({"is_bot_managed": None}, True),
        ({"is_bot_managed": True, "bot_owned": 0.5}, False),
        ({"free": 0, "balance": 0}, False),
    ],
    ids=["free", "on order", "no total", "not told", "of a trade", "empty"],
)
def test_a_coin_that_no_trade_accounts_for_is_told(changed: dict[str, Any], shown: bool) -> None:
    """Live, it may be of an order that the bot forgot; what is not told is not excused."""
    wallet = [coin("USDT", is_bot_managed=False), coin("ETH", **changed)]
    told_coins = wire.unmanaged_coins(told("balance", currencies=wallet))
    assert told_coins == (("ETH",) if shown else ())


def test_the_fee_of_the_first_order_of_each_side_is_told() -> None:
    """Freqtrade notes a fee once for each side, in the currency that the exchange took."""
    trade = wire.trade(told("trade closed"))
    raw = body_of("trade closed")
    assert trade.entry_fee == Fee(Decimal(str(raw["fee_open_cost"])), "USDT")
    assert trade.exit_fee == Fee(Decimal(str(raw["fee_close_cost"])), "USDT")
    assert (trade.fee_rate, trade.exit_fee_rate) == (Decimal("0.001"), Decimal("0.001"))
    _, first, second = trade.orders
    assert first.average_price is not None
    assert trade.exit_fee.cost == first.filled * first.average_price * Decimal("0.001")
    assert second.filled > first.filled  # its fee is nowhere


def test_an_order_that_rests_has_no_fee_yet() -> None:
    """Until the first fill there is the bot's own estimate alone."""
    resting = wire.trades(told("status while holding"))[1]
    assert (resting.entry_fee, resting.exit_fee) == (None, None)
    assert resting.fee_rate == Decimal("0.001")


def test_an_exit_that_was_cancelled_unfilled_is_in_no_list() -> None:
    """A trade shows what is open or has been filled: absence of an exit is not proof of none."""
    resting = wire.trade(told("trade with resting exit"))
    assert [(order.side, order.is_open) for order in resting.orders] == [
        ("buy", False),
        ("sell", True),
    ]
    cancelled = wire.trade(told("cancel resting exit"))
    assert [order.side for order in cancelled.orders] == ["buy"]


def test_an_open_trade_is_read_with_its_orders() -> None:
    """GET /status is minified: the price of an order is its safe_price there."""
    held, resting = wire.trades(told("status while holding"))
    raw = body_of("status while holding")[0]
    assert (held.pair, held.tag, held.is_open) == ("BTC/USDT", "gw:0123456789abcdef", True)
    assert held.amount == Decimal(str(raw["amount"]))
    assert (held.fee_rate, held.lot_step) == (Decimal("0.001"), Decimal("0.00001"))
    [order] = held.orders
    assert (order.side, order.tag, order.status) == ("buy", "gw:0123456789abcdef", "closed")
    assert order.filled == order.amount == held.amount
    assert order.average_price == Decimal(str(raw["orders"][0]["safe_price"]))
    assert resting.orders[0].is_open
    assert resting.amount == 0
    assert resting.orders[0].average_price is None
    assert resting.orders[0].price == 1000


def test_a_resting_entry_is_no_position() -> None:
    """A position is what is held; an unfilled entry holds nothing."""
    [position] = wire.positions(told("status while holding"))
    raw = body_of("status while holding")[0]
    assert (position.pair, position.side, position.take_profit) == ("BTC/USDT", "buy", None)
    assert position.entry_price == Decimal(str(raw["open_rate"]))
    assert position.current_price == Decimal(str(raw["current_rate"]))
    assert position.stop_loss == Decimal(str(raw["stop_loss_abs"]))
    assert position.unrealized_pnl == Decimal(str(raw["profit_abs"]))
    assert position.open_at == datetime.fromtimestamp(raw["open_timestamp"] / 1000, UTC)


def test_unrealized_pnl_is_in_percent() -> None:
    """profit_ratio 0.0123 is 1.23 percent, with all its digits."""
    raw = body_of("status while holding")[:1]
    raw[0]["profit_ratio"] = 0.01234567
    [position] = wire.positions(orjson.dumps(raw))
    assert position.unrealized_pnl_pct == Decimal("1.234567")


def test_a_closed_trade_shows_what_was_sold() -> None:
    """GET /trade/ID of a closed trade carries entry and exits."""
    trade = wire.trade(told("trade closed"))
    assert not trade.is_open
    assert [order.side for order in trade.orders] == ["buy", "sell", "sell"]
    assert sum(order.filled for order in trade.orders[1:]) == trade.orders[0].filled


def test_a_stop_loss_order_closes() -> None:
    """The bot gives a stop loss a side of its own."""
    raw = body_of("trade open")
    raw["orders"][0]["ft_order_side"] = "stoploss"
    assert wire.trade(orjson.dumps(raw)).orders[0].side == "sell"
    assert wire.trade(orjson.dumps(raw | {"is_short": True})).orders[0].side == "buy"


def test_a_lot_step_may_be_told_as_decimal_places() -> None:
    """Exchanges count precision in places, significant digits or steps."""
    raw = body_of("trade open")
    places = raw | {"precision_mode": 2, "amount_precision": 3}
    assert wire.trade(orjson.dumps(places)).lot_step == Decimal("0.001")
    assert wire.trade(orjson.dumps(places | {"precision_mode": 3})).lot_step is None
    assert wire.trade(orjson.dumps(raw | {"amount_precision": None})).lot_step is None


def test_every_number_of_a_trade_may_be_null() -> None:
    """The bot has no promise for any of them."""
    raw = body_of("status while holding")[0]
    kept = {"trade_id", "pair", "is_open", "orders"}
    trade = wire.trade(orjson.dumps({k: v if k in kept else None for k, v in raw.items()}))
    assert trade.amount == 0
    assert (trade.open_rate, trade.lot_step, trade.opened_at) == (None, None, None)
    order = {"order_id": "1", "ft_order_side": "buy", "is_open": True, "amount": 2}
    nulls = dict.fromkeys(["filled", "average", "price", "order_timestamp", "status"])
    bare = wire.trade(orjson.dumps(raw | {"orders": [order | nulls]}))
    assert (bare.orders[0].amount, bare.orders[0].filled) == (Decimal(2), Decimal(0))
    assert (bare.orders[0].price, bare.orders[0].at) == (None, None)


@pytest.mark.parametrize("number", [1e300, -1e300, 2**70, 10**400, 1e16])
@pytest.mark.parametrize(
    ("field", "read"),
    [("current_rate", "current_rate"), ("open_rate", "open_rate"), ("fee_open", "fee_rate"),
     ("fee_open_cost", "entry_fee"), ("amount_precision", "lot_step")],
)  # fmt: skip
def test_a_number_beyond_all_bounds_reads_as_null(field: str, read: str, number: float) -> None:
    """Decimals would overflow later, in the middle of an order."""
    raw = body_of("trade closed")
    assert getattr(wire.trade(orjson.dumps(raw)), read) is not None
    absurd = json.dumps(raw | {field: number}).encode()
    assert getattr(wire.trade(absurd), read) is None


@pytest.mark.parametrize("field", ["current_rate", "open_rate"])
@pytest.mark.parametrize("price", [0, -5])
def test_a_price_is_above_0(field: str, price: float) -> None:
    """What an order costs, and what is held is worth, would come out as nothing or less."""
    assert getattr(wire.trade(told("trade open", **{field: price})), field) is None


@pytest.mark.parametrize(
    ("mode", "precision"), [(2, 1e9), (2, 19), (2, -1), (4, 0), (4, -0.1), (4, 1e-300)]
)
def test_a_precision_that_is_none_gives_no_lot_step(mode: int, precision: float) -> None:
    """A step of a billion decimal places would end in an overflow when it is sold by it."""
    raw = body_of("trade open") | {"precision_mode": mode, "amount_precision": precision}
    assert wire.trade(orjson.dumps(raw)).lot_step is None


def with_order(**changed: Any) -> dict[str, Any]:
    """Return a trade of which one order tells something else."""
    trade: dict[str, Any] = body_of("trade open")
    return trade | {"orders": [trade["orders"][0] | changed]}


UNREADABLE: list[dict[str, Any]] = [
    with_order(filled=-5),
    with_order(filled=None),
    with_order(filled=1e300),
    with_order(amount=1, filled=2.1),
    with_order(amount=None),
    with_order(amount=0),
    with_order(amount=-1),
    with_order(is_open=None),
    with_order(order_id=None),
    body_of("trade open") | {"orders": None},
    body_of("trade open") | {"amount": -1},
    body_of("trade open") | {"amount": 1e300},
    body_of("trade open") | {"trade_id": 2**63},
    body_of("trade open") | {"trade_id": 2**70},
    body_of("trade open") | {"trade_id": 0},
    body_of("trade open") | {"open_timestamp": 1e300},
]


@pytest.mark.parametrize("odd", UNREADABLE)
def test_a_trade_that_makes_no_sense_is_never_a_fact(odd: dict[str, Any]) -> None:
    """Asked for alone it is nonsense; a wrong fill or cancel would stand for good."""
    with pytest.raises(BotUnavailable) as caught:
        wire.trade(json.dumps(odd).encode())
    assert caught.value.code == "bot_nonsense"


@pytest.mark.parametrize("odd", UNREADABLE)
def test_a_trade_that_makes_no_sense_does_not_hide_the_others(odd: dict[str, Any]) -> None:
    """In a list it is told as there and unreadable: its pair is held, its orders are not known."""
    sound = body_of("status while holding")[0]
    for read, body in (
        (wire.trades, [sound, odd, sound]),
        (wire.closed_trades, {"trades": [one | {"is_open": False} for one in (sound, odd, sound)]}),
    ):
        first, second, third = read(json.dumps(body).encode())
        assert first == third
        assert (first.readable, second.readable) == (True, False)
        assert (second.pair, second.tag, second.orders) == (odd["pair"], odd["enter_tag"], ())


def test_an_unreadable_order_hides_no_position() -> None:
    """What is held is told by the trade itself; an amount that can't be is not left out."""
    odd = with_order(filled=-5)
    [position] = wire.positions(orjson.dumps([odd]))
    assert position.amount == Decimal(str(odd["amount"]))
    with pytest.raises(BotUnavailable):
        wire.positions(orjson.dumps([odd | {"amount": -5}]))


def test_an_order_may_be_filled_a_little_beyond_its_amount() -> None:
    """Exchanges round."""
    amount = body_of("trade open")["orders"][0]["amount"]
    [order] = wire.trade(orjson.dumps(with_order(filled=amount * 1.01))).orders
    assert order.filled > order.amount


@pytest.mark.parametrize("number", [b"NaN", b"Infinity", b"-Infinity", b"1e999"])
def test_a_number_that_is_none_reads_as_null(number: bytes) -> None:
    """JSON has no NaN, yet Python's encoders write it."""
    raw = told("trade open", current_rate="here").replace(b'"here"', number)
    assert wire.trade(raw).current_rate is None


@pytest.mark.parametrize(
    ("field", "wrong"),
    [("amount", "12"), ("amount", True), ("trade_id", "x"), ("pair", None), ("orders", {}),
     ("open_timestamp", "soon"), ("open_timestamp", 1e300)],
)  # fmt: skip
def test_a_trade_of_the_wrong_shape_is_nonsense(field: str, wrong: Any) -> None:
    """A wrong type is never coerced into money."""
    with pytest.raises(BotUnavailable) as caught:
        wire.trade(told("trade open", **{field: wrong}))
    assert caught.value.code == "bot_nonsense"


def test_closed_trades_keep_the_bots_order() -> None:
    """Asked for newest first, the bot's list is told as it is."""
    trades = wire.closed_trades(told("trades"))
    assert [trade.trade_id for trade in trades] == [
        each["trade_id"] for each in body_of("trades")["trades"]
    ]
    assert trades


def test_a_lock_counts_while_it_is_active_and_binds_entries() -> None:
    """A lock of short entries does not bind a spot order; a star locks all."""
    locks = [
        {"pair": "A/USDT", "side": "long", "active": True},
        {"pair": "B/USDT", "side": "short", "active": True},
        {"pair": "C/USDT", "side": "*", "active": False},
        {"pair": "*", "side": "*", "active": True},
        {"pair": "A/USDT", "side": "*", "active": True},
    ]
    assert wire.locked_pairs(orjson.dumps({"locks": locks})) == ("A/USDT", "*")
    assert wire.locked_pairs(told("locks")) == ()


def test_the_blacklist_has_patterns_and_what_they_stand_for() -> None:
    """A pattern alone would let its pairs through."""
    body = told("blacklist", blacklist=["X/.*"], blacklist_expanded=["X/USDT"])
    assert wire.blacklist(body) == ("X/.*", "X/USDT")


def test_recorded_candles_are_read_oldest_first() -> None:
    """GET /pair_candles: stamped at the open, in seconds."""
    candles = wire.candles(told("candles"))
    assert [candle.open_s for candle in candles] == [
        row[body_of("candles")["columns"].index("__date_ts")] // 1000
        for row in body_of("candles")["data"]
    ]
    assert candles[0].close == body_of("candles")["data"][0][4]


def test_columns_are_found_by_name() -> None:
    """The order of columns can change from one strategy to the next."""
    shuffled = ["volume", "close", "rsi", "low", "__date_ts", "high", "open"]
    told_candles = wire.candles(table(ROW | {"rsi": 50}, columns=shuffled))
    assert told_candles == (Candle(1763460000, 2.0, 3.5, 1.5, 3.0, 0.1),)


def test_candles_come_sorted_and_once() -> None:
    """Resampling and paging rely on it."""
    late, early = ROW | {"__date_ts": 1763460300000}, ROW
    told_candles = wire.candles(table(late, early, late))
    assert [candle.open_s for candle in told_candles] == [1763460000, 1763460300]


def test_a_null_in_a_candle_stays_null() -> None:
    """The bot turns NaN into null; a price is never made up."""
    [candle] = wire.candles(table(ROW | {"high": None, "volume": None}))
    assert (candle.high, candle.volume, candle.close) == (None, None, 3.0)


@pytest.mark.parametrize("number", [b"NaN", b"-Infinity", b"1e999"])
def test_a_candle_never_tells_a_number_that_is_none(number: bytes) -> None:
    """A NaN would spread through whatever is computed from it."""
    [candle] = wire.candles(table(ROW | {"high": "here"}).replace(b'"here"', number))
    assert (candle.high, candle.close) == (None, 3.0)


def test_no_candles_are_no_nonsense() -> None:
    """Another timeframe is answered with empty columns and no rows."""
    assert wire.candles(told("candles of another timeframe")) == ()


@pytest.mark.parametrize(
    "body",
    [
        table({k: v for k, v in ROW.items() if k != "close"}, columns=["__date_ts", "open"]),
        orjson.dumps({"columns": list(ROW), "data": [[1763460000000, 1]]}),
        table(ROW | {"close": "3"}),
        table(ROW | {"__date_ts": None}),
        table(ROW | {"close": True}),
        b'{"columns": [], "data": 5}',
    ],
)
def test_a_table_that_does_not_fit_is_nonsense(body: bytes) -> None:
    """A missing column, a short row, a price that is text, a candle without time."""
    with pytest.raises(BotUnavailable) as caught:
        wire.candles(body)
    assert caught.value.code == "bot_nonsense"


@pytest.mark.parametrize(
    "body", [b"", b"<html>hello</html>", b'{"trade_id": 1', b"[[" * 5000, b"\xff\xfe", b"null"]
)
def test_what_is_no_json_is_nonsense(body: bytes) -> None:
    """HTML, half a document, a thousand brackets, bytes."""
    for read in (wire.trade, wire.trades, wire.candles, wire.bot_state, wire.balance):
        with pytest.raises(BotUnavailable) as caught:
            read(body)
        assert caught.value.code == "bot_nonsense"


def test_only_the_bots_own_body_gives_a_reason() -> None:
    """A proxy's error page is no refusal of the bot's."""
    assert wire.reason(told("exit unknown trade")) == "invalid argument"
    assert wire.reason(b'{"error": "upstream gone"}') is None
    assert wire.reason(b"<html>502 Bad Gateway</html>") is None
