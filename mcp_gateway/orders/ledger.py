"""The ledger: where every order stands, its history and its audit rows, in one transaction.

What may follow what is decided in ``orders.protocol``. Here the database refuses: a
request id twice, a state that somebody else has moved on, a second order in flight.
"""

from collections.abc import Mapping
from dataclasses import fields, replace
from types import MappingProxyType
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Row, Select, insert, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from mcp_gateway.audit.events import AuditEvent
from mcp_gateway.audit.log import insert_event
from mcp_gateway.clock import Clock
from mcp_gateway.domain.orders import HistoryEntry, OrderRecord, State
from mcp_gateway.storage.schema import order_history, orders
from mcp_gateway.storage.sql import Store
from mcp_gateway.storage.trouble import is_duplicate
from mcp_gateway.telemetry.metrics import audit_rows_total

UNRESOLVED: Final = (State.RECEIVED, State.RESERVED, State.SENT, State.UNKNOWN)
# Whatever was placed may still be held, a cancelled entry too, if it was filled in part.
MAYBE_HELD: Final = (
    State.PLACED, State.PARTIALLY_FILLED, State.FILLED, State.CANCELLED, State.VANISHED,
)  # fmt: skip
# What the bot tells later; the order itself, its owner and its key never change.
CHANGEABLE: Final = frozenset({
    "sent_at", "quote_sent", "trade_id", "bot_order_id", "actual_amount", "filled_amount",
    "average_price", "fee", "message", "answer",
})  # fmt: skip
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_FIELDS: Final = tuple(field.name for field in fields(OrderRecord))


class Superseded(Exception):
    """The order is no longer in the expected state: somebody else moved it.

    Args:
        present: the state it is in; None where there is no such order.
    """

    def __init__(self, order_id: str, expected: State, present: State | None) -> None:
        super().__init__(f"order {order_id} is {present}, not {expected}")
        self.order_id = order_id
        self.expected = expected
        self.present = present


class PlaceTaken(Exception):
    """Another entry of this bot, or another exit of this trade, is in flight."""

    def __init__(self, order_id: str) -> None:
        super().__init__(f"order {order_id} has to wait for the one in flight")
        self.order_id = order_id


