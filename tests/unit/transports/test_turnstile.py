"""The door's coarse limit: what never becomes a call is slowed down, and nobody else is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from mcp_gateway.errors import BotUnavailable
from mcp_gateway.telemetry import metrics
from mcp_gateway.transports.turnstile import LANE, MOST_WAITING, PAUSE_S, Turnstile, _address
from mcp_gateway.transports.visit import Visit
from tests.support.clock import ManualClock
from tests.support.gateway import BASE_URL, CALL, ORDER, Face, code_of, settings_for

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

MOST = 3
CANDLES = "/api/v1/candles?pair=BTC/USDT&timeframe=15m&limit=2"
ORDERS = "/api/v1/orders"
OUTSIDE = ("203.0.113.7", 4711)
JSON = {"content-type": "application/json"}
FORGED = {"authorization": "Bearer forged.forged.forged"}


@pytest.fixture
def face(tmp_path: Path) -> Face:
    """A door that bears three requests a minute that come to nothing."""
    return Face(settings_for(tmp_path, door_rate_limit_per_minute=MOST))


@asynccontextmanager
async def caller(
    face: Face, address: tuple[str, int] = OUTSIDE, **options: Any
) -> AsyncIterator[httpx2.AsyncClient]:
    """Open a client at an address, with a trader's token unless ``auth`` says otherwise."""
    transport = httpx2.ASGITransport(app=face.door, client=address)
    options = dict[str, Any](base_url=BASE_URL, auth=face.auth()) | options
    async with httpx2.AsyncClient(transport=transport, **options) as client:
        yield client


@asynccontextmanager
async def stranger(
    face: Face, address: tuple[str, int] = OUTSIDE
) -> AsyncIterator[httpx2.AsyncClient]:
    """Open a client whose token nobody issued."""
    async with caller(face, address, auth=None, headers=FORGED) as client:
        yield client


async def waited_for(face: Face, request: Any) -> httpx2.Response:
    """Make a request that the door lets wait, and let that time pass."""
    answers: list[httpx2.Response] = []

    async def ask() -> None:
        answers.append(await request)

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await face.gateway.clock.sleeping()
            assert answers == []
            face.gateway.clock.advance(PAUSE_S)
    return answers[0]


async def flood(client: httpx2.AsyncClient, times: int = MOST) -> list[str]:
    """Send what never becomes a call, so often; return the codes."""
    return [code_of(await client.post("/mcp", content=b"{", headers=JSON)) for _ in range(times)]


async def test_a_stranger_beyond_the_limit_is_sent_away_unread(face: Face) -> None:
    """Bad tokens cost nothing but their heads then; the refusal says when to come again."""
    async with stranger(face) as client:
        assert await flood(client) == ["token_invalid"] * MOST
        refused = await waited_for(face, client.post("/mcp", json=CALL))
    assert (refused.status_code, code_of(refused)) == (429, "door_limit")
    assert refused.json()["error"]["data"]["quota"] == "door"
    assert int(refused.headers["retry-after"]) == 20
    assert refused.headers["connection"] == "close"
    assert face.mcp.bodies == []


async def test_whoever_waits_as_told_is_asked_for_its_token_again(face: Face) -> None:
    """The limit comes back with time, one request after the other."""
    async with stranger(face) as client:
        await flood(client)
        face.gateway.clock.advance(20)
        assert await flood(client, 1) == ["token_invalid"]


@pytest.mark.parametrize(
    ("method", "path"), [("POST", "/mcp"), ("GET", "/nowhere"), ("DELETE", "/mcp"), ("GET", "/mcp")]
)
async def test_it_does_not_matter_what_comes_to_nothing(face: Face, method: str, path: str) -> None:
    """Unknown routes, methods and media types, missing tokens: all count alike."""
    async with caller(face, auth=None) as client:
        for _ in range(MOST):
            assert (await client.request(method, path)).status_code in {401, 404, 405, 415}
        assert (await waited_for(face, client.request(method, path))).status_code == 429


async def test_a_known_caller_at_a_flooding_address_is_served(face: Face) -> None:
    """Agents behind one address, or one proxy, don't pay for each other."""
    async with stranger(face) as client:
        await flood(client)
    async with caller(face) as client:
        assert (await client.get(CANDLES)).status_code == 200


