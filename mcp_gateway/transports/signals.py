"""What a running gateway does at signals that are no end of it."""

import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskStatus

from mcp_gateway.telemetry import logs
from mcp_gateway.transports import early

_log = logs.get(__name__)


@asynccontextmanager
async def answered(
    number: signal.Signals, act: Callable[[], Awaitable[object]]
) -> AsyncIterator[None]:
    """Act at every signal of a kind for as long as the context lasts; for the main thread alone."""
    async with anyio.create_task_group() as group:
        await group.start(_answer, number, act)
        yield
        group.cancel_scope.cancel()


async def _answer(
    number: signal.Signals, act: Callable[[], Awaitable[object]], *, task_status: TaskStatus[None]
) -> None:
    try:
        with anyio.open_signal_receiver(number) as signals:
            if early.taken(number):
                await _do(number, act)
            task_status.started()
            async for _ in signals:
                await _do(number, act)
    finally:
        early.let_go(number)


async def _do(number: signal.Signals, act: Callable[[], Awaitable[object]]) -> None:
    try:
        await act()
    except Exception:  # noqa: BLE001  (a bug in here must not end the gateway)
        _log.exception("A signal could not be answered", signal=number.name)
