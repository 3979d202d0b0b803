"""What a thousand calls cost over HTTP: memory, and how many are answered in a second."""

import asyncio
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from benchmarks.children import Bench, cpu_s, line_of, resident_mb

CALLS = 1_000
MOST_MB = 140.0
CONNECTIONS = 8
ROUNDS = 3
SECRET = "only-for-the-benchmarks-0123456789abcdef"
SCOPES = ("market:read", "positions:read")
PAIR = "BTC/USDT"


@dataclass(frozen=True)
class Target:
    """A server under load."""

    pid: int
    url: str
    token: str = ""

    def request(self, method: str, params: dict[str, Any]) -> bytes:
        """Return the bytes of one stateless call, as an MCP client sends them."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
        head = [
            f"POST /mcp HTTP/1.1\r\nhost: {urlsplit(self.url).netloc}",
            "content-type: application/json",
            "accept: application/json, text/event-stream",
            "mcp-protocol-version: 2025-11-25",
            f"content-length: {len(body)}",
            *([f"authorization: Bearer {self.token}"] if self.token else []),
        ]
        return "\r\n".join(head).encode() + b"\r\n\r\n" + body

    def call(self, tool: str, **arguments: Any) -> bytes:
        """Return the bytes of one tool call."""
        return self.request("tools/call", {"name": tool, "arguments": arguments})


@contextmanager
def gateway(bench: Bench, bot_url: str) -> Iterator[Target]:
    """Run ``mcp-gateway serve`` before the stand-in for the bot."""
    settings = {
        "JWT_SECRET": SECRET,
        "FREQTRADE_URL": bot_url,
        "MCP_GATEWAY_DATA_DIR": str(bench.folder / "serve"),
        "MCP_GATEWAY_PORT": "0",
        "RATE_LIMIT_PER_MINUTE": "1000000",
        "MCP_GATEWAY_SERVER_RATE_LIMIT_PER_MINUTE": "10000000",
    }
    words = ["-m", "mcp_gateway", "token", "--subject", "benchmark"]
    for scope in SCOPES:
        words += ["--scope", scope]
    with bench.started(*words, settings=settings) as child:
        token = line_of(child).decode().strip()
    with bench.gateway(settings) as (pid, url):
        yield Target(pid, url, token)


async def exchange(target: Target, requests: Sequence[bytes]) -> list[bytes]:
    """Send requests one after the other on one connection and return the bodies.

    Raises:
        RuntimeError: an answer was not a success.
    """
    where = urlsplit(target.url)
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    bodies = []
    for request in requests:
        writer.write(request)
        head = (await reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.partition(b"content-length: ")[2].split(b"\r\n", 1)[0])
        body = await reader.readexactly(length)
        if not head.startswith(b"http/1.1 200") or b'"isError":true' in body.replace(b" ", b""):
            raise RuntimeError(f"a call failed: {body[:300]!r}")
        bodies.append(body)
    writer.close()
    await writer.wait_closed()
    return bodies


def measure_memory(bench: Bench, bot_url: str) -> dict[str, Any]:
    """Weigh the gateway when it is ready, and again after every further thousand calls."""
    with gateway(bench, bot_url) as target:
        mix = [
            target.call("get_candles", pair=PAIR, timeframe="5m", limit=100),
            target.call("get_candles", pair=PAIR, timeframe="1h", limit=500),
            target.call("get_candles", pair="ETH/USDT", timeframe="5m", limit=500),
            target.call("get_open_positions"),
            target.request("tools/list", {}),
        ]
        weights = [resident_mb(target.pid)]
        for _ in range(ROUNDS):
            asyncio.run(exchange(target, mix * (CALLS // len(mix))))
            weights.append(resident_mb(target.pid))
    start, first, *later = (round(weight, 1) for weight in weights)
    return {
        "calls": CALLS,
        "at_start_mb": start,
        "after_calls_mb": first,
        "growth_mb": round(first - start, 1),
        "after_further_thousands_mb": later,
        "growth_of_the_last_thousand_mb": round(weights[-1] - weights[-2], 1),
        "limit_mb": MOST_MB,
        "within": first <= MOST_MB,
    }


async def load(target: Target, request: bytes) -> tuple[float, float]:
    """Return calls in a second, and processor milliseconds of the server for each call."""
    each = [request] * (CALLS // CONNECTIONS)
    before, started = cpu_s(target.pid), time.perf_counter()
    await asyncio.gather(*(exchange(target, each) for _ in range(CONNECTIONS)))
    elapsed, used = time.perf_counter() - started, cpu_s(target.pid) - before
    count = CONNECTIONS * len(each)
    return count / elapsed, used / count * 1000


def best(target: Target, request: bytes) -> dict[str, float]:
    """Return the best of some rounds: the one that was troubled least."""
    asyncio.run(load(target, request))
    rounds = [asyncio.run(load(target, request)) for _ in range(ROUNDS)]
    return {
        "calls_per_s": round(max(rate for rate, _ in rounds)),
        "cpu_ms_per_call": round(min(cost for _, cost in rounds), 3),
    }


def measure_throughput(bench: Bench, bot_url: str) -> dict[str, Any]:
    """Load the gateway and two floors with the same call and the same bytes as answer."""
    measured: dict[str, Any] = {}
    with gateway(bench, bot_url) as target:
        request = target.call("get_candles", pair=PAIR, timeframe="5m", limit=100)
        measured["gateway"] = best(target, request)
        [body] = asyncio.run(exchange(target, [request]))
    raw, document = bench.folder / "answer", bench.folder / "document"
    raw.write_bytes(body)
    document.write_text(json.loads(body)["result"]["content"][0]["text"], encoding="utf-8")
    for name, kind, path in (("raw_asgi", "asgi", raw), ("sdk_server", "sdk", document)):
        with bench.server("benchmarks.floors", kind, str(path)) as (pid, url):
            floor = Target(pid, url)
            request = floor.call("get_candles", pair=PAIR, timeframe="5m", limit=100)
            measured[name] = best(floor, request)
    ours = measured["gateway"]
    for name in ("raw_asgi", "sdk_server"):
        floor_cost = measured[name]["cpu_ms_per_call"]
        measured[name]["rate_ratio"] = round(ours["calls_per_s"] / measured[name]["calls_per_s"], 2)
        measured[name]["cpu_ratio"] = round(ours["cpu_ms_per_call"] / floor_cost, 1)
    return measured | {"connections": CONNECTIONS, "answer_bytes": len(body)}
