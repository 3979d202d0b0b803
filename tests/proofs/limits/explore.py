"""Which worlds are run: agents, wishes, policy and clock are all drawn from the seed."""

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from decimal import Decimal
from random import Random
from typing import Any, Final

from mcp_gateway.domain.positions import Mode
from mcp_gateway.risk.policy import Limits, Policy, Totals
from tests.proofs.limits.world import LimitedWorld
from tests.proofs.simulation.engine import LET_OTHERS
from tests.proofs.simulation.explore import silence, surprises
from tests.proofs.simulation.tape import Tape
from tests.proofs.simulation.world import Wish

CHUNK: Final = 1_000  # seeds that a worker takes at once
TOLD_EVERY: Final = 50  # chunks
MOST_SHOWN: Final = 5
ROUNDS: Final = 6
CLOSES: Final = 0.35  # how often a later wish sells what the one before it bought
PAIRS: Final = tuple(f"{base}/USDT" for base in ("BTC", "ETH", "XRP", "SOL", "ADA", "DOT", "LTC"))
MODES: Final[tuple[Mode, ...]] = ("dry-run", "dry-run", "live")
SWITCHING: Final = (0.0, 0.15, 0.5)
# A crowd, a day's trade, and a longer one: after five minutes it is known what was lost.
PAUSES_S: Final = (
    (0.0,), (0.0, 0.0, 0.5, 2.0, 11.0, 35.0, 59.0, 61.0), (0.0, 30.0, 400.0),
)  # fmt: skip
AHEAD_S: Final = (0.0, 0.98 * 3600, 13.98 * 3600)  # a minute before an hour, and before midnight
FREE: Final = Limits(
    order_notional=None, wallet_share=None, orders_per_minute=None, orders_per_day=None
)
BOUND: Final[tuple[tuple[str, Any], ...]] = (
    ("order_notional", Decimal(150)), ("pair_notional", Decimal(250)),
    ("agent_notional", Decimal(150)), ("agent_notional", Decimal(350)),
    ("agent_positions", 1), ("agent_positions", 2), ("orders_per_minute", 1),
    ("orders_per_minute", 2), ("orders_per_day", 2), ("orders_per_day", 3),
    ("daily_notional", Decimal(250)), ("daily_notional", Decimal(450)),
)  # fmt: skip
ALL_BOUND: Final[tuple[tuple[str, Any], ...]] = (
    ("notional", Decimal(250)), ("notional", Decimal(450)), ("notional", Decimal(700)),
    ("positions", 1), ("positions", 2), ("positions", 3), ("orders_per_minute", 2),
    ("orders_per_minute", 3), ("orders_per_day", 3), ("orders_per_day", 5),
    ("daily_notional", Decimal(450)), ("daily_notional", Decimal(700)),
)  # fmt: skip


class Bustle(Tape):
    """A tape on which tasks let each other go on often: limits are passed in between two looks."""

    def __init__(self, *, seed: int, rate: float, switching: float) -> None:
        super().__init__(seed=seed, rate=rate)
        self._switches = Random(-1 - seed)
        self._switching = switching

    def choose(self, label: str, width: int) -> int:
        choice = super().choose(label, width)
        if label != "step" or choice or self.healed:
            return choice
        if self._switches.random() < self._switching:
            self.choices[-1] = LET_OTHERS
            return LET_OTHERS
        return choice


@dataclass(slots=True)
class Found:
    """What a number of worlds came to; ``bound`` counts denials by the limit that made them."""

    worlds: int = 0
    crashes: int = 0
    effects: int = 0
    bound: Counter[str] = field(default_factory=Counter)
    broken: list[str] = field(default_factory=list)

    def add(self, other: "Found") -> None:
        """Add what others came to."""
        self.worlds += other.worlds
        self.crashes += other.crashes
        self.effects += other.effects
        self.bound += other.bound
        self.broken += other.broken

    def tell(self, started: float) -> bool:
        """Print what was found; tell whether a limit was passed."""
        seconds = time.perf_counter() - started
        told = ", ".join(f"{code} {number}" for code, number in sorted(self.bound.items()))
        sys.stdout.write(
            f"{self.worlds} worlds, {self.crashes} crashes, {self.effects} effects, "
            f"{len(self.broken)} violations, {self.worlds / seconds:.0f} worlds/s\n"
            f"denied by their limits: {told or 'none'}\n"
        )
        for line in self.broken[:MOST_SHOWN]:
            sys.stdout.write(f"  {line}\n")
        sys.stdout.flush()
        return bool(self.broken)


