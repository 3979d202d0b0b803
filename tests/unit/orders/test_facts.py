"""What the bot is asked before an order, what is kept, and who owns what."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from mcp_gateway.domain.market import MarketRules
from mcp_gateway.domain.orders import OrderRecord, Side, State
from mcp_gateway.errors import BotUnavailable
from mcp_gateway.orders.book.steps import audit_event
from mcp_gateway.orders.sending.facts import CLOSED_TRADES_KEPT_S, LISTS_KEPT_S
from mcp_gateway.orders.settling.reconcile import ORIGIN
from mcp_gateway.risk.facts import Facts
from mcp_gateway.risk.keeper import PolicyKeeper
from mcp_gateway.risk.policy import BUILT_IN, Policy
from tests.support.clock import START
from tests.support.desk import BOT, Desk, admission, order, stored
from tests.support.tradingbot import FEE_RATE, PRICE

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

FRESH = ["show_config", "status"]  # for every order
COMMON = [*FRESH, "health"]
LISTS = ["whitelist", "blacklist", "locks"]
CANDLES = ["show_config", "pair_candles"]  # a price of its own, where no trade tells one
BUY = OrderRecord(
    order_id="o", issuer="tests", subject="agent-a", request_id=UUID(int=1), agent="agent-a",
    fingerprint="f", tag="gw:0", carrier="g", bot=BOT, pair="BTC/USDT", side="buy",
    amount=Decimal(1), order_type="market", price=None, mode="dry-run", state=State.RECEIVED,
    created_at=START, updated_at=START,
)  # fmt: skip
SELL = replace(BUY, side="sell")


class Counted(PolicyKeeper):
    """Counts how often it is asked for the policy."""

    reads = 0

    @property
    def current(self) -> Policy:
        self.reads += 1
        return super().current


async def facts(desk: Desk, asked: OrderRecord) -> Facts:
    return await desk.reconciler.submission.finder.facts(asked)


async def questions(desk: Desk, asked: OrderRecord) -> list[str]:
    """Return the endpoints that the bot is asked for one order's facts, in their order."""
    desk.bot.calls.clear()
    await facts(desk, asked)
    return list(desk.bot.calls)


async def test_an_entry_asks_for_everything_once(desk: Desk) -> None:
    """State, trades and start, money, remembered trades, a price, the lists; last the mode anew."""
    assert await questions(desk, BUY) == [
        *COMMON, "balance", "trades", *CANDLES, *LISTS, "show_config",
    ]  # fmt: skip


async def test_the_pairs_are_kept_two_seconds_and_closed_trades_a_minute(desk: Desk) -> None:
    """What moves money is asked anew for each order; what seldom changes is not."""
    open_trade(desk)  # which tells the price
    await questions(desk, BUY)
    assert await questions(desk, BUY) == [*FRESH, "balance", "show_config"]
    desk.clock.advance(LISTS_KEPT_S)
    assert await questions(desk, BUY) == [*FRESH, "balance", *LISTS, "show_config"]
    desk.clock.advance(CLOSED_TRADES_KEPT_S)
    assert await questions(desk, BUY) == [*COMMON, "balance", "trades", *LISTS, "show_config"]


async def test_an_exit_needs_neither_money_nor_pairs(desk: Desk) -> None:
    """Exits are never trapped by an answer that they do not need (orders)."""
    # The state once more, for the mode is what a sell must not be wrong about.
    assert await questions(desk, SELL) == [*COMMON, *CANDLES, "show_config"]
    desk.bot.enter("BTC/USDT", "gw:a")
    assert await questions(desk, SELL) == [*FRESH, "show_config"]


@pytest.mark.parametrize("side", ["buy", "sell"])
async def test_an_open_trade_tells_the_price_before_the_candles_do(desk: Desk, side: Side) -> None:
    """Its rate is the bot's latest word, and of no age."""
    desk.bot.enter("BTC/USDT", "gw:a")
    desk.bot.status[0]["current_rate"] = 123.5
    price = (await facts(desk, replace(BUY, side=side))).price
    assert price is not None
    assert (price.value, price.age_s, price.timeframe_s) == (Decimal("123.5"), 0.0, 300)


async def test_a_candle_tells_the_price_and_its_age(desk: Desk) -> None:
    """The last closed one, counted from its close."""
    desk.clock.advance(17)
    price = (await facts(desk, BUY)).price
    assert price is not None
    assert (price.value, price.age_s) == (Decimal(str(PRICE)), 17.0)


async def test_without_a_candle_there_is_no_price(desk: Desk) -> None:
    """What can't be told fails its own check, and stops no other question."""
    desk.bot.candles.clear()
    assert (await facts(desk, BUY)).price is None


def unwritten(desk: Desk) -> None:
    """Let the operator have written nothing."""
    desk.reconciler.submission.finder.policies = PolicyKeeper(BUILT_IN)


def closed_trade(desk: Desk, pair: str = "BTC/USDT", **changes: Any) -> None:
    """Let the bot have opened and closed a trade before."""
    desk.bot.enter(pair, "strategy")
    desk.bot.status[-1] |= changes
    desk.bot._exit({"tradeid": desk.bot.status[-1]["trade_id"]})


def open_trade(desk: Desk, pair: str = "BTC/USDT", **changes: Any) -> None:
    """Let the bot hold a pair."""
    desk.bot.enter(pair, "strategy")
    desk.bot.status[-1] |= changes


