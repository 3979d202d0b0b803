"""Who decides about an order that waits."""

from dataclasses import dataclass
from typing import Final

from mcp_gateway.domain.orders import OrderRecord
from mcp_gateway.domain.principals import Admission, Principal
from mcp_gateway.orders.book.steps import Origin

LONGEST_REASON: Final = 1000  # characters, of why somebody decided so


@dataclass(frozen=True, slots=True)
class Person:
    """Who decides, by which wire and call.

    Args:
        name: for the records: an account, a subject, or whose client it was.
        principal: a caller who must not be the requester; None where the door itself tells a
            person from an agent.
    """

    name: str
    origin: Origin
    principal: Principal | None = None

    @classmethod
    def at_the_console(cls, account: str, operation: str) -> "Person":
        """Return the operator who owns the control socket, by the system's word."""
        return cls(account, Origin("control", "approvals", operation=operation))

    @classmethod
    def calling(cls, admission: Admission) -> "Person":
        """Return the caller of a signed request."""
        return cls(admission.principal.subject, Origin.of(admission), admission.principal)

    @classmethod
    def at_the_client(cls, admission: Admission) -> "Person":
        """Return whoever sits at the requester's own client, which the policy trusts."""
        return cls(f"client of {admission.principal.subject}", Origin.of(admission))

    def may_not_decide(self, record: OrderRecord) -> bool:
        """Tell whether the order is its own, or of an agent for whom it may act."""
        if self.principal is None:
            return False
        return self.principal.speaks_for(record.subject) or self.principal.speaks_for(record.agent)
