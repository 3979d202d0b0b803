"""Proof: whatever agents, bot, store and crashes do, the ledger's promises hold.

    python -m tests.proofs.model --examples 200000

Each example is a world of its own: the whole order service on a real SQLite file, before a
bot at the wire, in virtual time. The first one that breaks a promise is printed, made as
small as it gets; then the exit code is 1. It is 3 where a world came to no end.
"""

import argparse
import sys
import time
import traceback
from typing import Final

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.proofs.model.machine import Machine, silence
from tests.proofs.model.world import Broken

BATCH: Final = 2000
STEPS: Final = 4  # of which one may be an order with something else in the middle of it
MANY_STEPS: Final = 8
CRASHED: Final = 3  # the gateway or the proof itself: no promise can be said to be broken


def prove(examples: int, number: int, *, steps: int = STEPS, shrinks: bool = True) -> None:
    """Run one batch of examples; its number draws them, the same ones each time.

    Raises:
        Broken: a promise was broken; hypothesis has told the steps.
    """
    phases = [Phase.generate, Phase.shrink] if shrinks else [Phase.generate]
    run_state_machine_as_test(
        seed(number)(Machine),
        settings=settings(
            max_examples=examples, stateful_step_count=steps, database=None, deadline=None,
            suppress_health_check=list(HealthCheck), phases=phases, report_multiple_bugs=False,
        ),
    )  # fmt: skip


def main(given: list[str] | None = None) -> int:
    """Prove the whole size; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.model")
    parser.add_argument("--examples", type=int, default=200_000)
    parser.add_argument("--first", type=int, default=0, help="the number of the first batch")
    parser.add_argument("--steps", type=int, default=MANY_STEPS, help="of one example")
    parser.add_argument("--to-the-first", action="store_true", help="find, and make nothing small")
    asked = parser.parse_args(given)
    silence()
    started, done, number = time.monotonic(), 0, asked.first
    while done < asked.examples:
        size = min(BATCH, asked.examples - done)
        try:
            prove(size, number, steps=asked.steps, shrinks=not asked.to_the_first)
        except Broken as error:
            print("\n".join(getattr(error, "__notes__", [])))
            print(f"batch {number}: {error}")
            return 1
        except Exception:  # noqa: BLE001  (whatever it is, it is told apart from a broken promise)
            traceback.print_exc()
            return CRASHED
        done, number = done + size, number + 1
        seconds = time.monotonic() - started
        print(f"{done} examples, 0 violations, {done / seconds:.0f} examples/s", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
