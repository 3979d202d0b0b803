"""One worker of the fuzzer: so many requests from one seed, and what they found."""

import gc
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Final

import anyio
import httpx2

from tests.proofs.access.fuzz.lines import Pipe, piped
from tests.proofs.access.fuzz.stage import Stage, staged

MOST_TOLD: Final = 20  # violations; beyond these there is nothing new to learn
WARM_SHARE: Final = 0.3  # caches and pools are full by then
ALIVE_SHARE: Final = 0.9  # of the requests; then the bot is dead
LINE_SHARE: Final = 0.05  # of as many lines beside the requests
HALTED: Final = 25  # requests after which a halt that one of them made is released
GROWTH_BYTES: Final = 24 * 1024 * 1024
PAGE_BYTES: Final = 4096


@dataclass
class Found:
    """What the requests came to."""

    bodies: int = 0
    lines: int = 0  # over stdio
    violations: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    grown_bytes: int = 0

    def __str__(self) -> str:
        told = " ".join(f"{status}:{count}" for status, count in sorted(self.statuses.items()))
        grown = f"{self.grown_bytes / 1024 / 1024:+.1f} MB"
        return f"{self.bodies} requests, {self.lines} lines, {len(self.violations)} violations, {told}, {grown}"


def run(folder: Path, bodies: int, seed: int) -> Found:
    """Send so many bent requests to a gateway of their own."""
    found = anyio.run(_run, folder, bodies, seed)
    for modern in (True, False):
        with piped(folder, modern=modern) as pipe:
            _say(pipe, found, f"{seed}:{modern}", int(bodies * LINE_SHARE / 2))
    return found


async def _run(folder: Path, bodies: int, seed: int) -> Found:
    found = Found()
    async with staged(folder) as stage:
        await _ask(stage, found, seed, range(int(bodies * WARM_SHARE)))
        warm_bytes = _resident_bytes()
        await _ask(stage, found, seed, range(int(bodies * WARM_SHARE), int(bodies * ALIVE_SHARE)))
        stage.bot.fails = httpx2.ConnectError("refused")
        await _ask(stage, found, seed, range(int(bodies * ALIVE_SHARE), bodies))
        found.grown_bytes = _resident_bytes() - warm_bytes
    if found.grown_bytes > GROWTH_BYTES:
        found.violations.append(f"VIOLATION memory grew by {found.grown_bytes} bytes")
    return found


def _say(pipe: Pipe, found: Found, seed: str, lines: int) -> None:
    for number in range(lines):
        if len(found.violations) >= MOST_TOLD:
            return
        told = pipe.ask(Random(f"{seed}:{number}"))
        found.violations += [f"[{seed}:{number}] {one}" for one in told]
        found.lines += 1


async def _ask(stage: Stage, found: Found, seed: int, numbers: range) -> None:
    for number in numbers:
        if len(found.violations) >= MOST_TOLD:
            break
        if number % HALTED == 0:
            await stage.resume()
        # Of its own seed, so that one request can be sent again alone.
        told = await stage.ask(Random(f"{seed}:{number}"))
        found.violations += [f"[{seed}:{number}] {one}" for one in told]
        found.bodies += 1
    found.statuses = Counter(stage.statuses)


def _resident_bytes() -> int:
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE_BYTES
