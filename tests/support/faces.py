"""The ways to call a gateway, each told by the code with which it turns a token away."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from mcp_gateway.access.tokens.revocations import Revocations
from mcp_gateway.domain.principals import Credentials, Unsigned
from mcp_gateway.gateway import Gateway
from mcp_gateway.settings import Settings
from mcp_gateway.transports.credentials import caller
from mcp_gateway.transports.door import Door
from mcp_gateway.transports.mcp.server import GatedServer
from mcp_gateway.transports.rest.routes import rest_routes
from mcp_gateway.transports.routes import MCP
from tests.support.clock import ManualClock
from tests.support.gateway import BASE_URL, ToldGateway, code_of
from tests.support.mcpserver import Era
from tests.support.mcpserver import code_of as code_of_error

LET_IN = "let in"
Revoked = Revocations | None


@dataclass(frozen=True)
class Opened:
    """An open face, and the clock of the gateway behind it."""

    clock: ManualClock
    asks: Callable[[str], Awaitable[str]]

    async def __call__(self, token: str) -> str:
        """Return the code that a call with this token ends in, or LET_IN."""
        return await self.asks(token)


Face = Callable[..., AbstractAsyncContextManager[Opened]]  # settings, and what was revoked


@asynccontextmanager
async def over_http(
    told: ToldGateway,
) -> AsyncIterator[Callable[[str], httpx2.AsyncClient]]:
    """Open the whole HTTP face; the tokens' bytes go into the header as they are."""
    gateway, settings = cast("Gateway", told), told.settings
    server = GatedServer(gateway)
    mcp = server.streamable_http_app(
        streamable_http_path=MCP.path, json_response=True, stateless_http=True
    )
    door = Door(gateway, mcp=mcp, routes=rest_routes(settings, None))

    def client(token: str) -> httpx2.AsyncClient:
        shown = b"Bearer " + token.encode("utf-8", "surrogatepass")
        return httpx2.AsyncClient(
            transport=httpx2.ASGITransport(app=door), base_url=BASE_URL,
            headers=httpx2.Headers([(b"authorization", shown)]),
        )  # fmt: skip

    async with server.session_manager.run():
        yield client


@asynccontextmanager
async def mcp_over_http(
    era: Era, settings: Settings, revoked: Revoked = None
) -> AsyncIterator[Opened]:
    """Speak MCP over HTTP through the SDK's client, in one era."""
    told = ToldGateway(settings, revoked)
    async with over_http(told) as client:

        async def shows(token: str) -> str:
            async with client(token) as http:
                wire = streamable_http_client(f"{BASE_URL}{MCP.path}", http_client=http)
                return await _asked(Client(wire, mode=era))

        yield Opened(told.clock, shows)


@asynccontextmanager
async def rest(settings: Settings, revoked: Revoked = None) -> AsyncIterator[Opened]:
    """Call the predecessor's endpoints."""
    told = ToldGateway(settings, revoked)
    async with over_http(told) as client:

        async def shows(token: str) -> str:
            async with client(token) as http:
                answer = await http.get("/api/v1/positions/open")
            if answer.is_success:
                return LET_IN
            assert answer.status_code in {401, 503}
            if answer.status_code == 401:
                assert answer.headers["www-authenticate"].startswith("Bearer ")
            return code_of(answer)

        yield Opened(told.clock, shows)


@asynccontextmanager
async def stdio(era: Era, settings: Settings, revoked: Revoked = None) -> AsyncIterator[Opened]:
    """Be the process whose MCP_GATEWAY_TOKEN this is; nothing but the pipe is left out."""
    told = ToldGateway(settings, revoked)
    server = GatedServer(cast("Gateway", told))

    async def shows(token: str) -> str:
        shown = Credentials("stdio", token, Unsigned("signature_missing"), "stdio")
        before = caller.set(shown)
        try:
            return await _asked(Client(server, mode=era))
        finally:
            caller.reset(before)

    yield Opened(told.clock, shows)


async def _asked(client: Client) -> str:
    """List the tools and call one; a token that is let in must be good for both."""
    try:
        async with client as session:
            await session.list_tools()
            told: Any = await session.call_tool("get_open_positions", {})
            assert not told.is_error, told.structured_content
            return LET_IN
    except* MCPError as group:
        [error] = _leaves(group)
    return code_of_error(error)


def _leaves(group: BaseExceptionGroup[Any]) -> list[Any]:
    """Return the exceptions in a group, however deep they lie."""
    return [
        leaf
        for each in group.exceptions
        for leaf in (_leaves(each) if isinstance(each, BaseExceptionGroup) else [each])
    ]


FACES: dict[str, Face] = {
    "MCP over HTTP, modern": partial(mcp_over_http, "auto"),
    "MCP over HTTP, handshake": partial(mcp_over_http, "legacy"),
    "REST": rest,
    "stdio, modern": partial(stdio, "auto"),
    "stdio, handshake": partial(stdio, "legacy"),
}
