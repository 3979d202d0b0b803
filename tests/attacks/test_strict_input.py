"""Input that two readers read apart, on every face: refused, with a code, and nothing is done."""

import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx2
import orjson
import pytest
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from tests.support.faces import over_http
from tests.support.gateway import (
    BASE_URL,
    JWT_SECRET,
    ORDER,
    TRADER_SCOPES,
    ToldGateway,
    settings_for,
)
from tests.support.mcpserver import ERAS, Era
from tests.support.tokens import forge

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

URL = f"{BASE_URL}/mcp"
CANDLES = {"pair": "BTC/USDT", "timeframe": "5m"}
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
Alter = Callable[[httpx2.Request], httpx2.Request]
# A tool or a route by its name, with arguments; the code and field of the refusal, or none.
Shows = Callable[[str, dict[str, Any]], Any]
Opens = Callable[[], httpx2.AsyncClient]


class Altering(httpx2.AsyncBaseTransport):
    """A way to the gateway on which somebody changes the requests."""

    def __init__(self, inner: httpx2.AsyncBaseTransport) -> None:
        self._inner = inner
        self.alter: Alter = lambda request: request

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        return await self._inner.handle_async_request(self.alter(request))


@pytest.fixture(scope="module")
async def trader(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Opens]:
    """The whole HTTP face; each call opens a client of it, for a trader."""
    settings = settings_for(
        tmp_path_factory.mktemp("strict"), door_rate_limit_per_minute=100_000,
        rate_limit_per_minute=100_000, server_rate_limit_per_minute=100_000,
    )  # fmt: skip
    token = forge(secret=JWT_SECRET.encode(), scope=" ".join(TRADER_SCOPES))
    async with over_http(ToldGateway(settings)) as client:
        yield lambda: client(token)


def again(request: httpx2.Request, body: bytes, **headers: str) -> httpx2.Request:
    """Return the request with another body, and other headers."""
    kept = {name: one for name, one in request.headers.items() if name != "content-length"}
    return httpx2.Request(request.method, request.url, headers=kept | headers, content=body)


def with_member(name: str, value: Any) -> Alter:
    """Return what lays one more member into the message."""

    def alter(request: httpx2.Request) -> httpx2.Request:
        return again(request, orjson.dumps(orjson.loads(request.content) | {name: value}))

    return alter


def with_header(name: str, value: str) -> Alter:
    """Return what sends one more header."""

    def alter(request: httpx2.Request) -> httpx2.Request:
        headers = [*request.headers.multi_items(), (name, value)]
        return httpx2.Request(request.method, request.url, headers=headers, content=request.content)

    return alter


ALTERED: dict[str, tuple[Alter, int, str]] = {
    "a key twice": (
        lambda r: again(r, r.content.replace(b"{", b'{"jsonrpc":"2.0",', 1)),
        -32700, "body_duplicate_key",
    ),
    "NaN": (
        lambda r: again(r, r.content.replace(b'"limit":3', b'"limit":NaN')),
        -32700, "body_malformed",
    ),
    "a batch": (lambda r: again(r, b"[" + r.content + b"]"), -32600, "body_not_an_object"),
    "too deep": (
        lambda r: again(r, r.content.replace(b'"limit":3', b'"limit":' + b"[" * 50 + b"]" * 50)),
        -32700, "body_too_deep",
    ),
    "too large": (
        lambda r: again(r, r.content + b" " * 70_000), -32000, "request_too_large",
    ),
    "UTF-16": (
        lambda r: again(r, r.content.decode().encode("utf-16")), -32700, "body_malformed",
    ),
    "a byte order mark": (
        lambda r: again(r, b"\xef\xbb\xbf" + r.content), -32700, "body_malformed",
    ),
    "trailing data": (lambda r: again(r, r.content + b"{}"), -32700, "body_malformed"),
    "gzip": (
        lambda r: again(r, gzip.compress(r.content), **{"content-encoding": "gzip"}),
        -32000, "media_type_not_supported",
    ),
    "another charset": (
        lambda r: again(r, r.content, **{"content-type": "application/json; charset=latin-1"}),
        -32000, "media_type_not_supported",
    ),
    "another type": (
        lambda r: again(r, r.content, **{"content-type": "text/plain"}),
        -32000, "media_type_not_supported",
    ),
    "no JSON wanted": (
        lambda r: again(r, r.content, accept="text/html"), -32000, "not_acceptable",
    ),
    "a member more": (with_member("extra", 1), -32600, "message_malformed"),
    "another JSON-RPC": (with_member("jsonrpc", "1.0"), -32600, "message_malformed"),
    "call and answer": (with_member("result", {}), -32600, "message_malformed"),
    "no such method": (with_member("method", "tools/cal1"), -32601, "method_unknown"),
    "a method's header of another": (
        with_header("mcp-method", "tools/list"), -32020, "header_mismatch",
    ),
    "a version twice": (
        with_header("mcp-protocol-version", "2025-11-25"), -32020, "header_mismatch",
    ),
    "many headers": (
        lambda r: again(r, r.content, **{f"x-{n}": "a" for n in range(200)}),
        -32000, "headers_too_large",
    ),
    "another host": (with_header("host", "evil.example"), -32000, "host_not_allowed"),
    "no token": (
        lambda r: again(r, r.content, authorization="Bearer nonsense"),
        -32001, "token_invalid",
    ),
}  # fmt: skip


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("what", ALTERED)
async def test_the_sdk_s_client_reads_why_it_was_refused(
    trader: Opens, era: Era, what: str
) -> None:
    """An SDK client shows a body that is no JSON-RPC error as "Server returned an error response"."""
    alter, number, code = ALTERED[what]
    async with trader() as http:
        way = Altering(http._transport)
        http._transport = way
        async with Client(streamable_http_client(URL, http_client=http), mode=era) as client:
            await client.list_tools()
            way.alter = changed_call(alter, era)
            with pytest.raises(MCPError) as refused:
                await client.call_tool("get_candles", CANDLES | {"limit": 3})
            way.alter = lambda request: request
            assert not (await client.call_tool("get_candles", CANDLES)).is_error
    error = refused.value.error
    assert (error.code, error.data["code"]) == (number, code)
    assert error.message == error.data["message"]
    assert error.data.keys() >= {"retryable", "hint", "call_id"}


