"""A server on loopback that answers as a test tells it to, down to the last byte."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

Answering = Callable[["Connection"], Awaitable[None]]


@dataclass
class Connection:
    """One request on one connection; a handler writes its bytes, or does not."""

    path: str
    number: int
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Write bytes as they are."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self, body: bytes, status: str = "200 OK") -> None:
        """Write a whole answer, after which the connection may be used again."""
        await self.send(head(len(body), status) + body)

    def reset(self) -> None:
        """Drop the connection with a TCP reset."""
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()

    async def hang(self) -> None:
        """Say nothing more until the other side has gone."""
        while await self.reader.read(1024):
            pass


@dataclass
class Rogue:
    """Where the server listens, and what has come to it."""

    url: str
    connections: int = 0
    paths: list[str] = field(default_factory=list)


def head(length: int, status: str = "200 OK") -> bytes:
    """Return the head of a JSON answer."""
    kind = "content-type: application/json"
    return f"HTTP/1.1 {status}\r\n{kind}\r\ncontent-length: {length}\r\n\r\n".encode()


@asynccontextmanager
async def rogue(answering: Answering) -> AsyncIterator[Rogue]:
    """Serve each request with ``answering`` while the block runs."""
    seen = Rogue("")
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.connections += 1
        number = seen.connections
        try:
            while path := await _request(reader):
                seen.paths.append(path)
                await answering(Connection(path, number, reader, writer))
        except ConnectionError:
            pass  # the client may leave whenever it likes
        finally:
            writer.close()

    def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    seen.url = f"http://127.0.0.1:{port}"
    try:
        yield seen
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _request(reader: asyncio.StreamReader) -> str | None:
    """Read one request to its end and return its path; None once the client is gone."""
    try:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    except asyncio.IncompleteReadError:
        return None
    for line in lines[1:]:
        name, _, value = line.partition(":")
        if name.lower() == "content-length":
            await reader.readexactly(int(value))
    return lines[0].split()[1].split("?")[0].removeprefix("/api/v1/")
