"""One run: a gateway process that ends at its failpoint, and an agent that does not give up."""

import signal
import tempfile
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import anyio

from tests.proofs.books import Books
from tests.proofs.processes.agent import Agent
from tests.proofs.processes.cases import Case
from tests.proofs.processes.verdict import Verdict, judge
from tests.proofs.stage import BotOnPort, Stores, of_this_moment, on_port
from tests.support.failpoints import END, FAILPOINTS
from tests.support.processes import environment
from tests.support.servers import Postgres, own
from tests.support.tradingbot import TradingBot
from tests.support.zygote import Forked, Zygote, zygote

# Most of a run is waiting.
AT_ONCE: Final = 4
LEAVES_A_SENT_ORDER: Final = "the whole request"
SETTINGS: Final = {
    "MCP_GATEWAY_QUIET_S": "1",
    "MCP_GATEWAY_ORDER_TIMEOUT_S": "2",
    "RATE_LIMIT_PER_MINUTE": "1000000",
    "MCP_GATEWAY_SERVER_RATE_LIMIT_PER_MINUTE": "1000000",
}


@dataclass
class Run:
    """One case on its stage."""

    case: Case
    zygote: Zygote
    folder: Path
    url: str
    bot: BotOnPort
    verdict: Verdict
    agent: Agent = field(default_factory=Agent)
    running: Forked | None = None
    told: anyio.Event = field(default_factory=anyio.Event)

    async def through(self) -> None:
        """Let the agent order while processes end and are started again."""
        failpoint = FAILPOINTS[self.case.failpoint]
        passage = 1 if self.case.kind == "entry" else 2  # an exit's entry comes first
        first = LEAVES_A_SENT_ORDER if failpoint.begins == "sent" else self.case.failpoint
        await self._start((first, 1 if failpoint.begins == "stopping" else passage))
        if self.case.kind != "entry":
            # Asked once: each passage of a failpoint by this order is one of its own.
            await self.agent.settle("BTC/USDT", "buy", "1", twice=False)
            self.verdict.expect(self._alive, "the process ended before the order")
        self.bot.bot.faults.append(self.case.fault)
        if failpoint.begins == "stopping":
            self.bot.gate = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(self._order)
            if failpoint.begins == "stopping":
                await self._stopped()
            await self._ended_at(first)
            if failpoint.begins == "sent":
                await self._start((self.case.failpoint, 1))
                await self._ended_at(self.case.failpoint)
            await self._start(None)
            started = time.monotonic()
        back = time.monotonic()
        # The place in flight is free again, and a fault that met no order strikes now.
        await self.agent.settle("ETH/USDT", "buy", "1")
        self.verdict.settled_s = max(back - started, time.monotonic() - back)

    @property
    def _alive(self) -> bool:
        return self.running is not None and self.running.code is None

    async def end(self) -> None:
        """End the process that is left."""
        if self.running is not None:
            self.running.kill()
            await self.running.end()

    async def _order(self) -> None:
        side = "buy" if self.case.kind == "entry" else "sell"
        await self.agent.settle("BTC/USDT", side, "0.5" if "partial" in self.case.kind else "1")
        self.told.set()

    async def _start(self, failpoint: tuple[str, int] | None) -> None:
        env = environment(
            self.folder, FREQTRADE_URL=self.bot.url, DATABASE_URL=self.url, **SETTINGS
        )
        self.running = await self.zygote.serve(self.folder, env, failpoint)
        if await self.running.listening():
            self.agent.url = self.running.url
        elif failpoint is None or not self.agent.url:
            raise RuntimeError("the gateway did not start:\n" + "\n".join(self.running.log))

    async def _stopped(self) -> None:
        """Let the process be told to stop while the bot has the order."""
        assert self.running is not None
        await _first_of(self.bot.arrived, self.told)
        self.running.kill(signal.SIGTERM)

    async def _ended_at(self, failpoint: str) -> None:
        """Wait for the end of the process, which must be the one that was planned."""
        assert self.running is not None
        await _first_of(self.running.ended, self.told)
        if self.running.code is None:
            self.verdict.expect(False, f"the process never came to: {failpoint}")
            await self.end()
        code = await self.running.end()
        reached = code == -signal.SIGKILL and f"{END}{failpoint}" in self.running.log
        self.verdict.expect(reached, f"ended with {code}, not at: {failpoint}")
        if self.bot.gate is not None:
            self.bot.gate.set()
            self.bot.gate = None


@dataclass(frozen=True)
class Proof:
    """Everything that runs share."""

    zygote: Zygote
    stores: Stores
    limiter: anyio.CapacityLimiter

    async def prove(self, case: Case) -> Verdict:
        """Run one case to its end and judge it."""
        verdict = Verdict(case)
        async with self.limiter, on_port(of_this_moment(TradingBot)) as bot:
            with tempfile.TemporaryDirectory() as made:
                folder = Path(made)
                with self.stores.new(case.engine, folder) as url:
                    started = time.monotonic()
                    run = Run(case, self.zygote, folder, url, bot, verdict)
                    try:
                        await run.through()
                    finally:
                        await run.end()
                    judge(verdict, Books.read(url), bot, run.agent)
                    verdict.seconds = time.monotonic() - started
        return verdict

    async def prove_all(self, cases: Iterable[Case]) -> list[Verdict]:
        """Run cases, some at once; their verdicts in the cases' order."""
        verdicts: dict[int, Verdict] = {}

        async def one(place: int, case: Case) -> None:
            verdicts[place] = await self.prove(case)

        async with anyio.create_task_group() as group:
            for place, case in enumerate(cases):
                group.start_soon(one, place, case)
        return [verdicts[place] for place in sorted(verdicts)]


@asynccontextmanager
async def proof(postgres_url: str) -> AsyncIterator[Proof]:
    """Open what runs share: the process that forks, and the models of their stores."""
    with tempfile.TemporaryDirectory() as made:
        stores = Stores(Path(made), postgres_url)
        await stores.prepare()
        try:
            async with zygote() as forks:
                yield Proof(forks, stores, anyio.CapacityLimiter(AT_ONCE))
        finally:
            stores.remove()


async def prove_on_own_server(cases: Iterable[Case]) -> list[Verdict]:
    """Run cases with a PostgreSQL of their own."""
    with own(Postgres) as server:
        async with proof(server.url) as ready:
            return await ready.prove_all(cases)


async def _first_of(*events: anyio.Event) -> None:
    async with anyio.create_task_group() as group:

        async def wait(event: anyio.Event) -> None:
            await event.wait()
            group.cancel_scope.cancel()

        for event in events:
            group.start_soon(partial(wait, event))
