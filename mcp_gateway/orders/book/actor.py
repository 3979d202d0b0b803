"""Who decides about orders, halts or releases: a person, a caller, or a part of the gateway."""

from dataclasses import dataclass
from typing import Final

from mcp_gateway.domain.orders import OrderRecord
from mcp_gateway.domain.principals import Admission, Principal
from mcp_gateway.orders.book.steps import Origin

LONGEST_REASON: Final = 1000  # characters, of why somebody decided so


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, by which wire and call.

    Args:
        name: for people to read: an account, a subject, whose client it was, or which part.
        principal: a caller that the gate has let through; None where the door itself tells a
            person from an agent.
    """

    name: str
    origin: Origin
    principal: Principal | None = None

    @classmethod
    def calling(cls, admission: Admission) -> "Actor":
        """Return the caller that the gate has let through."""
        return cls(admission.principal.subject, Origin.of(admission), admission.principal)

    @classmethod
    def operating(cls, account: str, operation: str) -> "Actor":
        """Return the account that speaks through the control socket, by the system's word."""
        return cls(account, Origin("control", operation, operation=operation))

    @classmethod
    def at_the_client(cls, admission: Admission) -> "Actor":
        """Return whoever sits at the requester's own client, which the policy trusts."""
        return cls(f"client of {admission.principal.subject}", Origin.of(admission))

    @classmethod
    def watching(cls, part: str) -> "Actor":
        """Return a part of the gateway itself."""
        return cls(f"gateway ({part})", Origin("gateway", part, operation="halt"))

    def may_not_decide(self, record: OrderRecord) -> bool:
        """Tell whether the order is its own, or of an agent for whom it may act."""
        if self.principal is None:
            return False
        return self.principal.speaks_for(record.subject) or self.principal.speaks_for(record.agent)
