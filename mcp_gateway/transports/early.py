"""Signals that come before anybody answers them: remembered, for else they end the process.

A handler of Python's own, and no mask of blocked signals: that one would be inherited by every
child process. Imports next to nothing, so that it can be the first thing a command does.
"""

import signal
from types import FrameType
from typing import Final

_held: Final[set[int]] = set()
_came: Final[set[int]] = set()


def hold(number: signal.Signals) -> None:
    """Remember a signal from now on, whenever nobody answers it; for the main thread alone."""
    _held.add(number)
    signal.signal(number, _remember)


def taken(number: signal.Signals) -> bool:
    """Tell whether the signal came while nobody answered it, and forget that."""
    came = number in _came
    _came.discard(number)
    return came


def let_go(number: signal.Signals) -> None:
    """Go back to remembering where that was asked for: nobody answers the signal any more."""
    if number in _held:
        hold(number)


def _remember(number: int, _frame: FrameType | None) -> None:
    _came.add(number)
