"""One world: callers, a gateway that dies and lives again, a bot, and all that was told."""

import asyncio
import shutil
import tempfile
from collections.abc import Coroutine
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Final

from mcp_gateway.domain.orders import OrderRequest
from mcp_gateway.errors import GatewayError
from mcp_gateway.storage.sql import Store
from tests.proofs.model.books import Books, Reader
from tests.proofs.model.bot import FOR, Key, WatchedBot
from tests.proofs.model.life import FILE
from tests.proofs.model.loop import LoopClock, VirtualLoop
from tests.proofs.model.process import Running
from tests.proofs.model.verdict import Asked, broken, come_to, is_of, live_quote, unsettled
from tests.support.desk import admission, order

# A proof of the logic, not of the disk: memory does where there is such a folder.
IN_MEMORY: Final = Path("/dev/shm")
LONGEST_S: Final = 120.0
CALM_S: Final = 5.0
CALMS: Final = 8
EVER: Final = 2**60  # beyond every step in the history
NOT_TAKEN: Final = frozenset({"store_unavailable", "database_unavailable"})
Told = dict[str, Any]


class Broken(Exception):
    """A promise is broken."""


@cache
def _stage() -> "tempfile.TemporaryDirectory[str]":
    """Return the folder of every world in this process, with a file that was migrated."""
    stage = tempfile.TemporaryDirectory(dir=IN_MEMORY if IN_MEMORY.is_dir() else None)

    async def migrated() -> None:
        folder = Path(stage.name) / "model"
        store = Store(f"sqlite:///{folder / FILE}", data_dir=folder)
        await store.open()
        await store.close()

    asyncio.run(migrated())
    return stage


def _set() -> Path:
    """Return the folder with an empty store in it."""
    folder = Path(_stage().name)
    for old in folder.glob(f"{FILE}*"):
        old.unlink()
    shutil.copy(folder / "model" / FILE, folder / FILE)
    return folder


