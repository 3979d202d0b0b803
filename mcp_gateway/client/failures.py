"""What a client of the gateway is told where it gets no answer, or no for an answer."""

from typing import Any

from mcp_gateway.errors import GatewayError


class GatewayUnreachable(GatewayError):
    """No gateway answers at the address."""

    default_code = "gateway_unreachable"
    retryable = True
    default_hint = "Start one with `mcp-gateway serve` or `mcp-gateway sandbox`, or name its URL."


class GatewayRefused(GatewayError):
    """The gateway refused; ``detail`` is its answer as it came."""

    default_code = "protocol_error"
    default_hint = "Read the code and the gateway's own hint, where it gave one."

    @property
    def answer(self) -> dict[str, Any]:
        """Code, message, retryable, hint and what else the gateway said."""
        return self.public()
