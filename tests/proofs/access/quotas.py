"""Proof: however many processes serve, and whatever their clocks say, a quota is one quota.

    python -m tests.proofs.access.quotas --size 200000

Four real gateway processes, their clocks 90 s apart, share one Valkey. Agents call through all
of them at once, as fast as they can. Whatever stretch of time is looked at, no agent, and not
all of them together, got more through than a burst, what the time gave back, and one. A
violation is printed and makes the exit code 1; a proof that broke down ends with 3.
"""

import argparse
import sys
import tempfile
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

import anyio

from tests.proofs.access.skewed import OFF_BY_S
from tests.proofs.access.wire import Caller, request
from tests.support.processes import Serving, environment, token
from tests.support.servers import Valkey, own

PROCESSES: Final = 4
APART_S: Final = 90
AGENTS: Final = 3
PER_MINUTE: Final = 120
SERVER_PER_MINUTE: Final = 300  # less than the agents' together, so that it says no, too
CONNECTIONS: Final = 2  # of each agent to each process
ROOT: Final = Path(__file__).resolve().parents[3]
SERVER: Final = "server"


class Skewed(Serving):
    """``mcp-gateway serve`` in a process whose clocks are wrong."""

    program = "tests.proofs.access.skewed"


@dataclass(frozen=True, slots=True)
class Passed:
    """One call that was let through: when it was sent and answered, on this process's clock."""

    sent_at: float
    answered_at: float


@dataclass
class Found:
    """What the calls came to."""

    passed: dict[str, list[Passed]] = field(default_factory=lambda: defaultdict(list))
    words: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0
    degraded: int = 0  # processes that lost the store: this machine was too busy for a proof

    @property
    def calls(self) -> int:
        """How many there were."""
        return self.words.total()

    def violations(self) -> list[str]:
        """Return every quota that let more through than it may."""
        every = [one for calls in self.passed.values() for one in calls]
        limits = {name: (calls, PER_MINUTE) for name, calls in self.passed.items()}
        limits[SERVER] = (every, SERVER_PER_MINUTE)
        told = [_most_over(name, calls, limit) for name, (calls, limit) in limits.items()]
        return [one for one in told if one is not None]

    def too_few(self) -> list[str]:
        """Return the quotas that gave less than their burst: then nothing was proven."""
        count = {name: len(calls) for name, calls in self.passed.items()}
        least = min(PER_MINUTE, SERVER_PER_MINUTE // AGENTS) * 0.9
        return [f"{name} got {count[name]}" for name in count if count[name] < least]


def _most_over(name: str, calls: Sequence[Passed], per_minute: int) -> str | None:
    """Return the first stretch with more than the burst, the rate and one; None where none is.

    A stretch reaches from the first of its calls sent to the last of them answered, so each
    was decided within it: what is counted too much is the quota's fault and never the wire's.
    """
    ordered = sorted(calls, key=lambda one: one.sent_at + one.answered_at)
    for first, begin in enumerate(ordered):
        began, ended = begin.sent_at, begin.answered_at
        for count, each in enumerate(ordered[first:], start=1):
            began, ended = min(began, each.sent_at), max(ended, each.answered_at)
            most = per_minute + (ended - began) * per_minute / 60 + 1
            if count > most:
                return f"{name}: {count} within {ended - began:.2f} s, where {most:.1f} may pass"
    return None


@contextmanager
def fleet(folder: Path, redis_url: str | None, many: int) -> Iterator[list[Serving]]:
    """Run the processes; without a shared store each counts alone, which must be found."""
    shared = {} if redis_url is None else {"REDIS_URL": redis_url}
    with ExitStack() as stack, ThreadPoolExecutor(many) as at_once:

        def start(number: int) -> Serving:
            started = Skewed(home := folder / str(number), _environment(home, number, shared))
            stack.callback(started.close)
            return started

        yield list(at_once.map(start, range(many)))


def _environment(home: Path, number: int, shared: Mapping[str, str]) -> dict[str, str]:
    home.mkdir()
    return environment(home, **shared) | {
        OFF_BY_S: str(number * APART_S),
        "PYTHONPATH": str(ROOT),
        "RATE_LIMIT_PER_MINUTE": str(PER_MINUTE),
        "MCP_GATEWAY_CALLER_RATE_LIMIT_PER_MINUTE": "1000000",
        "MCP_GATEWAY_SERVER_RATE_LIMIT_PER_MINUTE": str(SERVER_PER_MINUTE),
        # Or the door would slow down what is to be proven here.
        "MCP_GATEWAY_DOOR_RATE_LIMIT_PER_MINUTE": "10000000",
    }


async def call_through(
    url: str, agent: str, passed: list[Passed], words: Counter[str], many: int
) -> None:
    """Ask for an order that is not there, so often, on one connection."""
    wanted = request(
        "GET", f"/api/v1/orders/{uuid4()}", urlsplit(url).netloc, f"Bearer {token(subject=agent)}"
    )
    async with Caller.connected(url) as caller:
        for _ in range(many):
            sent_at = time.monotonic()
            status = await caller.ask(wanted)
            words[status] += 1
            if status != "429":
                passed.append(Passed(sent_at, time.monotonic()))


async def calls(urls: Sequence[str], size: int) -> Found:
    """Make so many calls, through every process at once."""
    found = Found()
    each = size // (len(urls) * AGENTS * CONNECTIONS)
    for url in urls:  # a connection to the store that is not there yet is no part of this
        await call_through(url, "first", [], Counter(), 1)
    started = time.monotonic()
    async with anyio.create_task_group() as group:
        for number in range(AGENTS):
            agent = f"agent-{number}"
            for url in [*urls] * CONNECTIONS:
                group.start_soon(call_through, url, agent, found.passed[agent], found.words, each)
    found.seconds = time.monotonic() - started
    return found


def prove(folder: Path, size: int, *, processes: int = PROCESSES, shared: bool = True) -> Found:
    """Run the whole proof; ``shared`` False plants the bug that it must find."""
    with own(Valkey) as valkey, fleet(folder, valkey.url if shared else None, processes) as served:
        found = anyio.run(calls, [one.url for one in served], size)
        found.degraded = sum("limiter degraded" in "".join(one.log) for one in served)
        return found


def report(found: Found) -> int:
    """Print what was found; return the exit code."""
    for one in found.violations():
        print(f"VIOLATION {one}")
    for one in found.too_few():
        print(f"TOO FEW   {one}")
    told = ", ".join(f"{count:,} {word}" for word, count in found.words.most_common())
    passed = ", ".join(f"{name} {len(calls)}" for name, calls in sorted(found.passed.items()))
    print(
        f"quotas: {found.calls:,} calls in {found.seconds:.0f} s over {PROCESSES} processes "
        f"{APART_S} s apart ({told}); passed: {passed}; "
        f"violations {len(found.violations())}"
    )
    if found.degraded or found.words.keys() - {"404", "429"} or found.too_few():
        print(f"broke down: {found.degraded} processes lost the store")
        return 3
    return 1 if found.violations() else 0


def main(given: list[str] | None = None) -> int:
    """Prove the whole size; 1 where a quota was overstepped."""
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.access.quotas")
    parser.add_argument("--size", type=int, default=200_000, help="calls")
    asked = parser.parse_args(given)
    with tempfile.TemporaryDirectory(prefix="mcp-gateway-quotas-") as folder:
        return report(prove(Path(folder), asked.size))


if __name__ == "__main__":
    sys.exit(main())
