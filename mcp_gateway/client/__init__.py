"""For agents: what a client of the gateway needs besides an MCP SDK."""

from typing import TYPE_CHECKING, Any

from mcp_gateway.client.failures import GatewayRefused, GatewayUnreachable
from mcp_gateway.client.orders import (
    Denied,
    NeedsReview,
    Order,
    OrderState,
    Outcome,
    PendingApproval,
    Placed,
    Rejected,
    Unknown,
)
from mcp_gateway.client.renewing import RenewingAuth
from mcp_gateway.client.signing import GatewayAuth
from mcp_gateway.client.tokens import ClientCredentials, FixedToken, TokenFile, TokenUnavailable
from mcp_gateway.client.trading import GatewayClient

if TYPE_CHECKING:
    from mcp_gateway.client.session import open_session

__all__ = [
    "ClientCredentials",
    "Denied",
    "FixedToken",
    "GatewayAuth",
    "GatewayClient",
    "GatewayRefused",
    "GatewayUnreachable",
    "NeedsReview",
    "Order",
    "OrderState",
    "Outcome",
    "PendingApproval",
    "Placed",
    "Rejected",
    "RenewingAuth",
    "TokenFile",
    "TokenUnavailable",
    "Unknown",
    "open_session",
]


def __getattr__(name: str) -> Any:
    """Import what needs the MCP SDK when it is asked for: the SDK alone takes half a second."""
    if name != "open_session":
        raise AttributeError(name)
    from mcp_gateway.client import session  # noqa: PLC0415  (the reason stands above)

    return session.open_session
