"""One way to call the gateway over each of its wires and languages, for one kind of caller."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Literal

import httpx2
import orjson
from mcp import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from mcp_gateway.client import GatewayAuth
from mcp_gateway.domain.principals import Credentials, Unsigned
from mcp_gateway.gateway import Gateway
from mcp_gateway.transports.credentials import caller
from mcp_gateway.transports.mcp.server import GatedServer
from tests.support.gateway import HMAC_SECRET, TRADER

Told = dict[str, Any]
Call = Callable[..., Awaitable[Told]]
FAILED = "failed"  # laid into every answer: whether the wire marks it as a failure
TIMEOUT_S = 60.0
_ROUTES = {
    "get_candles": ("GET", "candles"),
    "get_open_positions": ("GET", "positions/open"),
    "dry_run_order": ("POST", "orders/dry-run"),
    "create_order": ("POST", "orders"),
    "get_order": ("GET", "orders/{request_id}"),
    "cancel_order": ("DELETE", "orders/{request_id}"),
}


def signing(token: str) -> GatewayAuth:
    """Return what a trader's client has: the token, and the key of its subject."""
    return GatewayAuth(token, key=HMAC_SECRET, key_id=TRADER)


@contextmanager
def shown_locally(token: str) -> Iterator[None]:
    """Let this process be its own caller, who shows this token."""
    shown = Credentials("stdio", token, Unsigned("signature_missing"), "in-memory")
    before = caller.set(shown)
    try:
        yield
    finally:
        caller.reset(before)


@asynccontextmanager
async def in_memory(gateway: Gateway, token: str) -> AsyncIterator[Call]:
    """Call the server in this process, as the local caller that shows this token."""
    with shown_locally(token):
        async with Client(GatedServer(gateway)) as client:
            yield _mcp(client)


@asynccontextmanager
async def over_stdio(folder: Path, env: dict[str, str]) -> AsyncIterator[Call]:
    """Call a ``mcp-gateway stdio`` process through the SDK's own client."""
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "mcp_gateway", "stdio"], env=env, cwd=folder
    )
    with (folder / "stderr.log").open("w") as errors:
        async with Client(stdio_client(server, errlog=errors)) as client:
            yield _mcp(client)


@asynccontextmanager
async def over_http(
    mcp_url: str, token: str, mode: Literal["auto", "legacy"]
) -> AsyncIterator[Call]:
    """Call a server over streamable HTTP, in one era of the protocol."""
    async with (
        httpx2.AsyncClient(auth=signing(token), timeout=TIMEOUT_S, trust_env=False) as http,
        Client(streamable_http_client(mcp_url, http_client=http), mode=mode) as client,
    ):
        yield _mcp(client)


@asynccontextmanager
async def over_rest(rest_url: str, token: str) -> AsyncIterator[Call]:
    """Call the predecessor's endpoints; a problem is read back into the words of MCP."""
    async with httpx2.AsyncClient(
        base_url=f"{rest_url}/", auth=signing(token), timeout=TIMEOUT_S, trust_env=False
    ) as http:

        async def call(tool: str, **arguments: Any) -> Told:
            method, path = _ROUTES[tool]
            if "{request_id}" in path:
                path = path.format(request_id=arguments.pop("request_id"))
            given: dict[str, Any] = {"json" if method == "POST" else "params": arguments}
            return _from_rest(await http.request(method, path, **given))

        yield call


def _mcp(client: Client) -> Call:
    async def call(tool: str, **arguments: Any) -> Told:
        result = await client.call_tool(tool, arguments)
        told: Told = result.structured_content or {}
        [block] = result.content
        # Hosts that read no structured content read the same from the text.
        assert orjson.loads(getattr(block, "text", "")) == told
        return {**told, FAILED: bool(result.is_error)}

    return call


def _from_rest(response: httpx2.Response) -> Told:
    told: Told = response.json()
    if response.is_success:
        return {**told, FAILED: False}
    assert told.pop("status") == response.status_code
    told["message"] = told.pop("detail")
    for name in ("type", "title", "call_id"):  # what RFC 9457 adds, and the call's id in the logs
        del told[name]
    return {**told, FAILED: True}
