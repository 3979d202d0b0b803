"""What the campaign plays on: exchange, bot and gateway as processes that can be killed."""

import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx2

from mcp_gateway.sandbox.bot import Sandbox, SandboxOptions, open_sandbox
from mcp_gateway.sandbox.failures import SandboxFailed
from mcp_gateway.sandbox.market import LISTINGS, Listing
from tests.support import servers
from tests.support.bot import tell
from tests.support.processes import START_S, Serving, before, environment, run

# The thin market is left out: a market order there may find no taker at all.
MARKETS = {listing.pair: listing for listing in LISTINGS.values() if listing.base != "THIN"}
CONTROL_TIMEOUT_S = 10.0
BOT_STARTS = 3  # a bot that is started while the exchange fails may give up


@dataclass
class Stage:
    """The running parts; an agent asks ``url`` anew for each call, for the gateway moves."""

    sandbox: Sandbox
    folder: Path
    env: Mapping[str, str]
    control: httpx2.AsyncClient
    bot_api: httpx2.AsyncClient
    deaths: dict[str, int] = field(default_factory=lambda: {"gateway": 0, "bot": 0})
    _served: Serving | None = None
    _sent: anyio.Event = field(default_factory=anyio.Event)

    @property
    def url(self) -> str:
        """Where the gateway listens, or listened last."""
        return "http://127.0.0.1:9" if self._served is None else self._served.url

    @property
    def bot_logs(self) -> tuple[Path, Path]:
        """What the bot said: in its earlier lives, and in this one."""
        return self.folder / "bot.log", self.sandbox.folder / "freqtrade.log"

    @property
    def ledger(self) -> str:
        """The gateway's database: a PostgreSQL URL, or the path of the SQLite file."""
        return self.env.get("DATABASE_URL") or str(self.folder / "data" / "gateway.sqlite")

    def note_sent(self) -> None:
        """Say that an order is on its way, for who wants to strike right now."""
        self._sent.set()
        self._sent = anyio.Event()

    async def next_sent(self) -> None:
        """Wait until some agent sends an order."""
        await self._sent.wait()

    async def start_gateway(self) -> None:
        """Start the gateway on the store that it had, and wait until it listens."""
        self._served = await anyio.to_thread.run_sync(Serving, self.folder, self.env)

    async def kill_gateway(self) -> None:
        """End the gateway as a crash would (SIGKILL)."""
        if self._served is not None:
            self.deaths["gateway"] += 1
            await anyio.to_thread.run_sync(self._served.close)
            self._keep_log(self._served)

    async def stop_gateway(self) -> None:
        """End the gateway in good order; its log is kept for who looks for a cause."""
        if (served := self._served) is None:
            return
        served.signal(signal.SIGTERM)
        await anyio.to_thread.run_sync(served.wait)
        await anyio.to_thread.run_sync(served.close)
        self._keep_log(served)

    def _keep_log(self, served: Serving) -> None:
        with (self.folder / "gateway.log").open("a") as log:
            log.writelines(f"{line}\n" for line in [f"pid {served.process.pid}", *served.log])

    async def kill_bot(self) -> None:
        """End the bot as a crash would (SIGKILL)."""
        self.deaths["bot"] += 1
        await self.sandbox.kill_bot()

    async def start_bot(self) -> None:
        """Start the bot again with the trades that it had, and keep what it said before."""
        earlier, present = self.bot_logs
        with earlier.open("ab") as log:
            log.write(present.read_bytes())
        for left in reversed(range(BOT_STARTS)):
            try:
                await self.sandbox.start_bot()
            except SandboxFailed as failure:
                tell(f"The bot did not start: {failure.message}")
                if not left:
                    raise
            else:
                return

    async def prices(self) -> dict[str, Decimal]:
        """Return the last price of each pair, in quote."""
        told = (await self.control.get("state")).raise_for_status().json()["prices"]
        return {pair: Decimal(told[market.symbol]) for pair, market in MARKETS.items()}

    async def faults_left(self) -> int:
        """Return how many calls the exchange will still fail or delay."""
        told = (await self.control.get("state")).raise_for_status().json()["faults"]
        return sum(int(fault["count"]) for fault in told)

    async def fault(self, **fault: Any) -> None:
        """Let the exchange's next matching calls fail or be late."""
        (await self.control.post("faults", json=fault)).raise_for_status()

    async def shock(self, pair: str, factor: float) -> None:
        """Move a pair's price, for good."""
        shock = {"symbol": MARKETS[pair].symbol, "factor": factor}
        (await self.control.post("shock", json=shock)).raise_for_status()

    async def calm(self) -> None:
        """Let the exchange answer as it should; its prices return to the drawn ones."""
        (await self.control.post("reset")).raise_for_status()

    async def cancel_by_hand(self, trade_id: int) -> int | None:
        """Cancel a resting order in the bot's own interface; None where the bot is away."""
        try:
            return (await self.bot_api.delete(f"trades/{trade_id}/open-order")).status_code
        except httpx2.TransportError:
            return None


def listing(pair: str) -> Listing:
    """Return a pair's steps."""
    return MARKETS[pair]


@asynccontextmanager
async def open_stage(
    folder: Path, settings: Mapping[str, str], *, postgres: bool = False
) -> AsyncIterator[Stage]:
    """Open exchange, bot and gateway; every process ends with the block."""
    options = SandboxOptions(
        folder=folder / "bot", overrides={"exchange": {"pair_whitelist": list(MARKETS)}}
    )
    with _database(folder, postgres=postgres) as where:
        async with open_sandbox(options, tell) as sandbox, _clients(sandbox) as (control, bot_api):
            env = environment(folder, **before(sandbox), **settings, **where)
            if postgres:
                await anyio.to_thread.run_sync(_upgrade, folder, env)
            stage = Stage(sandbox, folder, env, control, bot_api)
            try:
                await stage.start_gateway()
                yield stage
            finally:
                with anyio.CancelScope(shield=True):
                    await stage.stop_gateway()


@asynccontextmanager
async def _clients(
    sandbox: Sandbox,
) -> AsyncIterator[tuple[httpx2.AsyncClient, httpx2.AsyncClient]]:
    fresh = httpx2.Limits(max_keepalive_connections=0)
    login = (sandbox.freqtrade_username, sandbox.freqtrade_password)
    async with (
        httpx2.AsyncClient(
            base_url=f"{sandbox.exchange_url}/control/", trust_env=False, timeout=CONTROL_TIMEOUT_S
        ) as control,
        httpx2.AsyncClient(
            base_url=f"{sandbox.freqtrade_url}/api/v1/", auth=login, trust_env=False,
            timeout=CONTROL_TIMEOUT_S, limits=fresh,
        ) as bot_api,
    ):  # fmt: skip
        yield control, bot_api


@contextmanager
def _database(folder: Path, *, postgres: bool) -> Iterator[dict[str, str]]:
    """Yield the settings of the store: none for SQLite in the data folder."""
    folder.mkdir(parents=True, exist_ok=True)
    if not postgres:
        yield {}
        return
    with servers.own(servers.Postgres) as server:
        yield {"DATABASE_URL": servers.plain(server.url)}


def _upgrade(folder: Path, env: Mapping[str, str]) -> None:
    done = run("db", "upgrade", folder=folder, env=env)
    if done.returncode:
        raise RuntimeError(f"no schema after {START_S} s: {done.stderr}")
