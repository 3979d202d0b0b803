"""What access costs: the whole gate on a read against a bare SDK server's call, and signatures.

usage: python -m benchmarks.access

Processor time of this process, the best of some rounds that are taken in turn, so that a busy
machine troubles both sides alike. Exit code 1 where a limit is missed.
"""

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.calls import SECRET
from benchmarks.floors import sdk_server
from benchmarks.signatures import MOST_US, Judging, judgings
from mcp_gateway.access.gate import Gate, build_gate
from mcp_gateway.audit.trail import Trail
from mcp_gateway.clock import Clock
from mcp_gateway.domain.operations import OPERATIONS
from mcp_gateway.domain.principals import Credentials, Unsigned
from mcp_gateway.domain.quotas import Meter
from mcp_gateway.settings import Settings
from mcp_gateway.storage.kv import open_kv
from mcp_gateway.transports.admission import admitted
from mcp_gateway.transports.turnstile import Turnstile

ROUNDS: Final = 7
CALLS: Final = 2_000
MOST_OF_A_CALL: Final = 0.25
READ: Final = OPERATIONS["get_candles"]
Work = Callable[[], Awaitable[object]]


@dataclass(frozen=True)
class Row:
    """One line of the table: processor microseconds, and what they are held against.

    ``floor`` is the bare SDK call of the same run for a ratio, None where ``limit`` is in µs.
    """

    name: str
    cpu_us: float
    limit: float | None = None
    floor: float | None = None

    @property
    def value(self) -> float:
        """What the limit is about: the ratio to the floor, or the microseconds."""
        return round(self.cpu_us / self.floor if self.floor else self.cpu_us, 3)

    @property
    def within(self) -> bool:
        """Whether the limit is kept."""
        return self.limit is None or self.value <= self.limit


def make_gate() -> tuple[Gate, str]:
    """Return a gate as ``serve`` has it in one process, and a reader's token."""
    settings = Settings.apart(
        jwt_secret=SECRET, rate_limit_per_minute=1_000_000, server_rate_limit_per_minute=10_000_000
    )
    clock = Clock()
    gate = build_gate(settings, open_kv(None, clock), Trail(), clock)
    assert gate.issuing is not None
    return gate, gate.issuing.issue("benchmark", ("market:read",), 3600)


def a_read() -> Work:
    """Return one admitted read: all that the door and the gate ask about its caller.

    The door believes the token and looks whether its caller floods; then the gate: the token
    again, scope, quotas, and the count of the result.
    """
    gate, token = make_gate()
    turnstile = Turnstile(600, Clock())

    async def call() -> None:
        # Each call brings its own, as the door makes them; the token has been seen before.
        shown = Credentials("http", token, Unsigned("signature_missing"), "call-1", Meter())
        principal = await gate.authenticate(shown)
        await turnstile.admit_caller(principal, shown)
        async with admitted(gate, shown, READ):
            pass

    return call


def a_bare_call(app: Any) -> Work:
    """Return one ``tools/call`` of an SDK server, through its ASGI app, in the modern era."""
    meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "bench", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": {},
    }
    arguments = {"pair": "BTC/USDT", "timeframe": "5m", "limit": 100}
    params = {"name": "get_candles", "arguments": arguments, "_meta": meta}
    body = json.dumps(
        {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    ).encode()
    scope = {
        "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST",
        "scheme": "http", "path": "/mcp", "raw_path": b"/mcp", "query_string": b"",
        "server": ("127.0.0.1", 8000), "client": ("127.0.0.1", 1),
        "headers": [
            (b"host", b"127.0.0.1:8000"), (b"content-type", b"application/json"),
            (b"accept", b"application/json, text/event-stream"),
            (b"mcp-protocol-version", b"2026-07-28"), (b"mcp-method", b"tools/call"),
            (b"mcp-name", b"get_candles"), (b"content-length", str(len(body)).encode()),
        ],
    }  # fmt: skip

    async def call() -> None:
        pending = [{"type": "http.request", "body": body, "more_body": False}]
        answered = []

        async def receive() -> Any:
            return pending.pop() if pending else await asyncio.Future()

        async def send(message: Any) -> None:
            answered.append(message)

        await app(dict(scope), receive, send)
        if answered[0]["status"] != 200 or b'"result"' not in answered[1]["body"]:
            raise RuntimeError(f"the floor's call failed: {answered!r:.300}")

    return call


async def cost_us(work: Work) -> float:
    """Return processor microseconds of one call, over a round of them."""
    started = time.process_time()
    for _ in range(CALLS):
        await work()
    return (time.process_time() - started) / CALLS * 1e6


async def best_in_turn(works: dict[str, Work]) -> dict[str, float]:
    """Return each one's best round; a round of every one goes before the next of any."""
    for work in works.values():
        await work()
    rounds = [{name: await cost_us(work) for name, work in works.items()} for _ in range(ROUNDS)]
    return {name: min(each[name] for each in rounds) for name in works}


async def gate_rows() -> list[Row]:
    """Measure the gate's half: what a read pays before any of its own work is done."""
    server = sdk_server()
    app = server.streamable_http_app(json_response=True, stateless_http=True)
    async with server.session_manager.run():
        found = await best_in_turn({"floor": a_bare_call(app), "gate": a_read()})
    floor = found["floor"]
    return [
        Row("a bare SDK server's call", floor),
        Row("the whole gate on a read", found["gate"], limit=MOST_OF_A_CALL, floor=floor),
    ]


async def signature_rows() -> list[Row]:
    """Measure the signatures' half: what judging one signed order costs, by its key's kind."""
    found = await best_in_turn({name: _awaited(work) for name, work in judgings().items()})
    return [Row(f"a signed order, {name}", us, limit=MOST_US) for name, us in found.items()]


def _awaited(judging: Judging) -> Work:
    async def work() -> None:
        judging()

    return work


HALVES: Final = (gate_rows, signature_rows)


def measure_access() -> dict[str, Any]:
    """Measure every row."""
    rows = [row for half in HALVES for row in asyncio.run(half())]
    return {
        "rows": [
            {
                "name": row.name, "cpu_us": round(row.cpu_us, 1), "value": row.value,
                "limit": row.limit, "is_ratio": row.floor is not None,
            }
            for row in rows
        ],
        "within": all(row.within for row in rows),
    }  # fmt: skip


def main() -> int:
    """Print the table; 1 where a limit is missed."""
    found = measure_access()
    for row in found["rows"]:
        unit = "x a bare call" if row["is_ratio"] else "us"
        limit = "" if row["limit"] is None else f"  (limit {row['limit']})"
        print(f"{row['name']:<36} {row['cpu_us']:>8} us  {row['value']} {unit}{limit}")
    return 0 if found["within"] else 1


if __name__ == "__main__":
    sys.exit(main())
