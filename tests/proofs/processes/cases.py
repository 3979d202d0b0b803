"""Which runs there are: every failpoint, with every fault of the bot, on both engines."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

from tests.proofs.stage import ENGINES, Engine
from tests.support.failpoints import FAILPOINTS

Kind = Literal["entry", "full exit", "partial exit"]

KINDS: Final[tuple[Kind, ...]] = ("entry", "full exit", "partial exit")
# What the bot does with the order (see TradingBot); "" is nothing out of the ordinary.
FAULTS: Final = (
    "", "refuse:trader is not running", "fail", "fail_done", "lose", "lose_done", "late",
)  # fmt: skip
STRIDE: Final = 3  # shares no divisor with the number of faults


@dataclass(frozen=True, slots=True)
class Case:
    """One run: what is ordered, where the process ends, and what the bot does."""

    kind: Kind
    failpoint: str
    fault: str
    engine: Engine

    def __str__(self) -> str:
        fault = self.fault.partition(":")[0] or "no fault"
        return f"{self.engine}, {self.kind}, {self.failpoint}, {fault}"


def every_case() -> Iterator[Case]:
    """Yield the whole size: every failpoint with every fault on both engines."""
    for turn in range(len(FAULTS)):
        yield from _one_fault_each(turn)


def chosen_cases() -> Iterator[Case]:
    """Yield the small size: each failpoint, and each fault, on both engines."""
    yield from _one_fault_each(0)


def _one_fault_each(turn: int) -> Iterator[Case]:
    # All failpoints first, the engines in turn, and only then the other engine of each: so the
    # first runs of a small size meet all of them.
    for half in range(len(ENGINES)):
        for place, failpoint in enumerate(FAILPOINTS):
            number = (place + half) % len(ENGINES)
            fault = FAULTS[(place + number * STRIDE + turn) % len(FAULTS)]
            kind = KINDS[(place + number + turn) % len(KINDS)]
            yield Case(kind, failpoint, fault, ENGINES[number])
