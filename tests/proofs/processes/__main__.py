"""Proof: wherever the gateway's process ends, each order has one effect and a known outcome.

    python -m tests.proofs.processes --runs 280

Each run is a real gateway process that kills itself at a failpoint while an agent's order is
on its way over real HTTP, is started again, and is asked for the same order until its outcome
is final. A violation is printed and makes the exit code 1.
"""

import argparse
import itertools
import sys
import time
from collections import Counter

import anyio

from tests.proofs.processes.cases import every_case
from tests.proofs.processes.run import prove_on_own_server
from tests.proofs.processes.verdict import Verdict
from tests.support.failpoints import FAILPOINTS

LONGEST_S = 60.0  # for an unknown order, from the moment at which bot and gateway are back


def report(verdicts: list[Verdict], seconds: float) -> int:
    """Print what came of it; return how many runs broke a promise."""
    broken = [verdict for verdict in verdicts if verdict.violations]
    for verdict in broken:
        print(f"VIOLATION {verdict.case}: {'; '.join(verdict.violations)}")
    unknown = [verdict.settled_s for verdict in verdicts if verdict.was_unknown]
    print(f"{'the process ended at':<24}{'runs':>6}{'unknown':>9}{'longest s':>11}  outcomes")
    for failpoint in FAILPOINTS:
        there = [verdict for verdict in verdicts if verdict.case.failpoint == failpoint]
        lost = sum(verdict.was_unknown for verdict in there)
        longest = max((verdict.settled_s for verdict in there), default=0.0)
        words = Counter(word for verdict in there for word in verdict.outcomes)
        told = ", ".join(f"{count} {word}" for word, count in sorted(words.items()))
        print(f"{failpoint:<24}{len(there):>6}{lost:>9}{longest:>11.1f}  {told}")
    print(f"runs                 {len(verdicts)}")
    print(f"violations           {len(broken)}")
    print(f"longest unknown      {max(unknown, default=0.0):.1f} s (quiet time scaled to 1 s)")
    print(f"seconds              {seconds:.1f}")
    return len(broken)


def main(given: list[str] | None = None) -> int:
    """Prove the whole size; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.processes")
    parser.add_argument("--runs", type=int, default=280)
    asked = parser.parse_args(given)
    cases = list(itertools.islice(itertools.cycle(every_case()), asked.runs))
    started = time.monotonic()
    verdicts = anyio.run(prove_on_own_server, cases)
    for verdict in verdicts:
        verdict.expect(verdict.settled_s <= LONGEST_S, f"settled after {verdict.settled_s:.0f} s")
    return 1 if report(verdicts, time.monotonic() - started) else 0


if __name__ == "__main__":
    sys.exit(main())