async def test_a_flood_of_bad_tokens_keeps_nobody_at_its_address_from_a_login(face: Face) -> None:
    """Who has no token yet can show none: its logins count apart, and are bounded so."""
    login = ("/auth/token", {"username": "a", "password": "b"})
    async with stranger(face) as client:
        await flood(client)
        with anyio.fail_after(5):
            for _ in range(MOST):
                assert code_of(await client.post(login[0], json=login[1])) == "token_endpoint_off"
        refused = await waited_for(face, client.post(login[0], json=login[1]))
    assert code_of(refused) == "door_limit"


async def test_a_flood_of_logins_is_not_counted_as_bad_tokens(face: Face) -> None:
    """And the other way round."""
    async with stranger(face) as client:
        for _ in range(MOST):
            await client.post("/auth/token", json={})
        with anyio.fail_after(5):
            assert await flood(client, 1) == ["token_invalid"]


async def test_another_address_is_another_count(face: Face) -> None:
    """One stranger's flood is not the next one's."""
    async with stranger(face) as client:
        await flood(client)
    async with stranger(face, ("203.0.113.8", 4711)) as client:
        assert await flood(client, 1) == ["token_invalid"]


async def test_behind_a_trusted_proxy_the_callers_address_counts(tmp_path: Path) -> None:
    """Or one flood would shut out everybody behind the proxy."""
    settings = settings_for(
        tmp_path, door_rate_limit_per_minute=MOST, trusted_proxies=("203.0.113.7",)
    )
    face = Face(settings)
    async with stranger(face) as client:
        client.headers["x-forwarded-for"] = "198.51.100.1"
        await flood(client)
        assert (await waited_for(face, client.get("/nowhere"))).status_code == 429
        client.headers["x-forwarded-for"] = "198.51.100.2"
        assert await flood(client, 1) == ["token_invalid"]


async def test_an_address_that_is_only_claimed_is_not_believed(face: Face) -> None:
    """Whoever writes X-Forwarded-For without a trusted proxy stays who it is."""
    async with stranger(face) as client:
        for number in range(MOST):
            client.headers["x-forwarded-for"] = f"198.51.100.{number}"
            await flood(client, 1)
        assert (await waited_for(face, client.get("/nowhere"))).status_code == 429


async def test_probes_are_always_answered(face: Face) -> None:
    """An orchestrator must not kill a gateway because somebody floods it."""
    async with stranger(face) as client:
        await flood(client)
        for path in ("/health/live", "/health/ready", "/metrics"):
            assert (await client.get(path)).status_code == 200


async def test_calls_that_pass_the_gate_never_count(face: Face) -> None:
    """However busy an agent is within its quotas, the door does not slow it down."""
    async with caller(face) as client:
        for _ in range(MOST * 10):
            assert (await client.get(CANDLES)).status_code == 200


async def test_what_open_routes_tell_does_not_count(face: Face) -> None:
    """Descriptions are there to be read."""
    async with caller(face, auth=None) as client:
        for _ in range(MOST * 3):
            assert (await client.get("/openapi.json")).status_code == 200


async def test_trouble_of_ours_is_not_held_against_the_caller(face: Face) -> None:
    """A bot that is down is no flood."""
    face.gateway.market.trouble = BotUnavailable("It does not answer.")
    async with caller(face) as client:
        for _ in range(MOST * 3):
            assert (await client.get(CANDLES)).status_code == 503


async def test_bodies_that_do_not_parse_count_for_the_caller(face: Face) -> None:
    """Not for its address: what one agent does wrong is held against no other."""
    async with caller(face) as client:
        assert await flood(client) == ["body_malformed"] * MOST
        assert code_of(await waited_for(face, client.get(CANDLES))) == "door_limit"
    async with caller(face, auth=None) as client:
        client.headers["authorization"] = f"Bearer {face.token(subject='other-agent')}"
        assert (await client.get(CANDLES)).status_code == 200


async def test_messages_that_never_ask_the_gate_count(face: Face) -> None:
    """Pings and unknown methods of a valid token: MCP's app answers them without the gate."""
    async with caller(face) as client:
        for _ in range(MOST):
            assert (await client.post("/mcp", json=CALL)).status_code == 200
        assert (await waited_for(face, client.post("/mcp", json=CALL))).status_code == 429


