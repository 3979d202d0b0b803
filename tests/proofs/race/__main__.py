"""Proof: whoever comes at once, one request has one effect and nobody oversteps a limit.

    python -m tests.proofs.race --rounds 1000

Callers speak real HTTP to real gateway processes, one on SQLite and two on one PostgreSQL,
before a bot behind a socket. A violation is printed and makes the exit code 1.
"""

import argparse
import sys
import time
from collections import Counter

import anyio

from tests.proofs.race.races import FIRST, OTHERS, Round
from tests.proofs.race.run import races_on_own_server
from tests.proofs.stage import Engine

WIDTH = 28


def report(found: dict[Engine, list[Round]], seconds: float) -> int:
    """Print a line for each race and engine; return how many violations there were."""
    violations = [one for rounds in found.values() for each in rounds for one in each.violations]
    for one in violations:
        print(f"VIOLATION {one}")
    print(f"{'race':<{WIDTH}}{'engine':<12}{'rounds':>7}{'calls':>7}{'open at once':>14}  answers")
    for engine, rounds in found.items():
        for name in (FIRST[0], *OTHERS):
            print(_line(engine, name, [one for one in rounds if one.race == name]))
    print(f"violations  {len(violations)}")
    print(f"seconds     {seconds:.1f}")
    return len(violations)


def _line(engine: str, name: str, rounds: list[Round]) -> str:
    calls = sum(len(one.answers) for one in rounds)
    least = min((one.at_once for one in rounds), default=0)
    words: Counter[str] = sum((one.words for one in rounds), Counter())
    told = ", ".join(f"{count} {word}" for word, count in words.most_common())
    return f"{name:<{WIDTH}}{engine:<12}{len(rounds):>7}{calls:>7}{least:>10} least  {told}"


def main(given: list[str] | None = None) -> int:
    """Prove the whole size; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.race")
    parser.add_argument("--rounds", type=int, default=1000)
    asked = parser.parse_args(given)
    started = time.monotonic()
    found = anyio.run(races_on_own_server, asked.rounds)
    return 1 if report(found, time.monotonic() - started) else 0


if __name__ == "__main__":
    sys.exit(main())
