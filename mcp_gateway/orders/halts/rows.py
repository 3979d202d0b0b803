"""The statements of halts, each within a transaction that somebody else holds.

A row is never deleted, only released; the audit row of either is written beside it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, Row, Select, and_, bindparam, func, insert, select, update

from mcp_gateway.audit.events import AuditEvent
from mcp_gateway.audit.log import insert_events
from mcp_gateway.orders.book.actor import Actor
from mcp_gateway.orders.book.rows import IN_FORCE
from mcp_gateway.orders.halts.records import HaltRecord, NewHalt, Wanted
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
# What lies behind its own moment was written by a clock that was wrong: it is no episode.
_EPISODE: Final = select(halts.c.id).where(
    _SAME, halts.c.at >= bindparam("since"), halts.c.at <= bindparam("until")
)
# Changes with every halt that is set, released or marked: a look at many halts is one short row.
_SIGN: Final = select(
    func.count(), func.max(halts.c.id), func.sum(halts.c.id), func.max(halts.c.at),
    func.sum(halts.c.bot_paused),
).where(IN_FORCE)  # fmt: skip
_MOST_IDS: Final = 1000  # in one statement
Sign = tuple[Any, ...]


class TooLate(Exception):
    """Whoever asked for it has been told by now that it was not done."""


@dataclass(frozen=True, slots=True)
class Word:
    """What the store says of halts.

    Args:
        sign: of what is in force; while it is the same, nothing has changed.
        in_force: oldest first.
        released: those of the known ones that a person has released since.
        missing: those of which there is no row, as in a database that was restored.
    """

    sign: Sign
    in_force: tuple[HaltRecord, ...]
    released: tuple[HaltRecord, ...] = ()
    missing: tuple[HaltRecord, ...] = ()


def word(connection: Connection, known: Sequence[HaltRecord], sign: Sign | None) -> Word | None:
    """Return what is in force, and what has become of the halts that were known to be.

    Args:
        sign: of the last word; None is returned where it is the same still.
    """
    now = tuple(connection.execute(_SIGN).one())
    if now == sign:
        return None
    held = in_force(connection)
    there = {one.row for one in held}
    gone = [one for one in known if one.row not in there]
    rows = {one.row: one for one in _by_ids(connection, gone)}
    released = tuple(one for one in gone if one.row in rows and rows[one.row].released_at)
    still = tuple(one for one in gone if one.row in rows and not rows[one.row].released_at)
    missing = tuple(one for one in gone if one.row not in rows)
    return Word(now, (*held, *still), released, missing)


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
    episode = same | {"since": new.unless_since, "until": new.at}
    if new.unless_since is not None and connection.execute(_EPISODE, episode).first() is not None:
        return None, False
    paused = PAUSED if new.bot_paused else NOT_PAUSED
    values = same | {"at": new.at, "by": new.who.name, "bot_paused": paused}
    row = connection.execute(insert(halts).values(values).returning(*halts.c)).one()
    record = _record(row)
    insert_events(connection, [_event("halt.set", record, new.who, new.at, new.reason)])
    return record, True


def release(
    connection: Connection, wanted: Wanted, who: Actor, at: datetime, reason: str,
    is_late: Callable[[], bool] = lambda: False,
) -> tuple[HaltRecord, ...]:  # fmt: skip
    """Release the halts in force that are wanted, all of them or none; return them.

    That the bot was paused for them goes over to a halt of everything that is left.

    Args:
        is_late: is asked when nothing is left to be waited for.

    Raises:
        TooLate: nothing was released.
    """
    take_turn(connection, TURN)
    held = in_force(connection)
    let_go = [one for one in held if wanted(one)]
    if is_late():
        raise TooLate
    released = {"released_at": at, "released_by": who.name, "release_reason": reason}
    for ids in _parts(let_go):
        connection.execute(update(halts).where(halts.c.id.in_(ids)).values(released))
    left = next((one for one in held if one.scope == "all" and not wanted(one)), None)
    if left is not None and (paused := [one for one in let_go if one.bot_paused]):
        _mark(connection, [one.id for one in paused], STARTED)
        _mark(connection, [left.id], PAUSED)
    records = _by_ids(connection, let_go)
    if records:
        events = [_event("halt.released", one, who, at, reason) for one in records]
        insert_events(connection, events)
    return records


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


def _parts(records: Sequence[HaltRecord]) -> Iterator[list[int | None]]:
    for begin in range(0, len(records), _MOST_IDS):
        yield [one.id for one in records[begin : begin + _MOST_IDS]]


def _by_ids(connection: Connection, records: Sequence[HaltRecord]) -> tuple[HaltRecord, ...]:
    found: list[HaltRecord] = []
    for ids in _parts(records):
        found += _read(connection, select(halts).where(halts.c.id.in_(ids)).order_by(halts.c.id))
    return tuple(found)


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
