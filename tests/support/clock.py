"""A clock that stands still until a test moves it."""

from datetime import UTC, datetime, timedelta

import anyio
import anyio.lowlevel

from mcp_gateway.clock import Clock

START = datetime(2025, 11, 18, 10, 0, tzinfo=UTC)


class ManualClock(Clock):
    """Virtual time: ``advance`` moves both clocks and wakes whoever slept long enough."""

    def __init__(self, start: datetime = START) -> None:
        self._wall = start
        self._elapsed = timedelta()
        self._sleepers: list[tuple[timedelta, anyio.Event]] = []
        self._arrival = anyio.Event()

    def now(self) -> datetime:
        return self._wall

    def monotonic(self) -> float:
        return self._elapsed.total_seconds()

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await anyio.lowlevel.checkpoint()
            return
        woken = anyio.Event()
        sleeper = (self._elapsed + timedelta(seconds=seconds), woken)
        self._sleepers.append(sleeper)
        self._arrival.set()
        try:
            await woken.wait()
        finally:
            if sleeper in self._sleepers:
                self._sleepers.remove(sleeper)

    def advance(self, seconds: float) -> None:
        """Let that many seconds pass."""
        self._wall += timedelta(seconds=seconds)
        self._elapsed += timedelta(seconds=seconds)
        for sleeper in [one for one in self._sleepers if one[0] <= self._elapsed]:
            self._sleepers.remove(sleeper)
            sleeper[1].set()

    def set_wall(self, at: datetime) -> None:
        """Set the wall clock alone, as an administrator or NTP does."""
        self._wall = at

    async def sleeping(self, count: int = 1) -> None:
        """Wait until at least ``count`` tasks sleep on this clock."""
        while len(self._sleepers) < count:
            self._arrival = anyio.Event()
            await self._arrival.wait()


class HastyClock(ManualClock):
    """Virtual time for one sleeper: whoever sleeps wakes at once, that much later."""

    def __init__(self, start: datetime = START) -> None:
        super().__init__(start)
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.advance(seconds)
        await anyio.lowlevel.checkpoint()