def wander(seeds: Iterable[int], *, to_the_first: bool = False) -> Found:
    """Run one random world for each seed."""
    found = Found()
    for seed in seeds:
        if to_the_first and found.broken:
            break
        _live(seed, found)
    return found


def everywhere(seeds: range, workers: int) -> Found:
    """Run the seeds on several processors, a chunk at a time."""
    whole = Found()
    for number, part in enumerate(_parts(seeds, workers), 1):
        whole.add(part)
        if number % TOLD_EVERY == 0:
            print(f"… {whole.worlds} worlds", file=sys.stderr, flush=True)
    return whole


def _parts(seeds: range, workers: int) -> Iterator[Found]:
    chunks = [seeds[first : first + CHUNK] for first in range(0, len(seeds), CHUNK)]
    with ProcessPoolExecutor(workers, initializer=silence) as pool:
        yield from pool.map(wander, chunks)


def _live(seed: int, found: Found) -> None:
    random = Random(seed)
    tape = Bustle(
        seed=seed, rate=random.choice((0.01, 0.03, 0.08, 0.2)), switching=random.choice(SWITCHING)
    )
    world = LimitedWorld(
        tape, _wishes(random), _policy(random), processes=random.choice((1, 2, 3, 3)),
        ahead_s=random.choice(AHEAD_S), rounds=ROUNDS, mode=random.choice(MODES),
    )  # fmt: skip
    surprises.clear()
    violations = world.run() + surprises
    found.worlds += 1
    found.crashes += world.crashes
    found.effects += len(world.bot.effects)
    found.bound += world.denied()
    if violations:
        found.broken.append(f"seed {seed}: {'; '.join(violations)} | {' '.join(tape.deviations())}")


def _policy(random: Random) -> Policy:
    """Draw a few limits: many at once would leave nothing to come near to any of them."""
    drawn = [_few(random, BOUND, 2) for _ in range(2)]
    own = {"b": replace(FREE, **drawn[1])} if random.random() < 0.3 else {}
    totals = Totals(**_few(random, ALL_BOUND, 2))
    return Policy(replace(FREE, **drawn[0]), agents=own, totals=totals, written=True)


def _few(random: Random, of: tuple[tuple[str, Any], ...], most: int) -> dict[str, Any]:
    return dict(random.choice(of) for _ in range(random.randint(0, most)))


def _wishes(random: Random) -> tuple[Wish, ...]:
    """Draw two to six callers with up to four wishes each, one after the other.

    Some act for the same agent, through whichever process they call.
    """
    wishes: list[Wish] = []
    pauses = random.choice(PAUSES_S)
    for caller in "abcdef"[: random.choice((2, 2, 2, 3, 3, 4, 6))]:
        agent = random.choice((caller, caller, "a"))
        before: Wish | None = None
        for _ in range(random.choice((1, 2, 2, 3, 4))):
            plain = _wish(random, caller, len(wishes) + 1, before)
            before = replace(plain, acts_for=agent, after_s=random.choice(pauses))
            wishes.append(before)
    return tuple(wishes)


def _wish(random: Random, caller: str, number: int, before: Wish | None) -> Wish:
    twins = random.choice((1, 1, 1, 1, 2))
    if before is not None and before.side == "buy" and random.random() < CLOSES:
        amount = random.choice((before.amount, "0.5"))
        return Wish(caller, number, before.pair, "sell", amount, twins)
    pair, amount = random.choice(PAIRS), random.choice(("1", "1", "2", "4"))
    return Wish(caller, number, pair, "buy", amount, twins)
