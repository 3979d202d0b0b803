"""What must hold whenever nothing is under way, by the numbers in docs/orders.md."""

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from mcp_gateway.domain.orders import OrderRequest, State, canonical
from mcp_gateway.orders.book import protocol
from mcp_gateway.orders.book.protocol import Event
from tests.proofs.model.books import Books, Row
from tests.proofs.model.bot import Key, WatchedBot
from tests.support.policy import POLICY
from tests.support.tradingbot import FEE_RATE, PRICE

FINAL: Final = frozenset({"placed", "denied", "rejected"})
# Which state may follow on which, as the protocol's own table has it.
STEPS: Final = frozenset(
    (str(state), str(protocol.after(state, event)))
    for state, event in itertools.product(State, Event)
    if protocol.says_something(state, event)
)
SAME: Final = ("order_id", "trade_id", "bot_order_id", "pair", "side", "requested_amount", "agent")


@dataclass(slots=True)
class Asked:
    """Every answer that came for one request: those to its order, and those to ``get``."""

    created: list[Mapping[str, Any]] = field(default_factory=list)
    looked_up: list[Mapping[str, Any]] = field(default_factory=list)

    @property
    def outcomes(self) -> set[str]:
        """The final outcomes that were told."""
        return {told["outcome"] for told in (*self.created, *self.looked_up)} & FINAL


def is_of(row: Row, order: OrderRequest) -> bool:
    """Tell whether a row holds this very order."""
    price = None if order.price is None else canonical(order.price)
    there = (row.pair, row.side, row.amount, row.order_type, row.price)
    return there == (order.pair, order.side, canonical(order.amount), order.order_type, price)


def come_to(row: Row) -> str | None:
    """Return ``placed``, the code of an unknown order, or the row's own."""
    outcome = protocol.outcome(State(row.state))
    return {"placed": "placed", "unknown": "outcome_unknown"}.get(outcome, row.code)


def live_quote(books: Books) -> Decimal:
    """Return what the entries that are on their way may cost: their own numbers, added up here."""
    live = [row for row in books.rows.values() if row.state in {"reserved", "sent", "unknown"}]
    return sum((_cost(row) for row in live if row.side == "buy"), Decimal(0))


def _cost(row: Row) -> Decimal:
    price = Decimal(row.price) if row.price is not None else Decimal(str(PRICE))
    step = POLICY.market(row.pair).lot_step or Decimal(0)
    bought = Decimal(row.amount) // step * step + step / 2  # what is sent keeps clear of the edge
    return bought * price * (1 + Decimal(str(FEE_RATE)))


def broken(books: Books, asked: Mapping[Key, Asked], bot: WatchedBot) -> Iterator[str]:
    """Yield every promise that is broken."""
    if len(books.rows) != books.count:
        yield "1: two rows for one request"
    for key in bot.arrived.keys() - books.rows.keys():
        yield f"3: sent, and not in the ledger: {key}"
    for key in books.rows.keys() - asked.keys():
        yield f"a row that nobody asked for: {key}"
    for key, row in books.rows.items():
        yield from _life(row, books)
        yield from _effects(key, row, bot)
        yield from _answers(row, asked.get(key, Asked()))
    for key in asked.keys() - books.rows.keys():
        if asked[key].outcomes:
            yield f"2: {asked[key].outcomes} was told of an order that is not in the ledger"


def unsettled(books: Books) -> Iterator[str]:
    """Yield every order that is left without an outcome when all has come to rest (4)."""
    for row in books.rows.values():
        if row.state not in {str(state) for state in State if protocol.is_final(state)}:
            yield f"4: left {row.state}: {row}"


def _life(row: Row, books: Books) -> Iterator[str]:
    history = books.histories.get(row.order_id, [])
    if history[:1] != ["received"] or history[-1:] != [row.state]:
        yield f"7: {history} is not the life of an order that is {row.state}"
    for step in itertools.pairwise(history):
        if step not in STEPS:
            yield f"7: {step} is no step of the protocol's"
    if books.audited.get(row.order_id) != history:
        yield f"7: audited {books.audited.get(row.order_id)} beside {history}"


def _effects(key: Key, row: Row, bot: WatchedBot) -> Iterator[str]:
    effects = bot.effects.get(key, [])
    if bot.arrived[key] > 1:
        yield f"1: sent {bot.arrived[key]} times: {row}"
    if len(effects) > 1:
        yield f"1: {len(effects)} effects: {row}"
    outcome = protocol.outcome(State(row.state))
    if outcome in {"denied", "rejected"} and effects:
        yield f"2: {row.state} and done: {row}"
    if outcome == "placed":
        did = [(one.side, one.pair, one.bot_order_id) for one in effects]
        if did != [(row.side, row.pair, row.bot_order_id)]:
            yield f"2: {row} is placed, and the bot did {did}"
    if row.state == "needs_review":
        yield f"2: a bot that kept its time-outs left a riddle: {row}"


def _answers(row: Row, asked: Asked) -> Iterator[str]:
    outcome = protocol.outcome(State(row.state))
    if asked.outcomes - {outcome}:
        yield f"2: told {asked.outcomes}, and it is {row.state}: {row}"
    finals = [told for told in asked.created if told["outcome"] in FINAL]
    if any(told != finals[0] for told in finals):
        yield f"2: the same request, other words: {finals}"
    placed = [told for told in (*finals, *asked.looked_up) if told["outcome"] == "placed"]
    if len({tuple(told[name] for name in SAME) for told in placed}) > 1:
        yield f"2: more than one order was told: {placed}"
