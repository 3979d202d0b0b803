"""The one owner of time: everything else is handed a clock."""

import time
from datetime import UTC, datetime, timedelta
from typing import Final

import anyio

# How far the clocks of machines that keep time lie apart. What lies further ahead of now was
# told by a clock that is wrong, or this one was set back.
CLOCKS_APART: Final = timedelta(seconds=5)


class Clock:
    """Wall clock, monotonic clock and waiting; tests hand in one that stands still."""

    def now(self) -> datetime:
        """Return the present moment, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds that only ever grow, from an arbitrary start."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Wait at least that many seconds."""
        await anyio.sleep(seconds)


def iso(at: datetime) -> str:
    """Return ``at`` as the contracts print it: ``2025-11-18T10:00:00Z``, whole seconds, UTC."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def from_unix(seconds: float) -> datetime:
    """Return the aware UTC moment of a Unix time in seconds."""
    return datetime.fromtimestamp(seconds, UTC)
