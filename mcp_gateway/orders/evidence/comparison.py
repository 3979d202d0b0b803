"""The ledger and the bot's books, compared row by row: for operators, and after a restore.

Nothing is changed here. What the reconciler and the follower would mend by themselves shows
as a difference too, until they have.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from mcp_gateway.domain.orders import OrderRecord, State
from mcp_gateway.domain.positions import Trade, TradeOrder
from mcp_gateway.freqtrade import wire
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.freqtrade.orders import EXIT_TAG
from mcp_gateway.orders.book import marks, protocol
from mcp_gateway.orders.book.ledger import Ledger
from mcp_gateway.orders.evidence.bot_books import every_trade

MEANINGS: Final[Mapping[str, str]] = {
    "unsettled": "What the bot did is not known yet; the gateway is at work on it.",
    "needs_review": "Only a person can find out; settle it.",
    "missing_at_bot": "The ledger says placed, and the bot has no such order.",
    "numbers_differ": (
        "The bot tells other numbers than the ledger has. Of an order that rests they are"
        " seconds old; ask again."
    ),
    "executed_after_all": "The ledger says that nothing happened, and the bot has it.",
    "not_in_ledger": "The bot has an entry with a gateway's tag that this ledger never sent.",
    "exit_not_in_ledger": (
        "What a gateway bought was sold at somebody's request, and no order of this ledger"
        " stands for it: a person's, through the bot's own interface, or one of ours that was"
        " carried out after it was given up."
    ),
}


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which ledger and bot disagree, or that neither knows.

    ``ledger`` and ``bot`` hold what each of them says, as JSON-ready values; None where it
    knows nothing of the order.
    """

    kind: str
    pair: str
    order_id: str | None
    trade_id: int | None
    bot_order_id: str | None
    ledger: Mapping[str, Any] | None
    bot: Mapping[str, Any] | None

    @property
    def meaning(self) -> str:
        """One sentence for the operator."""
        return MEANINGS[self.kind]


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many orders were compared, how many moved on meanwhile, and every difference."""

    orders: int
    moving: int
    differences: tuple[Difference, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    """One order in the bot's books, with the trade that it belongs to."""

    trade: Trade
    order: TradeOrder

    @property
    def mark(self) -> "Mark":
        return self.trade.pair, self.order.order_id

    @property
    def entry_tag(self) -> str | None:
        """The gateway's tag of an entry; None for everything else."""
        tag = self.order.tag or self.trade.tag
        return tag if self.order.side == "buy" and marks.is_ours(tag) else None

    @property
    def is_exit_from_ours(self) -> bool:
        """Whether it sells, because somebody asked the bot to, what a gateway bought."""
        asked_for = self.order.side == "sell" and self.order.tag == EXIT_TAG
        return asked_for and marks.is_ours(self.trade.tag)


Mark = tuple[str, str | None]  # what makes one order at the bot: its pair and its id there


@dataclass(frozen=True, slots=True)
class _Books:
    """The bot's orders: all of them by their mark, and the first entry of each tag."""

    orders: Mapping[Mark, _Found]
    entries: Mapping[str, _Found]

    @classmethod
    def of(cls, trades: Iterable[Trade]) -> "_Books":
        found = [_Found(trade, order) for trade in trades for order in trade.orders]
        first = reversed([one for one in found if one.entry_tag])
        return cls({one.mark: one for one in found}, {one.entry_tag or "": one for one in first})

    def find(self, record: OrderRecord) -> _Found | None:
        """Return what stands for an order: what it was confirmed with, or what has its tag."""
        by_mark = self.orders.get(_mark(record)) if record.bot_order_id else None
        return by_mark or (self.entries.get(record.tag) if record.side == "buy" else None)


async def compare(ledger: Ledger, bot: FreqtradeClient, bot_name: str) -> Comparison:
    """Compare every order of the ledger with the books of its bot, and these with it.

    Raises:
        StoreUnavailable: the ledger does not answer.
        BotError: the bot does not answer, or not all of it can be read.
    """
    # Before and after: an order that moved while the bot was asked can't be compared.
    before = {one.order_id: one for one in await ledger.in_states(bot_name, tuple(State))}
    trades = await every_trade(bot)
    if not all(trade.readable for trade in trades):
        raise wire.nonsense()
    known = await ledger.in_states(bot_name, tuple(State))
    still = [one for one in known if before.get(one.order_id) == one]
    found = tuple(differences(still, trades, known=known))
    return Comparison(len(still), len(known) - len(still), found)


