"""The trading bot at the wire, behind a real socket: for gateways that are processes."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio
import httpx2

from mcp_gateway.clock import Clock
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
        request = httpx2.Request(
            scope["method"],
            f"{self.url}{scope['path']}?{scope['query_string'].decode()}",
            content=await _body(receive),
        )
        self.arrived.append(request.url.path.removeprefix("/api/v1/"))
        self._news.set()
        response = await self.bot._answer(request)
        headers = [(b"content-type", response.headers["content-type"].encode())]
        start = {"type": "http.response.start", "status": response.status_code, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": response.content})


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
    async with served(standing) as wire:
        standing.url = f"http://127.0.0.1:{wire.port}"
        try:
            yield standing
        finally:
            bot.release.set()  # a request that still hangs would hold up the end
            if bot.hold is not None:
                bot.hold.set()


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += bytes(message.get("body", b""))
        if not message.get("more_body", False):
            return body
