"""What an operator asks of the records, whether a gateway runs or not: JSON-ready answers."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from mcp_gateway.audit.events import AuditEvent
from mcp_gateway.audit.log import AuditLog, AuditRow
from mcp_gateway.clock import iso
from mcp_gateway.domain.invalid import read
from mcp_gateway.domain.orders import OrderRecord, State
from mcp_gateway.errors import NotFound, RequestInvalid
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.orders.approvals.verbs import ambiguous
from mcp_gateway.orders.book import answers, protocol
from mcp_gateway.orders.book.ledger import Ledger
from mcp_gateway.orders.book.steps import Origin, audit_event
from mcp_gateway.orders.evidence.comparison import compare
from mcp_gateway.orders.halts.records import Reason
from mcp_gateway.orders.settling.settlement import Decision, settle

MOST_ROWS: Final = 1000
LARGEST_ID: Final = 2**63 - 1
TakeBack = Callable[[OrderRecord, Origin], Awaitable[OrderRecord]]


@dataclass(frozen=True, slots=True)
class Records:
    """What is written in an open store (the orders, and what happened), and the bot it is about."""

    ledger: Ledger
    audit_log: AuditLog
    bot: FreqtradeClient
    bot_name: str


async def list_orders(
    records: Records, args: Mapping[str, Any], _operator: str
) -> list[dict[str, Any]]:
    """Return the newest orders, newest first; ``limit``, ``agent`` and ``state`` narrow it."""
    state = args.get("state")
    if state is not None and state not in set(State):
        raise RequestInvalid(f"state is one of {' '.join(State)}.")
    found = await records.ledger.recent(
        limit=_limit(args), agent=_text(args, "agent"), state=State(state) if state else None
    )
    return [_row(record) for record in found]


async def show_order(records: Records, args: Mapping[str, Any], _operator: str) -> dict[str, Any]:
    """Return one order by its ``id`` (order id or request id), with its history."""
    record = await _named(records, args)
    history = await records.ledger.history(record.order_id)
    shown = _row(record) | answers.present_state(record, history) | _money(record)
    return shown | {"history": [{**asdict(entry), "at": iso(entry.at)} for entry in history]}


async def list_open_entries(
    records: Records, args: Mapping[str, Any], _operator: str
) -> list[dict[str, Any]]:
    """Return the entries that may still fill, oldest first; ``agent`` and ``pair`` narrow it."""
    agent, pair = _text(args, "agent"), _text(args, "pair")
    states = protocol.RESTING | protocol.UNSETTLED
    found = await records.ledger.in_states(records.bot_name, states)
    return [
        _row(one)
        for one in found
        if one.side == "buy"
        and pair in {None, one.pair}
        and agent in {None, one.agent, one.subject}
    ]


class CancelRequest(BaseModel):
    """Why an operator takes an order back."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: Reason


@dataclass(frozen=True, slots=True)
class Canceller:
    """The records, and how a gateway takes an order back."""

    records: Records
    take_back: TakeBack


async def cancel_order(
    canceller: Canceller, args: Mapping[str, Any], operator: str
) -> dict[str, Any]:
    """Take one order back by its ``id`` for a ``reason``, as its agent may, with the operator and the reason in the audit log.

    Raises:
        OrderNotResting, OutcomeUnknown, BotUnavailable: as for the agent.
    """
    records = canceller.records
    record = await _named(records, args)
    reason = read(CancelRequest, {"reason": args.get("reason")}).reason
    origin = Origin("control", "orders cancel", operation="cancel_order", operator=operator)
    settled = await canceller.take_back(record, origin)
    asked = {"reason": reason, "operator": operator, "state": str(settled.state)}
    event = audit_event(settled, origin, detail=asked)
    await records.audit_log.write([replace(event, event="order.taken_back")])
    return _row(settled) | {"operator": operator}


async def settle_order(records: Records, args: Mapping[str, Any], operator: str) -> dict[str, Any]:
    """Settle one order that waits for review, as an operator found out; return it as it is then."""
    record = await _named(records, args)
    settled = await settle(
        records.ledger,
        records.bot,
        record,
        read(Decision, args.get("decision")),
        operator,
        bot_name=records.bot_name,
    )
    return _row(settled) | {"operator": operator}


