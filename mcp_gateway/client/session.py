"""An MCP session with a gateway over HTTP: token and signature added to every request."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from mcp_gateway.client import addresses
from mcp_gateway.client.failures import GatewayRefused, GatewayUnreachable
from mcp_gateway.client.signing import GatewayAuth
from mcp_gateway.errors import GatewayError, failures_in

# An order may take the bot's own retries (18 s) and more; the gateway has its own deadline.
ANSWER_TIMEOUT_S = 90.0


@asynccontextmanager
async def open_session(mcp_url: str, auth: GatewayAuth) -> AsyncIterator[Client]:
    """Open a session with the MCP SDK's own client.

    Args:
        mcp_url: the gateway's address, e.g. ``http://127.0.0.1:8000``; ``/mcp`` may stand
            behind it.

    Raises:
        GatewayUnreachable: nothing answers there.
        GatewayRefused: the gateway refused to open the session, or something within it; what
            the SDK raised (MCPError) is its cause.
    """
    mcp_url = addresses.mcp(mcp_url)
    timeout = httpx2.Timeout(ANSWER_TIMEOUT_S, connect=5.0)
    try:
        async with (
            httpx2.AsyncClient(auth=auth, timeout=timeout, trust_env=False) as http,
            Client(streamable_http_client(mcp_url, http_client=http)) as client,
        ):
            yield client
    except (httpx2.TransportError, MCPError, ExceptionGroup) as error:
        raise _told(error, mcp_url) from error


def _told(error: Exception, mcp_url: str) -> Exception:
    """Find among the failures what a person can act on."""
    for one in failures_in(error):
        if isinstance(one, GatewayError):
            return one
        if isinstance(one, httpx2.TransportError):
            return GatewayUnreachable(f"No gateway answers at {mcp_url}.")
        if isinstance(one, MCPError):
            return _refused(one)
    return error


def _refused(error: MCPError) -> GatewayRefused:
    answer = error.data
    if isinstance(answer, dict) and {"code", "message"} <= answer.keys():
        hint = answer.get("hint")
        return GatewayRefused(answer["message"], code=answer["code"], hint=hint, detail=answer)
    return GatewayRefused(error.message)  # the SDK's own, or it is no gateway that answers
