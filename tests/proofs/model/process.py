"""One gateway process's order floor: everything real between the callers and the bot."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio

from mcp_gateway.market.service import Market
from mcp_gateway.orders.book.detached import Detached, detached
from mcp_gateway.orders.book.ledger import Ledger
from mcp_gateway.orders.evidence.absence import Patience
from mcp_gateway.orders.sending.facts import FactFinder
from mcp_gateway.orders.sending.seals import Seals
from mcp_gateway.orders.sending.submission import Submission
from mcp_gateway.orders.service import OrderService
from mcp_gateway.orders.settling.follow import Follower
from mcp_gateway.orders.settling.reconcile import Reconciler
from mcp_gateway.risk.keeper import PolicyKeeper
from mcp_gateway.storage.kv import open_kv
from tests.proofs.model.bot import LATEST_EFFECT_S, WatchedBot
from tests.proofs.model.life import Life, StoreOfALife
from tests.support.desk import BOT, SEALING_KEY
from tests.support.policy import POLICY

# Longer than the bot may still be at work on what it was handed.
PATIENCE: Final = Patience(quiet_s=LATEST_EFFECT_S + 2, cycle_s=3.0)
DRAIN_S: Final = 1.0
DEADLINE_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Process:
    """What lives and dies together."""

    life: Life
    ledger: Ledger
    orders: OrderService
    work: Detached

    @property
    def busy(self) -> bool:
        """Whether an order is under way."""
        return self.work._live > 0


class Running:
    """A process in a task of its own, as ``Books.keep`` runs it."""

    def __init__(self, folder: Path, bot: WatchedBot) -> None:
        self._folder, self._bot = folder, bot
        self._ends = anyio.Event()
        self._begun: asyncio.Future[Process] = asyncio.get_running_loop().create_future()
        self._task = asyncio.ensure_future(self._live())

    async def begun(self) -> Process:
        """Wait until orders are taken; an earlier process's are taken up by then."""
        ends: set[asyncio.Future[Any]] = {self._task, self._begun}
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        self.ensure_alive()
        return self._begun.result()

    def ensure_alive(self) -> None:
        """Raise what ended the process, if anything did."""
        if self._task.done():
            self._task.result()
            raise AssertionError("a gateway's process ended by itself")

    async def killed(self) -> None:
        """Let it die where it stands: its next step is never over."""
        self._bot.life.dead = True
        self._ends.set()
        await self._task

    async def _live(self) -> None:
        life = self._bot.life = Life()
        async with _floor(self._folder, self._bot, life) as (process, reconciler, follower):
            await reconciler.recover()
            async with anyio.create_task_group() as loops:
                loops.start_soon(reconciler.run)
                loops.start_soon(follower.run)
                self._begun.set_result(process)
                await self._ends.wait()
                loops.cancel_scope.cancel()


@asynccontextmanager
async def _floor(
    folder: Path, bot: WatchedBot, life: Life
) -> AsyncIterator[tuple[Process, Reconciler, Follower]]:
    clock, store = bot.clock, StoreOfALife(folder, life)
    await store.open()
    client = bot.client()
    try:
        async with detached(DRAIN_S) as work:
            ledger = Ledger(store, clock)
            market = Market(client, open_kv(None, clock), clock, 300)
            keeper = PolicyKeeper(POLICY)
            finder = FactFinder(
                ledger, client, market, market, clock, BOT, "dry-run", keeper, DEADLINE_S
            )
            submission = Submission(ledger, finder, client, clock, keeper)
            reconciler = Reconciler(submission, ledger, client, clock, BOT, PATIENCE)
            follower = Follower(ledger, client, clock, BOT)
            orders = OrderService(
                ledger,
                submission,
                reconciler,
                follower,
                work,
                bot_name=BOT,
                mode="dry-run",
                seals=Seals(SEALING_KEY, clock),
            )
            yield Process(life, ledger, orders, work), reconciler, follower
    finally:
        await client.aclose()
        await store.close()
