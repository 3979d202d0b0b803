"""The ledger's statements, each within a transaction that somebody else holds.

Here the database refuses: a state that somebody else has moved on, a second order in flight,
one order at the bot for two requests.
"""

from collections.abc import Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from sqlalchemy import Connection, Row, bindparam, insert, select, union, update
from sqlalchemy.exc import IntegrityError

from mcp_gateway.audit.events import AuditEvent
from mcp_gateway.audit.log import insert_events
from mcp_gateway.domain.orders import OrderRecord, State
from mcp_gateway.orders.book import protocol
from mcp_gateway.orders.book.steps import Step
from mcp_gateway.risk.facts import Halt, Holding, Sent, Standing
from mcp_gateway.storage.schema import halts, order_history, orders
from mcp_gateway.storage.trouble import is_duplicate

# What the bot tells later; the order itself, its owner and its key never change.
CHANGEABLE: Final = frozenset({
    "state", "code", "updated_at", "sent_at", "reserved_quote", "quote_sent", "trade_id",
    "bot_order_id", "actual_amount", "filled_amount", "average_price", "fee", "message", "answer",
    "carrier", "approved_quote", "expires_at",
})  # fmt: skip
_FIELDS: Final = tuple(field.name for field in fields(OrderRecord))
_FIND: Final = select(orders).where(
    orders.c.issuer == bindparam("issuer"),
    orders.c.subject == bindparam("subject"),
    orders.c.request_id == bindparam("request_id"),
)
_ADD_ORDER: Final = insert(orders)
_ADD_STEP: Final = insert(order_history)
_ADD_FIRST: Final = insert(order_history).returning(order_history.c.id)
_HELD: Final = select(
    orders.c.order_id, orders.c.bot, orders.c.state, orders.c.pair, orders.c.agent,
    orders.c.issuer, orders.c.reserved_quote,
).where(orders.c.order_id != bindparam("order_id"))  # fmt: skip
_OF_THE_BOT: Final = orders.c.bot == bindparam("bot")
_ENTRY: Final = orders.c.kind == "entry"
# Each part by an index of its own: one OR over all would read every order of the bot, and so
# would the last part, were it asked for one bot (a test looks at the plan).
HOLDINGS: Final = union(
    _HELD.where(_OF_THE_BOT, orders.c.state == State.NEEDS_REVIEW.value),
    _HELD.where(
        _OF_THE_BOT, orders.c.state.in_([state.value for state in protocol.RESERVING]), _ENTRY
    ),
    _HELD.join(order_history, order_history.c.order_id == orders.c.order_id).where(
        order_history.c.id > bindparam("seen"),
        order_history.c.state == State.PLACED.value,
        _ENTRY,
    ),
)
# The entries of the last day, which the limits of a minute and of a day count.
SENT_LATELY: Final = select(
    orders.c.state, orders.c.pair, orders.c.agent, orders.c.subject, orders.c.fingerprint,
    orders.c.sent_at, orders.c.reserved_quote,
).where(
    _OF_THE_BOT, _ENTRY, orders.c.sent_at >= bindparam("since"),
    orders.c.order_id != bindparam("order_id"),
)  # fmt: skip
IN_FORCE: Final = halts.c.released_at.is_(None)
_HALTS: Final = select(halts.c.scope, halts.c.name, halts.c.code, halts.c.at).where(IN_FORCE)
_MOVE: Final = (
    update(orders)
    .where(
        orders.c.order_id == bindparam("known_order_id"),
        orders.c.state == bindparam("known_state"),
        orders.c.updated_at == bindparam("known_updated_at"),
    )
    .values({name: bindparam(name) for name in sorted(CHANGEABLE)})
)


class Superseded(Exception):
    """The order is no longer as it was known: somebody else moved it."""

    def __init__(self, order_id: str) -> None:
        super().__init__(f"order {order_id} was moved on meanwhile")
        self.order_id = order_id


class PlaceTaken(Exception):
    """Another entry of this bot, or another exit of this trade, is in flight."""

    def __init__(self, order_id: str) -> None:
        super().__init__(f"order {order_id} has to wait for the one in flight")
        self.order_id = order_id


