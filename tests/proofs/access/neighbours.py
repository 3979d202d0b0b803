"""Proof: whatever one agent floods the gateway with, another's cached reads stay quick.

    python -m tests.proofs.access.neighbours --size 100

One real gateway process before a stand-in for the bot. Agent B reads candles out of the cache,
twenty times a second, while agent A floods from a process of its own: calls beyond its quota,
bodies that do not parse, pings, forged tokens. Quiet and flooded stretches take turns in one
run, and what is held to a limit is the ratio of B's 99th percentiles, not a time. A violation is
printed and makes the exit code 1; a proof that broke down ends with 3.
"""

import argparse
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import anyio

from benchmarks.children import Bench
from tests.proofs.access.wire import Caller, request
from tests.support.processes import Serving, environment, token

ROOT: Final = Path(__file__).resolve().parents[3]
CONNECTIONS: Final = 32
EVERY_S: Final = 0.05
STRETCH_S: Final = 0.5  # short, so that whatever else the machine does troubles both alike
PER_MINUTE: Final = 1500
MOST: Final = 3.0  # times the quiet 99th percentile
CANDLES: Final = "/api/v1/candles?pair=BTC/USDT&timeframe=5m&limit=100"
FLOODS: Final = ("calls", "bodies", "pings", "forged")


@dataclass
class Measured:
    """B's times beside one kind of flood, in seconds, and what A was answered."""

    flood: str
    quiet_s: list[float] = field(default_factory=list)
    flooded_s: list[float] = field(default_factory=list)
    failed: Counter[str] = field(default_factory=Counter)

    @property
    def ratio(self) -> float:
        """B's 99th percentile beside the flood, by its own without."""
        return percentile(self.flooded_s) / percentile(self.quiet_s)


def percentile(times: list[float]) -> float:
    """Return the 99th percentile."""
    return statistics.quantiles(times, n=100)[98]


def flood_of(kind: str, url: str) -> bytes:
    """Return the request that A sends again and again."""
    host = urlsplit(url).netloc
    valid = f"Bearer {token(subject=f'flood-of-{kind}')}"
    if kind == "calls":
        return request("GET", CANDLES, host, valid)
    if kind == "forged":
        return request("POST", "/mcp", host, valid[:-6] + "forged", b'{"jsonrpc":"2.0"}')
    body = b"{" if kind == "bodies" else b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
    return request("POST", "/mcp", host, valid, body)


async def flood(url: str, kind: str) -> None:
    """Send as fast as answers come, on every connection, until the process is ended.

    Says so once the door has sent it away: what a limit lets pass before is no part of this.
    """
    wanted = flood_of(kind, url)
    sent_away = anyio.Event()

    async def again() -> None:
        while True:
            async with Caller.connected(url) as caller:
                while not caller.closed:
                    await caller.ask(wanted)
            sent_away.set()  # the door ends the connection, and nobody else does

    async with anyio.create_task_group() as group:
        for _ in range(CONNECTIONS):
            group.start_soon(again)
        await sent_away.wait()
        sys.stdout.write("over the limit")
        sys.stdout.flush()


@contextmanager
def flooding(url: str, kind: str) -> Iterator[subprocess.Popen[bytes]]:
    """Flood from another process for as long as the block lasts."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.proofs.access.neighbours", "--flood", kind, "--url", url],
        cwd=ROOT, stdout=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield child
    finally:
        child.terminate()
        child.communicate()


async def read_along(url: str, seconds: float, failed: Counter[str]) -> list[float]:
    """Be agent B for so long; return how long each read took."""
    wanted = request(
        "GET", CANDLES, urlsplit(url).netloc, f"Bearer {token(subject='patient-agent')}"
    )
    times = []
    ends_at = time.monotonic() + seconds
    async with Caller.connected(url) as caller:
        while time.monotonic() < ends_at:
            began = time.perf_counter()
            status = await caller.ask(wanted)
            times.append(time.perf_counter() - began)
            if status != "200":
                failed[status] += 1
            await anyio.sleep(EVERY_S)
    return times


def measure(url: str, kind: str, rounds: int, stretch_s: float) -> Measured:
    """Let quiet and flooded stretches take turns."""
    found = Measured(kind)
    anyio.run(read_along, url, 0.5, found.failed)
    with flooding(url, kind) as child:
        assert child.stdout is not None
        if not child.stdout.read(1):
            raise RuntimeError(f"the flood of {kind} ended with {child.wait()}")
        for _ in range(rounds):
            found.flooded_s += anyio.run(read_along, url, stretch_s, found.failed)
            child.send_signal(signal.SIGSTOP)  # its connections stay
            found.quiet_s += anyio.run(read_along, url, stretch_s, found.failed)
            child.send_signal(signal.SIGCONT)
    return found


def prove(
    folder: Path, rounds: int, stretch_s: float = STRETCH_S, floods: Sequence[str] = FLOODS
) -> Iterator[Measured]:
    """Measure every kind of flood, one after the other, each by an agent of its own."""
    with Bench(folder).server("benchmarks.bot") as (_, bot_url):
        env = environment(
            folder, FREQTRADE_URL=bot_url, RATE_LIMIT_PER_MINUTE=str(PER_MINUTE),
            MCP_GATEWAY_SERVER_RATE_LIMIT_PER_MINUTE="100000",
        )  # fmt: skip
        served = Serving(folder, env)
        try:
            for kind in floods:
                yield measure(served.url, kind, rounds, stretch_s)
        finally:
            served.close()


def report(measured: Iterable[Measured]) -> int:
    """Print a line for each flood when it has been measured; return the exit code."""
    found = []
    for one in measured:
        found.append(one)
        told = [
            f"{statistics.median(times) * 1000:.1f}/{percentile(times) * 1000:.1f}"
            for times in (one.quiet_s, one.flooded_s)
        ]
        print(
            f"neighbours: {one.flood:<8} B's median/p99 ms {told[0]:>10} quiet {told[1]:>10} "
            f"flooded, p99 ratio {one.ratio:.2f} (at most {MOST}), {len(one.flooded_s)} reads, "
            f"{one.failed.total()} failed",
            flush=True,
        )
    if any(one.failed for one in found):
        return 3
    return 1 if any(one.ratio > MOST for one in found) else 0


def main(given: list[str] | None = None) -> int:
    """Prove the whole size; 1 where a flood slows another agent down."""
    parser = argparse.ArgumentParser(prog="python -m tests.proofs.access.neighbours")
    parser.add_argument("--size", type=int, default=100, help="rounds for each kind of flood")
    parser.add_argument("--flood", choices=FLOODS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    asked = parser.parse_args(given)
    if asked.flood:
        anyio.run(flood, asked.url, asked.flood)
        return 0
    with tempfile.TemporaryDirectory(prefix="mcp-gateway-neighbours-") as folder:
        return report(prove(Path(folder), asked.size))


if __name__ == "__main__":
    sys.exit(main())
