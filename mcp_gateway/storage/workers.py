"""The threads in which transactions run, so that no database ever holds up the event loop."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

import anyio
import anyio.to_thread

T = TypeVar("T")


class NoTurn(Exception):
    """No thread became free in time; nothing was begun."""


class Workers:
    """So many threads of their own: what is handed in is begun in that order.

    They are real threads and no borrowed ones: whatever cancels the callers, no more than
    ``count`` pieces of work run at once, and ``stop`` knows all of them.

    Args:
        patience_s: how long work waits for a free thread.
    """

    def __init__(self, count: int, *, name: str, patience_s: float) -> None:
        self._threads = ThreadPoolExecutor(count, thread_name_prefix=name)
        self._patience_s = patience_s

    async def run(self, work: Callable[[], T]) -> T:
        """Run ``work`` in a thread and return what it returns, or raise what it raises.

        A caller who is cancelled before the work began takes it back. Work that has begun is
        awaited to its end, and only then the cancellation goes on.

        Raises:
            NoTurn: no thread became free; nothing was begun.
        """
        loop, over = asyncio.get_running_loop(), asyncio.Event()
        begun = self._threads.submit(copy_context().run, work)
        begun.add_done_callback(lambda _: loop.call_soon_threadsafe(over.set))
        try:
            with anyio.move_on_after(self._patience_s):
                await over.wait()
        finally:
            if not begun.cancel():
                with anyio.CancelScope(shield=True):
                    await over.wait()
        if begun.cancelled():
            raise NoTurn
        return begun.result()

    async def stop(self) -> None:
        """Wait until all that was handed in is done; nothing may be handed in any more."""
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._threads.shutdown)
