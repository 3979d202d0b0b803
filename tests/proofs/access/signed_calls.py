"""Signed requests as the bytes that go over the wire, and connections that carry them.

Kept as bytes, a request can be sent again exactly as it was, or with one thing changed.
"""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

import anyio
import httpx2
import orjson
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from mcp_gateway.client import GatewayAuth

LONGEST_HEAD: Final = 65_536
ERAS: Final = ("2025-11-25", "2026-07-28")
SIGNATURE_FIELDS: Final = ("content-digest", "signature-input", "signature")
_CODE: Final = re.compile(rb'"code":\s*"([a-z_]+)"')


@dataclass(frozen=True, slots=True)
class Sent:
    """One request, with its headers by small names."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    kind: str = "exact"

    def raw(self) -> bytes:
        """Return its bytes."""
        lines = [f"{self.method} {self.path} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        if self.body or self.method == "POST":
            lines.append(f"content-length: {len(self.body)}")
        return "\r\n".join([*lines, "", ""]).encode() + self.body

    def altered(self, kind: str, **changes: Any) -> "Sent":
        """Return it with something changed after signing; a header of None is taken away."""
        headers = self.headers | changes.pop("headers", {})
        kept = {name: value for name, value in headers.items() if value is not None}
        return replace(self, kind=kind, headers=kept, **changes)


def order(number: int) -> dict[str, Any]:
    """Return the arguments of a new order."""
    return {
        "request_id": str(uuid4()), "pair": "BTC/USDT", "side": "buy",
        "amount": f"0.00{1 + number % 9}", "order_type": "market",
    }  # fmt: skip


def signed_call(auth: GatewayAuth, url: str, number: int) -> Sent:
    """Return a new signed call, of another kind for each number: REST and MCP, both eras."""
    kinds = (_rest_order, _mcp_order, _rest_cancel, _mcp_order)
    return kinds[number % len(kinds)](auth, url, number)


def _rest_order(auth: GatewayAuth, url: str, number: int) -> Sent:
    return _signed(auth, "POST", url, "/api/v1/orders", orjson.dumps(order(number)))


def _rest_cancel(auth: GatewayAuth, url: str, _number: int) -> Sent:
    return _signed(auth, "DELETE", url, f"/api/v1/orders/{uuid4()}", b"")


def _mcp_order(auth: GatewayAuth, url: str, number: int) -> Sent:
    era = ERAS[number // 2 % 2]
    params: dict[str, Any] = {"name": "create_order", "arguments": order(number)}
    headers = {"accept": "application/json, text/event-stream", "mcp-protocol-version": era}
    if era == ERAS[1]:
        headers |= {"mcp-method": "tools/call", "mcp-name": "create_order"}
        prefix = "io.modelcontextprotocol/"
        params["_meta"] = {
            f"{prefix}protocolVersion": era, f"{prefix}clientCapabilities": {},
            f"{prefix}clientInfo": {"name": "proof", "version": "1"},
        }  # fmt: skip
    call = {"jsonrpc": "2.0", "id": number, "method": "tools/call", "params": params}
    return _signed(auth, "POST", url, "/mcp", orjson.dumps(call), headers)


def _signed(
    auth: GatewayAuth, method: str, url: str, path: str, body: bytes,
    headers: dict[str, str] | None = None,
) -> Sent:  # fmt: skip
    told = {"content-type": "application/json"} | (headers or {}) if body else headers or {}
    request = httpx2.Request(method, f"{url}{path}", content=body, headers=told)
    signed = next(auth.auth_flow(request))
    names = ("authorization", *told, *SIGNATURE_FIELDS)
    kept = {name: signed.headers[name] for name in names}
    return Sent(method, path, {"host": urlsplit(url).netloc} | kept, body)


@dataclass(frozen=True, slots=True)
class Told:
    """An answer: its status, and the code of a refusal, empty where it was none."""

    status: int
    code: str


class Line:
    """Calls to one gateway, one after another, on a connection that is opened as needed."""

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        self._where = str(where.hostname), where.port or 80
        self._wire: SocketStream | None = None
        self._reader: BufferedByteReceiveStream | None = None

    async def call(self, raw: bytes) -> Told:
        """Send a request and read its answer."""
        if self._wire is None or self._reader is None:
            self._wire = await anyio.connect_tcp(*self._where)
            self._reader = BufferedByteReceiveStream(self._wire)
        await self._wire.send(raw)
        head = (await self._reader.receive_until(b"\r\n\r\n", LONGEST_HEAD)).lower()
        length = int(head.partition(b"content-length: ")[2].split(b"\r\n", 1)[0])
        body = await self._reader.receive_exactly(length)
        if b"connection: close" in head:
            await self.close()
        found = _CODE.search(body)
        return Told(int(head.split(b" ", 2)[1]), found[1].decode() if found else "")

    async def close(self) -> None:
        """End the connection; the next call opens another."""
        if self._wire is not None:
            await self._wire.aclose()
            self._wire = None


@asynccontextmanager
async def line_to(url: str) -> AsyncIterator[Line]:
    """Call a gateway for as long as the block lasts."""
    line = Line(url)
    try:
        yield line
    finally:
        with anyio.CancelScope(shield=True):
            await line.close()
