"""``python -m tests.proofs.simulation --seeds N [--deviations D]``: worlds by the thousand."""

import argparse
import sys
import time

from tests.proofs.simulation.explore import SCENARIOS, exhaust, silence, wander


def main() -> int:
    """Run what was asked for and print a line for each part; 1 where anything was broken."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=100_000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--deviations", type=int, default=3)
    parser.add_argument("--to-the-first", action="store_true", help="stop at a violation")
    args = parser.parse_args()
    silence()
    broken = False
    for name, scenario in SCENARIOS.items():
        if not args.deviations:
            break
        started = time.perf_counter()
        found = exhaust(scenario, args.deviations)
        broken |= found.tell(f"{name}, up to {args.deviations} deviations", started)
    started = time.perf_counter()
    seeds = range(args.first, args.first + args.seeds)
    found = wander(seeds, to_the_first=args.to_the_first)
    broken |= found.tell("seeds", started)
    return int(broken)


if __name__ == "__main__":
    sys.exit(main())
