"""The whole HTTP face of a real gateway in this process, before a bot that stands in at the wire."""

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any, Final

import structlog

from mcp_gateway.clock import Clock
from mcp_gateway.errors import GatewayError
from mcp_gateway.gateway import Gateway
from mcp_gateway.orders.book.actor import Actor
from mcp_gateway.storage.kv import open_kv
from mcp_gateway.transports.door import Door
from mcp_gateway.transports.mcp.server import GatedServer
from mcp_gateway.transports.rest.routes import rest_routes
from mcp_gateway.transports.routes import MCP
from tests.proofs.access.fuzz.bending import Header, bent, bent_headers, bent_text
from tests.proofs.access.fuzz.calls import Call, call
from tests.proofs.access.fuzz.verdict import BOT_IS_DEAD, BOT_SAID_NO, Answered, faults
from tests.support.gateway import HMAC_SECRET, TRADER, settings_for
from tests.support.signing import signed
from tests.support.tradingbot import TradingBot

HOST: Final = "127.0.0.1:8000"
DEADLINE_S: Final = 30.0  # of one answer, on a machine with other work
TOKEN_S: Final = 31_536_000
SCOPES: Final = (
    "market:read", "positions:read", "orders:preview", "orders:create", "orders:approve",
    "ops:halt", "audit:read",
)  # fmt: skip
STEP_S: Final = 86_400
NO_LIMIT: Final = 1_000_000


class Crashes(logging.Handler):
    """Keeps what was logged with a traceback: a bug that somebody caught."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.seen: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep one."""
        if record.exc_info:
            self.seen.append(f"{record.name}: {record.getMessage()[:200]} {record.exc_info[1]!r}")


def _bare(_logger: Any, _method: str, event: Any) -> Any:
    """Pass on of a log line what is looked at: the sentence, and the traceback."""
    return (str(event["event"]),), {"exc_info": event.get("exc_info")}


@dataclass
class Sent:
    """One request as it goes over the wire, and whether it must be refused."""

    call: Call
    path: str
    query: str
    headers: list[Header]
    body: bytes
    must_refuse: bool

    def __str__(self) -> str:
        told = f"{self.call.method} {self.path[:200]}?{self.query[:200]} {self.headers!r:.700}"
        return f"{told} {self.body[:600]!r}"


