"""All trades of the bot are read, each once, though pages move while they are read."""

import pytest

from mcp_gateway.domain.positions import Trade
from mcp_gateway.errors import BotUnavailable
from mcp_gateway.orders.evidence.bot_books import MOST_WALKS, PAGE, every_trade
from tests.support.busybot import BusyBot
from tests.support.clock import ManualClock

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

COUNT = 2 * PAGE + PAGE // 2


@pytest.fixture
def bot() -> BusyBot:
    """A bot that has closed two pages of trades and a half."""
    bot = BusyBot(ManualClock())
    bot.trade_for_a_day(COUNT)
    return bot


async def read(bot: BusyBot) -> tuple[Trade, ...]:
    client = bot.client()
    try:
        return await every_trade(client)
    finally:
        await client.aclose()


async def nothing() -> None:
    """Let a page be read."""


async def test_every_trade_is_read_once(bot: BusyBot) -> None:
    """Open and closed, by their ids, over as many pages as there are."""
    bot.enter("BTC/USDT", "strategy")
    trades = await read(bot)
    assert [trade.trade_id for trade in trades] == list(range(1, COUNT + 2))
    assert [trade.trade_id for trade in trades if trade.is_open] == [COUNT + 1]


@pytest.mark.parametrize("count", [0, PAGE])
async def test_a_page_that_is_just_full_is_not_the_end(count: int) -> None:
    """Nor is an empty book a failure."""
    bot = BusyBot(ManualClock())
    bot.trade_for_a_day(count)
    assert len(await read(bot)) == count


@pytest.mark.parametrize("pages", [1, 4], ids=["in the first walk", "in the second walk"])
async def test_a_deleted_trade_hides_no_other(bot: BusyBot, pages: int) -> None:
    """The pages behind it move up by one: the first of the next page would be passed over."""

    async def delete_the_first() -> None:
        bot.closed.remove(next(trade for trade in bot.closed if trade["trade_id"] == 1))

    bot.between.extend([*[nothing] * pages, delete_the_first])
    assert [trade.trade_id for trade in await read(bot)] == list(range(2, COUNT + 1))


async def test_a_trade_that_closes_meanwhile_is_read_as_closed(bot: BusyBot) -> None:
    """Its low id comes into a page that was read already; it is not lost, and not double."""
    bot.status.append(bot.closed.pop() | {"is_open": True, "amount": 1.0})

    async def close_it() -> None:
        bot._exit({"tradeid": 1})

    bot.between.extend([nothing, close_it])
    trades = await read(bot)
    assert [trade.trade_id for trade in trades] == list(range(1, COUNT + 1))
    assert not trades[0].is_open


async def test_books_that_never_stand_still_are_not_guessed(bot: BusyBot) -> None:
    """Half a truth about the books would be told as a difference."""

    async def trade_once() -> None:
        bot.trade_for_a_day(1)

    bot.between.extend([trade_once] * 3 * MOST_WALKS)
    with pytest.raises(BotUnavailable) as refused:
        await read(bot)
    assert refused.value.code == "books_in_motion"
