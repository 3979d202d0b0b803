"""``python -m tests.proofs.limits --seeds N``: no set of orders that were let in passes a limit."""

import argparse
import os
import sys
import time
import traceback

from tests.proofs.limits.explore import everywhere, wander
from tests.proofs.simulation.explore import silence


def main() -> int:
    """Run the worlds and tell what they came to; 1 where a limit was passed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--to-the-first", action="store_true", help="one worker, to a violation")
    args = parser.parse_args()
    silence()
    started = time.perf_counter()
    seeds = range(args.first, args.first + args.seeds)
    if args.to_the_first:
        found = wander(seeds, to_the_first=True)
    else:
        found = everywhere(seeds, args.workers)
    return int(found.tell(started))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Exception:  # noqa: BLE001  (a proof that breaks down has found nothing: 1 is for violations)
        traceback.print_exc()
        sys.exit(3)
