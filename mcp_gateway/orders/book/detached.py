"""Work that outlives its caller: who asked may hang up, the order goes on."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import anyio
from anyio.abc import TaskGroup

from mcp_gateway.errors import Draining, OutcomeUnknown

Result = TypeVar("Result")


class Detached:
    """Runs work in a task that the server owns, and drains before the end."""

    def __init__(self, group: TaskGroup) -> None:
        self._group = group
        self._live = 0
        self._open = True
        self._idle = anyio.Event()

    async def run(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Start ``work`` and wait for it; a cancelled caller stops waiting only.

        Raises:
            Draining: the gateway is stopping; the work was not begun.
            OutcomeUnknown: the work was cut off when the gateway stopped.
            Exception: whatever ``work`` raised.
        """
        if not self._open:
            raise Draining("The gateway is stopping.")
        done = anyio.Event()
        results: list[Result] = []
        failures: list[Exception] = []

        async def body() -> None:
            try:
                results.append(await work())
            except Exception as error:  # noqa: BLE001  (goes to the caller; in the group it would cancel every other order)
                failures.append(error)
            finally:
                self._live -= 1
                done.set()
                if self._live == 0:
                    self._idle.set()

        self._live += 1
        self._group.start_soon(body)
        await done.wait()
        if failures:
            raise failures[0]
        if not results:  # cut off at the end of a drain; recovery finds out
            raise OutcomeUnknown("The gateway stopped before the outcome was known.")
        return results[0]

    async def drain(self, bound_s: float) -> None:
        """Take no new work and wait for what runs, at most ``bound_s`` seconds."""
        self._open = False
        self._idle = anyio.Event()
        if self._live:
            with anyio.move_on_after(bound_s):
                await self._idle.wait()


@asynccontextmanager
async def detached(bound_s: float) -> AsyncIterator[Detached]:
    """Keep the tasks of all orders; on leaving, drain them, then give up on the rest."""
    async with anyio.create_task_group() as group:
        work = Detached(group)
        try:
            yield work
        finally:
            with anyio.CancelScope(shield=True):
                await work.drain(bound_s)
            group.cancel_scope.cancel()