class Ledger:
    """The orders of every agent; any number of processes may share it on PostgreSQL.

    Every method raises StoreUnavailable when the store does not serve. Where that happens
    at a commit, the row may have been written: look before doing it again.
    """

    def __init__(self, store: Store, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def receive(self, record: OrderRecord, event: AuditEvent) -> tuple[OrderRecord, bool]:
        """Write a new order down, unless its key (issuer, subject, request_id) is known.

        Returns:
            The record and True; or the record that was there and False, nothing written.
        """
        try:
            async with self._store.write() as connection:
                await connection.execute(insert(orders).values(_values(record)))
                await self._note(connection, record, record.code, _NOTHING, event)
        except IntegrityError:
            known = await self.find(record.issuer, record.subject, record.request_id)
            if known is None:
                raise
            return known, False
        audit_rows_total.labels(result="written").inc()
        return record, True

    async def find(self, issuer: str, subject: str, request_id: UUID) -> OrderRecord | None:
        """Return the order that this principal sent under this request id."""
        query = select(orders).where(
            orders.c.issuer == issuer,
            orders.c.subject == subject,
            orders.c.request_id == str(request_id),
        )
        return next(iter(await self._records(query)), None)

    async def by_id(self, order_id: str, request_id: UUID | None) -> OrderRecord | None:
        """Return an order by the gateway's id, or by anybody's request id: for operators."""
        named = orders.c.order_id == order_id
        if request_id is not None:
            named |= orders.c.request_id == str(request_id)
            named |= orders.c.order_id == request_id.hex
        return next(iter(await self._records(select(orders).where(named))), None)

    async def move(
        self,
        order_id: str,
        *,
        expected: State,
        to: State,
        event: AuditEvent,
        changes: Mapping[str, Any] = _NOTHING,
        code: str | None = None,
        detail: Mapping[str, Any] = _NOTHING,
    ) -> OrderRecord:
        """Move an order from the expected state on: state, history and audit row, or nothing.

        The move to ``sent`` notes the time in ``sent_at``.

        Args:
            changes: further columns to set, of those in CHANGEABLE.
            code: why; kept in the history, and on the order while it is in this state.
            detail: JSON-ready facts for the history.

        Raises:
            Superseded: the order is not (or no longer) in ``expected``.
            PlaceTaken: the place in flight is held by another order.
            ValueError: ``changes`` names what never changes.
        """
        if fixed := changes.keys() - CHANGEABLE:
            raise ValueError(f"these never change: {', '.join(sorted(fixed))}")
        now = self._clock.now()
        values = {"state": to.value, "code": code, "updated_at": now}
        if to is State.SENT:
            values["sent_at"] = now
        step = (
            update(orders)
            .where(orders.c.order_id == order_id, orders.c.state == expected.value)
            .values(values | dict(changes))
            .returning(*orders.c)
        )
        async with self._store.write() as connection:
            try:
                row = (await connection.execute(step)).one_or_none()
            except IntegrityError as error:
                if is_duplicate(error):
                    raise PlaceTaken(order_id) from error
                raise
            if row is None:
                raise Superseded(order_id, expected, await _present(connection, order_id))
            record = _record(row)
            await self._note(connection, record, code, detail, event)
        audit_rows_total.labels(result="written").inc()
        return record

    async def history(self, order_id: str) -> tuple[HistoryEntry, ...]:
        """Return every step of an order's life, oldest first."""
        steps = order_history.c
        query = select(steps.state, steps.at, steps.code, steps.detail)
        query = query.where(steps.order_id == order_id).order_by(steps.id)
        async with self._store.read() as connection:
            rows = await connection.execute(query)
            return tuple(HistoryEntry(State(row[0]), row[1], row[2], row[3]) for row in rows)

    async def unresolved(self, bot: str) -> tuple[OrderRecord, ...]:
        """Return what recovery has to look after: received, reserved, sent or unknown; oldest first."""
        states = [state.value for state in UNRESOLVED]
        query = select(orders).where(orders.c.bot == bot, orders.c.state.in_(states))
        return await self._records(query.order_by(orders.c.created_at, orders.c.order_id))

    async def opened_by(
        self, agent: str, issuer: str, bot: str, pair: str
    ) -> tuple[OrderRecord, ...]:
        """Return this agent's entries in a pair that may still be held; oldest first."""
        query = select(orders).where(
            orders.c.agent == agent,
            orders.c.issuer == issuer,
            orders.c.bot == bot,
            orders.c.pair == pair,
            orders.c.kind == "entry",
            orders.c.state.in_([state.value for state in MAYBE_HELD]),
        )
        return await self._records(query.order_by(orders.c.created_at, orders.c.order_id))

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
        async with self._store.read() as connection:
            return tuple(_record(row) for row in await connection.execute(query))

    async def _note(
        self,
        connection: AsyncConnection,
        record: OrderRecord,
        code: str | None,
        detail: Mapping[str, Any],
        event: AuditEvent,
    ) -> None:
        """Add the step to the history and to the audit log, in the caller's transaction."""
        step = insert(order_history).values(
            order_id=record.order_id,
            state=record.state.value,
            at=record.updated_at,
            code=code,
            detail=dict(detail),
        )
        await connection.execute(step)
        await insert_event(connection, replace(event, order_id=record.order_id))


async def _present(connection: AsyncConnection, order_id: str) -> State | None:
    word = await connection.scalar(select(orders.c.state).where(orders.c.order_id == order_id))
    return None if word is None else State(word)


def _values(record: OrderRecord) -> dict[str, Any]:
    values = {name: getattr(record, name) for name in _FIELDS}
    return values | {
        "request_id": str(record.request_id),
        "state": record.state.value,
        "kind": "entry" if record.side == "buy" else "exit",
    }


def _record(row: Row[Any]) -> OrderRecord:
    values = {name: row._mapping[name] for name in _FIELDS}  # noqa: SLF001 - public, says SQLAlchemy
    values |= {"request_id": UUID(row.request_id), "state": State(row.state)}
    return OrderRecord(**values)
