"""RateLimit and RateLimit-Policy: what is left, on every answer that a quota was asked for."""

import re
from pathlib import Path
from typing import Any

import httpx2
import pytest

from mcp_gateway.domain.quotas import Quota
from mcp_gateway.transports import quotas
from mcp_gateway.transports.http import open_app
from tests.support.gateway import BASE_URL, ORDER, Face, settings_for
from tests.support.processes import token

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

CANDLES = "/api/v1/candles?pair=BTC/USDT&timeframe=15m&limit=2"
# RFC 9651: a list of strings, each with parameters.
ITEM = r'"[a-z_]+"(?:;[a-z]+=[0-9]+)+'
LIST = re.compile(rf"{ITEM}(?:, {ITEM})*")


@pytest.fixture
def face(tmp_path: Path) -> Face:
    """Two calls a minute for each operation, three in all."""
    settings = settings_for(tmp_path, rate_limit_per_minute=2, caller_rate_limit_per_minute=3)
    return Face(settings)


def told(response: httpx2.Response) -> tuple[str, str]:
    """Return both headers, held to the form of a structured field."""
    fields = response.headers["ratelimit-policy"], response.headers["ratelimit"]
    assert all(LIST.fullmatch(field) for field in fields)
    return fields


async def test_a_success_tells_what_is_left(face: Face) -> None:
    """A client that reads it never meets a 429; what is whole needs no time."""
    async with face.client() as client:
        policy, limit = told(await client.get(CANDLES))
    assert policy == '"get_candles";q=2;w=60, "all_calls";q=3;w=60'
    assert limit == '"get_candles";r=1;t=30, "all_calls";r=2;t=20'


async def test_a_refusal_tells_the_same_and_when_to_come_again(face: Face) -> None:
    """Retry-After is never earlier than the time until there is more (the draft, section 5)."""
    async with face.client() as client:
        for _ in range(2):
            await client.get(CANDLES)
        refused = await client.get(CANDLES)
    assert refused.status_code == 429
    assert told(refused)[1] == '"get_candles";r=0;t=30, "all_calls";r=1;t=20'
    assert refused.headers["retry-after"] == "30"
    assert refused.json()["retry_after_s"] == 30.0


async def test_of_the_servers_quota_only_its_end_is_told(tmp_path: Path) -> None:
    """How busy others are is nobody's business; that the server is full is."""
    face = Face(settings_for(tmp_path, server_rate_limit_per_minute=1))
    async with face.client() as client:
        assert "server" not in told(await client.get(CANDLES))[0]
        assert '"server";q=1;w=60' in told(await client.get(CANDLES))[0]


async def test_faulty_arguments_are_answered_with_what_they_cost(face: Face) -> None:
    """They are calls, and count."""
    async with face.client() as client:
        response = await client.get("/api/v1/candles?x=1")
    assert (response.status_code, told(response)[1][:19]) == (422, '"get_candles";r=1;t')


async def test_what_asks_no_quota_tells_none(face: Face) -> None:
    """A stranger, a probe and an open page have none."""
    async with face.client(auth=None) as client:
        for path in (CANDLES, "/health/live", "/openapi.json"):
            assert "ratelimit" not in (await client.get(path)).headers


async def test_an_order_is_told_what_its_operation_has_left(face: Face) -> None:
    """On what writes, too."""
    async with face.client(auth=face.auth(signed=True)) as client:
        _, limit = told(await client.post("/api/v1/orders", json=ORDER))
    assert limit.startswith('"create_order";r=1;t=30')


async def test_a_page_may_read_them(face: Face) -> None:
    """Fetch hides every header that is not named."""
    async with face.client(headers={"origin": "http://localhost"}) as client:
        exposed = (await client.get(CANDLES)).headers["access-control-expose-headers"]
    assert {"RateLimit", "RateLimit-Policy", "Retry-After"} <= set(exposed.split(", "))


MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": {"name": "tests", "version": "1"},
    "io.modelcontextprotocol/clientCapabilities": {},
}


@pytest.mark.parametrize("era", ["2025-11-25", "2026-07-28"])
async def test_mcps_answers_tell_them_too(era: str, tmp_path: Path) -> None:
    """The SDK's app answers in a task of its own; what the gate noted there still arrives."""
    params: dict[str, Any] = {"name": "get_order", "arguments": {}}
    if era == "2026-07-28":
        params["_meta"] = MODERN
    call = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    headers = {
        "authorization": f"Bearer {token()}",
        "accept": "application/json, text/event-stream",
        "mcp-protocol-version": era, "mcp-method": "tools/call", "mcp-name": "get_order",
    }  # fmt: skip
    settings = settings_for(tmp_path, rate_limit_per_minute=1, freqtrade_url="http://127.0.0.1:9")
    async with open_app(settings) as app:
        transport = httpx2.ASGITransport(app=app)
        async with httpx2.AsyncClient(transport=transport, base_url=BASE_URL) as client:
            answers = [await client.post("/mcp", json=call, headers=headers) for _ in range(2)]
    refusals = [each.json()["result"]["structuredContent"] for each in answers]
    assert [each["code"] for each in refusals] == ["request_invalid", "quota_exceeded"]
    assert 0 < refusals[1]["retry_after_s"] <= 60
    assert [each.status_code for each in answers] == [200, 200]
    for each in answers:
        policy, limit = told(each)
        assert policy == '"get_order";q=1;w=60, "all_calls";q=5;w=60'
        assert limit.startswith('"get_order";r=0;t=')


def test_times_are_rounded_so_that_nobody_comes_too_early() -> None:
    """Whole seconds, upwards; nothing is missing, no time is told."""
    told = dict(quotas.headers([Quota("a", 60, 59, 0.001), Quota("b", 5, 5, 0.0)]))
    assert told[b"ratelimit"] == b'"a";r=59;t=1, "b";r=5'
