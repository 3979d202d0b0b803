"""Every trade that the bot has, open and closed."""

from typing import Final

from mcp_gateway.domain.positions import Trade
from mcp_gateway.errors import BotUnavailable
from mcp_gateway.freqtrade.client import FreqtradeClient

# The bot serves its API from one thread: other calls get their turn between two pages.
PAGE: Final = 100
MOST_WALKS: Final = 5


async def every_trade(bot: FreqtradeClient) -> tuple[Trade, ...]:
    """Return all trades, each once, in the order of their ids.

    Open ones are asked for first, so that none is missed which closes meanwhile. A closed
    one that a person deletes moves the pages behind it: they are walked until two walks agree.

    Raises:
        BotError: the bot does not answer, or its books don't stand still (``books_in_motion``).
    """
    opened = {trade.trade_id: trade for trade in await bot.open_trades()}
    closed = await _walk(bot)
    for _ in range(MOST_WALKS - 1):
        before, closed = closed, await _walk(bot)
        if closed.keys() == before.keys():
            trades = opened | closed
            return tuple(trades[trade_id] for trade_id in sorted(trades))
    raise BotUnavailable(
        "The bot's list of trades changes faster than it can be read.",
        code="books_in_motion",
        hint="Ask again when it trades less.",
    )


async def _walk(bot: FreqtradeClient) -> dict[int, Trade]:
    trades: dict[int, Trade] = {}
    offset = 0
    while True:
        page = await bot.closed_trades(PAGE, offset)
        trades |= {trade.trade_id: trade for trade in page}
        if len(page) < PAGE:
            return trades
        offset += PAGE
