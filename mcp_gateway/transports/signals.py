"""What a running gateway does at signals that are no end of it."""

import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import anyio
from anyio.abc import TaskStatus

from mcp_gateway.telemetry import logs

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
    with anyio.open_signal_receiver(number) as signals:
        task_status.started()
        async for _ in signals:
            try:
                await act()
            except Exception:  # noqa: BLE001  (a bug in here must not end the gateway)
                _log.exception("A signal could not be answered", signal=number.name)
