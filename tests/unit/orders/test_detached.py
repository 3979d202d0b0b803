"""Work that outlives its caller."""

import anyio
import pytest

from mcp_gateway.errors import Draining, OutcomeUnknown
from mcp_gateway.orders.book.detached import Detached, detached

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


async def test_a_cancelled_caller_leaves_the_work_running() -> None:
    """Who asked may hang up, the order goes on."""
    gate, ended = anyio.Event(), anyio.Event()

    async def work() -> None:
        await gate.wait()
        ended.set()

    async with detached(1.0) as orders:
        async with anyio.create_task_group() as group:
            group.start_soon(orders.run, work)
            await anyio.wait_all_tasks_blocked()
            group.cancel_scope.cancel()
        assert not ended.is_set()
        gate.set()
        with anyio.fail_after(1):
            await ended.wait()


async def test_leaving_waits_for_what_runs() -> None:
    """A drain lets an order on its way arrive."""
    ended = anyio.Event()

    async def work() -> None:
        await anyio.lowlevel.checkpoint()
        ended.set()

    async with anyio.create_task_group() as group, detached(1.0) as orders:
        group.start_soon(orders.run, work)
        await anyio.wait_all_tasks_blocked()
    assert ended.is_set()


async def test_a_drain_gives_up_at_its_bound() -> None:
    """Work longer than the bound is left to recovery, and its caller is told so."""
    codes: list[str] = []

    async def call(orders: Detached) -> None:
        with pytest.raises(OutcomeUnknown) as caught:
            await orders.run(anyio.sleep_forever)
        codes.append(caught.value.code)

    with anyio.fail_after(1):
        async with anyio.create_task_group() as group, detached(0.01) as orders:
            group.start_soon(call, orders)
            await anyio.wait_all_tasks_blocked()
    assert codes == ["outcome_unknown"]


async def test_a_failure_reaches_its_own_caller_only() -> None:
    """One order that fails must not cancel its neighbour."""
    gate = anyio.Event()

    async def fails() -> None:
        raise ValueError("mine")

    async def works() -> str:
        await gate.wait()
        return "done"

    answers: list[str] = []
    async with detached(1.0) as orders, anyio.create_task_group() as group:

        async def neighbour() -> None:
            answers.append(await orders.run(works))

        group.start_soon(neighbour)
        with pytest.raises(ValueError, match="mine"):
            await orders.run(fails)
        gate.set()
    assert answers == ["done"]


async def test_a_draining_gateway_takes_no_new_work() -> None:
    """Stop admitting first, then wait (orders)."""

    async def work() -> None: ...

    async with detached(1.0) as orders:
        await orders.drain(0.0)
        with pytest.raises(Draining):
            await orders.run(work)
