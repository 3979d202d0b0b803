"""``mcp-gateway`` in a process whose clocks are wrong by ``CLOCK_OFF_BY_S`` seconds.

    CLOCK_OFF_BY_S=90 python -m tests.proofs.access.skewed serve

The package knows nothing of this: its one owner of time is told another one before it begins.
"""

import os
import sys
from datetime import timedelta
from typing import Final

from mcp_gateway.cli.main import run
from mcp_gateway.clock import Clock

OFF_BY_S: Final = "CLOCK_OFF_BY_S"


def put_off(seconds: float) -> None:
    """Let both clocks of this process be wrong."""
    now, monotonic = Clock.now, Clock.monotonic
    Clock.now = lambda self: now(self) + timedelta(seconds=seconds)  # type: ignore[method-assign]  # that is the point
    Clock.monotonic = lambda self: monotonic(self) + seconds  # type: ignore[method-assign]  # the same


if __name__ == "__main__":
    put_off(float(os.environ.pop(OFF_BY_S)))
    sys.exit(run(sys.argv[1:]))
