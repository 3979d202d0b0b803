"""The threads in which transactions run."""

from contextvars import ContextVar
from threading import Event

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from mcp_gateway.storage.workers import NoTurn, Workers

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


class Standing:
    """Work that stands in its thread until it is let go."""

    def __init__(self) -> None:
        self.begun = Event()
        self.go = Event()

    def __call__(self) -> bool:
        """Return whether it was let go."""
        self.begun.set()
        return self.go.wait(5)

    async def in_a_thread_of(self, workers: Workers) -> bool:
        """Try until it has begun: without patience, work may come back before its thread woke."""
        while True:
            try:
                return await workers.run(self)
            except NoTurn:
                assert not self.begun.is_set()

    async def let_go(self) -> None:
        """Let it go, some time after it has begun."""
        assert await anyio.to_thread.run_sync(self.begun.wait, 5)
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        self.go.set()


async def test_who_gets_no_turn_in_time_is_refused_and_begins_nothing() -> None:
    """A queue that does not move answers, instead of holding its callers for ever."""
    workers, first = Workers(1, name="test", patience_s=0), Standing()
    begun: list[int] = []
    async with anyio.create_task_group() as group:
        group.start_soon(first.in_a_thread_of, workers)
        assert await anyio.to_thread.run_sync(first.begun.wait, 5)
        with pytest.raises(NoTurn):
            await workers.run(lambda: begun.append(1))
        first.go.set()
    await workers.stop()
    assert begun == []


async def test_work_that_outlasts_the_patience_returns_all_the_same() -> None:
    """The bound is on the waiting: what has begun is never given up."""
    workers, work = Workers(1, name="test", patience_s=0), Standing()
    async with anyio.create_task_group() as group:
        group.start_soon(work.let_go)
        assert await work.in_a_thread_of(workers)
    await workers.stop()


async def test_work_is_begun_in_the_order_it_came() -> None:
    """With one thread nobody overtakes: a reader waits for the writers before it, not longer."""
    workers, first = Workers(1, name="test", patience_s=5), Standing()
    order: list[int] = []
    async with anyio.create_task_group() as group:
        group.start_soon(workers.run, first)
        for number in range(20):
            group.start_soon(workers.run, lambda number=number: order.append(number))
        await first.let_go()
    await workers.stop()
    assert order == list(range(20))


def _fail() -> None:
    raise LookupError


async def test_the_end_of_the_work_is_the_callers() -> None:
    """A result is returned and an exception raised as it is, even one that iterators use."""
    workers = Workers(1, name="test", patience_s=5)
    assert await workers.run(lambda: 7) == 7
    with pytest.raises(LookupError):
        await workers.run(_fail)
    with anyio.fail_after(5), pytest.raises(RuntimeError):
        await workers.run(lambda: next(iter(())))
    await workers.stop()


async def test_work_knows_whose_call_it_is() -> None:
    """A log line from inside a transaction carries the call's id, as any other does."""
    call: ContextVar[str] = ContextVar("call")
    call.set("c-1")
    workers = Workers(1, name="test", patience_s=5)
    assert await workers.run(call.get) == "c-1"
    await workers.stop()
