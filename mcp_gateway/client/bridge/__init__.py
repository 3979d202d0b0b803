"""A stdio server that is a remote gateway: for desktop apps, which can neither renew nor sign."""

from mcp_gateway.client.bridge.delivery import Delivery
from mcp_gateway.client.bridge.relay import Relay

__all__ = ["Delivery", "Relay"]
