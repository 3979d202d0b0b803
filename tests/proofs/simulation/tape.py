"""Where a simulated world takes its choices from, so that every world can be run again."""

import random
from collections.abc import Sequence

OFTEN = 8  # there are that many steps for each question or commit


class Tape:
    """Choices by number; 0 is always the ordinary course of things.

    Args:
        played: the choices of the beginning; behind them everything is ordinary.
        seed: draws every further choice instead, each a deviation with probability ``rate``.
    """

    def __init__(
        self, played: Sequence[int] = (), *, seed: int | None = None, rate: float = 0.1
    ) -> None:
        self._played = played
        self._random = None if seed is None else random.Random(seed)
        self._rate = rate
        self._step_rate = rate / OFTEN
        self.healed = False
        self.choices: list[int] = []
        self.widths: list[int] = []
        self.labels: list[str] = []

    def choose(self, label: str, width: int) -> int:
        """Return one of ``width`` alternatives; a world that is healed deviates no more."""
        if self.healed:
            return 0
        if self._random is None:
            place = len(self.choices)
            choice = self._played[place] % width if place < len(self._played) else 0
        elif self._random.random() < (self._step_rate if label == "step" else self._rate):
            choice = 1 + int(self._random.random() * (width - 1))
        else:
            choice = 0
        self.choices.append(choice)
        self.widths.append(width)
        self.labels.append(label)
        return choice

    def deviations(self) -> list[str]:
        """Return what was out of the ordinary, in the order in which it happened."""
        return [
            f"{place}:{label}={choice}"
            for place, (label, choice) in enumerate(zip(self.labels, self.choices, strict=True))
            if choice
        ]
