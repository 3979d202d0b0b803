"""The client and the market against a real Freqtrade on the simulated exchange."""

from collections.abc import AsyncIterator
from decimal import Decimal

import anyio
import anyio.lowlevel
import httpx2
import pytest

from mcp_gateway.clock import Clock
from mcp_gateway.domain.answers import Accepted, Answer, Refused, Unanswered
from mcp_gateway.domain.operations import OPERATIONS
from mcp_gateway.domain.positions import Trade
from mcp_gateway.domain.principals import Principal, admission_by_the_gate
from mcp_gateway.errors import BotUnavailable
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.freqtrade.orders import Entry, Exit, quote_for
from mcp_gateway.market.resample import resample
from mcp_gateway.market.service import Market
from mcp_gateway.sandbox.bot import Sandbox
from mcp_gateway.storage.memory import MemoryKeyValue
from tests.support.bot import connect

pytestmark = [pytest.mark.integration, pytest.mark.anyio, pytest.mark.xdist_group("bot")]

PAIR, TAG = "BTC/USDT", "gw:contract"
ADMISSION = admission_by_the_gate(
    Principal("test", "reader", frozenset({"market:read"})), OPERATIONS["get_candles"], "http", "1"
)


@pytest.fixture
async def client(clean_bot: Sandbox) -> AsyncIterator[FreqtradeClient]:
    """A client of the bot, which has no trade and no fault."""
    async with connect(clean_bot) as connected:
        yield connected


def market_entry(quote: str = "100", pair: str = PAIR, tag: str = TAG) -> Entry:
    return Entry(pair, Decimal(quote), "market", None, tag)


def trade_of(answer: Answer) -> Trade:
    assert isinstance(answer, Accepted), answer
    assert answer.trade is not None
    return answer.trade


async def test_the_bot_tells_its_state_and_what_it_trades(client: FreqtradeClient) -> None:
    """Every read of the client fits the real answer."""
    state = await client.bot_state()
    assert (state.mode, state.state, state.spot) == ("dry-run", "running", True)
    assert (state.quote_currency, state.timeframe, state.entries_enabled) == ("USDT", "5m", True)
    assert PAIR in await client.pairs()
    assert (await client.blacklist(), await client.locked_pairs()) == ((), ())
    balance = await client.balance()
    assert (balance.currency, balance.simulated) == ("USDT", True)
    assert 0 < balance.free <= balance.total
    health = await client.health()
    assert health.started_at is not None
    assert health.last_process_at is not None
    assert health.last_process_at >= health.started_at
    assert (await client.open_trades(), await client.positions()) == ((), ())
    assert await client.trade(999_999) is None


async def test_an_entry_carries_our_tag_and_can_be_left_in_parts(client: FreqtradeClient) -> None:
    """The tag is how an order is found again; orders of a trade tell what each exit sold."""
    trade = trade_of(await client.enter(market_entry()))
    assert (trade.pair, trade.tag, trade.orders[0].tag) == (PAIR, TAG, TAG)
    assert trade.lot_step is not None
    [position] = await client.positions()
    assert (position.trade_id, position.side, position.amount) == (
        trade.trade_id,
        "buy",
        trade.amount,
    )
    assert position.current_price is not None
    assert position.stop_loss is not None
    half = trade.amount / 2 // trade.lot_step * trade.lot_step
    assert await client.exit(Exit(trade.trade_id, half, "market", None)) == Accepted(None)
    left = await client.trade(trade.trade_id)
    assert left is not None
    assert (left.amount, left.orders[-1].side) == (trade.amount - half, "sell")
    assert left.orders[-1].filled == half
    assert await client.exit(Exit(trade.trade_id, None, "market", None)) == Accepted(None)
    assert await client.open_trades() == ()
    [closed] = await client.recent_trades(5)
    assert (closed.trade_id, closed.is_open, len(closed.orders)) == (trade.trade_id, False, 3)


