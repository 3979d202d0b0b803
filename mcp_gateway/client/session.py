"""An MCP session with a gateway over HTTP: token and signature added to every request."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from mcp_gateway.client.signing import GatewayAuth
from mcp_gateway.errors import GatewayError

# An order may take the bot's own retries (18 s) and more; the gateway has its own deadline.
ANSWER_TIMEOUT_S = 90.0


class GatewayUnreachable(GatewayError):
    """No gateway answers at the address."""

    default_code = "gateway_unreachable"
    default_hint = "Start one with `mcp-gateway serve` or `mcp-gateway sandbox`, or name its URL."


@asynccontextmanager
async def open_session(mcp_url: str, auth: GatewayAuth) -> AsyncIterator[Client]:
    """Open a session with the MCP SDK's own client.

    Args:
        mcp_url: where the gateway answers MCP, e.g. ``http://127.0.0.1:8000/mcp``.

    Raises:
        GatewayUnreachable: nothing answers there.
        MCPError: the gateway refuses; ``data`` holds code, message, retryable and hint.
    """
    timeout = httpx2.Timeout(ANSWER_TIMEOUT_S, connect=5.0)
    try:
        async with (
            httpx2.AsyncClient(auth=auth, timeout=timeout, trust_env=False) as http,
            Client(streamable_http_client(mcp_url, http_client=http)) as client,
        ):
            yield client
    except (httpx2.TransportError, ExceptionGroup) as error:
        raise _told(error, mcp_url) from error


def _told(error: Exception, mcp_url: str) -> Exception:
    """Dig out of the SDK's exception groups what a person can act on."""
    if isinstance(error, ExceptionGroup):
        inner = [_told(one, mcp_url) for one in error.exceptions]
        known = (one for one in inner if isinstance(one, GatewayError | MCPError))
        return next(known, error)
    if isinstance(error, httpx2.TransportError):
        return GatewayUnreachable(f"No gateway answers at {mcp_url}.")
    return error
