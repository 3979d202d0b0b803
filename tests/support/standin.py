"""The trading bot at the wire, behind a real socket: for gateways that are processes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import httpx2

from mcp_gateway.clock import Clock
from mcp_gateway.transports.bounds import BoundedProtocol
from mcp_gateway.transports.requests import Receive, Scope, Send
from tests.support.tradingbot import TradingBot
from tests.support.wire import served

# One candle a day: no test runs so long that a candle becomes old while it looks.
TIMEFRAME, STEP_S = "1d", 86_400
PATIENCE_S = 30.0


@dataclass
class StandIn:
    """A bot on loopback; ``bot.faults`` and ``bot.hold`` say what it does with requests."""

    bot: TradingBot
    url: str = ""
    arrived: list[str] = field(default_factory=list)
    _news: anyio.Event = field(default_factory=anyio.Event)

    async def asked(self, endpoint: str, times: int = 1) -> None:
        """Wait until an endpoint has been asked that often."""
        with anyio.fail_after(PATIENCE_S):
            while self.arrived.count(endpoint) < times:
                self._news = anyio.Event()
                await self._news.wait()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request as the bot does, whether or not the caller is still there."""
        body = await _body(receive)
        if body is None:
            return
        request = httpx2.Request(
            scope["method"],
            f"{self.url}{scope['path']}?{scope['query_string'].decode()}",
            content=body,
        )
        self.arrived.append(request.url.path.removeprefix("/api/v1/"))
        self._news.set()
        try:
            response = await self.bot._answer(request)
        except httpx2.TransportError:  # a fault: the connection ends without an answer
            scope["state"]["abort"]()
            await receive()
            return
        kept = ("content-type", "date")
        headers = [
            (name.encode(), response.headers[name].encode())
            for name in kept
            if name in response.headers
        ]
        start = {"type": "http.response.start", "status": response.status_code, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": response.content})


class Breakable(BoundedProtocol):
    """The gateway's own HTTP, whose requests can end their connection."""

    def on_message_begin(self) -> None:
        """Put the transport's abort into the state of the request."""
        super().on_message_begin()
        self.scope["state"]["abort"] = self.transport.abort


@asynccontextmanager
async def stand_in(*, candles_behind: int = 0) -> AsyncIterator[StandIn]:
    """Serve a bot on a free port for as long as the block lasts.

    Args:
        candles_behind: how many candles the bot is late.
    """
    clock = Clock()
    bot = TradingBot(clock, timeframe=TIMEFRAME)
    newest = (int(clock.now().timestamp()) // STEP_S - 1 - candles_behind) * STEP_S
    bot.candles = {(pair, TIMEFRAME): newest for pair in bot.pairs}
    standing = StandIn(bot)
    async with served(standing, protocol=Breakable) as wire:
        standing.url = f"http://127.0.0.1:{wire.port}"
        try:
            yield standing
        finally:
            bot.release.set()  # a request that still hangs would hold up the end
            if bot.hold is not None:
                bot.hold.set()


async def _body(receive: Receive) -> bytes | None:
    """Return the whole body; None of a request that never came to its end."""
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        body += bytes(message.get("body", b""))
        if not message.get("more_body", False):
            return body
