"""Proof: whatever a request looks like, it gets an answer that an agent can read.

    python -m tests.proofs.access.fuzz --bodies 1000000

Real calls of both eras of MCP and of REST are bent (members doubled, types changed, literals
that JSON does not have, bytes cut and flipped, headers and paths with them) and sent to the whole
HTTP face of a gateway in this process, the last tenth of them with a dead bot behind it; some go as
lines to a real ``mcp-gateway stdio``. Each gets an answer in time: no 5xx but those documented for a
bot that refuses or is dead, no traceback in it or in the log, in the form of its language, with code and hint where it refuses; what must be refused
is not done; and the memory stays flat. A violation is printed with what was sent, and makes the
exit code 1; a proof that broke down ends with 3.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Final

from tests.proofs.access.fuzz.run import Found, run

ROOT: Final = Path(__file__).resolve().parents[4]
WORKERS: Final = 2


def main(given: list[str] | None = None) -> int:
    """Run the whole size; 1 where an answer was wrong."""
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.access.fuzz")
    parser.add_argument("--bodies", "--size", type=int, default=1_000_000, help="requests")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=WORKERS)
    asked = parser.parse_args(given)
    if asked.workers > 1:
        return _shared(asked.bodies, asked.seed, asked.workers)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="mcp-gateway-fuzz-") as folder:
        found = run(Path(folder), asked.bodies, asked.seed)
    return report(found, time.perf_counter() - started)


def report(found: Found, seconds: float) -> int:
    """Print what was found; return the exit code."""
    for one in found.violations:
        print(one)
    print(f"fuzz: {found}, {seconds:.0f} s")
    return 1 if found.violations else 0


def _shared(bodies: int, seed: int, workers: int) -> int:
    """Let processes share the work; each prints for itself."""
    command = [sys.executable, "-m", "tests.proofs.access.fuzz", "--workers", "1"]
    running = [
        subprocess.Popen(
            [*command, "--bodies", str(bodies // workers), "--seed", str(seed * workers + one)],
            cwd=ROOT,
        )
        for one in range(workers)
    ]
    codes = [process.wait() for process in running]
    return 3 if any(code not in {0, 1} for code in codes) else max(codes)


if __name__ == "__main__":
    sys.exit(main())
