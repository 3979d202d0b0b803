"""The stand-in for the bot: what a test can make of it, through the real client."""

from decimal import Decimal

import pytest

from mcp_gateway.domain.answers import Accepted, NotSent, Refused, Unanswered
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.freqtrade.orders import Entry, Exit
from tests.support.clock import ManualClock
from tests.support.standin import stand_in
from tests.support.tradingbot import TradingBot

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

MARKET = Entry("BTC/USDT", Decimal(100), "market", None, "gw:a")
LIMIT = Entry("BTC/USDT", Decimal(100), "limit", Decimal(50), "gw:a")


@pytest.fixture
def bot() -> TradingBot:
    """A bot that is asked directly."""
    return TradingBot(ManualClock())


async def test_a_resting_entry_fills_in_parts_and_a_cancel_keeps_them(bot: TradingBot) -> None:
    """What was filled stays, the rest is off; only the latter is a cancelled order."""
    async with bot.client() as client:
        await client.enter(LIMIT)
        bot.fill(1, 0.5)
        answer = await client.cancel(1)
        assert isinstance(answer, Accepted)
        assert answer.trade is not None
        [order] = answer.trade.orders
        assert (order.status, order.is_open, order.filled) == ("canceled", False, Decimal("0.5"))
        assert answer.trade.amount == Decimal("0.5")
        assert order.average_price == Decimal(50)
        assert await client.cancel(1) == Refused("no_open_order")


async def test_a_resting_exit_that_fills_closes_the_trade(bot: TradingBot) -> None:
    """A full exit is done when its last part is filled."""
    async with bot.client() as client:
        await client.enter(MARKET)
        await client.exit(Exit(1, None, "limit", Decimal(110)))
        bot.fill(1, 0.25)
        [trade] = await client.open_trades()
        assert (trade.amount, trade.orders[-1].filled) == (Decimal("0.75"), Decimal("0.25"))
        bot.fill(1)
        assert await client.open_trades() == ()
        [closed] = await client.closed_trades(5, 0)
        assert closed.orders[-1].status == "closed"


async def test_a_late_order_happens_when_the_test_says(bot: TradingBot) -> None:
    """Its answer is lost first; started anew, the bot forgets it."""
    async with bot.client() as client:
        bot.faults.extend(["late", "late"])
        for _ in range(2):
            assert await client.enter(MARKET) == Unanswered("connection_lost")
            assert await client.open_trades() == ()
        started = (await client.health()).started_at
        bot.take_effect()  # the second is refused, for the first holds the pair
        assert [trade.tag for trade in await client.open_trades()] == ["gw:a"]
        bot.faults.append("late")
        assert await client.cancel(1) == Unanswered("connection_lost")
        bot.restart()
        bot.take_effect()
        assert len(await client.open_trades()) == 1
        assert (await client.health()).started_at != started


@pytest.mark.parametrize(
    ("fault", "told", "rests"),
    [
        ("fail", Unanswered("bot_failed"), True),
        ("fail_done", Unanswered("bot_failed"), False),
        ("lose", Unanswered("connection_lost"), True),
        ("lose_done", Unanswered("connection_lost"), False),
        ("no_connection", NotSent("bot_unreachable"), True),
        ("refuse:trader is not running", Refused("bot_not_running"), True),
        ("", Accepted(None), False),
    ],
)
async def test_a_cancel_meets_the_faults_of_an_order(
    bot: TradingBot, fault: str, told: object, rests: bool
) -> None:
    """Each fault tells what it tells of an order, and does what it does."""
    async with bot.client() as client:
        await client.enter(LIMIT)
        bot.faults.append(fault)
        assert await client.cancel(1) == told
        assert bool(await client.open_trades()) is rests


async def test_closed_trades_come_in_pages(bot: TradingBot) -> None:
    """By id from the first, or by closing time from the last."""
    async with bot.client() as client:
        for pair in ("BTC/USDT", "ETH/USDT"):
            await client.enter(Entry(pair, Decimal(100), "market", None, pair))
        for trade_id in (2, 1):
            await client.exit(Exit(trade_id, None, "market", None))
        pages = [await client.closed_trades(1, offset) for offset in range(3)]
        assert [[trade.trade_id for trade in page] for page in pages] == [[1], [2], []]
        assert [trade.trade_id for trade in await client.recent_trades(1)] == [1]


async def test_coins_that_no_trade_accounts_for_lie_in_the_wallet(bot: TradingBot) -> None:
    """Those of a trade are the bot's own."""
    async with bot.client() as client:
        await client.enter(MARKET)
        bot.coins["ETH"] = 0.5
        assert await client.unmanaged_coins() == ("ETH",)


async def test_a_fault_on_a_real_socket_ends_the_connection() -> None:
    """Behind a server, a lost answer is a connection that ends, and not a 500."""
    async with stand_in() as standing:
        client = FreqtradeClient(
            standing.url, None, None, pool_size=1, read_timeout_s=5, order_timeout_s=5,
            clock=ManualClock(),
        )  # fmt: skip
        async with client:
            standing.bot.faults.extend(["lose", "lose_done", "fail"])
            assert await client.enter(MARKET) == Unanswered("connection_lost")
            assert await client.open_trades() == ()
            assert await client.enter(MARKET) == Unanswered("connection_lost")
            assert len(await client.open_trades()) == 1
            assert await client.cancel(1) == Unanswered("bot_failed")
