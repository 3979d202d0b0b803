"""For agents: what a client of the gateway needs besides an MCP SDK."""

from mcp_gateway.client.session import GatewayRefused, GatewayUnreachable, open_session
from mcp_gateway.client.signing import GatewayAuth

__all__ = ["GatewayAuth", "GatewayRefused", "GatewayUnreachable", "open_session"]
