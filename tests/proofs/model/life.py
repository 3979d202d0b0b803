"""The life of one gateway process, and its store: every step takes a moment, the last is never over."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Final, TypeVar, cast

from sqlalchemy import Engine, make_url

from mcp_gateway.errors import StoreUnavailable
from mcp_gateway.storage.engines import file_of, make_engine
from mcp_gateway.storage.opened import Opened
from mcp_gateway.storage.revisions import Revisions
from mcp_gateway.storage.sql import Store
from mcp_gateway.storage.workers import Workers

T = TypeVar("T")
STEP_S: Final = 0.001
FILE: Final = "gateway.sqlite"


@cache
def _engine(file: str) -> Engine:
    """Return one engine for a file, whatever is in it: what it has compiled is kept."""
    return make_engine("sqlite", make_url(f"sqlite+pysqlite:///{file}"))


@dataclass
class Life:
    """Whether the process lives, and how its store is.

    ``outage`` says how the next transactions fail: ``lost`` where nothing is written,
    ``unheard`` where it is written and nobody is told.
    """

    dead: bool = False
    outage: list[str] = field(default_factory=list)

    async def step(self) -> None:
        """Let a moment pass; it does not end for the dead."""
        await asyncio.sleep(STEP_S)
        if self.dead:
            await asyncio.Event().wait()


@dataclass(frozen=True, slots=True)
class _AtOnce:
    """Stands for the store's thread: what it does takes a moment of virtual time."""

    life: Life

    async def run(self, work: Callable[[], T]) -> T:
        await self.life.step()
        trouble = self.life.outage.pop(0) if self.life.outage else ""
        if trouble == "lost":
            raise StoreUnavailable("The store is gone.")
        result = work()
        await self.life.step()
        if trouble == "unheard":
            raise StoreUnavailable("The store went at the commit.")
        return result

    async def stop(self) -> None:
        """There is no thread."""


class StoreOfALife(Store):
    """A real SQLite store without a thread of its own, as good as the process that has it."""

    def __init__(self, folder: Path, life: Life) -> None:
        super().__init__(f"sqlite:///{folder / FILE}", data_dir=folder)
        self._life = life

    async def open(self, *, migrates: bool | None = None) -> Revisions:  # noqa: ARG002  (the store's own signature)
        """Open a file that was migrated before."""
        self._take_hold()
        at_once = cast(Workers, _AtOnce(self._life))
        self._opened = Opened(_engine(str(file_of(self._url))), at_once, None, None)
        return Revisions(None)

    async def close(self) -> None:
        """Let file and lock go, at once: a dead process closes nothing in order."""
        opened, self._opened = self._opened, None
        holds, self._holds = self._holds, []
        if opened is not None:
            opened.engine.dispose()
        for hold in reversed(holds):
            hold.drop()
