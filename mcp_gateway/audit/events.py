"""What the audit log records, as a value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """One thing that happened; becomes one append-only row.

    ``event`` is a dotted word of a fixed set: order.received, order.denied, order.reserved,
    order.pending_approval, order.approved,
    order.sent, order.placed, order.rejected, order.unknown, order.taken_back, call.refused,
    call.read,
    token.issued, key.created, key.rotated, key.revoked, token.revoked, store.upgraded, halt.set, halt.released, policy.changed, policy.pending, policy.refused.
    ``detail`` is JSON-ready and holds no secret.
    """

    event: str
    at: datetime
    issuer: str | None = None
    subject: str | None = None
    agent: str | None = None
    channel: str | None = None
    operation: str | None = None
    call_id: str | None = None
    request_id: str | None = None
    order_id: str | None = None
    code: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
