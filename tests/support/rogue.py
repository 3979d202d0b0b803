"""A server on loopback that answers as a test tells it to, down to the last byte."""

import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
from anyio.abc import SocketAttribute, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

Answering = Callable[["Connection"], Awaitable[None]]
LARGEST_HEAD_BYTES = 65536


@dataclass
class Connection:
    """One connection and the request that came last on it; a handler writes its bytes."""

    number: int
    stream: SocketStream
    method: str = ""
    path: str = ""
    request: bytes = b""

    def __post_init__(self) -> None:
        self._incoming = BufferedByteReceiveStream(self.stream)

    async def next_request(self) -> None:
        """Read one request to its end.

        Raises:
            anyio.IncompleteRead: the client has gone.
        """
        head = await self._incoming.receive_until(b"\r\n\r\n", LARGEST_HEAD_BYTES)
        first, *lines = head.decode().split("\r\n")
        self.method, target, _ = first.split()
        self.path = target.split("?")[0].removeprefix("/api/v1/")
        self.request = head + b"\r\n\r\n"
        for line in lines:
            name, _, value = line.partition(":")
            if name.lower() == "content-length":
                self.request += await self._incoming.receive_exactly(int(value))

    async def send(self, data: bytes) -> None:
        """Write bytes as they are."""
        await self.stream.send(data)

    async def answer(self, body: bytes, status: str = "200 OK") -> None:
        """Write a whole answer, after which the connection may be used again."""
        await self.send(head(len(body), status) + body)

    async def end(self) -> None:
        """Close the connection in good order."""
        await self.stream.aclose()

    async def reset(self) -> None:
        """Drop the connection with a TCP reset."""
        raw = self.stream.extra(SocketAttribute.raw_socket)
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        await anyio.aclose_forcefully(self.stream)

    async def hang(self) -> None:
        """Say nothing more until the other side has gone."""
        async for _ in self.stream:
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
    listeners = await anyio.create_tcp_listener(local_host="127.0.0.1")
    seen = Rogue(f"http://127.0.0.1:{listeners.extra(SocketAttribute.local_port)}")

    async def serve(stream: SocketStream) -> None:
        seen.connections += 1
        connection = Connection(seen.connections, stream)
        async with stream:
            try:
                while True:
                    await connection.next_request()
                    seen.paths.append(connection.path)
                    await answering(connection)
            except (anyio.IncompleteRead, anyio.BrokenResourceError, anyio.ClosedResourceError):
                pass  # the client may leave whenever it likes, and so may the test's answer

    async with listeners, anyio.create_task_group() as tasks:
        tasks.start_soon(listeners.serve, serve)
        yield seen
        tasks.cancel_scope.cancel()
