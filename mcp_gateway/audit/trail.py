"""Refusals and reads on their way to the audit log: noted at once, written behind the answer."""

from collections import deque
from typing import Final

import anyio

from mcp_gateway.audit.events import AuditEvent
from mcp_gateway.telemetry.metrics import audit_rows_total

# A few megabytes; at a thousand refusals a second the store may be gone for ten seconds.
MOST_WAITING: Final = 10_000


class Trail:
    """A bounded queue that never makes a caller wait; what it can't hold is counted.

    Orders do not pass here: their rows are written in the transaction of their state.
    """

    def __init__(self, most_waiting: int = MOST_WAITING) -> None:
        self._most_waiting = most_waiting
        self._waiting: deque[AuditEvent] = deque()
        self._arrival = anyio.Event()

    def __len__(self) -> int:
        return len(self._waiting)

    def note(self, event: AuditEvent) -> None:
        """Queue an event; where the queue is full it is lost, and counted as lost."""
        if len(self._waiting) >= self._most_waiting:
            audit_rows_total.labels(result="lost").inc()
            return
        self._waiting.append(event)
        self._arrival.set()

    def oldest(self, most: int) -> tuple[AuditEvent, ...]:
        """Return up to ``most`` events, leaving them here until they are written."""
        return tuple(self._waiting[n] for n in range(min(most, len(self._waiting))))

    def written(self, count: int) -> None:
        """Forget the ``count`` oldest events."""
        for _ in range(count):
            self._waiting.popleft()

    async def something(self) -> None:
        """Wait until an event is here."""
        while not self._waiting:
            self._arrival = anyio.Event()
            await self._arrival.wait()
