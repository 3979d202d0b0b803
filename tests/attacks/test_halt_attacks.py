"""Agents that want to trade through a halt, or to let themselves go again."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from mcp_gateway.client import GatewayAuth
from mcp_gateway.domain.operations import TOOLS
from tests.support.commands import bot_served, command, trading_bot
from tests.support.gateway import HMAC_SECRET, TRADER
from tests.support.processes import Serving, serving, token
from tests.support.tradingbot import TradingBot

pytestmark = pytest.mark.integration

OPERATOR, OPERATOR_KEY = "desk", "operator-canary-" + "c" * 32
TRADING = ("orders:create", "orders:preview", "ops:halt")


@pytest.fixture(scope="module")
def bot() -> TradingBot:
    """A bot of the present moment."""
    return trading_bot()


@pytest.fixture(scope="module")
def gateway(bot: TradingBot, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A real gateway process before it."""
    people = {"MCP_GATEWAY_OPERATOR": OPERATOR, "OPERATOR_HMAC_SECRET": OPERATOR_KEY}
    with bot_served(bot) as env, serving(tmp_path_factory.mktemp("halts"), **env, **people) as told:
        yield told


def client(served: Serving, *scopes: str, subject: str = TRADER, **options: Any) -> httpx2.Client:
    """Return a caller of the REST face that signs with its key."""
    key = OPERATOR_KEY if subject == OPERATOR else HMAC_SECRET
    auth = GatewayAuth(token(*scopes, subject=subject), key=key, key_id=subject)
    told = {"base_url": f"{served.rest_url}/", "auth": auth, "trust_env": False, "timeout": 30}
    return httpx2.Client(**{**told, **options})


def halted(served: Serving) -> int:
    """Halt everything, and return the halt's id."""
    with client(served, *TRADING) as agent:
        told = agent.post("halts", json={"reason": "an agent may stop"})
        assert (told.status_code, told.json()["stored"]) == (200, True)
        return int(told.json()["id"])


def released(served: Serving, halt_id: int) -> httpx2.Response:
    """Release a halt as a person does who may not trade."""
    with client(served, "ops:halt", subject=OPERATOR) as person:
        return person.post(f"halts/{halt_id}/release", json={"reason": "looked at it"})


@pytest.fixture
def halt_id(gateway: Serving) -> Iterator[int]:
    """A halt of everything, gone after the test."""
    number = halted(gateway)
    yield number
    released(gateway, number)


@pytest.mark.parametrize("scope", ["orders:create", "orders:live"])
def test_an_agent_that_may_trade_can_not_release(
    gateway: Serving, halt_id: int, scope: str
) -> None:
    """It may halt itself, and a person has to let it go again."""
    with client(gateway, scope, "ops:halt") as agent:
        told = agent.post(f"halts/{halt_id}/release", json={"reason": "I am well"})
        assert (told.status_code, told.json()["code"]) == (403, "halt_needs_person")
        assert [one["id"] for one in agent.get("halts").json()["in_force"]] == [halt_id]


def test_a_person_who_may_not_trade_releases(gateway: Serving) -> None:
    """By REST, signed, with a reason that is kept."""
    number = halted(gateway)
    told = released(gateway, number)
    assert (told.status_code, told.json()["released_by"]) == (200, OPERATOR)
    assert released(gateway, number).json()["code"] == "halt_unknown"


def test_without_the_scope_nobody_halts_or_releases(gateway: Serving, halt_id: int) -> None:
    """A trader's token is not enough."""
    with client(gateway) as agent:
        answers = [
            agent.post("halts", json={"reason": "x"}),
            agent.get("halts"),
            agent.post(f"halts/{halt_id}/release", json={"reason": "x"}),
        ]
    assert [one.status_code for one in answers] == [403, 403, 403]
    assert {one.json()["code"] for one in answers} == {"scope_missing"}


def test_an_unsigned_release_is_refused(gateway: Serving, halt_id: int) -> None:
    """A stolen token alone decides nothing."""
    bearer = {"authorization": f"Bearer {token('ops:halt', subject=OPERATOR)}"}
    with httpx2.Client(base_url=f"{gateway.rest_url}/", headers=bearer, trust_env=False) as thief:
        told = thief.post(f"halts/{halt_id}/release", json={"reason": "x"})
    assert (told.status_code, told.json()["code"]) == (403, "signature_missing")


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"reason": " "},
        {"reason": "x" * 1001},
        {"reason": "x", "agent": "a", "pair": "BTC/USDT"},
        {"reason": "x", "agent": ""},
        {"reason": "x", "agent": "a\x1b[31m"},
        {"reason": "x", "agent": "a\u202eb"},
        {"reason": "x", "pair": "everything"},
        {"reason": "x", "scope": "all"},
    ],
    ids=[
        "empty", "no-reason", "long-reason", "two-things", "nobody", "escape", "bidi", "no-pair",
        "unknown-key",
    ],
)  # fmt: skip
def test_a_malformed_halt_is_refused(gateway: Serving, body: dict[str, Any]) -> None:
    """And halts nothing: whoever sent it has to know."""
    with client(gateway, *TRADING) as agent:
        told = agent.post("halts", json=body)
        assert (told.status_code, told.json()["code"]) == (422, "request_invalid")
        assert agent.get("halts").json()["in_force"] == []


@pytest.mark.parametrize("halt_id", ["0", "-1", "1;2", "%31", "all", "9" * 40])
def test_an_id_that_is_none_releases_nothing(gateway: Serving, halt_id: str) -> None:
    """No pattern, no list, no number beyond the database's."""
    with client(gateway, "ops:halt", subject=OPERATOR) as person:
        told = person.post(f"halts/{halt_id}/release", json={"reason": "x"})
    assert told.json()["code"] in {"request_invalid", "halt_unknown", "not_found"}
    assert 400 <= told.status_code < 500


def test_a_reason_shows_no_escape_at_the_operators_terminal(gateway: Serving) -> None:
    """What an agent writes is read by a person."""
    with client(gateway, *TRADING) as agent:
        told = agent.post("halts", json={"reason": "a\x1b[2J\nb\u202ec"}).json()
    shown = command(gateway.data_dir, "halt", "list")
    assert told["reason"] == "a [2J b c"
    assert told["reason"] in shown.out
    assert released(gateway, told["id"]).status_code == 200


def test_no_tool_halts_or_resumes() -> None:
    """A model must not be talked into either."""
    assert [name for name in TOOLS if "halt" in name or "resume" in name] == []
