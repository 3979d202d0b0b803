"""The statements of revocations, each within a transaction that somebody else holds.

The audit row is written beside the revocation. Rows go when no token lives that they could stop.
"""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, and_, delete, false, insert, or_, select, true

from mcp_gateway.access.tokens.revocations import Revocation
from mcp_gateway.audit.events import AuditEvent
from mcp_gateway.audit.log import insert_events
from mcp_gateway.storage.schema import revocations
from mcp_gateway.storage.sql import take_turn

# Whoever asks for the rows after the last one that it knows must miss none: ids are given out
# in the order of the commits.
TURN: Final = "revocations"
MOST_AT_ONCE: Final = 2000


def add(connection: Connection, new: Revocation) -> Revocation:
    """Write a revocation down, and who revoked why; return it with its id."""
    take_turn(connection, TURN)
    values = {column.name: getattr(new, column.name) for column in revocations.c}
    del values["id"]
    row = connection.execute(insert(revocations).values(values).returning(*revocations.c)).one()
    record = _record(row)
    insert_events(connection, [_event(record)])
    return record


def after(connection: Connection, last_id: int) -> tuple[Revocation, ...]:
    """Return the revocations behind one, oldest first; at most MOST_AT_ONCE."""
    query = select(revocations).where(revocations.c.id > last_id).order_by(revocations.c.id)
    rows = connection.execute(query.limit(MOST_AT_ONCE)).all()
    return tuple(_record(row) for row in rows)


def stopping(
    connection: Connection,
    issuer: str,
    subject: str | None,
    token_id: str | None,
    issued_at: datetime | None,
) -> Revocation | None:
    """Return the newest revocation that a token falls under; None: there is none."""
    table = revocations.c
    ways = []  # a column compared with None would mean those where it is empty
    if token_id is not None:
        ways.append(table.token_id == token_id)
    if subject is not None:
        later = true() if issued_at is None else table.issued_before > issued_at
        ways.append(and_(table.subject == subject, later))
    meant = and_(table.issuer == issuer, or_(false(), *ways))
    row = connection.execute(select(revocations).where(meant).order_by(table.id.desc())).first()
    return None if row is None else _record(row)


def remove_over(connection: Connection, now: datetime) -> int:
    """Delete what no living token can be stopped by; return how many rows that were."""
    done = connection.execute(delete(revocations).where(revocations.c.expires_at <= now))
    return int(done.rowcount)


def _record(row: Row[Any]) -> Revocation:
    return Revocation(**row._mapping)  # noqa: SLF001 - public, says SQLAlchemy


def _event(record: Revocation) -> AuditEvent:
    told = record.public()
    of_it = ("jti", "issued_before", "by", "reason")
    detail: dict[str, Any] = {name: told[name] for name in of_it if name in told}
    return AuditEvent(
        event="token.revoked",
        at=record.at,
        issuer=record.issuer,
        subject=record.subject,
        channel="control",
        operation="token.revoke",
        detail={"id": record.id, **detail},
    )