async def test_calls_that_their_quota_refuses_count(tmp_path: Path) -> None:
    """Who goes on after a 429 is slowed down in the end."""
    face = Face(settings_for(tmp_path, door_rate_limit_per_minute=MOST, rate_limit_per_minute=1))
    async with caller(face) as client:
        codes = [(await client.get(CANDLES)).status_code for _ in range(MOST + 1)]
        assert codes == [200, 429, 429, 429]
        assert code_of(await waited_for(face, client.get(CANDLES))) == "door_limit"


async def test_a_signed_order_is_served_beyond_the_limit(face: Face) -> None:
    """A stolen token without its key must not keep an agent in its position."""
    async with caller(face) as thief:
        await flood(thief)
    async with caller(face, auth=face.auth(signed=True)) as client:
        placed = await waited_for(face, client.post(ORDERS, json=ORDER))
    assert (placed.status_code, placed.json()["outcome"]) == (200, "placed")


async def test_a_signature_that_does_not_fit_opens_no_lane(face: Face) -> None:
    """Or the thief would fill it."""
    async with caller(face) as thief:
        await flood(thief)
        headers = {"signature-input": "gw=()", "signature": "gw=:AAAA:"}
        refused = await waited_for(face, thief.post(ORDERS, json=ORDER, headers=headers))
    assert code_of(refused) == "door_limit"


async def test_one_callers_signed_flood_has_so_many_places_and_no_more(face: Face) -> None:
    """A runaway agent that signs everything is slowed down too; the rest is sent away."""
    statuses: list[int] = []
    async with caller(face) as client:
        await flood(client)

    async def order(number: int) -> None:
        async with caller(face, auth=face.auth(signed=True)) as client:
            wanted = ORDER | {"request_id": f"550e8400-e29b-41d4-a716-4466554400{number:02}"}
            statuses.append((await client.post(ORDERS, json=wanted)).status_code)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            for number in range(LANE + 4):
                group.start_soon(order, number)
            await face.gateway.clock.sleeping(LANE + 4)
            assert statuses == []
            face.gateway.clock.advance(PAUSE_S)
    assert statuses.count(429) == 4
    assert len(face.gateway.order_service.seen) == LANE


async def test_no_more_refusals_wait_than_there_is_room_for(face: Face) -> None:
    """Each that waits holds a connection; beyond, the answer comes at once."""
    before = metrics.REGISTRY.get_sample_value(
        "mcp_gateway_door_refusals_total", {"whose": "address"}
    )
    async with stranger(face) as client:
        await flood(client)
        async with anyio.create_task_group() as group:
            for _ in range(MOST_WAITING):
                group.start_soon(client.get, "/nowhere")
            await face.gateway.clock.sleeping(MOST_WAITING)
            assert (await client.get("/nowhere")).status_code == 429
            face.gateway.clock.advance(PAUSE_S)
    after = metrics.REGISTRY.get_sample_value(
        "mcp_gateway_door_refusals_total", {"whose": "address"}
    )
    assert after == (before or 0) + MOST_WAITING + 1


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("203.0.113.7", "203.0.113.7", True),
        ("203.0.113.7", "203.0.113.8", False),
        ("203.0.113.7", "::ffff:203.0.113.7", True),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", True),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", False),
        ("", "unix", True),
    ],
)
def test_an_address_counts_as_the_site_that_has_it(one: str, other: str, same: bool) -> None:
    """A site has 2^64 addresses of IPv6 to choose from, and one of IPv4."""
    assert (_address(one) == _address(other)) is same


async def test_a_hundred_thousand_addresses_cost_bounded_memory() -> None:
    """What cannot be counted is not counted; nobody is refused for it, nothing grows."""
    turnstile = Turnstile(MOST, ManualClock())
    for number in range(100_500):
        peer = f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}"
        turnstile.count(Visit("GET", "/", "", (), _nobody, peer=peer, status=404))
    assert len(turnstile._counts._arrivals) == 100_000


async def _nobody(_message: Any) -> None:
    """Take an answer that is never sent."""
