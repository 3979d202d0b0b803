"""Orders over HTTP before a real Freqtrade: signed, placed once, and refused where they must be."""

import hashlib
import hmac
import json
import subprocess
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import pytest

from mcp_gateway.client import GatewayAuth, open_session
from mcp_gateway.sandbox.bot import Sandbox
from tests.support.books import bot_tags
from tests.support.gateway import HMAC_SECRET, TRADER, TRADER_SCOPES
from tests.support.processes import Serving, before, environment, run, serving, token

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

PASSWORD = "correct horse battery"
Hooks = dict[str, list[Callable[..., Any]]]
OTHER_KEY = "the-key-of-another-agent-0123456789abcdefgh"


def order(**changes: Any) -> dict[str, Any]:
    """Return an order for a thousandth bitcoin, under a new request_id."""
    plain = {
        "request_id": str(uuid.uuid4()), "agent": TRADER, "pair": "BTC/USDT", "side": "buy",
        "amount": 0.001, "order_type": "market",
    }  # fmt: skip
    return plain | changes


@pytest.fixture(scope="module")
def gateway(real_bot: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server as an operator sets it up who takes no plain signatures."""
    with serving(tmp_path_factory.mktemp("standard"), **before(real_bot)) as served:
        yield served


@pytest.fixture(scope="module")
def predecessor(real_bot: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server for the predecessor's callers: its logins, and its plain signature."""
    folder = tmp_path_factory.mktemp("predecessor")
    hashed = run("hash-password", folder=folder, env=environment(folder), text=f"{PASSWORD}\n")
    clients = folder / "clients.toml"
    scopes = json.dumps(TRADER_SCOPES)
    clients.write_text(
        f'[clients.{TRADER}]\npassword = "{hashed.stdout.strip()}"\nscopes = {scopes}\n'
    )
    clients.chmod(0o600)
    settings = before(real_bot) | {
        "MCP_GATEWAY_LEGACY_SIGNATURE": "true", "MCP_GATEWAY_CLIENTS_FILE": str(clients),
    }  # fmt: skip
    with serving(folder, **settings) as served:
        yield served


def trader(**changes: Any) -> GatewayAuth:
    """Return a trader's token and key."""
    return GatewayAuth(token(), **{"key": HMAC_SECRET, "key_id": TRADER, **changes})


class Recorder:
    """What left for the gateway, as whoever listens on the wire has it."""

    def __init__(self) -> None:
        self.requests: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> None:
        self.requests.append(request)


def replayed(request: httpx2.Request, body: bytes | None = None) -> httpx2.Response:
    """Send recorded bytes again, with another body where one is given."""
    headers = [
        (name, value) for name, value in request.headers.raw if name.lower() != b"content-length"
    ]
    with httpx2.Client(trust_env=False, timeout=60) as thief:
        return thief.request(
            request.method, request.url, headers=headers, content=body or request.content
        )


async def test_a_signed_order_opens_one_trade_however_often_it_is_sent(
    clean_bot: Sandbox, gateway: Serving
) -> None:
    """One request_id, one effect: the same structured content and text, one trade at the bot."""
    wanted = order()
    async with open_session(gateway.mcp_url, trader()) as client:
        first = await client.call_tool("create_order", wanted)
        second = await client.call_tool("create_order", wanted)
    assert first.is_error is False
    assert first.structured_content["outcome"] == "placed"
    assert second.structured_content == first.structured_content
    assert second.content == first.content
    assert (first.meta or {}).get("mcp-gateway/replayed") is None
    assert (second.meta or {})["mcp-gateway/replayed"] is True
    [tag] = bot_tags(clean_bot.database)
    assert tag.startswith("gw:")


def test_a_signed_order_over_rest_is_answered_again_byte_by_byte(
    clean_bot: Sandbox, gateway: Serving
) -> None:
    """The same promise in the other language; the header tells the repetition."""
    wanted = order()
    with httpx2.Client(auth=trader(), trust_env=False, timeout=60) as client:
        first = client.post(f"{gateway.rest_url}/orders", json=wanted)
        second = client.post(f"{gateway.rest_url}/orders", json=wanted)
    assert (first.status_code, second.status_code) == (200, 200)
    assert second.content == first.content
    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert len(bot_tags(clean_bot.database)) == 1


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "unsigned": ({"key": None, "key_id": None}, "signature_missing"),
    "signed with a key of nobody": ({"key": OTHER_KEY}, "signature_invalid"),
    "signed in another's name": ({"key_id": "another-agent"}, "signature_invalid"),
}


@pytest.mark.parametrize("how", REFUSED)
async def test_an_order_that_is_not_the_callers_own_is_refused(
    clean_bot: Sandbox, gateway: Serving, how: str
) -> None:
    """A stolen token alone cannot trade: a tool's failure over MCP, a 403 over REST."""
    changes, code = REFUSED[how]
    async with open_session(gateway.mcp_url, trader(**changes)) as client:
        result = await client.call_tool("create_order", order())
    assert (result.is_error, result.structured_content["code"]) == (True, code)
    with httpx2.Client(auth=trader(**changes), trust_env=False) as rest:
        problem = rest.post(f"{gateway.rest_url}/orders", json=order())
    assert (problem.status_code, problem.json()["code"]) == (403, code)
    assert bot_tags(clean_bot.database) == []


