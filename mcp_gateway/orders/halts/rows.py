"""The statements of halts, each within a transaction that somebody else holds.

A row is never deleted, only released; the audit row of either is written beside it.
"""

from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, and_, bindparam, insert, select, update

from mcp_gateway.audit.events import AuditEvent
from mcp_gateway.audit.log import insert_events
from mcp_gateway.orders.book.actor import Actor
from mcp_gateway.orders.book.rows import IN_FORCE
from mcp_gateway.orders.halts.records import HaltRecord, NewHalt
from mcp_gateway.storage.schema import halts
from mcp_gateway.storage.sql import take_turn

TURN: Final = "halts"
# What ``bot_paused`` says: whether the bot was paused for this halt, and whether that is over.
NOT_PAUSED: Final = 0
PAUSED: Final = 1  # in force: paused for it; released: the bot is still to be started again
STARTED: Final = 2
_SAME: Final = and_(
    halts.c.scope == bindparam("scope"),
    halts.c.name == bindparam("name"),
    halts.c.code == bindparam("code"),
    # Whoever halts for another reason must not be overruled by a release of the first one.
    halts.c.reason == bindparam("reason"),
)
_ALL: Final = select(halts).where(IN_FORCE).order_by(halts.c.id)
_KNOWN: Final = select(halts).where(_SAME, IN_FORCE)
_EPISODE: Final = select(halts.c.id).where(_SAME, halts.c.at >= bindparam("since"))


def in_force(connection: Connection) -> tuple[HaltRecord, ...]:
    """Return the halts that nobody has released, oldest first."""
    return _read(connection, _ALL)


def recent(connection: Connection, limit: int) -> tuple[HaltRecord, ...]:
    """Return the newest halts, released or not, newest first."""
    return _read(connection, select(halts).order_by(halts.c.id.desc()).limit(limit))


def add(connection: Connection, new: NewHalt) -> tuple[HaltRecord | None, bool]:
    """Put a halt in force, unless the same one is; return it, and whether it is new.

    None: the same episode was halted before, and released by a person.
    """
    take_turn(connection, TURN)
    same = {"scope": new.scope, "name": new.name, "code": new.code, "reason": new.reason}
    known = connection.execute(_KNOWN, same).first()
    if known is not None:
        return _record(known), False
    episode = same | {"since": new.unless_since}
    if new.unless_since is not None and connection.execute(_EPISODE, episode).first() is not None:
        return None, False
    values = same | {"at": new.at, "by": new.who.name}
    row = connection.execute(insert(halts).values(values).returning(*halts.c)).one()
    record = _record(row)
    insert_events(connection, [_event("halt.set", record, new.who, new.at, new.reason)])
    return record, True


def release(
    connection: Connection, halt: HaltRecord, who: Actor, at: datetime, reason: str
) -> HaltRecord | None:
    """Release a halt; None where it is released already, or never was.

    That the bot was paused for it goes over to another halt of everything, where one is left.
    """
    take_turn(connection, TURN)
    released = {"released_at": at, "released_by": who.name, "release_reason": reason}
    changed = update(halts).where(halts.c.id == halt.id, IN_FORCE).values(released)
    row = connection.execute(changed.returning(*halts.c)).first()
    if row is None:
        return None
    left = next((one for one in in_force(connection) if one.scope == "all"), None)
    if left is not None and row.bot_paused == PAUSED:
        _mark(connection, [left.id], PAUSED)
        _mark(connection, [halt.id], STARTED)
    record = _record(row)
    insert_events(connection, [_event("halt.released", record, who, at, reason)])
    return record


def note_pause(connection: Connection) -> bool:
    """Write down that the bot is paused for the halts of everything; False: there is none."""
    take_turn(connection, TURN)
    held = [one.id for one in in_force(connection) if one.scope == "all"]
    _mark(connection, held[:1], PAUSED)
    return bool(held)


def owes_start(connection: Connection) -> bool:
    """Tell whether a bot that we paused is to be started: its last global halt is released."""
    if any(one.scope == "all" for one in in_force(connection)):
        return False
    owed = select(halts.c.id).where(halts.c.bot_paused == PAUSED, halts.c.released_at.is_not(None))
    return connection.execute(owed).first() is not None


def note_start(connection: Connection) -> None:
    """Write down that the bot was started again, or needs no start any more."""
    take_turn(connection, TURN)
    owed = update(halts).where(halts.c.bot_paused == PAUSED, halts.c.released_at.is_not(None))
    connection.execute(owed.values(bot_paused=STARTED))


def _mark(connection: Connection, ids: list[int | None], value: int) -> None:
    if ids:
        connection.execute(update(halts).where(halts.c.id.in_(ids)).values(bot_paused=value))


def _read(connection: Connection, query: Select[Any]) -> tuple[HaltRecord, ...]:
    return tuple(_record(row) for row in connection.execute(query).all())


def _record(row: Row[Any]) -> HaltRecord:
    values = dict(row._mapping)  # noqa: SLF001 - public, says SQLAlchemy
    return HaltRecord(**values | {"bot_paused": row.bot_paused != NOT_PAUSED})


def _event(word: str, record: HaltRecord, who: Actor, at: datetime, reason: str) -> AuditEvent:
    origin, caller = who.origin, who.principal
    proof = {"key_id": origin.key_id, "jti": origin.token_id}
    told = {"id": record.id, "scope": record.scope, "name": record.name, "by": who.name}
    return AuditEvent(
        event=word,
        at=at,
        issuer=caller.issuer if caller else None,
        subject=caller.subject if caller else None,
        agent=record.name if record.scope == "agent" else None,
        channel=origin.channel,
        operation=origin.operation,
        call_id=origin.call_id,
        code=record.code,
        detail={**told, "reason": reason, **{key: one for key, one in proof.items() if one}},
    )