@pytest.mark.parametrize("steps", [1597, 2661, 3001])
async def test_a_limit_entry_rests_with_the_very_amount(
    client: FreqtradeClient, steps: int
) -> None:
    """The half step of quote_for against the bot's own arithmetic."""
    lot_step, price = Decimal("0.00001"), Decimal("4453.78")
    amount = steps * lot_step
    quote = quote_for(amount, price, lot_step)
    trade = trade_of(await client.enter(Entry(PAIR, quote, "limit", price, TAG)))
    [order] = trade.orders
    assert (order.amount, order.price, order.is_open) == (amount, price, True)
    assert await client.positions() == ()


async def test_recent_trades_come_newest_first(client: FreqtradeClient) -> None:
    """The facts of a pre-trade check are those of the last trade."""
    for tag in ("gw:first", "gw:second"):
        trade = trade_of(await client.enter(market_entry(pair="ETH/USDT", tag=tag)))
        assert await client.exit(Exit(trade.trade_id, None, "market", None)) == Accepted(None)
        # An exit locks its pair until the next candle.
        assert "ETH/USDT" in await client.locked_pairs()
    assert [trade.tag for trade in await client.recent_trades(5)] == ["gw:second", "gw:first"]
    assert [trade.tag for trade in await client.recent_trades(1)] == ["gw:second"]


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        (market_entry(pair="NOPE/USDT"), "pair_inactive"),
        (market_entry(quote="1"), "entry_refused"),
    ],
)
async def test_an_entry_that_is_refused_does_nothing(
    client: FreqtradeClient, entry: Entry, code: str
) -> None:
    """A 502 of the bot's own proves it."""
    assert await client.enter(entry) == Refused(code)
    assert await client.open_trades() == ()


async def test_a_second_entry_in_a_held_pair_is_refused(client: FreqtradeClient) -> None:
    """Freqtrade holds one trade in each pair unless it may adjust positions."""
    trade_of(await client.enter(market_entry()))
    assert await client.enter(market_entry(tag="gw:other")) == Refused("position_exists")
    assert [trade.tag for trade in await client.open_trades()] == [TAG]


async def test_an_exit_that_is_refused_sells_nothing(client: FreqtradeClient) -> None:
    """Unknown trades, and a rest that would be dust."""
    assert await client.exit(Exit(999_999, None, "market", None)) == Refused("trade_not_open")
    trade = trade_of(await client.enter(market_entry("20")))
    assert trade.lot_step is not None
    nearly_all = Exit(trade.trade_id, trade.amount - trade.lot_step, "market", None)
    assert await client.exit(nearly_all) == Refused("remainder_too_small")
    [still] = await client.open_trades()
    assert still.amount == trade.amount


async def test_leaving_an_unfilled_entry_is_no_refusal(client: FreqtradeClient) -> None:
    """The bot says that it failed, and has cancelled the entry and forgotten the trade."""
    resting = Entry("ETH/USDT", Decimal(50), "limit", Decimal(500), TAG)
    trade = trade_of(await client.enter(resting))
    answer = await client.exit(Exit(trade.trade_id, None, "market", None))
    assert answer == Unanswered("refusal_unproven")
    assert await client.open_trades() == ()


async def test_a_paused_bot_refuses_entries_and_lets_exits_through(
    client: FreqtradeClient, bot_api: httpx2.Client
) -> None:
    """The kill switch stands on this."""
    trade = trade_of(await client.enter(market_entry()))
    bot_api.post("pause").raise_for_status()
    assert (await client.bot_state()).state == "paused"
    assert await client.enter(market_entry(pair="ETH/USDT")) == Refused("bot_not_running")
    assert await client.exit(Exit(trade.trade_id, None, "market", None)) == Accepted(None)


async def test_a_failing_exchange_leaves_an_order_unknown_and_reads_alive(
    client: FreqtradeClient, exchange_control: httpx2.Client
) -> None:
    """A 500 can hide an executed order; the connection it spoils is nobody's trouble."""
    fault = {"match": "depth", "status": 503, "count": -1}
    exchange_control.post("faults", json=fault).raise_for_status()
    with anyio.fail_after(60):
        assert await client.enter(market_entry()) == Unanswered("bot_failed")
    exchange_control.post("reset").raise_for_status()
    assert (await client.bot_state()).state == "running"


