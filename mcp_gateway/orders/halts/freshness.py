"""How old the store's last word on halts is, where other gateways may have set some since.

A process that was stopped for a while (a machine that stalls, a debugger) knows nothing of
what was halted meanwhile. It finds out here: before an entry's first byte leaves it waits
for a word that is fresh, and without one the entry does not leave.
"""

from typing import Final

import anyio

from mcp_gateway.clock import Clock

FRESH_S: Final = 0.1  # what docs/halts.md promises
LONGEST_WAIT_S: Final = 0.5  # several looks, where the store answers


class Freshness:
    """The age of the last word, counted from when it was asked for.

    Nobody has to be asked where ``watched`` is False: no other gateway writes there, or
    nothing looks again and again.
    """

    def __init__(self, clock: Clock) -> None:
        self.watched = False
        self._clock = clock
        self._asked_at: float | None = None
        self._news: anyio.Event | None = None

    def took(self, asked_at: float) -> None:
        """Take note of a word that was asked for at that moment (monotonic)."""
        self._asked_at = asked_at
        news, self._news = self._news, None
        if news is not None:
            news.set()

    @property
    def is_stale(self) -> bool:
        """Whether a halt of another gateway may be in force for too long, unknown here."""
        if not self.watched:
            return False
        return self._asked_at is None or self._clock.monotonic() - self._asked_at > FRESH_S

    async def renewed(self) -> None:
        """Return at once where the word is fresh; else wait for the next one, not for long."""
        if not self.is_stale:
            return
        with anyio.move_on_after(LONGEST_WAIT_S):
            while self.is_stale:
                if self._news is None:
                    self._news = anyio.Event()
                await self._news.wait()
