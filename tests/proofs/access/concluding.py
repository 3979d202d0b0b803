"""How a proof is run from the command line: a folder of its own, one line, one exit code."""

import argparse
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import anyio

Found = TypeVar("Found")
BROKE_DOWN = 3  # the proof itself failed, which is no verdict


def conclude(
    about: str | None,
    prove: Callable[[Path, int], Awaitable[Found]],
    report: Callable[[Found], int],
    *,
    size: int,
    counts: str,
) -> int:
    """Read the arguments, prove, and return what ``report`` makes of it.

    Args:
        size: the whole size; ``--size`` takes another.
        counts: what it counts.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--size", type=int, default=size, help=counts)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        try:
            found = anyio.run(prove, Path(folder), arguments.size)
        except Exception as error:  # noqa: BLE001 - see BROKE_DOWN
            print(f"broke down: {error!r}")
            return BROKE_DOWN
    return report(found)