def changed_call(alter: Alter, era: Era) -> Alter:
    """Return what alters calls alone; in the modern era the method's header follows the body."""

    def changed(request: httpx2.Request) -> httpx2.Request:
        if b'"tools/call"' not in request.content:
            return request
        told = alter(request)
        if era == "auto" and b'"tools/cal1"' in told.content:
            told.headers["mcp-method"] = "tools/cal1"
        return told

    return changed


async def over_mcp(http: httpx2.AsyncClient, modern: bool, name: str, given: Any) -> Any:
    """Call a tool with a body made by hand; return code and field of its refusal."""
    params: dict[str, Any] = {"name": name, "arguments": given}
    headers = {"accept": "application/json, text/event-stream"}
    if modern:
        params["_meta"] = META
        headers |= {
            "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/call", "mcp-name": name,
        }  # fmt: skip
    body = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": params}
    told = (await http.post("/mcp", json=body, headers=headers)).json()
    assert told["id"] == 7
    if "error" in told:
        return told["error"]["data"]["code"], told["error"]["data"].get("field")
    result = told["result"]
    if not result.get("isError"):
        return "", None
    assert orjson.loads(result["content"][0]["text"]) == result["structuredContent"]
    return result["structuredContent"]["code"], result["structuredContent"].get("field")


async def over_rest(http: httpx2.AsyncClient, name: str, given: dict[str, Any]) -> Any:
    """Call the route of a tool; return code and field of its refusal."""
    if name == "dry_run_order":
        response = await http.post("/api/v1/orders/dry-run", json=given)
    else:
        response = await http.get("/api/v1/candles", params=given)
    told = response.json()
    if response.is_success:
        return "", None
    assert response.headers["content-type"] == "application/problem+json"
    return told["code"], told.get("field")


@asynccontextmanager
async def face(trader: Opens, name: str) -> AsyncIterator[Shows]:
    """Open one face, and call it by the tool's name."""
    async with trader() as http:

        async def shows(tool: str, given: dict[str, Any]) -> Any:
            if name == "rest":
                return await over_rest(http, tool, given)
            return await over_mcp(http, name == "modern", tool, given)

        yield shows


ON_EACH = pytest.mark.parametrize("on", ["modern", "handshake", "rest"])
NUMBERS: dict[str, Any] = {
    "true": True, "false": False, "text NaN": "NaN", "text Infinity": "Infinity",
    "text -Infinity": "-Infinity", "text 1e999": "1e999", "text null": "null", "nothing": None,
    "empty": "", "a space": " 1", "hexadecimal": "0x10", "underscores": "1_000",
    "other digits": "\uff11", "arabic digits": "\u0661", "a comma": "1,5", "negative": -1,
    "minus zero": "-0", "zero": 0, "minus zero as number": -0.0, "too small": "1e-2000000",
    "too fine": "0.0000000000000000001", "too large": 1e300, "too many digits": "9" * 4000,
    "a list": [1], "an object": {"value": 1},
}  # fmt: skip


@ON_EACH
@pytest.mark.parametrize("value", NUMBERS)
async def test_what_is_no_plain_number_is_no_amount(trader: Opens, on: str, value: str) -> None:
    """A coerced amount is another order than the one that was meant."""
    async with face(trader, on) as shows:
        order = ORDER | {"amount": NUMBERS[value]}
        assert await shows("dry_run_order", order) == ("request_invalid", "amount")


@ON_EACH
@pytest.mark.parametrize("value", [v for v in NUMBERS if v != "nothing"])
async def test_what_is_no_plain_number_is_no_price(trader: Opens, on: str, value: str) -> None:
    """Least of all "null", which was no price at all, and the order a market order's cousin."""
    async with face(trader, on) as shows:
        order = ORDER | {"order_type": "limit", "price": NUMBERS[value]}
        assert await shows("dry_run_order", order) == ("request_invalid", "price")


