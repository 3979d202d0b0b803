"""Between the two wires: each line goes out as it came, and every request gets one answer."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import anyio
from anyio.abc import TaskGroup

from mcp_gateway.client.bridge import failures, frames
from mcp_gateway.client.bridge.delivery import Delivery
from mcp_gateway.client.bridge.frames import CANCELLED, Frame
from mcp_gateway.errors import GatewayError

MOST_CALLS: Final = 64  # at once
NOTICE_S: Final = 5.0  # a notice that does not get through holds up nothing longer
GRACE_S: Final = 5.0  # what is under way when the app closes may still be answered

Write = Callable[[bytes], Awaitable[None]]


class Relay:
    """Carries a desktop app's lines to a gateway and its messages back.

    Args:
        write: puts one line before the app.
        longest_line_bytes: only told, where a line was longer.
    """

    def __init__(self, delivery: Delivery, write: Write, *, longest_line_bytes: int) -> None:
        self._delivery = delivery
        self._write = write
        self._longest_line_bytes = longest_line_bytes
        self._under_way: dict[bytes, tuple[Frame, anyio.CancelScope]] = {}

    async def run(self, lines: AsyncIterator[bytes | None]) -> None:
        """Relay until the app closes its end; then what is under way has a moment more.

        Args:
            lines: None stands for a line that was too long to be read.
        """
        async with anyio.create_task_group() as group:
            async for line in lines:
                await self._take(line, group)
            group.cancel_scope.deadline = anyio.current_time() + GRACE_S

    async def _take(self, line: bytes | None, group: TaskGroup) -> None:
        if line is None:
            error = failures.too_long(self._longest_line_bytes)
            await self._write(frames.refusal(None, error))
            return
        if not line.strip():
            return
        try:
            frame = frames.read(line)
        except ValueError:
            await self._write(frames.refusal(None, failures.unreadable(), frames.UNREADABLE))
            return
        if frame.awaits_answer:
            await self._ask(frame, group)
        elif not self._ends_a_call(frame):
            with anyio.move_on_after(NOTICE_S):
                await self._delivery.notify(frame)

    async def _ask(self, frame: Frame, group: TaskGroup) -> None:
        if len(self._under_way) >= MOST_CALLS:
            error = failures.TooManyCalls(f"{MOST_CALLS} calls are under way.")
            await self._write(frames.refusal(frame.request_id, error))
            return
        scope = anyio.CancelScope()
        self._under_way[frame.key] = (frame, scope)
        group.start_soon(self._answered, frame, scope)

    async def _answered(self, frame: Frame, scope: anyio.CancelScope) -> None:
        try:
            with scope:
                await self._delivery.ask(frame, self._write)
        except GatewayError as error:
            await self._write(frames.refusal(frame.request_id, error))
        finally:
            if self._under_way.get(frame.key, (None, None))[1] is scope:
                del self._under_way[frame.key]

    def _ends_a_call(self, frame: Frame) -> bool:
        """Hang up on a call that the app wants no more, where that is how it is said.

        Since 2026-07-28 a call is cancelled by closing its answer's stream; before, the notice
        itself goes to the server.
        """
        if frame.method != CANCELLED or frame.cancels is None:
            return False
        call, scope = self._under_way.get(frame.cancels, (None, None))
        if call is None or scope is None or call.version is None:
            return False
        scope.cancel()
        return True
