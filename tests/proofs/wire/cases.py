"""What can go wrong with which order, and what must come of it."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from tests.support.proxy import FAULTS

# These faults end only when the client's own deadline has passed.
SLOW: Final = {"slow_drip", "half_open", "half_answered", "delayed", "held"}
# The bot never got the whole order.
LOST: Final = {"reset_before", "reset_in_request"}
HARMLESS: Final = {"none", "duplicate"}
ENTRIES: Final = ("market entry", "limit entry")
EXITS: Final = ("full exit", "partial exit", "limit exit")
CANCELS: Final = ("cancel entry", "cancel exit")
LATEST_EFFECT: Final = 4
# As many resets in a row make one read of the client fail.
READ_ATTEMPTS: Final = 3


@dataclass(frozen=True, slots=True)
class Case:
    """One run: what is ordered, what goes wrong with it, and when."""

    kind: str
    fault: str
    moment: float = 0.5
    late_by: int = 1  # looks until a request that was held back reaches the bot
    broken_reads: int = 0

    @property
    def is_told_at_once(self) -> bool:
        """Whether the first answer can tell the outcome; an exit is proven by a read after it."""
        blind = self.kind in EXITS and self.broken_reads >= READ_ATTEMPTS
        return self.fault in HARMLESS and not blind


def every_fault() -> Iterator[Case]:
    """Return the cases of the small size: each fault on an entry, an exit and a cancel."""
    for place, fault in enumerate(FAULTS):
        yield Case(ENTRIES[place % 2], fault)
        yield Case(EXITS[place % 3], fault)
        yield Case(CANCELS[place % 2], fault)


def random_cases(runs: int, seed: int) -> Iterator[Case]:
    """Return that many cases, the same for the same seed."""
    chance = random.Random(seed)
    for _ in range(runs):
        yield Case(
            chance.choice(ENTRIES + EXITS + CANCELS), chance.choice(list(FAULTS)), chance.random(),
            chance.randint(1, LATEST_EFFECT), chance.choice((0, 0, 0, 1, READ_ATTEMPTS)),
        )  # fmt: skip
