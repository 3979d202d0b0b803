"""The ledger: where every order stands, its history and its audit rows, in one transaction.

What may follow what is decided in ``orders.protocol``. Here the database refuses: a request
id twice, a state that somebody else has moved on, a second order in flight, one order at the
bot for two requests.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Select, func, select
from sqlalchemy.exc import IntegrityError

from mcp_gateway.audit.events import AuditEvent
from mcp_gateway.clock import Clock
from mcp_gateway.domain.orders import HistoryEntry, OrderRecord, State
from mcp_gateway.errors import PreviewRefused
from mcp_gateway.orders.book import rows
from mcp_gateway.orders.book.rows import OrderClaimed, PlaceTaken, Superseded
from mcp_gateway.orders.book.steps import Move, Origin, Step, walk
from mcp_gateway.risk.facts import Standing
from mcp_gateway.storage.schema import order_history, orders
from mcp_gateway.storage.sql import Store, take_turn
from mcp_gateway.telemetry.metrics import audit_rows_total

__all__ = ["Ledger", "OrderClaimed", "PlaceTaken", "Received", "Superseded"]

STAKES_LOOKED_AT: Final = 20
LONGEST_WINDOW: Final = timedelta(days=1)  # that a limit looks back
Weigh = Callable[[Standing], Sequence[Move]]


@dataclass(frozen=True, slots=True)
class Received:
    """An order as it stands in the ledger, new or known.

    ``seen`` is how far the history was written then; None for an order that was known before.
    """

    record: OrderRecord
    seen: int | None


class Ledger:
    """The orders of every agent; any number of processes may share it on PostgreSQL.

    Every method raises StoreUnavailable when the store does not serve. Where that happens
    at a commit, the row may have been written: look before doing it again.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    @property
    def holder(self) -> str:
        """The id under which this process holds the store: who carries what it receives."""
        return self._store.holder

    async def is_alive(self, holder: str) -> bool:
        """Tell whether the process of that id holds the store now."""
        return await self._store.is_alive(holder)

    async def receive(self, record: OrderRecord, event: AuditEvent) -> Received:
        """Write a new order down, unless its key (issuer, subject, request_id) is known.

        Raises:
            PreviewRefused: preview_used; the preview has let another order through.
        """

        def write(connection: Connection) -> Received:
            known = rows.find(connection, record.issuer, record.subject, record.request_id)
            if known is not None:
                return Received(known, None)
            return Received(record, rows.begin(connection, record, event))

        try:
            received = await self._store.write(write)
        except IntegrityError:  # another gateway's twin came first
            known = await self.find(record.issuer, record.subject, record.request_id)
            if known is None:
                await self._ensure_unused(record.preview_id)
                raise
            return Received(known, None)
        audit_rows_total.labels(result="written").inc(0 if received.seen is None else 1)
        return received

    async def _ensure_unused(self, preview_id: str | None) -> None:
        if preview_id is None:
            return
        taken = select(orders.c.order_id).where(orders.c.preview_id == preview_id)
        if await self._store.read(lambda connection: connection.scalar(taken)) is not None:
            raise PreviewRefused(
                "The preview_id was used for an order already.", code="preview_used"
            )

    async def move(self, record: OrderRecord, moves: Sequence[Move], origin: Origin) -> OrderRecord:
        """Take an order on from where ``record`` has it: states, history, audit rows, or nothing.

        Raises:
            IllegalMove: the protocol does not allow it.
            Superseded: the order is not, or no longer, as ``record`` says.
            PlaceTaken: the place in flight is held by another order.
            OrderClaimed: the bot's order belongs to another request.
            ValueError: a step changes what never changes.
        """
        steps = walk(record, moves, origin, self._clock.now())
        await self._store.write(lambda connection: rows.apply(connection, record, steps))
        return _written(steps)

    async def weigh(
        self, record: OrderRecord, seen: int, weigh: Weigh, origin: Origin
    ) -> OrderRecord:
        """Take an entry on as ``weigh`` says, with no other entry of its bot weighed meanwhile.

        What others have reserved is read, and what this one reserves is written, in one
        transaction: there is no gap in which two of them see the same free money.

        Args:
            seen: how far the ledger was written before the bot was asked for its facts.

        Raises:
            as ``move``.
        """

        def write(connection: Connection) -> Sequence[Step]:
            take_turn(connection, f"orders:{record.bot}")
            moves = weigh(rows.standing(connection, record, seen, self._a_day_ago()))
            steps = walk(record, moves, origin, self._clock.now())
            rows.apply(connection, record, steps)
            return steps

        return _written(await self._store.write(write))

    async def mark(self) -> int:
        """Return how far the ledger is written; what comes later, the bot's word may not know."""
        newest = select(func.max(order_history.c.id))
        return await self._store.read(lambda connection: connection.scalar(newest)) or 0

    async def standing(self, record: OrderRecord, seen: int) -> Standing:
        """Return what others have reserved against an entry, as ``weigh`` would see it now."""
        since = self._a_day_ago()
        return await self._store.read(
            lambda connection: rows.standing(connection, record, seen, since)
        )

    def _a_day_ago(self) -> datetime:
        return self._clock.now() - LONGEST_WINDOW

    async def find(self, issuer: str, subject: str, request_id: UUID) -> OrderRecord | None:
        """Return the order that this principal sent under this request id."""
        return await self._store.read(
            lambda connection: rows.find(connection, issuer, subject, request_id)
        )

    async def by_id(self, order_id: str) -> OrderRecord | None:
        """Return an order by the gateway's id."""
        return next(
            iter(await self._records(select(orders).where(orders.c.order_id == order_id))), None
        )

    async def by_uuid(self, wanted: UUID) -> tuple[OrderRecord, ...]:
        """Return every order that a UUID may mean, oldest first: for operators.

        Callers choose their request ids, so several may use the same, or the order id of
        another's.
        """
        named = (orders.c.request_id == str(wanted)) | (orders.c.order_id == wanted.hex)
        return await self._records(_oldest_first(select(orders).where(named)))

    async def by_tags(self, tags: Collection[str]) -> tuple[OrderRecord, ...]:
        """Return the entries that carry these tags; oldest first."""
        if not tags:
            return ()
        return await self._records(_oldest_first(select(orders).where(orders.c.tag.in_(tags))))

    async def stakes(self, bot: str, pair: str) -> tuple[OrderRecord, ...]:
        """Return the last entries in a pair that the bot took; newest first."""
        query = select(orders).where(
            orders.c.bot == bot,
            orders.c.pair == pair,
            orders.c.kind == "entry",
            orders.c.actual_amount.is_not(None),
        )
        newest = query.order_by(orders.c.created_at.desc()).limit(STAKES_LOOKED_AT)
        return await self._records(newest)

    async def history(self, order_id: str) -> tuple[HistoryEntry, ...]:
        """Return every step of an order's life, oldest first."""
        return (await self.histories([order_id])).get(order_id, ())

    async def histories(self, order_ids: Collection[str]) -> Mapping[str, tuple[HistoryEntry, ...]]:
        """Return the same of several orders, in one look."""
        steps = order_history.c
        query = select(steps.order_id, steps.state, steps.at, steps.code, steps.detail)
        query = query.where(steps.order_id.in_(order_ids)).order_by(steps.id)
        found = await self._store.read(lambda connection: connection.execute(query).all())
        told: dict[str, tuple[HistoryEntry, ...]] = defaultdict(tuple)
        for row in found:
            told[row[0]] += (HistoryEntry(State(row[1]), row[2], row[3], row[4]),)
        return told

    async def in_states(self, bot: str, states: Collection[State]) -> tuple[OrderRecord, ...]:
        """Return the orders of a bot that stand in one of these states; oldest first."""
        words = [state.value for state in states]
        query = select(orders).where(orders.c.bot == bot, orders.c.state.in_(words))
        return await self._records(_oldest_first(query))

    async def count(self, bot: str, state: State, agent: str) -> int:
        """Return how many orders of an agent stand in a state."""
        mine = (orders.c.bot == bot, orders.c.state == state.value, orders.c.agent == agent)
        query = select(func.count()).select_from(orders).where(*mine)
        return await self._store.read(lambda connection: connection.scalar(query)) or 0

    async def recent(
        self, *, limit: int, agent: str | None = None, state: State | None = None
    ) -> tuple[OrderRecord, ...]:
        """Return the newest orders, newest first."""
        query = select(orders).limit(limit)
        if agent is not None:
            query = query.where(orders.c.agent == agent)
        if state is not None:
            query = query.where(orders.c.state == state.value)
        newest = query.order_by(orders.c.created_at.desc(), orders.c.order_id.desc())
        return await self._records(newest)

    async def _records(self, query: Select[Any]) -> tuple[OrderRecord, ...]:
        found = await self._store.read(lambda connection: connection.execute(query).all())
        return tuple(rows.read(row) for row in found)


def _oldest_first(query: Select[Any]) -> Select[Any]:
    return query.order_by(orders.c.created_at, orders.c.order_id)


def _written(steps: Sequence[Step]) -> OrderRecord:
    audit_rows_total.labels(result="written").inc(len(steps))
    return steps[-1].record
