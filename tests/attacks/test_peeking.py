"""What one agent could learn, or have done, of another's; and a web page of its visitor's."""

from pathlib import Path

import pytest

from mcp_gateway.errors import GatewayError
from tests.support.desk import Desk, admission, order, refused, request_id, rested
from tests.support.gateway import ORDER, Face, code_of, settings_for

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

STRANGE_PATHS = (
    "/api/v1/orders/..%2f..%2fapi%2fv1%2fpositions%2fopen", "/api/v1/orders/%2e%2e/halts",
    "/api/v1/orders/550e8400-e29b-41d4-a716-446655440000%00", "/api/v1//orders", "/mcp/",
    "/api/v1/orders/*", "/.env", "/api/v1/../../.env",
)  # fmt: skip


@pytest.fixture
def face(tmp_path: Path) -> Face:
    return Face(settings_for(tmp_path))


async def told(desk: Desk, subject: str, request: object) -> tuple[str, str]:
    """Return how a question for an order is refused, in all that a caller sees of it."""
    with pytest.raises(GatewayError) as caught:
        await desk.orders.get(admission(subject, "get_order"), request)  # type: ignore[arg-type]  # a UUID of somebody's
    return caught.value.code, str(caught.value.public())


async def test_another_agents_order_is_as_unknown_as_none(desk: Desk) -> None:
    """Not even that it exists can be told from the answer."""
    theirs = await rested(desk, "agent-a")
    assert await told(desk, "agent-b", theirs.request_id) == await told(
        desk, "agent-b", request_id()
    )


async def test_another_agents_order_cannot_be_cancelled(desk: Desk) -> None:
    """Whoever learns a request_id has no power over the order."""
    theirs = await rested(desk, "agent-a")
    with pytest.raises(GatewayError) as caught:
        await desk.orders.cancel(admission("agent-b", "cancel_order"), theirs.request_id)
    assert caught.value.code == "order_unknown"
    assert desk.bot.cancels == []


async def test_another_agents_request_id_is_free_for_ones_own(desk: Desk) -> None:
    """A key that somebody else has used neither blocks nor replays."""
    theirs = await rested(desk, "agent-a")
    await rested(desk, "agent-b", request_id=theirs.request_id, pair="ETH/USDT")
    assert len(desk.bot.posts) == 2


async def test_nobody_orders_in_anothers_name(desk: Desk) -> None:
    """The agent of an order is the token's subject, or one that the token may act for."""
    error = await refused(desk, order(agent="agent-b"), "agent-a")
    assert error.code == "agent_not_allowed"
    assert desk.bot.posts == []


async def test_nobody_sells_what_another_agent_holds(desk: Desk) -> None:
    """A position belongs to the agent that bought it."""
    await desk.orders.create(admission("agent-a"), order())
    error = await refused(desk, order(side="sell"), "agent-b")
    assert error.code == "position_not_yours"
    assert len(desk.bot.posts) == 1


@pytest.mark.parametrize("path", STRANGE_PATHS)
async def test_a_path_leads_nowhere_but_to_a_route(face: Face, path: str) -> None:
    """No spelling of a path reaches a file, another route, or past the gate."""
    async with face.client() as client:
        answer = await client.get(path)
    assert answer.status_code in {404, 405, 422}
    assert face.gateway.market.asked == []


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil:8000"])
async def test_a_rebound_name_reaches_no_order(face: Face, host: str) -> None:
    """A web page whose name was pointed at this machine is a stranger, token or not."""
    async with face.client(auth=face.auth(signed=True), headers={"host": host}) as client:
        answer = await client.post("/api/v1/orders", json=ORDER)
    assert (answer.status_code, code_of(answer)) == (421, "host_not_allowed")
    assert face.gateway.order_service.seen == []


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:8000.evil"])
async def test_a_page_of_another_origin_reaches_no_order(face: Face, origin: str) -> None:
    """Nor does it read an answer: no CORS header names it."""
    async with face.client(auth=face.auth(signed=True), headers={"origin": origin}) as client:
        answer = await client.post("/api/v1/orders", json=ORDER)
        asked = await client.options(
            "/api/v1/orders", headers={"access-control-request-method": "POST"}
        )
    assert code_of(answer) == "origin_not_allowed"
    assert face.gateway.order_service.seen == []
    assert "access-control-allow-origin" not in answer.headers
    assert "access-control-allow-origin" not in asked.headers


async def test_a_session_id_is_neither_given_nor_believed(face: Face) -> None:
    """There is no session to guess, to fix or to take over: every call shows its own token."""
    async with face.client(auth=None, headers={"mcp-session-id": "someone-elses"}) as client:
        answer = await client.post("/mcp", json={"jsonrpc": "2.0", "id": 1, "method": "ping"})
    assert answer.status_code == 401
    assert "mcp-session-id" not in answer.headers
    assert face.mcp.callers == []


async def test_a_token_in_a_query_is_no_token(face: Face) -> None:
    """It would lie in every proxy's log."""
    async with face.client(auth=None) as client:
        answer = await client.get(f"/api/v1/positions/open?access_token={face.token()}")
    assert answer.status_code == 401


async def test_an_answer_for_one_caller_is_kept_by_no_cache(face: Face) -> None:
    """A shared cache in between must not hand one agent's positions to another."""
    async with face.client() as client:
        answer = await client.get("/api/v1/positions/open")
    assert "no-store" in answer.headers["cache-control"]
