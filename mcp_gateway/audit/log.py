"""The audit log: rows that are added and never changed, which the database itself enforces."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import anyio
from sqlalchemy import Connection, Row, insert, select

from mcp_gateway.audit.events import AuditEvent
from mcp_gateway.audit.redaction import storable, word
from mcp_gateway.audit.trail import Trail
from mcp_gateway.clock import Clock
from mcp_gateway.errors import StoreUnavailable
from mcp_gateway.storage.schema import audit_log
from mcp_gateway.storage.sql import Store
from mcp_gateway.telemetry import logs
from mcp_gateway.telemetry.metrics import audit_rows_total

BATCH: Final = 500
PAUSE_S: Final = 0.25  # what comes in the meantime shares one transaction
RETRY_S: Final = 1.0
LONGEST_FLUSH_S: Final = 3.0
_WORDS: Final = tuple(one.name for one in fields(AuditEvent) if one.name not in {"at", "detail"})
_INSERT: Final = insert(audit_log)
_log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One row of the log; ids only grow, and a gap means that a transaction was undone."""

    id: int
    event: AuditEvent


class AuditLog:
    """The log over a store."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def write(self, events: Sequence[AuditEvent]) -> None:
        """Add all these rows, or none.

        Raises:
            StoreUnavailable: nothing was written, or the commit's answer was lost.
        """
        if not events:
            return
        await self._store.write(lambda connection: insert_events(connection, events))
        audit_rows_total.labels(result="written").inc(len(events))

    async def tail(
        self,
        limit: int,
        *,
        after_id: int | None = None,
        event: str | None = None,
        subject: str | None = None,
        request_id: str | None = None,
        order_id: str | None = None,
    ) -> tuple[AuditRow, ...]:
        """Return the last ``limit`` rows, or with ``after_id`` the first ones after it.

        Oldest first in both cases. On PostgreSQL two transactions may commit in the other
        order than their ids, so a follower should ask from a little further back.
        """
        columns = audit_log.c
        wanted = {"event": event, "subject": subject, "request_id": request_id}
        wanted["order_id"] = order_id
        query = select(audit_log).limit(limit)
        for name, value in wanted.items():
            if value is not None:
                query = query.where(columns[name] == value)
        if after_id is None:
            query = query.order_by(columns.id.desc())
        else:
            query = query.where(columns.id > after_id).order_by(columns.id)
        rows = await self._store.read(lambda c: [_row(row) for row in c.execute(query)])
        return tuple(rows if after_id is not None else reversed(rows))


def insert_events(connection: Connection, events: Sequence[AuditEvent]) -> None:
    """Add rows inside the caller's transaction, so that all of it happens or nothing."""
    connection.execute(_INSERT, [_values(event) for event in events])


async def flush(trail: Trail, log: AuditLog) -> bool:
    """Write everything that waits; False where the store took no more of it."""
    while batch := trail.oldest(BATCH):
        try:
            await log.write(batch)
        except StoreUnavailable as error:
            _log.warning("audit rows wait for the store", code=error.code, waiting=len(trail))
            return False
        trail.written(len(batch))
    return True


async def run_flusher(trail: Trail, log: AuditLog, clock: Clock) -> None:
    """Write batches behind the answers until cancelled, then the rest, within a bound.

    A store that is down keeps the batch where it is; the queue's own bound holds meanwhile.
    """
    try:
        while True:
            await trail.something()
            await clock.sleep(PAUSE_S)
            if not await _flush_in_time(trail, log):
                await clock.sleep(RETRY_S)
    finally:
        await _flush_in_time(trail, log)
        if trail:
            audit_rows_total.labels(result="lost").inc(len(trail))
            _log.error("audit rows lost at the end", count=len(trail))


async def _flush_in_time(trail: Trail, log: AuditLog) -> bool:
    """Flush within a bound, and whole batches only: one cut short would be written twice."""
    with anyio.move_on_after(LONGEST_FLUSH_S, shield=True):
        return await flush(trail, log)
    return False


def _values(event: AuditEvent) -> dict[str, Any]:
    words = {name: getattr(event, name) for name in _WORDS}
    told = {name: None if text is None else word(text) for name, text in words.items()}
    return told | {"at": event.at, "detail": storable(event.detail)}


def _row(row: Row[Any]) -> AuditRow:
    values = dict(row._mapping)  # noqa: SLF001 - SQLAlchemy's public name for it
    return AuditRow(values.pop("id"), AuditEvent(**values))
