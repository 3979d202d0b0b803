"""A person's word on an order, outside the model's channel: yes, no, or too late.

An order above the policy's line waits as ``pending_approval``. Nothing here sends it: a yes
is one step in the ledger, which the database lets happen once, and ``orders.dispatch`` takes
it from there. What was asked for can't change meanwhile, for the ledger changes no field of
an order that its fingerprint is made of.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from mcp_gateway.clock import Clock
from mcp_gateway.domain.orders import OrderRecord, State, canonical
from mcp_gateway.errors import NotFound, NotPending, NotPermitted
from mcp_gateway.orders.book import moves
from mcp_gateway.orders.book.actor import LONGEST_REASON, Actor
from mcp_gateway.orders.book.ledger import Ledger, Superseded
from mcp_gateway.orders.book.protocol import Event
from mcp_gateway.orders.book.question import Question
from mcp_gateway.orders.book.steps import Move, Origin
from mcp_gateway.orders.halts.local import LocalHalts
from mcp_gateway.orders.halts.records import TradingHalted
from mcp_gateway.risk.facts import Halt

APPROVED_LASTS: Final = timedelta(seconds=60)  # a yes is to this market, not to a later one
MOST_WAITING: Final = 10  # orders of one agent
MOST_SHOWN: Final = 200  # at once
ORIGIN: Final = Origin("gateway", "approvals", operation="approve_order")


@dataclass(frozen=True, slots=True)
class Approvals:
    """The orders of one bot that wait for a person.

    Every method raises StoreUnavailable when the ledger does not answer.

    Args:
        halts: those that this process knows.
    """

    ledger: Ledger
    clock: Clock
    bot_name: str
    halts: LocalHalts

    async def waiting(self) -> tuple[OrderRecord, ...]:
        """Return every order that waits, oldest first."""
        held = await self.ledger.in_states(self.bot_name, {State.PENDING_APPROVAL})
        still = [await self.looked_at(record) for record in held]
        return tuple(record for record in still if record.state is State.PENDING_APPROVAL)

    async def pending(self) -> tuple[Question, ...]:
        """Return what a person is asked, oldest first."""
        return await self.questions(await self.waiting())

    async def questions(self, records: Sequence[OrderRecord]) -> tuple[Question, ...]:
        """Return what a person is asked about orders, the first MOST_SHOWN of them."""
        shown = records[:MOST_SHOWN]
        histories = await self.ledger.histories([record.order_id for record in shown])
        return tuple(Question.of(one, histories.get(one.order_id, ())) for one in shown)

    async def find(self, order_id: str) -> Question:
        """Return one order that waits; raises NotFound or NotPending."""
        return await self.question(await self._waiting(order_id, None))

    async def question(self, record: OrderRecord) -> Question:
        """Return what a person is asked about an order."""
        return Question.of(record, await self.ledger.history(record.order_id))

    async def approve(self, order_id: str, person: Actor, reason: str | None = None) -> OrderRecord:
        """Write a person's yes down, and return the order: approved, and not sent yet.

        Args:
            reason: for the records.

        Raises:
            NotFound: this bot has no such order.
            NotPermitted: approver_is_requester.
            NotPending: it does not wait, or no longer.
            TradingHalted: it waits on, for a yes now would only deny it.
        """
        record = await self._waiting(order_id, person)
        if (halt := self.halted(record)) is not None:
            raise _halted(halt)
        told = _who(person, reason) | {"fingerprint": record.fingerprint}
        if record.approved_quote is not None:
            told["quote"] = canonical(record.approved_quote)
        until = {"expires_at": self.clock.now() + APPROVED_LASTS}
        return await self._decided(record, Move(Event.APPROVE, None, told, until), person)

    async def decline(self, order_id: str, person: Actor, reason: str) -> OrderRecord:
        """Write a person's no down; the order is denied. Raises as ``approve`` does.

        Args:
            reason: for the records; the agent is not told it.
        """
        record = await self._waiting(order_id, person)
        told = _who(person, reason)
        return await self._decided(record, moves.denied(Event.DENY, "declined", told), person)

    def halted(self, record: OrderRecord) -> Halt | None:
        """Return a halt that is known here and would stop an order; None where it may go."""
        if record.side == "sell":
            return None
        return self.halts.binding(record.pair, record.agent, record.subject)

    async def bounded(self, record: OrderRecord) -> OrderRecord:
        """Return an order that has just begun to wait: denied, where too many of its agent do.

        A person who is asked without end says yes in the end.
        """
        waiting = await self.ledger.count(self.bot_name, State.PENDING_APPROVAL, record.agent)
        if waiting <= MOST_WAITING:
            return record
        move = moves.denied(Event.DENY, "too_many_waiting", {"limit": MOST_WAITING})
        try:
            return await self.ledger.move(record, [move], ORIGIN)
        except Superseded:
            return await self.ledger.by_id(record.order_id) or record

    async def looked_at(self, record: OrderRecord) -> OrderRecord:
        """Return an order as it stands now: denied, where its time is over."""
        if not moves.is_over(record, self.clock.now()):
            return record
        move = moves.denied(Event.DENY, "approval_expired", {})
        try:
            return await self.ledger.move(record, [move], ORIGIN)
        except Superseded:
            return await self.ledger.by_id(record.order_id) or record

    async def _waiting(self, order_id: str, person: Actor | None) -> OrderRecord:
        record = await self.ledger.by_id(order_id.lower())
        if record is None or record.bot != self.bot_name:
            raise NotFound(
                "There is no such order.",
                code="order_unknown",
                hint="List what waits: `mcp-gateway approvals list`, or GET /api/v1/approvals.",
            )
        if person is not None and person.may_not_decide(record):
            raise NotPermitted(
                "Nobody decides about an order of their own, or of an agent they act for.",
                code="approver_is_requester",
                hint="Another person has to decide.",
            )
        record = await self.looked_at(record)
        if record.state is not State.PENDING_APPROVAL:
            raise _not_pending(record)
        return record

    async def _decided(self, record: OrderRecord, move: Move, person: Actor) -> OrderRecord:
        try:
            return await self.ledger.move(record, [move], person.origin)
        except Superseded:
            raise _not_pending(await self.ledger.by_id(record.order_id) or record) from None


def _who(person: Actor, reason: str | None) -> dict[str, Any]:
    told: dict[str, Any] = {"by": person.name}
    if reason:
        told["reason"] = reason[:LONGEST_REASON]
    if person.principal is not None:
        told["by_issuer"] = person.principal.issuer
    return told


def _not_pending(record: OrderRecord) -> NotPending:
    told = {"order_id": record.order_id, "state": str(record.state), "order_code": record.code}
    why = f" ({record.code})" if record.code else ""
    return NotPending(
        f"The order does not wait for a decision, or no longer: it is {record.state}{why}.",
        hint=f"Nothing was changed. `mcp-gateway orders show {record.order_id}` tells its history.",
        detail=told,
    )


def _halted(halt: Halt) -> TradingHalted:
    what = "everything" if halt.scope == "all" else f"this {halt.scope}"
    return TradingHalted(
        f"A halt of {what} is in force ({halt.code}); the order still waits.",
        detail={"scope": halt.scope, "halt_code": halt.code},
    )