@dataclass
class Stage:
    """An open face; ``ask`` sends one bent request and tells what was wrong with its answer."""

    door: Door
    token: str
    bot: TradingBot
    crashes: Crashes
    gateway: Gateway
    statuses: dict[int, int] = field(default_factory=dict)

    async def resume(self) -> None:
        """Release what was halted, so that orders go on."""
        with suppress(GatewayError):  # nothing is halted
            who = Actor.operating("fuzzer", "resume")
            await self.gateway.board.release(lambda _halt: True, who, "the fuzzer goes on")

    async def ask(self, rng: Random) -> list[str]:
        """Send one bent request; return the violations."""
        sent = self._bent(call(rng), rng)
        try:
            async with asyncio.timeout(DEADLINE_S):
                answer = await self._exchange(sent)
        except TimeoutError:
            return [f"VIOLATION hangs: {sent}"]
        except Exception as error:  # noqa: BLE001 - whatever comes out of the door is a finding
            return [f"VIOLATION raises {error!r}: {sent}"]
        self.statuses[answer.status] = self.statuses.get(answer.status, 0) + 1
        found = faults(
            sent.call.language,
            answer,
            must_refuse=sent.must_refuse,
            path=sent.path,
            allowed=BOT_IS_DEAD if self.bot.fails else BOT_SAID_NO,
        )
        found += [f"logs {one}" for one in self.crashes.seen]
        self.crashes.seen.clear()
        self._forget()
        return [
            f"VIOLATION {one}: {sent} -> {answer.status} {answer.body[:400]!r}" for one in found
        ]

    def _bent(self, good: Call, rng: Random) -> Sent:
        body, must_refuse = bent(good, rng) if good.document is not None else (b"", False)
        path, query = good.path, good.query
        if rng.random() < 0.05:
            path, must_refuse = "/" + bent_text(path, rng)[1:], False
        if rng.random() < (0.02 if good.document or good.signed else 0.3):
            query = bent_text(query, rng)
        headers = [("host", HOST), ("authorization", f"Bearer {self.token}"), *good.headers]
        if good.document is not None:
            headers.append(("content-type", "application/json"))
            headers.append(("content-length", str(len(body))))
        if good.signed and rng.random() < 0.8:
            headers += self._signature(good, path, body)
        if rng.random() < 0.15:
            headers = bent_headers(headers, rng)
        return Sent(good, path, query, headers, body, must_refuse)

    def _signature(self, good: Call, path: str, body: bytes) -> list[Header]:
        made = signed(
            key=HMAC_SECRET, method=good.method, host=HOST, path=path, body=body,
            keyid=TRADER, nonce=secrets.token_urlsafe(16), created=int(Clock().now().timestamp()),
        )  # fmt: skip
        wanted = {b"content-digest", b"signature-input", b"signature"}
        return [(name.decode(), one.decode()) for name, one in made.headers if name in wanted]

    async def _exchange(self, sent: Sent) -> Answered:
        parts = [{"type": "http.request", "body": sent.body, "more_body": False}]
        told: list[Any] = []

        async def receive() -> Any:
            if parts:
                return parts.pop()
            return await asyncio.Future()  # nothing more comes, and nobody hangs up

        async def send(message: Any) -> None:
            told.append(message)

        raw_path = sent.path.encode("latin-1", "replace")
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "scheme": "http",
            "method": sent.call.method, "path": raw_path.decode("latin-1"), "raw_path": raw_path,
            "query_string": sent.query.encode("latin-1", "replace"), "root_path": "", "state": {},
            "headers": [
                (name.lower().encode("latin-1"), one.encode("latin-1", "replace"))
                for name, one in sent.headers
            ],
            "client": ("127.0.0.1", 40_000), "server": ("127.0.0.1", 8000),
        }  # fmt: skip
        # Each in a task of its own, as the server does it: what one binds, the next does not see.
        await asyncio.create_task(self.door(scope, receive, send))
        start, *rest = told
        body = b"".join(bytes(one.get("body", b"")) for one in rest)
        return Answered(int(start["status"]), dict(start["headers"]), body)

    def _forget(self) -> None:
        """Let the bot that stands in forget what it was asked: the gateway's memory is measured."""
        for kept in (self.bot.calls, self.bot.posts, self.bot.cancels, self.bot.switches):
            kept.clear()


@asynccontextmanager
async def staged(folder: Path) -> AsyncIterator[Stage]:
    """Open a gateway with a store of its own, and nothing that limits how often it is asked."""
    crashes = Crashes()
    root = logging.getLogger()
    before = root.handlers[:]
    root.handlers[:] = [crashes]
    structlog.configure(
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[structlog.stdlib.filter_by_level, _bare],
    )
    clock = Clock()
    bot = TradingBot(clock, timeframe="1d", free=1e12)
    newest = (int(clock.now().timestamp()) // STEP_S - 1) * STEP_S
    bot.candles = {(pair, "1d"): newest for pair in bot.pairs}
    settings = settings_for(
        folder, rate_limit_per_minute=NO_LIMIT, caller_rate_limit_per_minute=NO_LIMIT,
        server_rate_limit_per_minute=NO_LIMIT, door_rate_limit_per_minute=NO_LIMIT,
        token_longest_s=TOKEN_S,
    )  # fmt: skip
    gateway = Gateway(settings, clock, open_kv(None, clock), bot.client())
    server = GatedServer(gateway)
    mcp = server.streamable_http_app(
        streamable_http_path=MCP.path, json_response=True, stateless_http=True,
        max_request_body_size=settings.max_body_bytes,
    )  # fmt: skip
    door = Door(gateway, mcp=mcp, routes=rest_routes(settings, None))
    issuing = gateway.gate.issuing
    assert issuing is not None
    token = issuing.issue(TRADER, SCOPES, TOKEN_S)
    try:
        async with gateway.running(), server.session_manager.run():
            await gateway.orders()
            yield Stage(door, token, bot, crashes, gateway)
    finally:
        root.handlers[:] = before
        structlog.reset_defaults()
