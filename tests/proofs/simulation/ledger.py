"""The ledger's promises in memory: a commit is whole, lost or whole and unheard of."""

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from mcp_gateway.audit.events import AuditEvent
from mcp_gateway.clock import Clock
from mcp_gateway.domain.orders import HistoryEntry, OrderRecord, State
from mcp_gateway.errors import StoreUnavailable
from mcp_gateway.orders.book import protocol
from mcp_gateway.orders.book.ledger import LONGEST_WINDOW, Received, Weigh
from mcp_gateway.orders.book.rows import OrderClaimed, PlaceTaken, Superseded
from mcp_gateway.orders.book.steps import Move, Origin, Step, walk
from mcp_gateway.risk.facts import Holding, Sent, Standing
from tests.proofs.simulation.engine import step
from tests.proofs.simulation.tape import Tape

WRITTEN, LOST, UNHEARD = range(3)
Key = tuple[str, str, UUID]


class SimulatedLedger:
    """Shared by all processes of a world, as a database is."""

    def __init__(self, clock: Clock, tape: Tape | None = None) -> None:
        self._clock = clock
        self._tape = tape
        self.orders: dict[str, OrderRecord] = {}
        self.keys: dict[Key, str] = {}
        self.steps: list[Step] = []
        self.audited: list[str] = []
        self.holders: set[str] = set()

    async def is_alive(self, holder: str) -> bool:
        """A process that is taken for dead may live on: its session broke, it did not."""
        await step()
        taken_for_dead = self._tape is not None and self._tape.choose("alive", 2)
        return holder in self.holders and not taken_for_dead

    async def receive(self, record: OrderRecord, event: AuditEvent) -> Received:
        lost = await self._commit()
        known = self.keys.get((record.issuer, record.subject, record.request_id))
        if known is not None:
            return Received(self.orders[known], None)
        self.keys[record.issuer, record.subject, record.request_id] = record.order_id
        self._write([Step(record, {}, event)])
        self._hear(lost)
        return Received(record, len(self.steps))

    async def move(self, record: OrderRecord, moves: Sequence[Move], origin: Origin) -> OrderRecord:
        steps = walk(record, moves, origin, self._clock.now())
        lost = await self._commit()
        self._apply(record, steps)
        self._hear(lost)
        return steps[-1].record

    async def weigh(
        self, record: OrderRecord, seen: int, weigh: Weigh, origin: Origin
    ) -> OrderRecord:
        lost = await self._commit()
        moves = weigh(self._standing(record, seen))
        steps = walk(record, moves, origin, self._clock.now())
        self._apply(record, steps)
        self._hear(lost)
        return steps[-1].record

    async def standing(self, record: OrderRecord, seen: int) -> Standing:
        await self._read()
        return self._standing(record, seen)

    async def find(self, issuer: str, subject: str, request_id: UUID) -> OrderRecord | None:
        await self._read()
        known = self.keys.get((issuer, subject, request_id))
        return None if known is None else self.orders[known]

    async def by_id(self, order_id: str) -> OrderRecord | None:
        await self._read()
        return self.orders.get(order_id)

    async def by_tags(self, tags: Collection[str]) -> tuple[OrderRecord, ...]:
        await self._read()
        return tuple(record for record in self.orders.values() if record.tag in tags)

    async def history(self, order_id: str) -> tuple[HistoryEntry, ...]:
        await self._read()
        return tuple(
            HistoryEntry(
                step.record.state, step.record.updated_at, step.record.code, dict(step.detail)
            )
            for step in self.steps
            if step.record.order_id == order_id
        )

    async def in_states(self, bot: str, states: Collection[State]) -> tuple[OrderRecord, ...]:
        await self._read()
        return tuple(o for o in self.orders.values() if o.bot == bot and o.state in states)

    async def _read(self) -> None:
        await step()

    async def _commit(self) -> bool:
        """Wait for the disk; return whether the commit is made and its word lost."""
        await step()
        how = self._tape.choose("commit", 3) if self._tape else WRITTEN
        if how == LOST:
            raise StoreUnavailable("The store is gone.")
        return how == UNHEARD

    def _hear(self, lost: bool) -> None:
        if lost:
            raise StoreUnavailable("The store went at the commit.")

    def _apply(self, record: OrderRecord, steps: Sequence[Step]) -> None:
        present = self.orders[record.order_id]
        if (present.state, present.updated_at) != (record.state, record.updated_at):
            raise Superseded(record.order_id)
        moved = steps[-1].record
        if moved.state in protocol.IN_FLIGHT and self._place_taken(moved):
            raise PlaceTaken(record.order_id)
        if moved.side == "sell" and moved.bot_order_id and self._claimed_by_another(moved):
            raise OrderClaimed(record.order_id)
        self._write(steps)

    def _write(self, steps: Sequence[Step]) -> None:
        self.steps += steps
        self.audited += [step.audit.event for step in steps]
        self.orders[steps[-1].record.order_id] = steps[-1].record

    def _others(self, record: OrderRecord) -> list[OrderRecord]:
        return [
            other
            for other in self.orders.values()
            if other.bot == record.bot and other.order_id != record.order_id
        ]

    def _place_taken(self, record: OrderRecord) -> bool:
        return any(
            other.state in protocol.IN_FLIGHT
            and other.side == record.side
            and (record.side == "buy" or other.trade_id == record.trade_id)
            for other in self._others(record)
        )

    def _claimed_by_another(self, record: OrderRecord) -> bool:
        return any(
            other.side == "sell"
            and (other.pair, other.bot_order_id) == (record.pair, record.bot_order_id)
            for other in self._others(record)
        )

    def _standing(self, record: OrderRecord, seen: int) -> Standing:
        since = {s.record.order_id for s in self.steps[seen:] if s.record.state is State.PLACED}
        counting = [
            Holding(other.state, other.pair, other.agent, other.issuer, other.reserved_quote)
            for other in self._others(record)
            if other.state is State.NEEDS_REVIEW
            or (
                other.side == "buy"
                and (other.state in protocol.RESERVING or other.order_id in since)
            )
        ]
        lately = [
            Sent(o.state, o.pair, o.agent, o.subject, o.fingerprint, o.sent_at, o.reserved_quote)
            for o in self._others(record)
            if o.side == "buy" and o.sent_at and o.sent_at >= self._clock.now() - LONGEST_WINDOW
        ]
        return Standing.of(record, counting, lately)


class Seat:
    """The ledger as one process sees it: with the id under which that process holds it."""

    def __init__(self, ledger: SimulatedLedger, holder: str) -> None:
        self._ledger = ledger
        self.holder = holder
        ledger.holders.add(holder)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ledger, name)
