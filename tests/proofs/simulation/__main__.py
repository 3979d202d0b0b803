"""``python -m tests.proofs.simulation --seeds N [--deviations D]``: worlds by the thousand."""

import argparse
import os
import sys
import time
import traceback
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor

from tests.proofs.simulation.explore import SCENARIOS, Found, exhaust, silence, wander

CHUNK = 5_000  # seeds that a worker takes at once
TOLD_EVERY = 100  # chunks


def main() -> int:
    """Run what was asked for and print a line for each part; 1 where anything was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--deviations", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--to-the-first", action="store_true", help="one worker, to a violation")
    args = parser.parse_args()
    silence()
    broken = False
    for name, scenario in SCENARIOS.items() if args.deviations else ():
        started = time.perf_counter()
        found = exhaust(scenario, args.deviations)
        broken |= found.tell(f"{name}, up to {args.deviations} deviations", started)
    started = time.perf_counter()
    seeds = range(args.first, args.first + args.seeds)
    if args.to_the_first:
        found = wander(seeds, to_the_first=True)
    else:
        found = sum_of(everywhere(seeds, args.workers))
    return int(broken | found.tell(f"{args.seeds} seeds", started))


def everywhere(seeds: range, workers: int) -> Iterator[Found]:
    """Run the seeds on several processors, a chunk at a time."""
    chunks = [seeds[first : first + CHUNK] for first in range(0, len(seeds), CHUNK)]
    with ProcessPoolExecutor(workers, initializer=silence) as pool:
        broken = 0
        for number, part in enumerate(pool.map(wander, chunks), 1):
            broken += len(part.broken)
            if number % TOLD_EVERY == 0 or part.broken:  # whoever stops here knows this much
                told = f"… {number * CHUNK} seeds, {broken} violations"
                print(told, *part.broken, sep="\n  ", file=sys.stderr, flush=True)
            yield part


def sum_of(parts: Iterator[Found]) -> Found:
    """Add up what the chunks came to."""
    whole = Found()
    for part in parts:
        whole.worlds += part.worlds
        whole.crashes += part.crashes
        whole.effects += part.effects
        whole.broken += part.broken
    return whole


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception:  # noqa: BLE001  (a proof that breaks down has found nothing: 1 is for violations)
        traceback.print_exc()
        sys.exit(3)
