"""Cancelling what still rests at the bot: asked for once, written down before, seen afterwards.

The bot knows only "cancel what is open in this trade", so it is asked only while our order
is the one thing that is. A cancel may be repeated: it can do nothing twice.
"""

from dataclasses import dataclass

from mcp_gateway.domain.answers import Accepted, NotSent, Unanswered
from mcp_gateway.domain.orders import OrderRecord
from mcp_gateway.errors import BotError, BotUnavailable, OrderNotResting, StoreUnavailable
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.orders.book import answers, marks, moves, protocol
from mcp_gateway.orders.book.ledger import Ledger, Superseded
from mcp_gateway.orders.book.protocol import Event
from mcp_gateway.orders.book.steps import Move, Origin
from mcp_gateway.orders.sending.facts import FactFinder
from mcp_gateway.orders.settling.follow import Follower


@dataclass(frozen=True, slots=True)
class Cancellation:
    """Takes resting orders back."""

    ledger: Ledger
    finder: FactFinder
    follower: Follower
    bot: FreqtradeClient

    async def run(self, record: OrderRecord, origin: Origin) -> OrderRecord:
        """Cancel what is left of an order, and return it as it stands then.

        Raises:
            OrderNotResting: it was never placed, is filled, or shares its trade with another.
            OutcomeUnknown: the order itself is not known to have been placed yet.
            BotUnavailable: the bot did not answer; cancelling again is safe.
            Superseded: somebody else moved the order meanwhile.
        """
        if record.state in protocol.HELD:  # nothing was sent; a person is asked no longer
            withdrawn = moves.denied(Event.DENY, "withdrawn", {})
            return await self.ledger.move(record, [withdrawn], origin)
        if record.bot != self.follower.bot_name:
            raise _not_resting(
                record, "It was sent to another bot, under another name.", "other_bot"
            )
        record = await self.follower.follow(record)
        if record.state not in protocol.RESTING:
            return _ended(record)
        record = await self.ledger.move(record, [Move(Event.ASK_CANCEL, "cancel_asked")], origin)
        # The last look, right before: between it and the bot lies one request.
        if not await self._is_alone(record):  # it ended a moment ago, or is not shown just now
            record = await self.follower.follow(record)
            if record.state in protocol.RESTING:
                raise _not_shown()
            return _ended(record)
        answer = await self.bot.cancel(answers.trade_of(record))
        self.finder.forget_positions()
        if isinstance(answer, NotSent):
            raise BotUnavailable("The bot cannot be reached; nothing was cancelled.")
        try:
            record = await self._seen(record, isinstance(answer, Accepted), origin)
        except (BotError, StoreUnavailable):  # what was done can't be seen now
            raise cancel_unanswered() from None
        if record.state not in protocol.RESTING:
            return record
        if isinstance(answer, Unanswered):
            raise cancel_unanswered()
        raise _not_resting(record, "The bot did not cancel it; it still rests.", "cancel_refused")

    async def _is_alone(self, record: OrderRecord) -> bool:
        """Tell whether our order is still open; refuse where another one of its trade is too.

        The bot cancels whatever is open in the trade, and gives the id of a deleted trade to
        the next one: what is asked for must be ours at this moment.
        """
        trade = await self.bot.trade(answers.trade_of(record))
        ours = None if trade is None else marks.same_order(record, trade)
        if trade is None or ours is None or not ours.is_open:
            return False
        if sum(order.is_open for order in trade.orders) > 1:
            raise _not_resting(record, "Another order of its trade is open.", "trade_is_shared")
        return True

    async def _seen(self, record: OrderRecord, done: bool, origin: Origin) -> OrderRecord:
        """Look what the cancel did; the bot deletes an entry of which nothing was filled."""
        trade = await self.bot.trade(answers.trade_of(record))
        if done and (trade is None or marks.same_order(record, trade) is None):
            return await self._cancelled(record, origin)
        return await self.follower.follow(record)

    async def _cancelled(self, record: OrderRecord, origin: Origin) -> OrderRecord:
        """Write down what the bot has done, whoever else was at the order meanwhile."""
        while record.state in protocol.RESTING:
            try:
                done = [Move(Event.CANCEL, "cancel_asked")]
                return await self.ledger.move(record, done, origin)
            except Superseded:
                record = await self.ledger.by_id(record.order_id) or record
        return record


def cancel_unanswered() -> BotUnavailable:
    """Return the error of a cancel that may have been carried out."""
    return BotUnavailable(
        "It is not known yet whether the order was cancelled.",
        code="cancel_unanswered",
        hint="Ask get_order; cancelling again is safe.",
    )


def _not_shown() -> BotUnavailable:
    return BotUnavailable(
        "The bot does not show the order just now; nothing was cancelled.",
        code="order_not_shown",
        hint="Cancel again in a few seconds.",
    )


def _ended(record: OrderRecord) -> OrderRecord:
    """Return an order that is cancelled already; refuse for one that can't be."""
    if record.state in protocol.ENDED_UNFILLED or record.code == "withdrawn":
        return record
    if (error := answers.refusal(record)) is not None and not protocol.is_final(record.state):
        raise error
    raise _not_resting(record, "There is nothing of it left to cancel.", None)


def _not_resting(record: OrderRecord, message: str, code: str | None) -> OrderNotResting:
    told = {"request_id": str(record.request_id), "order_status": answers.status(record)}
    return OrderNotResting(message, code=code, detail=told)
