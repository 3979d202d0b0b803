"""Real calls of every kind, as agents send them: what the fuzzer bends."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from tests.support.gateway import TRADER

Language = Literal["modern", "handshake", "rest"]
MODERN, HANDSHAKE = "2026-07-28", "2025-11-25"
META = {
    "io.modelcontextprotocol/protocolVersion": MODERN,
    "io.modelcontextprotocol/clientCapabilities": {},
    "io.modelcontextprotocol/clientInfo": {"name": "fuzzer", "version": "1"},
}
PAIRS = ("BTC/USDT", "ETH/USDT", "XRP/USDT", "BTC/USDT:USDT")
URIS = (
    "freqtrade://pairs", "freqtrade://pairs/BTC%2FUSDT", "freqtrade://candles/BTC%2FUSDT/1d",
    "freqtrade://positions/open", "freqtrade://positions/BTC%2FUSDT", "gateway://limits",
    "gateway://orders/550e8400-e29b-41d4-a716-446655440000",
)  # fmt: skip
SIGNED_TOOLS = ("create_order", "cancel_order")
# So few that orders meet each other, and their own repetitions.
REQUEST_IDS = tuple(str(uuid.UUID(int=0x550E8400 << 96 | n)) for n in range(400))
NAMED = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}


@dataclass
class Call:
    """One request before it is bent: everything that goes over the wire, and whether it is signed."""

    language: Language
    method: str
    path: str
    query: str = ""
    document: Any = None
    headers: list[tuple[str, str]] = field(default_factory=list)
    signed: bool = False


def order(rng: Random) -> dict[str, Any]:
    """Return the arguments of a good order."""
    kind = rng.choice(("market", "limit"))
    told: dict[str, Any] = {
        "request_id": rng.choice(REQUEST_IDS), "pair": rng.choice(PAIRS),
        "side": rng.choice(("buy", "sell")), "order_type": kind,
        "amount": rng.choice((1, 0.5, "0.25", "1e-1", 1.0)),
    }  # fmt: skip
    if kind == "limit":
        told["price"] = rng.choice((100, "99.5", 101.25))
    if rng.random() < 0.3:
        told["agent"] = TRADER
    return told


def tool(rng: Random) -> tuple[str, dict[str, Any]]:
    """Return a tool and good arguments."""
    one = {"request_id": rng.choice(REQUEST_IDS)}
    pair = rng.choice(PAIRS)
    return rng.choice(
        (
            ("get_candles", {"pair": pair, "timeframe": "1d", "limit": rng.randint(1, 20)}),
            ("get_candles", {"pair": pair, "timeframe": "1d", "before": "2025-01-01T00:00:00Z"}),
            ("get_open_positions", rng.choice(({}, {"pair": pair}))),
            ("dry_run_order", order(rng)),
            ("create_order", order(rng)),
            ("get_order", one),
            ("cancel_order", one),
            ("get_account", {}),
        )
    )


def message(rng: Random) -> dict[str, Any]:
    """Return a JSON-RPC message of an MCP client."""
    name, arguments = tool(rng)
    call = ("tools/call", {"name": name, "arguments": arguments})
    method, params = rng.choice(
        (
            *[call] * 7,
            ("tools/list", {}),
            ("resources/list", {}),
            ("resources/templates/list", {}),
            ("resources/read", {"uri": rng.choice(URIS)}),
            ("prompts/list", {}),
            ("prompts/get", {"name": "market_briefing", "arguments": {"pair": "BTC/USDT"}}),
            ("completion/complete", {
                "ref": {"type": "ref/resource", "uri": "freqtrade://pairs/{pair}"},
                "argument": {"name": "pair", "value": "B"},
            }),
            ("server/discover", {}),
            ("ping", {}),
            ("initialize", {
                "protocolVersion": HANDSHAKE, "capabilities": {},
                "clientInfo": {"name": "fuzzer", "version": "1"},
            }),
        )
    )  # fmt: skip
    ident: Any = rng.choice((rng.randint(0, 999), f"call-{rng.randint(0, 99)}"))
    return {"jsonrpc": "2.0", "id": ident, "method": method, "params": params}


def over_mcp(rng: Random) -> Call:
    """Return a call of one of the two eras."""
    told = message(rng)
    modern = rng.random() < 0.5
    headers = [("accept", "application/json, text/event-stream")]
    if modern:
        told["params"] = told["params"] | {"_meta": META}
        headers += [("mcp-protocol-version", MODERN), ("mcp-method", told["method"])]
        if (key := NAMED.get(told["method"])) is not None:
            headers.append(("mcp-name", told["params"][key]))
    elif told["method"] != "initialize":
        headers.append(("mcp-protocol-version", HANDSHAKE))
    return Call(
        "modern" if modern else "handshake", "POST", "/mcp", document=told, headers=headers,
        signed=told["params"].get("name") in SIGNED_TOOLS,
    )  # fmt: skip


def over_rest(rng: Random) -> Call:
    """Return a call of the REST face."""
    one = f"/api/v1/orders/{rng.choice(REQUEST_IDS)}"
    halt = {"reason": "fuzzed", "pair": "XRP/USDT"}
    reads = (
        Call("rest", "GET", "/api/v1/candles", "pair=BTC%2FUSDT&timeframe=1d&limit=5"),
        Call("rest", "GET", "/api/v1/positions/open", rng.choice(("", "pair=BTC/USDT"))),
        Call("rest", "GET", "/api/v1/account"),
        Call("rest", "GET", one),
        Call("rest", "GET", rng.choice(("/health", "/metrics", "/openapi.json", "/nothing"))),
        Call("rest", "GET", "/.well-known/oauth-protected-resource/mcp"),
        Call("rest", "GET", "/api/v1/approvals"),
        Call("rest", "GET", "/api/v1/halts"),
    )
    writes = (
        Call("rest", "POST", "/api/v1/orders/dry-run", document=order(rng)),
        Call("rest", "POST", "/api/v1/orders", document=order(rng), signed=True),
        Call("rest", "DELETE", one, signed=True),
        Call("rest", "POST", "/api/v1/halts", document=halt, signed=True),
        Call("rest", "POST", "/api/v1/halts/1/release", document={"reason": "x"}, signed=True),
        Call("rest", "POST", f"/api/v1/approvals/{uuid.UUID(int=1)}/approve", document={},
             signed=True),
        Call("rest", "POST", "/auth/token", document={"username": "a", "password": "b"}),
    )  # fmt: skip
    return rng.choice(rng.choice((reads, writes)))


def call(rng: Random) -> Call:
    """Return a good call of any face."""
    return over_mcp(rng) if rng.random() < 0.65 else over_rest(rng)


def names(headers: list[tuple[str, str]]) -> Mapping[str, str]:
    """Return headers by name, the last one counting."""
    return dict(headers)
