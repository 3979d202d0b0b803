"""What the agents of one campaign share: the number of orders, the pairs, the market's help."""

import time
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.proofs.campaign.journal import Journal
from tests.proofs.campaign.stage import MARKETS, Stage

# Beyond both, a limit order rests; a shock of this size reaches it.
AWAY, REACH = 0.04, 0.07
LAST_ORDERS = 4
CLOSED_S = 5.0  # how long agents hold back after a bot that was busy or away


@dataclass
class Floor:
    """The common ground of all agents; one event loop, so no locks."""

    stage: Stage
    dice: Random
    total: int
    journal: Journal = field(default_factory=Journal)
    taken: dict[str, str] = field(default_factory=dict)
    begun: int = 0
    done: int = 0
    over: bool = False
    _closed_until: float = 0.0
    _unknown: set[str] = field(default_factory=set)

    @property
    def open(self) -> bool:
        """Whether there are orders left to be sent."""
        return self.begun < self.total and not self.over

    @property
    def may_begin(self) -> bool:
        """Whether an order may start now: the last ones wait until each part has died once."""
        return self.begun < self.total - LAST_ORDERS or all(self.stage.deaths.values())

    def begin(self, order: dict[str, Any]) -> None:
        """Count an order that is about to be sent for the first time."""
        self.begun += 1
        self.journal.orders[order["request_id"]] = order

    def all_settled(self) -> bool:
        """Tell whether every order that was begun has been seen through."""
        return self.done == self.begun

    def take(self, agent: str, *, recklessly: bool) -> str | None:
        """Reserve a pair that no other agent wants; recklessly: any pair at all."""
        free = list(MARKETS) if recklessly else [pair for pair in MARKETS if pair not in self.taken]
        if not free:
            return None
        pair = self.dice.choice(free)
        self.taken.setdefault(pair, agent)
        return pair

    def release(self, agent: str, pair: str) -> None:
        """Let others have the pair."""
        if self.taken.get(pair) == agent:
            del self.taken[pair]

    def looks_open(self, side: str) -> bool:
        """Tell whether a considerate agent would try now: no bot away, for buyers none busy."""
        waits = side == "buy" and self._unknown
        return not waits and time.monotonic() >= self._closed_until

    def hold_back(self) -> None:
        """Tell the others that the bot was busy or away just now."""
        self._closed_until = time.monotonic() + CLOSED_S

    def note_unknown(self, request_id: str, *, unknown: bool) -> None:
        """Tell the buyers of an entry whose outcome is open, or is so no more."""
        if unknown:
            self._unknown.add(request_id)
        else:
            self._unknown.discard(request_id)
