"""The ledger and the bot's books, compared row by row: for operators, and after a restore.

Nothing is changed here. What the reconciler and the follower would mend by themselves shows
as a difference too, until they have.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from mcp_gateway.domain.orders import OrderRecord, State
from mcp_gateway.domain.positions import Trade, TradeOrder
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.freqtrade.orders import EXIT_TAG
from mcp_gateway.orders import marks, protocol
from mcp_gateway.orders.ledger import Ledger

PAGE: Final = 500
MEANINGS: Final[dict[str, str]] = {
    "unsettled": "What the bot did is not known yet; the reconciler is at work on it.",
    "needs_review": "Only a person can find out; settle it.",
    "missing_at_bot": "The ledger says placed, and the bot has no such order.",
    "numbers_differ": "The bot tells other numbers than the ledger has.",
    "executed_although_denied": "The ledger says that nothing happened, and the bot has it.",
    "not_in_ledger": "The bot has an order with a tag of a gateway that this ledger never sent.",
    "exit_not_in_ledger": "Somebody else sold, through the bot's own interface, what a gateway bought.",
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which ledger and bot disagree, or that neither knows.

    ``ledger`` and ``bot`` hold what each of them says, as JSON-ready values; None where it
    knows nothing of the order.
    """

    kind: str
    order_id: str | None
    trade_id: int | None
    bot_order_id: str | None
    pair: str
    ledger: Mapping[str, Any] | None
    bot: Mapping[str, Any] | None

    @property
    def meaning(self) -> str:
        """One sentence for the operator."""
        return MEANINGS[self.kind]


Mark = tuple[str, str]  # what makes one order at the bot: its pair and its id there


@dataclass(frozen=True, slots=True)
class _Books:
    """The bot's orders that concern a gateway, by tag (entries) and by pair and id (all)."""

    entries: Mapping[str, tuple[Trade, TradeOrder]]
    orders: Mapping[Mark, tuple[Trade, TradeOrder]]


async def compare(ledger: Ledger, bot: FreqtradeClient, bot_name: str) -> list[Difference]:
    """Return every difference between the ledger and the books of its bot.

    Raises:
        StoreUnavailable: the ledger does not answer.
        BotError: the bot does not answer, or not all of it.
    """
    # The ledger first: what is placed in between is then in the bot's books alone, and is
    # told as what it is, an order of a tag that was not there a moment ago.
    before = await ledger.in_states(bot_name, tuple(State))
    trades = list(await bot.open_trades())
    offset = 0
    while page := await bot.closed_trades(PAGE, offset):
        trades += page
        offset += PAGE
    after = {record.order_id: record for record in await ledger.in_states(bot_name, tuple(State))}
    moved = [one.order_id for one in before if after[one.order_id].updated_at != one.updated_at]
    quiet = [one for one in after.values() if one.order_id not in moved]
    return list(differences(quiet, trades, known=tuple(after.values())))


def differences(
    records: Sequence[OrderRecord],
    trades: Sequence[Trade],
    *,
    known: Sequence[OrderRecord] | None = None,
) -> Iterator[Difference]:
    """Compare; pure.

    Args:
        records: the orders to be compared.
        known: every order of the ledger; those that moved meanwhile are in here alone.
    """
    books = _books(trades)
    for record in records:
        yield from _of_ledger(record, books)
    everything = records if known is None else known
    yield from _of_bot(books, everything)


def _books(trades: Sequence[Trade]) -> _Books:
    entries: dict[str, tuple[Trade, TradeOrder]] = {}
    orders: dict[Mark, tuple[Trade, TradeOrder]] = {}
    for trade in trades:
        for order in trade.orders:
            orders[trade.pair, order.order_id] = (trade, order)
            tag = order.tag or trade.tag
            if order.side == "buy" and tag is not None and marks.is_ours(tag):
                entries.setdefault(tag, (trade, order))
    return _Books(entries, orders)


def _of_ledger(record: OrderRecord, books: _Books) -> Iterator[Difference]:
    found = _found(record, books)
    if record.state in protocol.UNSETTLED:
        yield _difference("unsettled", record, found)
    elif record.state is State.NEEDS_REVIEW:
        yield _difference("needs_review", record, found)
    elif protocol.outcome(record.state) != "placed":
        if found is not None:
            yield _difference("executed_although_denied", record, found)
    elif found is None:
        # The bot deletes an entry of which nothing was filled.
        if record.filled_amount or record.state not in protocol.ENDED_UNFILLED:
            yield _difference("missing_at_bot", record, None)
    elif _ledgers(record) != _bots(*found):
        yield _difference("numbers_differ", record, found)


def _found(record: OrderRecord, books: _Books) -> tuple[Trade, TradeOrder] | None:
    if record.bot_order_id is not None:
        return books.orders.get((record.pair, record.bot_order_id))
    return books.entries.get(record.tag) if record.side == "buy" else None


def _of_bot(books: _Books, known: Sequence[OrderRecord]) -> Iterator[Difference]:
    tags = {record.tag for record in known}
    claimed = {(record.pair, record.bot_order_id) for record in known}
    for tag, (trade, order) in books.entries.items():
        if tag not in tags:
            yield _difference("not_in_ledger", None, (trade, order))
    for mark, (trade, order) in books.orders.items():
        asked_for = order.side == "sell" and order.tag == EXIT_TAG and marks.is_ours(trade.tag)
        if asked_for and order.filled and mark not in claimed:
            yield _difference("exit_not_in_ledger", None, (trade, order))


def _difference(
    kind: str, record: OrderRecord | None, found: tuple[Trade, TradeOrder] | None
) -> Difference:
    trade, order = found or (None, None)
    if record is None and trade is None:
        raise AssertionError("a difference is about something")
    return Difference(
        kind=kind,
        order_id=None if record is None else record.order_id,
        trade_id=record.trade_id if trade is None and record else trade.trade_id if trade else None,
        bot_order_id=order.order_id if order else record.bot_order_id if record else None,
        pair=trade.pair if trade else record.pair if record else "",
        ledger=None if record is None else _ledgers(record) | {"state": str(record.state)},
        bot=None if trade is None or order is None else _bots(trade, order),
    )


def _ledgers(record: OrderRecord) -> dict[str, Any]:
    resting = record.state in protocol.RESTING
    return _numbers(resting, record.actual_amount, record.filled_amount, record.average_price)


def _bots(trade: Trade, order: TradeOrder) -> dict[str, Any]:
    told = marks.execution(trade, order)
    return _numbers(order.is_open, told.amount, told.filled, told.average_price)


def _numbers(
    resting: bool, amount: Decimal | None, filled: Decimal, price: Decimal | None
) -> dict[str, Any]:
    return {
        "resting": resting,
        "amount": None if amount is None else float(amount),
        "filled_amount": float(filled),
        "average_price": None if price is None else float(price),
    }