async def reconcile_orders(
    records: Records, _args: Mapping[str, Any], _operator: str
) -> dict[str, Any]:
    """Return how many orders were compared with the bot's own books, and every difference."""
    made = await compare(records.ledger, records.bot, records.bot_name)
    found = [asdict(one) | {"meaning": one.meaning} for one in made.differences]
    return {"orders": made.orders, "moving": made.moving, "differences": found}


async def tail_audit(
    records: Records, args: Mapping[str, Any], _operator: str
) -> list[dict[str, Any]]:
    """Return the last audit rows, or those after ``after_id``; oldest first."""
    after_id = args.get("after_id")
    if after_id is not None and not (isinstance(after_id, int) and 0 <= after_id <= LARGEST_ID):
        raise RequestInvalid("after_id is the id of an audit row.")
    rows = await records.audit_log.tail(
        _limit(args),
        after_id=after_id,
        event=_text(args, "event"),
        subject=_text(args, "subject"),
        request_id=_text(args, "request_id"),
    )
    return [_audit_row(row) for row in rows]


async def note_token(records: Records, args: Mapping[str, Any], _operator: str) -> dict[str, Any]:
    """Write down that an operator issued a token: for whom, for what, until when; not the token."""
    event = AuditEvent(
        event="token.issued",
        at=datetime.fromisoformat(args["at"]),
        issuer=args["issuer"],
        subject=args["subject"],
        channel="control",
        detail={name: args[name] for name in ("scopes", "act_for", "jti", "expires_at")},
    )
    await records.audit_log.write([event])
    return {}


async def note_key(records: Records, args: Mapping[str, Any], operator: str) -> dict[str, Any]:
    """Write down what an operator did to a signing key; nothing of it is secret."""
    facts = ("key_id", "algorithm", "not_after", "replaces", "reason")
    event = AuditEvent(
        event=f"key.{args['done']}",
        at=datetime.fromisoformat(args["at"]),
        issuer=args["issuer"],
        subject=args["subject"],
        channel="control",
        detail={"operator": operator} | {name: args[name] for name in facts if name in args},
    )
    await records.audit_log.write([event])
    return {}


async def _named(records: Records, args: Mapping[str, Any]) -> OrderRecord:
    """Return the one order that an operator names; an order id, as it is written, names one."""
    wanted = str(args.get("id", "")).lower()
    if (record := await records.ledger.by_id(wanted)) is not None:
        return record
    uuid = _as_uuid(wanted)
    found = () if uuid is None else await records.ledger.by_uuid(uuid)
    if not found:
        raise NotFound(
            "There is no such order.", code="order_unknown", hint="See `mcp-gateway orders list`."
        )
    if len(found) > 1:
        raise ambiguous([one.order_id for one in found])
    return found[0]


def _row(record: OrderRecord) -> dict[str, Any]:
    told = answers.receipt(record)
    return told | {
        "state": str(record.state),
        "resting": record.state in protocol.RESTING,
        "code": record.code,
        "issuer": record.issuer,
        "subject": record.subject,
        "tag": record.tag,
        "created_at": iso(record.created_at),
        "updated_at": iso(record.updated_at),
    }


def _money(record: OrderRecord) -> dict[str, float | None]:
    """Return what an entry cost in quote: what was sent to the bot, and is set aside for it."""
    told = {"quote_sent": record.quote_sent, "reserved_quote": record.reserved_quote}
    return {name: None if value is None else float(value) for name, value in told.items()}


def _audit_row(row: AuditRow) -> dict[str, Any]:
    told = {key: value for key, value in asdict(row.event).items() if value not in (None, {})}
    return {"id": row.id, **told, "at": iso(row.event.at)}


def _limit(args: Mapping[str, Any]) -> int:
    limit = args.get("limit", 20)
    if not isinstance(limit, int) or not 1 <= limit <= MOST_ROWS:
        raise RequestInvalid(f"limit is a number from 1 to {MOST_ROWS}.")
    return limit


def _text(args: Mapping[str, Any], name: str) -> str | None:
    value = args.get(name)
    if value is not None and not isinstance(value, str):
        raise RequestInvalid(f"{name} is a text.")
    return value


def _as_uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None