class World:
    """Runs what happens, one thing after the other, and holds it against the promises."""

    def __init__(self, slots: int) -> None:
        self._folder = _set()
        self._reader = Reader(self._folder / FILE)
        self._loop = VirtualLoop()
        self.bot = WatchedBot(LoopClock(self._loop), max_open_trades=slots)
        self.bot.looked_at = self._sent_before
        self.asked: dict[Key, Asked] = {}
        self._calls: list[asyncio.Task[Told]] = []
        self._found: list[str] = []
        self._checked: Books | None = None
        self.run(self._begin())

    def close(self) -> None:
        """End everything."""
        with suppress(Exception):  # what broke it was raised before
            self.run(self._running.killed())
        self.run(_rest(self._loop))
        self._loop.close()
        self._reader.close()

    def run(self, happening: Coroutine[Any, Any, Any]) -> Any:
        """Let something happen to its end."""
        return self._loop.run_until_complete(happening)

    async def _begin(self) -> None:
        self._running = Running(self._folder, self.bot)
        self.process = await self._running.begun()

    def books(self) -> Books:
        """Return what is written."""
        return self._reader.read()

    # What can happen.

    def start(self, key: Key, wanted: OrderRequest) -> "asyncio.Task[Told]":
        """Let a caller send an order, and go on."""
        call = self._loop.create_task(self._create(key, wanted))
        self._calls.append(call)
        return call

    async def finish(self) -> None:
        """Wait until every call is answered and no order is under way."""
        calls, self._calls = self._calls, []
        if calls:
            _, waiting = await asyncio.wait(calls, timeout=LONGEST_S)
            self.expect(not waiting, "a call that is never answered")
        for call in calls:
            if call.done() and not call.cancelled():
                call.result()
        ends_at = self._loop.time() + LONGEST_S
        while self.process.busy and self._loop.time() < ends_at:  # noqa: ASYNC110  (time only leaps)
            await asyncio.sleep(0.01)
        self.expect(not self.process.busy, "an order that is carried for ever")
        self._running.ensure_alive()

    def hang_up(self) -> None:
        """Let the caller who came last leave."""
        self._calls[-1].cancel()

    async def crash(self) -> None:
        """Let the process die where it stands, callers and all, and start another."""
        for call in self._calls:
            call.cancel()
        await asyncio.sleep(0)
        await self._running.killed()
        await self._begin()

    async def get(self, key: Key) -> Told:
        """Ask where an order stands."""
        there = key in self.books().rows
        told = await self._answer(key, self.process.orders.get(_by(key), key[1]))
        if told["code"] == "order_unknown":
            self.expect(not there, f"an order that is there is not told: {key}")
            return told
        if "outcome" in told and "history" in told:
            row = self.books().rows[key]
            path = [step["state"] for step in told["history"]]
            known = self.books().histories[row.order_id]
            self.expect(path == known[: len(path)], f"the history {path} beside {known}")
        return told

    async def cancel(self, key: Key) -> Told:
        """Ask for what rests of an order to be taken back."""
        return await self._answer(key, self.process.orders.cancel(_by(key, "cancel_order"), key[1]))

    async def preview(self, agent: str, wanted: OrderRequest) -> bool | None:
        """Return whether a dry run says yes; None where it can't tell."""
        before = self.books()
        try:
            preview = await self.process.orders.preview(_by((agent, wanted.request_id)), wanted)
        except GatewayError:
            return None
        finally:
            after = self.books()
            self.expect(
                after.rows.keys() == before.rows.keys() and not self.bot.arrived.keys() - after.rows.keys(),
                "a dry run used something up",
            )  # fmt: skip
        return preview.valid

    # What must hold.

    def expect(self, holds: bool, otherwise: str) -> None:
        """Note what is broken unless something holds."""
        if not holds:
            self._found.append(otherwise)

    def expect_row(self, key: Key, words: set[str]) -> None:
        """Note it unless an order has come to one of these: codes, ``placed`` or unknown's."""
        row = self.books().rows.get(key)
        word = None if row is None else come_to(row)
        self.expect(word in words, f"{word}, not {words}: {row}")

    async def check(self) -> None:
        """Hold the world against every promise.

        Raises:
            Broken: with each one that is not kept.
        """
        await self.finish()
        books = self.books()
        if books != self._checked:
            await self._check_reserved()
            books = self._checked = self.books()
        self._found += broken(books, self.asked, self.bot)
        if self._found:
            raise Broken("\n".join(self._found))

    async def _check_reserved(self) -> None:
        """What the ledger holds against the next entry is what the live ones may cost (5)."""
        probe = self.process.orders._intake.record(admission("probe"), order())
        mine = live_quote(self.books())
        standing = await self.process.ledger.standing(probe, EVER)
        books = self.books()  # the reconciler may have settled one just now
        self.expect(
            standing.reserved() in {mine, live_quote(books)},
            f"5: {standing.reserved()} is reserved, not {mine}",
        )

    async def come_to_rest(self) -> None:
        """Let everything settle; then nothing may be open, and all be told as it was (4)."""
        for _ in range(CALMS):
            if not list(unsettled(self.books())):
                break
            await asyncio.sleep(CALM_S)
        for key in self.asked:
            await self.get(key)
        self._found += unsettled(self.books())
        await self.check()

    def _sent_before(self, key: Key) -> None:
        self.expect(self._reader.was_sent(key), f"3: sent before it was written down: {key}")

    # How it is heard.

    async def _create(self, key: Key, wanted: OrderRequest) -> Told:
        FOR.set(key)
        asked = self.asked.setdefault(key, Asked())
        try:
            created = await self.process.orders.create(_by(key), wanted)
            told = dict(created.answer)
        except GatewayError as error:
            told = error.public()
        row = self.books().rows.get(key)
        if told.get("code") == "idempotency_conflict":
            mine = row is not None and is_of(row, wanted)
            self.expect(row is not None and not mine, f"a conflict with nothing: {key}")
        elif "outcome" in told:
            asked.created.append(told)
            mine = row is not None and is_of(row, wanted)
            self.expect(mine, f"{wanted} was answered with another order: {row}")
        else:
            self.expect(told.get("code") in NOT_TAKEN, f"an answer without an outcome: {told}")
        return told

    async def _answer(self, key: Key, question: Coroutine[Any, Any, Told]) -> Told:
        try:
            told = await question
            self.asked.setdefault(key, Asked()).looked_up.append(told)
        except GatewayError as error:
            told = error.public()
        return told


def _by(key: Key, operation: str = "create_order") -> Any:
    return admission(key[0], operation)


async def _rest(loop: VirtualLoop) -> None:
    """End what is left of the bot's work."""
    left = asyncio.all_tasks(loop) - {asyncio.current_task(loop)}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
