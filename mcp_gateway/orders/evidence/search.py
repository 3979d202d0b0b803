"""Looking for an order in the bot's books: the one way in which a lost order is found."""

from dataclasses import dataclass
from typing import Final

from mcp_gateway.domain.orders import OrderRecord
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.orders.book import marks
from mcp_gateway.orders.book.moves import Noted
from mcp_gateway.orders.evidence.bot_books import every_trade

RECENT_TRADES: Final = 100


class TradeGone(Exception):
    """The trade that an exit was for is not there any more: what happened can't be read."""


@dataclass(frozen=True, slots=True)
class Search:
    """Finds what the bot made of an order of ours, by its mark.

    Every method raises BotUnavailable or BotRejected when the bot does not answer.
    """

    bot: FreqtradeClient

    async def look(self, record: OrderRecord, noted: Noted) -> marks.Execution | None:
        """Return the order's execution; None where the last trades do not show it.

        Raises:
            TradeGone: the trade of an exit was deleted.
        """
        if record.side == "sell":
            return await self._exit(record, noted)
        # What is closed in between is in the second answer, for it was asked for later.
        trades = (*await self.bot.open_trades(), *await self.bot.recent_trades(RECENT_TRADES))
        return marks.find_entry(trades, record.tag)

    async def look_everywhere(self, record: OrderRecord, noted: Noted) -> marks.Execution | None:
        """Look as ``look`` does, through every trade that the bot ever had.

        Raises:
            TradeGone: the trade of an exit was deleted.
        """
        if record.side == "sell":
            return await self._exit(record, noted)
        return marks.find_entry(await every_trade(self.bot), record.tag)

    async def _exit(self, record: OrderRecord, noted: Noted) -> marks.Execution | None:
        trade = None if record.trade_id is None else await self.bot.trade(record.trade_id)
        # The bot gives the id of a deleted trade away again; the tag it never does.
        if trade is None or trade.tag != noted.trade_tag:
            raise TradeGone
        sold = marks.find_exits(trade, frozenset(noted.sells_before))
        return sold[0] if sold else None
