"""Requests as bytes on connections that stay open: what a proof sends costs it next to nothing."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import anyio
from anyio.abc import SocketStream


def request(
    method: str, path: str, host: str, authorization: str, body: bytes | None = None
) -> bytes:
    """Return one request, whole."""
    head = [f"{method} {path} HTTP/1.1", f"host: {host}", f"authorization: {authorization}"]
    if body is not None:
        head += [
            "content-type: application/json", "accept: application/json, text/event-stream",
            "mcp-protocol-version: 2025-11-25", f"content-length: {len(body)}",
        ]  # fmt: skip
    return "\r\n".join(head).encode() + b"\r\n\r\n" + (body or b"")


@dataclass
class Caller:
    """One connection; ``closed`` once the server has ended it."""

    stream: SocketStream
    closed: bool = False

    @classmethod
    @asynccontextmanager
    async def connected(cls, url: str) -> AsyncIterator["Caller"]:
        """Hold a connection to a server for as long as the block lasts."""
        where = urlsplit(url)
        async with await anyio.connect_tcp(str(where.hostname), where.port or 80) as stream:
            yield cls(stream)

    async def ask(self, wanted: bytes) -> str:
        """Send a request, take the whole answer, and return its status."""
        await self.stream.send(wanted)
        read = b""
        while b"\r\n\r\n" not in read:
            read += await self.stream.receive()
        head, _, body = read.partition(b"\r\n\r\n")
        head = head.lower()
        length = int(head.partition(b"content-length: ")[2].split(b"\r\n", 1)[0] or 0)
        while len(body) < length:
            body += await self.stream.receive()
        self.closed = b"\r\nconnection: close" in head
        return head.split(b" ", 2)[1].decode()
