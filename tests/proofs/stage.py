"""What gateway processes stand between: a bot on a real port, and stores of both engines."""

import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeVar
from uuid import uuid4

import anyio
import httpx2
import psycopg

from mcp_gateway.clock import Clock
from mcp_gateway.storage.sql import Store
from tests.support.rogue import Connection, rogue
from tests.support.servers import plain
from tests.support.tradingbot import TradingBot

Engine = Literal["sqlite", "postgresql"]
Bot = TypeVar("Bot", bound=TradingBot)

ENGINES: Final[tuple[Engine, ...]] = ("sqlite", "postgresql")
# One candle a day: no run is so long that a candle becomes old.
TIMEFRAME, STEP_S = "1d", 86_400
FILE: Final = "gateway.sqlite"
# What was put off happens when the gateway has looked for it in vain so often.
VAIN_LOOKS: Final = 3


@dataclass
class BotOnPort:
    """The trading bot behind a socket.

    ``gate`` keeps orders waiting where it is set; ``arrived`` tells that one has come.
    """

    bot: TradingBot
    url: str = ""
    gate: anyio.Event | None = None
    arrived: anyio.Event = field(default_factory=anyio.Event)
    _looks: int = 0

    async def serve(self, connection: Connection) -> None:
        """Answer as the bot does, or drop the connection where it does."""
        is_order = connection.method != "GET"
        if is_order and self.gate is not None:
            self.arrived.set()
            await self.gate.wait()
        try:
            response = await self.bot._answer(_request(connection))
        except httpx2.TransportError:
            await connection.reset()
            return
        if not is_order:
            self._look()
        await connection.answer(response.content, f"{response.status_code} Told")

    def _look(self) -> None:
        self._looks = self._looks + 1 if self.bot.pending else 0
        if self._looks >= VAIN_LOOKS:
            self.bot.take_effect()

    def orders(self) -> list[dict[str, Any]]:
        """Return every order in the bot's books."""
        return [one for trade in (*self.bot.status, *self.bot.closed) for one in trade["orders"]]


def of_this_moment(kind: type[Bot], **told: Any) -> Bot:
    """Return a bot that has just been started and has a price for each of its pairs."""
    clock = Clock()
    now = clock.now()
    bot = kind(clock, timeframe=TIMEFRAME, started_at=now.isoformat(), **told)
    newest = (int(now.timestamp()) // STEP_S - 1) * STEP_S
    bot.candles = {(pair, TIMEFRAME): newest for pair in bot.pairs}
    return bot


@asynccontextmanager
async def on_port(bot: TradingBot) -> AsyncIterator[BotOnPort]:
    """Serve a bot on a free port."""
    standing = BotOnPort(bot)
    async with rogue(standing.serve) as server:
        standing.url = server.url
        yield standing


def _request(connection: Connection) -> httpx2.Request:
    head, _, body = connection.request.partition(b"\r\n\r\n")
    target = head.split(b" ", 2)[1].decode()
    return httpx2.Request(connection.method, f"http://bot.test{target}", content=body)


class Stores:
    """Makes empty stores of both engines: each a copy of one that was migrated."""

    def __init__(self, folder: Path, postgres_url: str) -> None:
        self._model = folder / "model"
        self._server = postgres_url.rpartition("/")[0]
        self._admin = plain(postgres_url)
        self._name = f"proof_{uuid4().hex[:8]}"  # the server may be others' too
        self._count = 0

    async def prepare(self) -> None:
        """Migrate the models."""
        self._command(f"CREATE DATABASE {self._name}")
        for url in (f"sqlite:///{self._model / FILE}", f"{self._server}/{self._name}"):
            store = Store(url, data_dir=self._model)
            await store.open(migrates=True)
            await store.close()

    def remove(self) -> None:
        """Drop the model that is not in a folder."""
        self._command(f"DROP DATABASE {self._name} WITH (FORCE)")

    @contextmanager
    def new(self, engine: Engine, folder: Path) -> Iterator[str]:
        """Make an empty store and yield its URL; on SQLite it lies in the data folder."""
        data = folder / "data"
        data.mkdir(mode=0o700)
        if engine == "sqlite":
            shutil.copy(self._model / FILE, data / FILE)
            yield f"sqlite:///{data / FILE}"
            return
        self._count += 1
        name = f"{self._name}_{self._count}"
        self._command(f"CREATE DATABASE {name} TEMPLATE {self._name}")
        try:
            yield f"{self._server}/{name}"
        finally:
            self._command(f"DROP DATABASE {name} WITH (FORCE)")

    def _command(self, statement: str) -> None:
        with psycopg.connect(self._admin, autocommit=True) as admin:
            admin.execute(statement.encode())
