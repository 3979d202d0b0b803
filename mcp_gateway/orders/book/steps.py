"""One step of an order's life: where it leads, and what is written down with it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

from mcp_gateway.audit.events import AuditEvent
from mcp_gateway.domain.orders import OrderRecord, State
from mcp_gateway.domain.principals import Admission
from mcp_gateway.orders.book import protocol
from mcp_gateway.orders.book.protocol import Event

NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Origin:
    """Who caused a step: by which wire, call and operation, with which key and token.

    ``operator`` is the account that gave an order in an agent's place.
    """

    channel: str
    call_id: str
    key_id: str | None = None
    token_id: str | None = None
    operation: str = "create_order"
    operator: str | None = None

    @classmethod
    def of(cls, admission: Admission) -> "Origin":
        """Return where an admitted call comes from."""
        return cls(
            admission.channel,
            admission.call_id,
            admission.key_id,
            admission.principal.token_id,
            admission.operation.name,
        )


@dataclass(frozen=True, slots=True)
class Move:
    """One event, and what is to be written down with it.

    ``code`` says why, ``detail`` is JSON-ready and kept in history and audit log, ``changes``
    are further columns of the order.
    """

    event: Event
    code: str | None = None
    detail: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    changes: Mapping[str, Any] = field(default_factory=lambda: NOTHING)


@dataclass(frozen=True, slots=True)
class Step:
    """One move, worked out: the order as it stands behind it, and its audit row."""

    record: OrderRecord
    detail: Mapping[str, Any]
    audit: AuditEvent


def walk(
    record: OrderRecord, moves: Sequence[Move], origin: Origin, now: datetime
) -> tuple[Step, ...]:
    """Work moves out, one behind the other, as the protocol has it.

    Raises:
        IllegalMove: the order's state does not allow one of them.
    """
    steps = []
    for move in moves:
        to = protocol.after(record.state, move.event)
        changes = dict(move.changes)
        if to is State.SENT:
            changes["sent_at"] = now
        record = replace(record, state=to, code=move.code, updated_at=now, **changes)
        audit = audit_event(record, origin, code=move.code, detail=move.detail)
        steps.append(Step(record, move.detail, audit))
    return tuple(steps)


def audit_event(
    record: OrderRecord,
    origin: Origin,
    *,
    code: str | None = None,
    detail: Mapping[str, Any] = NOTHING,
) -> AuditEvent:
    """Return the audit row of the state that an order has just entered."""
    told: dict[str, Any] = {
        "pair": record.pair,
        "side": record.side,
        "amount": str(record.amount),
        "order_type": record.order_type,
        "price": None if record.price is None else str(record.price),
        "mode": record.mode,
    }
    proof = {"key_id": origin.key_id, "jti": origin.token_id, "operator": origin.operator}
    told |= {name: value for name, value in proof.items() if value is not None}
    return AuditEvent(
        event=f"order.{record.state}",
        at=record.updated_at,
        issuer=record.issuer,
        subject=record.subject,
        agent=record.agent,
        channel=origin.channel,
        operation=origin.operation,
        call_id=origin.call_id,
        request_id=str(record.request_id),
        order_id=record.order_id,
        code=code,
        detail={**told, **detail},
    )
