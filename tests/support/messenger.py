"""The bot's message websocket at the wire: a real server on loopback that a test directs."""

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import anyio
import orjson
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

TOKEN = "ws-token-canary/+0123456789"  # with what an address must quote
PATIENCE_S = 10.0
PATH = "/api/v1/message/ws"
# This end logs tokens, too; what a test reads is the other end's log.
_silent = logging.getLogger(f"{__name__}.wire")
_silent.setLevel(logging.CRITICAL)


@dataclass
class Messenger:
    """Answers subscriptions as Freqtrade does, and tells what a test wants told.

    Attributes:
        refuses: the status with which the next handshakes are refused.
        sends_to: the Location header of these refusals.
        answers: whether it answers a subscription at all.
        subscriptions: the topics asked for, one tuple for each connection that asked.
    """

    url: str = ""
    refuses: HTTPStatus | None = None
    sends_to: str | None = None
    answers: bool = True
    tries: int = 0
    subscriptions: list[tuple[str, ...]] = field(default_factory=list)
    _wires: list[ServerConnection] = field(default_factory=list)
    _news: anyio.Event = field(default_factory=anyio.Event)

    async def tried(self, times: int) -> None:
        """Wait until as many handshakes were tried."""
        with anyio.fail_after(PATIENCE_S):
            while self.tries < times:
                await self._news.wait()

    async def tell(self, *messages: Mapping[str, Any] | str | bytes) -> None:
        """Send messages to whoever listens."""
        for message in messages:
            raw = message if isinstance(message, str | bytes) else orjson.dumps(message).decode()
            for wire in self._wires:
                await wire.send(raw)

    async def hang_up(self) -> None:
        """Close every connection, as a bot does that stops."""
        for wire in [*self._wires]:
            await wire.close()

    async def cut(self) -> None:
        """Break every connection, as a bot does that is killed."""
        for wire in self._wires:
            wire.transport.abort()

    def fall_silent(self) -> None:
        """Read nothing more, so that no ping is answered either."""
        for wire in self._wires:
            wire.transport.pause_reading()

    def _admit(self, wire: ServerConnection, request: Request) -> Response | None:
        self.tries += 1
        self._news.set()
        self._news = anyio.Event()
        if self.refuses is not None:
            refusal = wire.respond(self.refuses, "")
            if self.sends_to is not None:
                refusal.headers["Location"] = self.sends_to
            return refusal
        path, _, query = request.path.partition("?")
        right = (path, query) == (PATH, "token=ws-token-canary%2F%2B0123456789")
        return None if right else wire.respond(HTTPStatus.FORBIDDEN, "")

    async def _serve(self, wire: ServerConnection) -> None:
        self._wires.append(wire)
        try:
            async for raw in wire:
                message = orjson.loads(raw)
                if message["type"] == "subscribe":
                    self.subscriptions.append(tuple(message["data"]))
                elif self.answers:
                    await self.tell({"type": "whitelist", "data": ["BTC/USDT"]})
        except ConnectionClosed:
            pass  # a client that breaks off is no fault of the server's
        finally:
            self._wires.remove(wire)


@asynccontextmanager
async def messenger() -> AsyncIterator[Messenger]:
    """Serve a messenger on a free port for as long as the block lasts."""
    told = Messenger()
    async with serve(
        told._serve, "127.0.0.1", 0, process_request=told._admit, close_timeout=1, logger=_silent
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        told.url = f"http://127.0.0.1:{port}"
        yield told
