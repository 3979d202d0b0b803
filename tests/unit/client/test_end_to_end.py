"""From the agent's client over the wire to the gate: what one signs, the other believes."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any, Literal

import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.server import MCPServer

from mcp_gateway.access.signatures import SignedRequest, judge
from mcp_gateway.client import GatewayAuth
from mcp_gateway.domain.operations import OPERATIONS
from mcp_gateway.domain.principals import Credentials, Evidence, Signed
from mcp_gateway.errors import GatewayError
from tests.support.gates import Bench, make_bench
from tests.support.signing import KEY, KEY_ID
from tests.support.tokens import forge

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
BASE = "http://127.0.0.1:8000"


async def whole_body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body"):
            return body


def evidence_of(scope: Message, body: bytes, bench: Bench) -> Evidence:
    host = dict(scope["headers"])[b"host"].decode()
    request = SignedRequest(
        scope["method"], scope["scheme"], host, scope["raw_path"], scope["query_string"],
        scope["headers"], body,
    )  # fmt: skip
    return judge(request, bench.gate.keyring, bench.clock, 30)


class OrderDesk:
    """An ASGI application that asks the gate for every POST and answers with the code."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        evidence = evidence_of(scope, await whole_body(receive), self._bench)
        token = dict(scope["headers"])[b"authorization"].decode().removeprefix("Bearer ")
        shown = Credentials("http", token, evidence, "call-1")
        try:
            admission = await self._bench.gate.admit(shown, OPERATIONS["create_order"])
            told = {"code": "ok", "by": admission.key_id}
        except GatewayError as refusal:
            told = refusal.public()
        headers = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": json.dumps(told).encode()})


class Tampering(httpx2.AsyncBaseTransport):
    """A wire that somebody sits on: alters a request after it was signed."""

    def __init__(self, inner: httpx2.AsyncBaseTransport, body: bytes) -> None:
        self._inner = inner
        self._body = body

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        altered = httpx2.Request(
            request.method, request.url, headers=request.headers, content=self._body
        )
        return await self._inner.handle_async_request(altered)


def make_auth(bench: Bench) -> GatewayAuth:
    return GatewayAuth(forge(), key=KEY, key_id=KEY_ID, clock=bench.clock)


async def answer(client: httpx2.AsyncClient, body: bytes = b'{"amount":1}') -> dict[str, Any]:
    response = await client.post(f"{BASE}/api/v1/orders", content=body)
    answered: dict[str, Any] = response.json()
    return answered


async def test_an_order_signed_by_the_client_passes_the_gate() -> None:
    """The way an agent really goes; sent again it is signed anew and passes again."""
    bench = make_bench()
    transport = httpx2.ASGITransport(app=OrderDesk(bench))
    async with httpx2.AsyncClient(auth=make_auth(bench), transport=transport) as client:
        assert [await answer(client) for _ in range(2)] == [{"code": "ok", "by": KEY_ID}] * 2


async def test_an_order_altered_on_the_wire_is_refused() -> None:
    """The bytes that arrive are not the bytes that were signed."""
    bench = make_bench()
    transport = Tampering(httpx2.ASGITransport(app=OrderDesk(bench)), b'{"amount":9}')
    async with httpx2.AsyncClient(auth=make_auth(bench), transport=transport) as client:
        assert (await answer(client))["code"] == "signature_invalid"


async def test_an_order_recorded_on_the_wire_is_good_once() -> None:
    """Whoever copies the whole request, token and all, gets nothing by sending it again."""
    bench = make_bench()
    wire = httpx2.ASGITransport(app=OrderDesk(bench))
    recorded: list[httpx2.Request] = []

    async def record(request: httpx2.Request) -> None:
        recorded.append(request)

    hooks = {"request": [record]}
    async with httpx2.AsyncClient(
        auth=make_auth(bench), transport=wire, event_hooks=hooks
    ) as client:
        assert (await answer(client))["code"] == "ok"
    async with httpx2.AsyncClient(transport=wire) as thief:
        assert (await thief.send(recorded[0])).json()["code"] == "signature_replayed"


@asynccontextmanager
async def mcp_app(seen: list[Evidence], bench: Bench) -> AsyncIterator[Any]:
    """Run an MCP server of the SDK whose requests are judged on their way in."""
    server = MCPServer("stand-in", version="1")

    @server.tool()
    async def create_order(amount: str) -> str:
        """Place an order."""
        return amount

    inner = server.streamable_http_app(json_response=True, stateless_http=True)

    async def judged(scope: Message, receive: Receive, send: Send) -> None:
        body = await whole_body(receive)
        seen.append(evidence_of(scope, body, bench))
        messages = iter([{"type": "http.request", "body": body, "more_body": False}])

        async def replay() -> Message:
            return next(messages, None) or await receive()

        await inner(scope, replay, send)

    async with server.session_manager.run():
        yield judged


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_every_call_of_the_sdks_client_is_signed(mode: Literal["auto", "legacy"]) -> None:
    """Through the MCP SDK, in both eras of the protocol: the agent only hands over the auth."""
    bench, seen = make_bench(), list[Evidence]()
    async with (
        mcp_app(seen, bench) as app,
        httpx2.AsyncClient(
            auth=make_auth(bench), transport=httpx2.ASGITransport(app=app), base_url=BASE
        ) as http,
        Client(streamable_http_client(f"{BASE}/mcp", http_client=http), mode=mode) as client,
    ):
        result = await client.call_tool("create_order", {"amount": "0.001"})
    assert result.is_error is False
    nonces = [each.nonce for each in seen if isinstance(each, Signed)]
    assert len(nonces) == len(seen) == len(set(nonces)) > 1
