"""One visit at the door: what is known of a request so far, and the way to answer it."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import anyio

from mcp_gateway.domain.principals import Principal
from mcp_gateway.domain.quotas import Meter
from mcp_gateway.errors import GatewayError
from mcp_gateway.transports import body as bodies
from mcp_gateway.transports import cors, quotas, rpc
from mcp_gateway.transports.forwarding import Outside
from mcp_gateway.transports.requests import (
    Answer,
    Headers,
    Message,
    Receive,
    Request,
    Scope,
    Send,
    only,
    stripped,
)
from mcp_gateway.transports.routes import Route

LINGER_S = 1.0
LINGER_BYTES = 16 * 1024 * 1024
# A token, an order or a price belongs in no cache; no browser may guess another type.
_EVERYWHERE = (
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
)


@dataclass(slots=True)
class Visit:
    """What is known of one request so far; a refusal at any point can tell as much.

    ``route`` is the one at its path, of another method where there is none for this one.
    """

    method: str
    path: str
    query: str
    headers: Headers
    send: Send
    call_id: str = field(default_factory=lambda: uuid.uuid4().hex)
    route: Route | None = None
    variables: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    origin: str | None = None
    principal: Principal | None = None
    meter: Meter = field(default_factory=Meter)
    status: int = 0
    # Whose address it is, before trusted proxies took the request on; empty where there is none.
    peer: str = ""
    scheme: str = "http"
    hosts: tuple[str, ...] = ()  # one of which the caller asked for, and signed

    @classmethod
    def of(cls, scope: Scope, send: Send) -> "Visit":
        raw_path = scope.get("raw_path") or scope["path"].encode()
        return cls(
            method=scope["method"],
            path=raw_path.decode("latin-1"),
            query=scope.get("query_string", b"").decode("latin-1"),
            headers=stripped(scope["headers"]),
            send=send,
            peer=(scope.get("client") or ("",))[0],
        )

    def come_from(self, outside: Outside) -> None:
        """Note how the caller sent the request, before proxies took it on."""
        self.peer, self.scheme = outside.peer, outside.scheme
        asked = outside.host or only(self.headers, b"host") or ""
        self.hosts = (asked,) if outside.public in {None, asked} else (asked, outside.public)

    def request(self, document: Any) -> Request:
        """Return the request as the rooms behind the door see it."""
        return Request(
            query=self.query,
            headers=self.headers,
            call_id=self.call_id,
            body=self.body or b"",
            document=document,
            variables=self.variables,
            peer=self.peer,
        )

    def rpc_id(self) -> str | int | None:
        """Return the id that a JSON-RPC refusal must carry, None where it cannot be known."""
        try:
            return rpc.usable_id(bodies.parse(self.body or b""))
        except GatewayError:
            return None

    async def reply(self, message: Message) -> None:
        """Pass an ASGI message on, with the headers that every answer has."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            present = {name.lower() for name, _ in message.get("headers", ())}
            added = [pair for pair in _EVERYWHERE if pair[0] not in present]
            added += quotas.headers(self.meter.quotas)
            if self.origin is not None:
                added += cors.readable_by(self.origin)
            message = {**message, "headers": [*message.get("headers", ()), *added]}
        await self.send(message)

    async def answer(
        self, answer: Answer, *, unread: Receive | None = None, hang_up: bool = False
    ) -> None:
        """Send a whole answer.

        Args:
            unread: where the rest of a body may still come from. It is taken and thrown away
                for a moment before the connection ends: a connection that ends on unread
                bytes is reset, and the caller would never see the answer.
            hang_up: end the connection after it, whatever may still come.
        """
        # RFC 9110 section 8.6: a 204 has no content, and tells no length of it.
        content = (
            []
            if answer.status == HTTPStatus.NO_CONTENT
            else [
                (b"content-type", answer.media_type.encode()),
                (b"content-length", str(len(answer.body)).encode()),
            ]
        )
        headers = [
            *content,
            *((name.encode(), value.encode("latin-1")) for name, value in answer.headers),
            *([(b"connection", b"close")] if unread or hang_up else []),
        ]
        start = {"type": "http.response.start", "status": answer.status, "headers": headers}
        await self.reply(start)
        body = {"type": "http.response.body", "body": answer.body}
        if unread is not None:
            await self.reply({**body, "more_body": True})
            await _drain(unread)
            body["body"] = b""
        await self.reply(body)


async def _drain(receive: Receive) -> None:
    taken = 0
    with anyio.move_on_after(LINGER_S):
        while taken < LINGER_BYTES:
            message = await receive()
            taken += len(message.get("body", b""))
            if not message.get("more_body", False):
                return
