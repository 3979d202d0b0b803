"""One step of an order's life as it stands in the audit log, and where it came from."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mcp_gateway.audit.events import AuditEvent
from mcp_gateway.clock import Clock
from mcp_gateway.domain.orders import OrderRecord, State
from mcp_gateway.domain.principals import Admission


@dataclass(frozen=True, slots=True)
class Origin:
    """Who caused a step: by which wire and call, with which key and token."""

    channel: str
    call_id: str
    key_id: str | None = None
    token_id: str | None = None

    @classmethod
    def of(cls, admission: Admission) -> "Origin":
        """Return where an admitted call comes from."""
        token_id = admission.principal.token_id
        return cls(admission.channel, admission.call_id, admission.key_id, token_id)


def audit_event(
    record: OrderRecord,
    state: State,
    origin: Origin,
    clock: Clock,
    *,
    code: str | None = None,
    detail: Mapping[str, Any] | None = None,
) -> AuditEvent:
    """Return the audit row of one step of an order."""
    told: dict[str, Any] = {
        "pair": record.pair,
        "side": record.side,
        "amount": str(record.amount),
        "order_type": record.order_type,
        "price": None if record.price is None else str(record.price),
        "mode": record.mode,
    }
    proof = {"key_id": origin.key_id, "jti": origin.token_id}
    told |= {name: value for name, value in proof.items() if value is not None}
    return AuditEvent(
        event=f"order.{state}",
        at=clock.now(),
        issuer=record.issuer,
        subject=record.subject,
        agent=record.agent,
        channel=origin.channel,
        operation="create_order",
        call_id=origin.call_id,
        request_id=str(record.request_id),
        order_id=record.order_id,
        code=code,
        detail={**told, **(detail or {})},
    )