async def test_a_500_to_a_read_does_not_spoil_the_next(client: FreqtradeClient) -> None:
    """After each 500 the bot drops the kept connection."""
    for _ in range(3):
        with pytest.raises(BotUnavailable) as caught:
            await client.candles(PAIR, "7x", 5)
        assert caught.value.code == "bot_failed"
        assert PAIR in await client.pairs()


async def test_an_order_that_timed_out_is_carried_out_regardless(
    clean_bot: Sandbox, exchange_control: httpx2.Client
) -> None:
    """A deadline ends our waiting, never the bot's work; other reads do not wait for it."""
    fault = {"match": "depth", "delay_s": 2.0}
    exchange_control.post("faults", json=fault).raise_for_status()
    answers: list[Answer] = []
    async with connect(clean_bot, order_timeout_s=1) as hasty:

        async def enter() -> None:
            answers.append(await hasty.enter(market_entry()))

        async with anyio.create_task_group() as both:
            both.start_soon(enter)
            while "depth" not in exchange_control.get("state").json()["calls"]:
                await anyio.lowlevel.checkpoint()
            assert (await hasty.bot_state()).state == "running"
            assert answers == []
        assert answers == [Unanswered("bot_timeout")]
        with anyio.fail_after(30):
            while not (trades := await hasty.open_trades()):
                pass  # each round is a question to the bot
        assert [trade.tag for trade in trades] == [TAG]


async def test_a_wrong_password_is_told_as_such(clean_bot: Sandbox) -> None:
    """Nothing is tried before the credentials fit, so an order is refused for certain."""
    async with connect(clean_bot, password="wrong") as stranger:
        with pytest.raises(BotUnavailable) as caught:
            await stranger.bot_state()
        assert caught.value.code == "bot_credentials"
        assert await stranger.enter(market_entry()) == Refused("bot_credentials")


async def test_made_candles_are_those_of_the_exchange(
    client: FreqtradeClient, clean_bot: Sandbox
) -> None:
    """Twelve candles of five minutes make exactly the exchange's own hour."""
    made = resample(await client.candles(PAIR, "5m", 1000), 300, 3600)
    assert len(made) > 75
    query: dict[str, str | int] = {
        "symbol": "BTCUSDT",
        "interval": "1h",
        "startTime": made[0].open_s * 1000,
        "limit": len(made),
    }
    async with httpx2.AsyncClient(trust_env=False) as exchange:
        rows = (await exchange.get(f"{clean_bot.exchange_url}/api/v3/klines", params=query)).json()
    assert [tuple(candle) for candle in made] == [
        (row[0] // 1000, *map(float, row[1:6])) for row in rows
    ]


async def test_the_market_serves_a_real_bot(client: FreqtradeClient) -> None:
    """Candles live and cached, made of smaller ones, a price with its age, positions."""
    clock = Clock()
    market = Market(client, MemoryKeyValue(clock), clock, 300)
    first = await market.candles(ADMISSION, PAIR, "5m", limit=500)
    assert (first.source, len(first.candles)) == ("live", 500)
    again = await market.candles(ADMISSION, PAIR, "5m", limit=500)
    assert (again.source, again.as_of) == ("cache", first.as_of)
    hours = await market.candles(ADMISSION, PAIR, "1h", limit=1000)
    assert (hours.resampled_from, len(hours.candles) > 75) == ("5m", True)
    price, closed_at = await market.last_price(PAIR) or (None, None)
    assert price is not None
    assert closed_at is not None
    assert (clock.now() - closed_at).total_seconds() < 700
    trade_of(await client.enter(market_entry()))
    held = await market.positions(ADMISSION, PAIR)
    assert (held.mode, held.source, len(held.positions)) == ("dry-run", "live", 1)
