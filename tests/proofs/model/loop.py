"""An event loop whose time is its own: whoever waits is woken at once, in the order of time.

Nothing in it happens in a thread and nothing takes real time, so one choice of events gives
the same world every time, down to the last interleaving.
"""

import asyncio
import selectors
from datetime import datetime, timedelta
from typing import Any

import anyio

from mcp_gateway.clock import Clock
from tests.support.clock import START


class Standstill(Exception):
    """Everything waits for something that nobody will do."""


class _Leaping(selectors.SelectSelector):
    """Waits for nothing: where the loop would sleep, its time leaps."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise Standstill
        self.now_s += max(0.0, timeout)
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs until everything waits, then leaps to the next moment at which something is due."""

    def __init__(self) -> None:
        self._leaping = _Leaping()
        super().__init__(self._leaping)

    def time(self) -> float:
        """Return virtual seconds since the loop was made."""
        return self._leaping.now_s


class LoopClock(Clock):
    """The time of a virtual loop, for everything that is handed a clock."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def now(self) -> datetime:
        return START + timedelta(seconds=self._loop.time())

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await anyio.sleep(seconds)
