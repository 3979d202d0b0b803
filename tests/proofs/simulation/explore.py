"""Which worlds are run: every one near the ordinary course, and random ones far from it."""

import logging
import sys
import time
from collections.abc import Iterable, MutableMapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Never

import structlog

from mcp_gateway.errors import GatewayError
from mcp_gateway.orders.book.rows import Superseded
from tests.proofs.simulation.tape import Tape
from tests.proofs.simulation.world import Wish, World

BTC, ETH, XRP = "BTC/USDT", "ETH/USDT", "XRP/USDT"
MOST_SHOWN = 5
CLOSES = 0.6  # how often a later wish sells what the one before it bought


@dataclass(frozen=True, slots=True)
class Scenario:
    """Who wants what, through how many gateway processes on one ledger, in how long a storm."""

    wishes: tuple[Wish, ...]
    processes: int = 1
    rounds: int = 6


@dataclass(slots=True)
class Found:
    """What a number of worlds came to."""

    worlds: int = 0
    crashes: int = 0
    effects: int = 0
    broken: list[str] = field(default_factory=list)

    def tell(self, title: str, started: float) -> bool:
        """Print one line, and the first broken worlds; tell whether there is any."""
        seconds = time.perf_counter() - started
        sys.stdout.write(
            f"{title}: {self.worlds} worlds, {self.crashes} crashes, {self.effects} effects, "
            f"{len(self.broken)} violations, {self.worlds / seconds:.0f} worlds/s\n"
        )
        for line in self.broken[:MOST_SHOWN]:
            sys.stdout.write(f"  {line}\n")
        sys.stdout.flush()
        return bool(self.broken)


# Every world of these is run, so the storm is short: it ends behind the first lost answer.
SCENARIOS = {
    "one order": Scenario((Wish("a", 1, BTC, "buy", "1"),), rounds=2),
    "twins": Scenario((Wish("a", 1, BTC, "buy", "1", twins=2),), rounds=1),
}


# What the code caught and logged although no world can bring it about: mistakes, ours or here.
surprises: list[str] = []


def silence() -> None:
    """Keep the log of worlds in trouble off the terminal: what counts is what they came to."""
    structlog.configure(
        processors=[_note_surprise],
        wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR),
        cache_logger_on_first_use=False,  # who asks for a logger now must not keep a silent one
    )


def _note_surprise(_logger: object, _name: str, event: MutableMapping[str, Any]) -> Never:
    error = sys.exception()
    if event.get("exc_info") and not isinstance(error, (GatewayError, Superseded)):
        surprises.append(f"{type(error).__name__}: {error}")
    raise structlog.DropEvent


def live(scenario: Scenario, tape: Tape, found: Found) -> World:
    """Run one world and note what it came to."""
    world = World(tape, scenario.wishes, scenario.processes, scenario.rounds)
    surprises.clear()
    violations = world.run() + surprises
    found.worlds += 1
    found.crashes += world.crashes
    found.effects += len(world.bot.effects)
    if violations:
        found.broken.append(f"{'; '.join(violations)} | {' '.join(tape.deviations())}")
    return world


def exhaust(scenario: Scenario, deviations: int, *, share: int = 0, of: int = 1) -> Found:
    """Run every world of a scenario that leaves the ordinary course at most that often.

    Args:
        share: which part of them, by their first deviation.
        of: how many parts there are.
    """
    found = Found()
    front: list[tuple[tuple[int, ...], int]] = [((), 0)]
    while front:
        played, used = front.pop()
        tape = Tape(played)
        live(scenario, tape, found)
        if used == deviations:
            continue
        deviating = [
            (*tape.choices[:place], other)
            for place in range(len(played), len(tape.choices))
            for other in range(1, tape.widths[place])
        ]
        front += [(one, used + 1) for one in (deviating if used else deviating[share::of])]
    return found


def wander(seeds: Iterable[int], *, to_the_first: bool = False) -> Found:
    """Run one random world for each seed: who wants what is drawn too."""
    found = Found()
    for seed in seeds:
        if to_the_first and found.broken:
            break
        random = Random(seed)
        scenario = _drawn(random)
        rate = random.choice((0.02, 0.05, 0.15, 0.3))
        before = len(found.broken)
        live(scenario, Tape(seed=seed, rate=rate), found)
        if len(found.broken) > before:
            found.broken[-1] = f"seed {seed}: {found.broken[-1]}"
    return found


def _drawn(random: Random) -> Scenario:
    """Draw up to two agents with up to three wishes each, one after the other."""
    wishes: list[Wish] = []
    for agent in ("a", "b")[: random.randint(1, 2)]:
        for _ in range(random.choice((1, 1, 2, 3))):
            before = [wish for wish in wishes if wish.agent == agent]
            wishes.append(_wish(random, agent, len(wishes) + 1, before))
    return Scenario(tuple(wishes), processes=random.choice((1, 1, 2)))


def _wish(random: Random, agent: str, number: int, before: list[Wish]) -> Wish:
    twins = random.choice((1, 1, 1, 2))
    if before and random.random() < CLOSES:
        return Wish(agent, number, before[-1].pair, "sell", random.choice(("1", "0.5")), twins)
    pair = random.choice((BTC, BTC, ETH, XRP))
    return Wish(agent, number, pair, "buy", random.choice(("1", "4", "4")), twins)