@pytest.mark.parametrize("traded", [closed_trade, open_trade], ids=["closed", "open"])
async def test_a_trade_tells_the_lot_step_before_the_policy_does(
    desk: Desk, traded: Callable[..., None]
) -> None:
    """What the bot took from its exchange stands above what a person wrote."""
    written = (await facts(desk, BUY)).market
    assert written == MarketRules(Decimal("0.00001"), Decimal(5))
    desk.clock.advance(CLOSED_TRADES_KEPT_S)
    traded(desk, amount_precision=0.25)
    assert (await facts(desk, BUY)).market == MarketRules(Decimal("0.25"), Decimal(5))


async def test_a_trade_in_another_pair_tells_nothing_of_this_one(desk: Desk) -> None:
    """Steps belong to a market; the fee rate to the account."""
    closed_trade(desk, "ETH/USDT", amount_precision=0.25, fee_open=0.002)
    told = await facts(desk, BUY)
    assert told.market.lot_step == Decimal("0.00001")
    assert told.fee_rate == Decimal("0.002")


async def test_without_any_trade_the_fee_is_not_told(desk: Desk) -> None:
    """Then it is assumed, and a dry run says so."""
    assert (await facts(desk, BUY)).fee_rate is None
    open_trade(desk, "ETH/USDT")
    assert (await facts(desk, BUY)).fee_rate == Decimal(str(FEE_RATE))


async def test_a_stake_that_the_bot_took_is_remembered_where_no_minimum_is_written(
    desk: Desk,
) -> None:
    """The smallest of which it made no more than was asked for; else nobody needs it."""
    for amount in ("2", "0.5", "1"):
        await desk.orders.create(admission(), order(amount=amount))
        await desk.orders.create(admission(), order(side="sell", amount=amount))
    assert (await facts(desk, BUY)).taken_stake is None
    unwritten(desk)
    assert (await facts(desk, BUY)).taken_stake == Decimal("0.500005") * 100


async def test_a_stake_that_the_bot_raised_is_no_proof(desk: Desk) -> None:
    """It bought more than was asked for: its minimum lies above that stake (freqtrade)."""
    unwritten(desk)
    bought = replace(
        desk.orders._intake.record(admission(), order(amount="0.05")),
        quote_sent=Decimal(5), actual_amount=Decimal("0.06"),
    )  # fmt: skip
    await desk.ledger.receive(bought, audit_event(bought, ORIGIN))
    assert (await facts(desk, BUY)).taken_stake is None


@pytest.mark.parametrize(
    ("asked", "is_held"),
    [
        (SELL, True),
        (replace(SELL, agent="agent-b"), False),
        (replace(SELL, issuer="elsewhere"), False),
        (replace(SELL, pair="ETH/USDT"), False),
    ],
    ids=["own", "another_agent", "another_issuer", "another_pair"],
)
async def test_what_an_agent_holds_is_known_by_its_tag(
    desk: Desk, asked: OrderRecord, is_held: bool
) -> None:
    """The ledger says whose a tag is; trade ids are given away again (orders)."""
    wanted = order()
    await desk.orders.create(admission(), wanted)
    held = (await facts(desk, asked)).held
    assert (held is not None) is is_held
    if held is not None:
        assert held.tag == (await stored(desk, wanted)).tag


async def test_a_trade_under_the_id_of_an_own_one_is_not_held(desk: Desk) -> None:
    """The bot deleted ours and gave its number to the strategy's (freqtrade)."""
    wanted = order()
    await desk.orders.create(admission(), wanted)
    desk.bot.status.clear()
    desk.bot.enter("BTC/USDT", "strategy")
    told = await facts(desk, SELL)
    assert ((await stored(desk, wanted)).trade_id, desk.bot.status[0]["trade_id"]) == (1, 1)
    assert (told.held, told.pair_is_held) == (None, True)


async def test_what_was_bought_at_another_bot_is_not_held_at_this_one(desk: Desk) -> None:
    """One store may serve several bots: an entry belongs to the one it was sent to."""
    wanted = order()
    await desk.orders.create(admission(), wanted)
    desk.reconciler.submission.finder.bot_name = BOT + "/other"
    assert (await facts(desk, SELL)).held is None


@pytest.mark.parametrize("side", ["buy", "sell"])
async def test_a_bot_that_fails_tells_no_facts(desk: Desk, side: Side) -> None:
    """Half an answer is none: the order is denied unsent."""
    desk.bot.fails = 500
    with pytest.raises(BotUnavailable):
        await facts(desk, replace(BUY, side=side))


async def test_all_questions_together_have_one_deadline(desk: Desk) -> None:
    """A bot that answers each one slowly does not add them up."""
    finder = desk.reconciler.submission.finder
    finder.deadline_s = 0.0
    with pytest.raises(BotUnavailable) as caught:
        await facts(desk, BUY)
    assert caught.value.code == "bot_timeout"


@pytest.mark.parametrize("asked", [BUY, SELL], ids=["entry", "exit"])
async def test_the_policy_is_read_once_for_one_orders_facts(desk: Desk, asked: OrderRecord) -> None:
    """Facts that were gathered by two policies would be nobody's."""
    finder = desk.reconciler.submission.finder
    finder.policies = counted = Counted(BUILT_IN)
    await facts(desk, asked)
    assert counted.reads == 1
