"""What `make test` runs: every check, then every test.

usage: python -m tests.support.run [PYTEST ARGUMENTS]
"""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
CHECKS = (
    ("ruff", "format", "--check", "--quiet", "."),
    ("ruff", "check", "--quiet", "."),
    ("lint-imports", "--no-cache"),
    ("mypy",),
)


def main() -> int:
    """Run the checks and the tests; the first failure of a check does not hide the next."""
    failed = [" ".join(check) for check in CHECKS if not _passes(check)]
    workers = str(min(4, os.cpu_count() or 1))
    tests = ("pytest", "-n", workers, "--dist", "loadgroup", "-q", *sys.argv[1:])
    if not _passes(tests):
        failed.append("pytest")
    for name in failed:
        print(f"FAILED: {name}", file=sys.stderr)
    return 1 if failed else 0


def _passes(command: tuple[str, ...]) -> bool:
    started = time.monotonic()
    print(f"── {' '.join(command)}", flush=True)
    code = subprocess.run([BIN / command[0], *command[1:]], cwd=ROOT, check=False).returncode
    print(f"   exit {code} after {time.monotonic() - started:.1f} s", flush=True)
    return code == 0


if __name__ == "__main__":
    sys.exit(main())