async def test_an_order_recorded_on_the_wire_is_good_once(
    clean_bot: Sandbox, gateway: Serving
) -> None:
    """Its bytes again, or with one digit altered: refused, and no second trade."""
    recorder = Recorder()
    wanted = order()
    hooks: Hooks = {"request": [recorder]}
    with httpx2.Client(auth=trader(), trust_env=False, timeout=60, event_hooks=hooks) as client:
        client.post(f"{gateway.rest_url}/orders", json=wanted).raise_for_status()
    [sent] = recorder.requests
    again = replayed(sent)
    assert (again.status_code, again.json()["code"]) == (403, "signature_replayed")
    altered = replayed(sent, sent.content.replace(b"0.001", b"0.009"))
    assert (altered.status_code, altered.json()["code"]) == (403, "signature_invalid")
    assert len(bot_tags(clean_bot.database)) == 1


async def test_a_tool_call_recorded_on_the_wire_is_good_once(
    clean_bot: Sandbox, gateway: Serving
) -> None:
    """The same over MCP, where the refusal is a result that an agent can read."""
    recorder = Recorder()
    body = {
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "create_order", "arguments": order()},
    }  # fmt: skip
    headers = {"accept": "application/json, text/event-stream"}
    hooks: Hooks = {"request": [recorder]}
    with httpx2.Client(auth=trader(), trust_env=False, timeout=60, event_hooks=hooks) as client:
        told = client.post(gateway.mcp_url, json=body, headers=headers)
    assert told.json()["result"]["structuredContent"]["outcome"] == "placed"
    [sent] = recorder.requests
    for again, code in (
        (replayed(sent), "signature_replayed"),
        (replayed(sent, sent.content.replace(b"0.001", b"0.009")), "signature_invalid"),
    ):
        result = again.json()["result"]
        assert (again.status_code, result["isError"]) == (200, True)
        assert result["structuredContent"]["code"] == code
    assert len(bot_tags(clean_bot.database)) == 1


def legacy_request(wanted: dict[str, Any], secret: str) -> tuple[str, dict[str, str]]:
    """Return body and headers as the predecessor's page tells its callers to make them."""
    body = json.dumps(wanted)
    signature = hmac.new(secret.encode(), body.encode(), hashlib.sha256).hexdigest()
    headers = {"Authorization": f"Bearer {token()}", "X-Signature": signature}
    return body, headers | {"Content-Type": "application/json"}


def test_the_predecessors_snippet_places_an_order_where_it_is_switched_on(
    clean_bot: Sandbox, predecessor: Serving
) -> None:
    """A plain signature can be replayed: then the request_id still keeps it to one trade."""
    body, headers = legacy_request(order(), HMAC_SECRET)
    url = f"{predecessor.rest_url}/orders"
    placed = httpx2.post(url, content=body, headers=headers, timeout=60, trust_env=False)
    assert placed.status_code == 200
    assert {
        "order_id", "request_id", "status", "pair", "side", "amount", "filled_amount",
        "timestamp", "message",
    } <= placed.json().keys()  # fmt: skip
    again = httpx2.post(url, content=body, headers=headers, timeout=60, trust_env=False)
    assert again.content == placed.content
    forged, headers = legacy_request(order(), OTHER_KEY)
    refused = httpx2.post(url, content=forged, headers=headers, trust_env=False)
    assert (refused.status_code, refused.json()["code"]) == (403, "signature_invalid")
    assert len(bot_tags(clean_bot.database)) == 1


def test_the_predecessors_snippet_is_refused_unless_switched_on(
    clean_bot: Sandbox, gateway: Serving
) -> None:
    """Nothing dangerous is a default."""
    body, headers = legacy_request(order(), HMAC_SECRET)
    refused = httpx2.post(
        f"{gateway.rest_url}/orders", content=body, headers=headers, trust_env=False
    )
    assert (refused.status_code, refused.json()["code"]) == (403, "signature_missing")
    assert bot_tags(clean_bot.database) == []


def curl(*words: str) -> str:
    """Run the real curl and return what it prints."""
    command = ["curl", "--silent", "--show-error", "--fail", "--noproxy", "*", *words]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout


def test_the_predecessors_curl_lines_work(real_bot: Sandbox, predecessor: Serving) -> None:
    """As printed on its page, the URL quoted: a login, candles with its token, health, metrics."""
    login = json.dumps({"username": TRADER, "password": PASSWORD})
    told = json.loads(
        curl(
            "-X", "POST", f"{predecessor.url}/auth/token",
            "-H", "Content-Type: application/json", "-d", login,
        )
    )  # fmt: skip
    bearer = f"Authorization: Bearer {told['access_token']}"
    url = f"{predecessor.rest_url}/candles?pair=BTC/USDT&timeframe=15m"
    candles = json.loads(curl(url, "-H", bearer))
    assert (candles["pair"], candles["timeframe"]) == ("BTC/USDT", "15m")
    assert candles["count"] == len(candles["candles"]) > 100
    names = {"timestamp", "open", "high", "low", "close", "volume"}
    assert candles["candles"][0].keys() == names
    health = json.loads(curl(f"{predecessor.url}/health"))
    assert (health["status"], health["services"]["freqtrade"]) == ("healthy", "healthy")
    assert {"status", "timestamp", "version", "services"} <= health.keys()
    metrics = curl(f"{predecessor.url}/metrics")
    for name in (
        "http_requests_total", "http_request_duration_seconds", "http_requests_in_progress",
    ):  # fmt: skip
        assert f"# TYPE {name.removesuffix('_total')}" in metrics or f"# TYPE {name}" in metrics
    assert 'path="/api/v1/candles"' in metrics
