"""The command line in this process, and real servers for it to find: a bot and a gateway."""

import contextlib
import gc
import json
import logging
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx2
import structlog
from anyio.from_thread import start_blocking_portal
from click.testing import CliRunner

from mcp_gateway.cli.control.verbs import control_verbs
from mcp_gateway.cli.main import run
from mcp_gateway.clock import Clock
from mcp_gateway.settings import Settings
from mcp_gateway.transports.http import Lifespan, bound, open_app, server_for
from mcp_gateway.transports.requests import Message, Receive, Scope, Send
from tests.support.tradingbot import TradingBot
from tests.support.wire import served

BOT_USER = "bot-user"
BOT_PASSWORD = "bot-canary-password"


@dataclass(frozen=True)
class Outcome:
    """How a command ended and what it wrote."""

    code: int
    out: str
    err: str

    def json(self) -> Any:
        """Return standard output as the JSON that it must be."""
        return json.loads(self.out)


def command(folder: Path, *words: str, **environment: str) -> Outcome:
    """Run ``mcp-gateway WORDS`` in ``folder``, which is its data folder too."""
    given = {"XDG_DATA_HOME": str(folder), "MCP_GATEWAY_DATA_DIR": str(folder)} | environment
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        with contextlib.chdir(folder), CliRunner().isolation(env=given) as (out, err, _):
            code = run(list(words))
            return Outcome(code, out.getvalue().decode(), err.getvalue().decode())
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
        structlog.reset_defaults()


def trading_bot() -> TradingBot:
    """Return a bot of the present moment: its loop has just run, its candles are new."""
    now = Clock().now()
    bot = TradingBot(Clock(), started_at=now.isoformat())
    newest = int(now.timestamp()) // 300 * 300 - 300
    bot.candles = {(pair, "5m"): newest for pair in bot.pairs}
    return bot


class BotFace:
    """The bot at the wire behind a real port, with a user and a password."""

    def __init__(self, bot: TradingBot) -> None:
        self._bot = bot
        login = b64encode(f"{BOT_USER}:{BOT_PASSWORD}".encode())
        self._login = (b"authorization", b"Basic " + login)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        body: bytes = b""
        message: Message = {}
        while not message or message.get("more_body"):
            message = await receive()
            body += message.get("body", b"")
        query = scope["query_string"].decode()
        url = f"http://bot.test{scope['path']}?{query}"
        answer = httpx2.Response(401, json={"detail": "Unauthorized"})
        if self._login in scope["headers"]:
            answer = await self._bot._answer(httpx2.Request(scope["method"], url, content=body))
        headers = [(b"content-type", answer.headers["content-type"].encode())]
        start = {"type": "http.response.start", "status": answer.status_code, "headers": headers}
        await send(start)
        await send({"type": "http.response.body", "body": answer.content})


@contextmanager
def bot_served(bot: TradingBot) -> Iterator[dict[str, str]]:
    """Serve a bot beside this thread and yield the settings that reach it."""
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(served(BotFace(bot))) as wire,
    ):
        yield {
            "FREQTRADE_URL": f"http://127.0.0.1:{wire.port}",
            "FREQTRADE_USERNAME": BOT_USER,
            "FREQTRADE_PASSWORD": BOT_PASSWORD,
        }


@contextmanager
def gateway_served(settings: Settings) -> Iterator[int]:
    """Serve a whole gateway beside this thread, control socket included; yield its port."""
    with (
        start_blocking_portal("asyncio") as portal,
        portal.wrap_async_context_manager(_gateway(settings)) as port,
    ):
        yield port


@asynccontextmanager
async def _gateway(settings: Settings) -> AsyncIterator[int]:
    listening = bound("127.0.0.1", 0)
    port: int = listening.getsockname()[1]
    opener = partial(open_app, settings.model_copy(update={"port": port}), verbs=control_verbs())
    ready = anyio.Event()
    server = server_for(Lifespan(opener), ready.set)
    async with anyio.create_task_group() as group:
        group.start_soon(server.serve, [listening])
        await ready.wait()
        yield port
        server.should_exit = True
    gc.unfreeze()
