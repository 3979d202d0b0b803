"""A real HTTP server on loopback, and raw bytes to send to it."""

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import anyio

from mcp_gateway.transports.bounds import BoundedProtocol
from mcp_gateway.transports.http import Lifespan, bound, server_for
from mcp_gateway.transports.requests import ASGIApp


@dataclass(frozen=True)
class Wire:
    """Where the server listens."""

    port: int

    async def exchange(self, *parts: bytes, patience_s: float = 10.0) -> bytes:
        """Send the parts, one by one, and return all that comes until the server hangs up.

        The sending side stays open: it is the server's business to end the conversation.
        """
        answer = b""
        with anyio.fail_after(patience_s):
            async with await anyio.connect_tcp("127.0.0.1", self.port) as stream:
                try:
                    for part in parts:
                        await stream.send(part)
                        await anyio.lowlevel.checkpoint()
                    while True:
                        answer += await stream.receive()
                except (anyio.EndOfStream, anyio.BrokenResourceError):
                    return answer


@asynccontextmanager
async def served(
    app: ASGIApp, *, protocol: type[BoundedProtocol] = BoundedProtocol
) -> AsyncIterator[Wire]:
    """Serve an app over a real socket, as ``mcp-gateway serve`` does."""

    @asynccontextmanager
    async def opener() -> AsyncIterator[ASGIApp]:
        yield app

    listening = bound("127.0.0.1", 0)
    ready = anyio.Event()
    server = server_for(Lifespan(opener), ready.set, protocol=protocol)
    async with anyio.create_task_group() as group:
        group.start_soon(server.serve, [listening])
        await ready.wait()
        yield Wire(listening.getsockname()[1])
        server.should_exit = True
    gc.unfreeze()
