"""Proof: whatever happens to the bytes of one order, the truth is told and it has one effect.

usage: python -m tests.proofs.wire [--runs N] [--seed N]

Each run is an order through the whole order floor, over real sockets: the real client, a
proxy that spoils the order's call, and a bot behind a real HTTP server. Only the waits of
reconciliation are virtual. A violation is printed and makes the exit code 1.
"""

import argparse
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import anyio

from mcp_gateway.telemetry import logs
from tests.proofs.wire.cases import random_cases
from tests.proofs.wire.floor import bot_server
from tests.proofs.wire.verdict import Verdict, prove


async def prove_all(runs: int, seed: int) -> list[Verdict]:
    """Run random cases one after the other."""
    verdicts = []
    async with bot_server() as (standing, port):
        for case in random_cases(runs, seed):
            with tempfile.TemporaryDirectory() as folder:
                verdicts.append(await prove(case, standing, port, Path(folder)))
    return verdicts


def report(verdicts: list[Verdict], seconds: float) -> int:
    """Print what came of it; return how many runs broke a promise."""
    words = Counter(f"{one.told} → {one.settled}" for one in verdicts)
    broken = [one for one in verdicts if one.violations]
    for verdict in broken:
        print(f"VIOLATION {verdict.case}: {'; '.join(verdict.violations)}")
    print(f"runs        {len(verdicts)}")
    for word, count in sorted(words.items()):
        print(f"  {word:<24} {count}")
    print(f"violations  {len(broken)}")
    print(f"seconds     {seconds:.1f}")
    return len(broken)


def main(given: list[str] | None = None) -> int:
    """Prove the whole size; 1 where a promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.wire")
    parser.add_argument("--runs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(2**32))
    asked = parser.parse_args(given)
    print(f"seed        {asked.seed}", flush=True)
    started = time.monotonic()
    verdicts = anyio.run(prove_all, asked.runs, asked.seed)
    return 1 if report(verdicts, time.monotonic() - started) else 0


if __name__ == "__main__":
    logs.configure("ERROR", "console")  # each fault would be told in the logs
    sys.exit(main())