@ON_EACH
@pytest.mark.parametrize("amount", [1, 0.5, "0.001", "1e-3", "1.50", "+1"])
async def test_decimal_text_and_numbers_are_amounts(
    trader: Opens, on: str, amount: float | str
) -> None:
    """So that the refusals above are refusals of what they name."""
    async with face(trader, on) as shows:
        assert await shows("dry_run_order", ORDER | {"amount": amount}) == ("", None)


@ON_EACH
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pair", "btc/usdt"), ("pair", "BTC/USDT\n"), ("pair", "BTC/USDT "), ("pair", "null"),
        ("pair", ["BTC/USDT"]), ("side", "BUY"), ("side", 1), ("order_type", "Market"),
        ("request_id", 5), ("request_id", "x"), ("agent", 5), ("agent", True), ("agent", ""),
        ("extra", 1), ("Amount", 1), ("amount ", 1), ("__proto__", {}),
    ],
)  # fmt: skip
async def test_what_an_order_does_not_know_is_named(
    trader: Opens, on: str, name: str, value: Any
) -> None:
    """The refusal names the field, and repeats nothing of the value."""
    async with face(trader, on) as shows:
        code, field = await shows("dry_run_order", ORDER | {name: value})
    assert code == "request_invalid"
    assert field == name


@pytest.mark.parametrize("on", ["modern", "handshake"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "3"), ("limit", 3.0), ("limit", True), ("limit", None), ("limit", 10**30),
        ("limit", 0), ("use_cache", "true"), ("use_cache", 1), ("use_cache", None),
        ("before", True), ("before", "yesterday"), ("before", 1e30), ("before", -1),
        ("pair", "null"), ("limitt", 3),
    ],
)  # fmt: skip
async def test_an_argument_of_another_type_is_refused_over_mcp(
    trader: Opens, on: str, name: str, value: Any
) -> None:
    """The SDK would take "3", 3.0 and true for a number, and drop what it does not know."""
    async with face(trader, on) as shows:
        assert await shows("get_candles", CANDLES | {name: value}) == ("request_invalid", name)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("limit", "3.0"), ("limit", "+3"), ("limit", " 3"), ("limit", "1e2"), ("limit", "true"),
        pytest.param("limit", "9" * 5000, id="limit-long"), ("limit", ""), ("use_cache", "yes"), ("use_cache", "1"),
        ("use_cache", "TRUE"), ("use_cache", ""), ("limitt", "3"), ("Limit", "3"),
    ],
)  # fmt: skip
async def test_a_parameter_of_another_form_is_refused_over_rest(
    trader: Opens, name: str, value: str
) -> None:
    """A query is text all over; digits, true and false are what is promised."""
    async with face(trader, "rest") as shows:
        assert await shows("get_candles", CANDLES | {name: value}) == ("request_invalid", name)


@pytest.mark.parametrize(
    "query",
    [
        "pair=BTC/USDT&pair=ETH/USDT&timeframe=5m", "pair=%ff&timeframe=5m", "pair=%zz",
        "&".join(f"p{n}=1" for n in range(5000)), "pair=BTC/USDT;timeframe=5m",
    ],
    ids=["twice", "no UTF-8", "no encoding", "many", "semicolon"],
)  # fmt: skip
async def test_a_query_that_could_be_read_twice_is_refused(trader: Opens, query: str) -> None:
    """The first, the last, or both: a proxy and we might take different ones."""
    async with trader() as http:
        told = (await http.get(f"/api/v1/candles?{query}")).json()
    assert (told["code"], told["status"]) == ("request_invalid", 422)


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_body_that_nobody_reads_is_refused(trader: Opens, method: str) -> None:
    """What is not read has not been checked, and no signature of ours covers it."""
    async with trader() as http:
        path = f"/api/v1/orders/{ORDER['request_id']}"
        response = await http.request(method, path, content=b'{"a":1}')
    assert (response.status_code, response.json()["code"]) == (400, "body_not_expected")
    assert response.headers["connection"] == "close"


@pytest.mark.parametrize("ident", [None, 1.5, True, [], {}, 2**60, "x" * 500])
@pytest.mark.parametrize("modern", [True, False], ids=["modern", "handshake"])
async def test_a_call_that_could_not_be_answered_is_not_done(
    trader: Opens, modern: bool, ident: Any
) -> None:
    """In the handshake era the SDK accepts it as a notification, with a 202 and no order."""
    async with trader() as http:
        body = {
            "jsonrpc": "2.0", "id": ident, "method": "tools/call",
            "params": {"name": "get_candles", "arguments": CANDLES, "_meta": META},
        }  # fmt: skip
        if not modern:
            del body["params"]["_meta"]
        version = {"mcp-protocol-version": "2026-07-28"} if modern else {}
        response = await http.post("/mcp", json=body, headers=version)
    told = response.json()
    assert (response.status_code, told["id"]) == (400, None)
    assert told["error"]["data"]["code"] == "id_malformed"