def differences(
    records: Sequence[OrderRecord], trades: Sequence[Trade], *, known: Sequence[OrderRecord]
) -> Iterator[Difference]:
    """Compare what is handed in.

    Args:
        records: the orders to be compared.
        known: every order of the ledger, those that moved meanwhile too.
    """
    books = _Books.of(trades)
    for record in records:
        found = books.find(record)
        if (kind := _kind(record, found)) is not None:
            yield _of_record(kind, record, found)
    yield from _unknown_to(known, books)


def _kind(record: OrderRecord, found: _Found | None) -> str | None:
    """Return what is wrong with an order of the ledger; None where the bot agrees."""
    if record.state in protocol.UNSETTLED:
        return "unsettled"
    if record.state is State.NEEDS_REVIEW:
        return "needs_review"
    if protocol.outcome(record.state) != "placed":
        return None if found is None else "executed_after_all"
    if found is None:
        return "missing_at_bot" if _must_be_there(record) else None
    return None if _ledgers(record) == _bots(found) else "numbers_differ"


def _must_be_there(record: OrderRecord) -> bool:
    """Tell whether the bot has to show a placed order.

    It forgets what was never filled, and a person settles what it does not show.
    """
    forgotten = record.state in protocol.ENDED_UNFILLED and not record.filled_amount
    return record.bot_order_id is not None and not forgotten


def _unknown_to(known: Sequence[OrderRecord], books: _Books) -> Iterator[Difference]:
    """Find what the bot did with a gateway's mark and no order of the ledger stands for."""
    tags = {record.tag for record in known}
    claimed = {_mark(record) for record in known}
    # The sell that stands in such a trade may be the one that is looked for.
    looked_for = {
        record.trade_id
        for record in known
        if record.side == "sell" and record.state in protocol.UNSETTLED
    }
    for tag, entry in books.entries.items():
        if tag not in tags:
            yield _of_bot("not_in_ledger", entry)
    for mark, found in books.orders.items():
        strange = found.is_exit_from_ours and mark not in claimed
        if strange and found.trade.trade_id not in looked_for:
            yield _of_bot("exit_not_in_ledger", found)


def _of_record(kind: str, record: OrderRecord, found: _Found | None) -> Difference:
    return Difference(
        kind=kind,
        pair=record.pair,
        order_id=record.order_id,
        trade_id=record.trade_id if found is None else found.trade.trade_id,
        bot_order_id=record.bot_order_id if found is None else found.order.order_id,
        ledger={"state": str(record.state)} | _ledgers(record),
        bot=None if found is None else _bots(found),
    )


def _of_bot(kind: str, found: _Found) -> Difference:
    trade, order = found.trade, found.order
    return Difference(kind, trade.pair, None, trade.trade_id, order.order_id, None, _bots(found))


def _mark(record: OrderRecord) -> Mark:
    return record.pair, record.bot_order_id


def _ledgers(record: OrderRecord) -> dict[str, Any]:
    resting = record.state in protocol.RESTING
    numbers = (record.actual_amount, record.filled_amount, record.average_price)
    return _said(record.bot_order_id, resting, *numbers)


def _bots(found: _Found) -> dict[str, Any]:
    told = marks.execution(found.trade, found.order)
    numbers = (told.amount, told.filled, told.average_price)
    return _said(told.bot_order_id, found.order.is_open, *numbers)


def _said(
    bot_order_id: str | None,
    resting: bool,
    amount: Decimal | None,
    filled: Decimal,
    price: Decimal | None,
) -> dict[str, Any]:
    return {
        "bot_order_id": bot_order_id,
        "resting": resting,
        "amount": None if amount is None else float(amount),
        "filled_amount": float(filled),
        "average_price": None if price is None else float(price),
    }