class OrderClaimed(Exception):
    """The bot's order, for which this one was taken, stands for another request already."""

    def __init__(self, order_id: str) -> None:
        super().__init__(f"order {order_id} was taken for another's")
        self.order_id = order_id


def apply(connection: Connection, record: OrderRecord, steps: Sequence[Step]) -> None:
    """Write where the steps lead, if the order still is where they begin."""
    moved = steps[-1].record
    known = {
        "known_order_id": record.order_id,
        "known_state": record.state.value,
        "known_updated_at": record.updated_at,
    }
    try:
        written = connection.execute(_MOVE, known | _changeable(record, moved))
    except IntegrityError as error:
        if not is_duplicate(error):
            raise
        taken = PlaceTaken if moved.state in protocol.IN_FLIGHT else OrderClaimed
        raise taken(record.order_id) from error
    if not written.rowcount:
        raise Superseded(record.order_id)
    note(connection, steps)


def _changeable(before: OrderRecord, behind: OrderRecord) -> dict[str, Any]:
    changed = {name for name in _FIELDS if getattr(before, name) != getattr(behind, name)}
    if fixed := changed - CHANGEABLE:
        raise ValueError(f"these never change: {', '.join(sorted(fixed))}")
    values = {name: getattr(behind, name) for name in CHANGEABLE}
    return values | {"state": behind.state.value}


def standing(connection: Connection, record: OrderRecord, seen: int, since: datetime) -> Standing:
    """Return what other entries of the bot have set aside or sent, and the halts in force.

    One that was placed since ``seen`` counts as set aside too: the bot's word on its wallet
    and slots may be older.

    Args:
        since: from when on sent entries are wanted.
    """
    asked = {"bot": record.bot, "order_id": record.order_id}
    found = connection.execute(HOLDINGS, asked | {"seen": seen})
    holdings = [Holding(State(row[2]), *row[3:]) for row in found if row[1] == record.bot]
    lately = connection.execute(SENT_LATELY, asked | {"since": since})
    sent = [Sent(State(row[0]), *row[1:]) for row in lately]
    in_force = [Halt(*row) for row in connection.execute(_HALTS)]
    return Standing.of(record, holdings, sent, in_force)


def note(connection: Connection, steps: Sequence[Step]) -> None:
    """Add the steps to the history and to the audit log, in the caller's transaction."""
    connection.execute(_ADD_STEP, [_noted(step) for step in steps])
    audited = [replace(step.audit, order_id=step.record.order_id) for step in steps]
    insert_events(connection, audited)


def begin(connection: Connection, record: OrderRecord, event: AuditEvent) -> int:
    """Write a new order down, and return how far the history goes then."""
    connection.execute(_ADD_ORDER, _values_of(record))
    # Read to its end at once: SQLite commits nothing more while a statement is half read.
    seen: int = connection.execute(_ADD_FIRST, _noted(Step(record, {}, event))).scalar_one()
    insert_events(connection, [replace(event, order_id=record.order_id)])
    return seen


def _noted(step: Step) -> dict[str, Any]:
    return {
        "order_id": step.record.order_id,
        "state": step.record.state.value,
        "at": step.record.updated_at,
        "code": step.record.code,
        "detail": dict(step.detail),
    }


def find(connection: Connection, issuer: str, subject: str, request_id: UUID) -> OrderRecord | None:
    key = {"issuer": issuer, "subject": subject, "request_id": str(request_id)}
    row = connection.execute(_FIND, key).one_or_none()
    return None if row is None else read(row)


def _values_of(record: OrderRecord) -> dict[str, Any]:
    """Return the columns of a new order."""
    values = {name: getattr(record, name) for name in _FIELDS}
    return values | {
        "request_id": str(record.request_id),
        "state": record.state.value,
        "kind": "entry" if record.side == "buy" else "exit",
    }


def read(row: Row[Any]) -> OrderRecord:
    """Return the order that a row holds."""
    values = {name: row._mapping[name] for name in _FIELDS}  # noqa: SLF001 - public, says SQLAlchemy
    values |= {"request_id": UUID(row.request_id), "state": State(row.state)}
    return OrderRecord(**values)
