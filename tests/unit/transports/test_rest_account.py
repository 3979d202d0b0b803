"""GET /api/v1/account: what get_account tells, for callers without MCP."""

from pathlib import Path

import pytest

from mcp_gateway.errors import BotUnavailable
from mcp_gateway.transports.rest import account
from tests.support.gateway import Face, code_of, settings_for

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

ACCOUNT = "/api/v1/account"


@pytest.fixture
def face(tmp_path: Path) -> Face:
    return Face(settings_for(tmp_path))


async def test_the_account_has_the_documented_shape(face: Face) -> None:
    """Money, mode, limits with what is left, and the halts that bind the caller."""
    async with face.client() as client:
        response = await client.get(ACCOUNT)
    assert response.status_code == 200
    told = account.AccountState.model_validate_json(response.content, strict=True)
    assert told.balance is not None
    assert (told.balance.free, told.bot.max_open_positions) == (900.5, 3)
    assert told.limits.calls_left["get_account"] == 999
    assert [one.rule for one in told.limits.rules] == ["daily_orders"]
    assert [one.name for one in told.halts] == ["ETH/USDT"]


async def test_the_account_asks_the_gate(face: Face) -> None:
    """The same scope as the tool's."""
    async with face.client(auth=face.auth("market:read")) as client:
        refused = await client.get(ACCOUNT)
    assert (refused.status_code, code_of(refused)) == (403, "scope_missing")


async def test_a_bot_that_is_away_is_told(face: Face) -> None:
    """Nothing is made up where the bot does not answer."""
    face.gateway.market.trouble = BotUnavailable("The bot does not answer.")
    async with face.client() as client:
        refused = await client.get(ACCOUNT)
    assert (refused.status_code, code_of(refused)) == (503, "bot_unavailable")


async def test_the_account_takes_no_parameters(face: Face) -> None:
    """An unknown one is refused, as everywhere."""
    async with face.client() as client:
        refused = await client.get(ACCOUNT, params={"agent": "another"})
    assert (refused.status_code, code_of(refused)) == (422, "request_invalid")
