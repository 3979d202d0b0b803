"""A person's yes before a real Freqtrade: by the command line, by REST, and at an MCP client."""

import sys
import uuid
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp import Client
from mcp.client.session import ElicitationFnT
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from mcp_gateway.client import GatewayAuth
from mcp_gateway.sandbox.bot import Sandbox
from tests.support.books import bot_tags
from tests.support.elicited import DECLINED, YES, Asked
from tests.support.gateway import TRADER, TRADER_SCOPES
from tests.support.mcpserver import Era
from tests.support.processes import Serving, before, environment, run, serving, token
from tests.support.servers import plain
from tests.support.wires import TIMEOUT_S, signing

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

OPERATOR = "desk"
OPERATOR_KEY = "operator-canary-" + "c" * 32
LINE = "[defaults]\napproval_above = 1\nasks_client = {asks}\n\n"
MODERN, HANDSHAKE = "2026-07-28", "2025-11-25"


def order(**changes: Any) -> dict[str, Any]:
    """Return an order above the line, under a new request_id."""
    plain = {
        "request_id": str(uuid.uuid4()), "pair": "BTC/USDT", "side": "buy", "amount": "0.001",
        "order_type": "market",
    }  # fmt: skip
    return plain | changes


def settings(bot: Sandbox, folder: Path, *, asks: bool) -> dict[str, str]:
    """Return the settings of a gateway whose policy wants a person's yes to nearly everything."""
    policy = folder / "policy.toml"
    policy.write_text(LINE.format(asks=str(asks).lower()) + bot.policy.read_text())
    return before(bot) | {
        "MCP_GATEWAY_POLICY": str(policy),
        "MCP_GATEWAY_OPERATOR": OPERATOR,
        "OPERATOR_HMAC_SECRET": OPERATOR_KEY,
    }


@pytest.fixture(scope="module")
def gateway(real_bot: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server whose policy trusts no client."""
    folder = tmp_path_factory.mktemp("asking")
    with serving(folder, **settings(real_bot, folder, asks=False)) as served:
        yield served


@pytest.fixture(scope="module")
def trusting(real_bot: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server whose policy lets the person at the client decide."""
    folder = tmp_path_factory.mktemp("trusting")
    with serving(folder, **settings(real_bot, folder, asks=True)) as served:
        yield served


@asynccontextmanager
async def agent(
    served: Serving, person: ElicitationFnT | None = None, mode: Era = "auto"
) -> AsyncIterator[Client]:
    """Connect a trader over HTTP, signing every request."""
    async with (
        httpx2.AsyncClient(auth=signing(token()), timeout=TIMEOUT_S, trust_env=False) as http,
        Client(
            streamable_http_client(served.mcp_url, http_client=http),
            mode=mode, elicitation_callback=person,
        ) as client,
    ):  # fmt: skip
        yield client


async def told(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    document: dict[str, Any] = result.structured_content or {}
    assert not result.is_error, document
    return document


async def asked_for(served: Serving, **changes: Any) -> dict[str, Any]:
    """Let an agent order what waits for a person; return its answer."""
    async with agent(served) as client:
        answer = await told(client, "create_order", **order(**changes))
    assert (answer["outcome"], answer["status"]) == ("pending_approval", "pending_approval")
    return answer


def rest(served: Serving, auth: GatewayAuth) -> httpx2.Client:
    return httpx2.Client(
        base_url=f"{served.rest_url}/", auth=auth, trust_env=False, timeout=TIMEOUT_S
    )


def operator(*scopes: str, **changes: Any) -> GatewayAuth:
    """Return the operator's token and key."""
    shown = token(*(scopes or ("orders:approve",)), subject=OPERATOR)
    return GatewayAuth(shown, **{"key": OPERATOR_KEY, "key_id": OPERATOR, **changes})


async def test_an_order_is_approved_over_rest(clean_bot: Sandbox, gateway: Serving) -> None:
    """Listed with its text, approved by a signed call, placed at once, told to the agent."""
    waits = await asked_for(gateway)
    with rest(gateway, operator()) as client:
        listed = client.get("approvals").raise_for_status().json()
        [one] = [row for row in listed["approvals"] if row["order_id"] == waits["order_id"]]
        assert one["text"] == waits["question"]
        assert bot_tags(clean_bot.database) == []
        path = f"approvals/{waits['order_id']}/approve"
        said = client.post(path, json={"reason": "fine"})
        assert (said.status_code, said.json()["outcome"]) == (200, "placed")
        again = client.post(path, json={})
        assert (again.status_code, again.json()["code"]) == (409, "not_pending")
    assert len(bot_tags(clean_bot.database)) == 1
    async with agent(gateway) as client:
        state = await told(client, "get_order", request_id=waits["request_id"])
    assert state["final"] is True
    states = [step["state"] for step in state["history"]]
    assert states[:5] == ["received", "pending_approval", "approved", "reserved", "sent"]


async def test_an_order_is_declined_over_rest(clean_bot: Sandbox, gateway: Serving) -> None:
    """The agent's next call is told so, with what to do."""
    waits = await asked_for(gateway)
    with rest(gateway, operator()) as client:
        path = f"approvals/{waits['order_id']}/decline"
        faulty = client.post(path, json={})
        assert (faulty.status_code, faulty.json()["code"]) == (422, "request_invalid")
        said = client.post(path, json={"reason": "not today"})
        assert (said.status_code, said.json()["code"]) == (200, "declined")
    async with agent(gateway) as client:
        state = await told(client, "get_order", request_id=waits["request_id"])
    assert (state["outcome"], state["code"]) == ("denied", "declined")
    assert bot_tags(clean_bot.database) == []


def self_approving(
    *scopes: str, act_for: tuple[str, ...] = (), subject: str = TRADER
) -> GatewayAuth:
    """Return an agent's own key beside a token that an operator made too generous."""
    shown = token(*scopes, "orders:approve", subject=subject, act_for=act_for)
    if subject == TRADER:
        return signing(shown)
    return GatewayAuth(shown, key=OPERATOR_KEY, key_id=subject)


async def test_nobody_gets_through_who_may_not_approve(
    clean_bot: Sandbox, gateway: Serving
) -> None:
    """Without scope, signature or another's name, by whatever door; nothing is sent."""
    waits = await asked_for(gateway)
    tries = {
        "scope_missing": signing(token()),
        "signature_missing": operator(key=None, key_id=None),
        "signature_invalid": operator(key="x" * 40),
        "approver_is_requester": self_approving(),
        "approval_needs_person": self_approving("orders:create"),
    }
    for code, auth in tries.items():
        for word in ("approve", "decline"):
            with rest(gateway, auth) as client:
                body = {"reason": "because"}
                refused = client.post(f"approvals/{waits['order_id']}/{word}", json=body)
            assert (refused.status_code, refused.json()["code"]) == (403, code)
    with rest(gateway, self_approving(subject=OPERATOR, act_for=(TRADER,))) as client:
        refused = client.post(f"approvals/{waits['order_id']}/approve", json={})
    assert refused.json()["code"] == "approver_is_requester"
    with rest(gateway, signing(token())) as client:
        assert client.get("approvals").json()["code"] == "scope_missing"
    async with agent(gateway) as client:
        tools = {tool.name for tool in (await client.list_tools()).tools}
        assert not {name for name in tools if "appro" in name or "decline" in name}
        state = await told(client, "get_order", request_id=waits["request_id"])
        assert state["outcome"] == "pending_approval"
        await told(client, "cancel_order", request_id=waits["request_id"])
    assert bot_tags(clean_bot.database) == []


async def test_an_order_is_approved_at_the_command_line(
    clean_bot: Sandbox, gateway: Serving
) -> None:
    """Through the control socket of the gateway that holds the store."""
    waits = await asked_for(gateway)
    env = environment(gateway.data_dir.parent)
    listed = run("approvals", "list", folder=gateway.data_dir.parent, env=env)
    assert waits["question"] in listed.stdout
    said = run(
        "approvals", "approve", waits["order_id"], "--yes", "--json",
        folder=gateway.data_dir.parent, env=env,
    )  # fmt: skip
    assert (said.returncode, said.stderr) == (0, "")
    assert len(bot_tags(clean_bot.database)) == 1


async def test_two_processes_that_are_told_yes_at_once_send_one_order(
    clean_bot: Sandbox, tmp_path: Path, postgres_url: str
) -> None:
    """Replicas on one PostgreSQL: one of them takes the yes, the other says that it was given."""
    shared = {"DATABASE_URL": plain(postgres_url)}
    upgraded = run("db", "upgrade", folder=tmp_path, env=environment(tmp_path, **shared))
    assert upgraded.returncode == 0, upgraded.stderr
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder in folders:
        folder.mkdir()
    told_both = [settings(clean_bot, folder, asks=False) | shared for folder in folders]
    with serving(folders[0], **told_both[0]) as one, serving(folders[1], **told_both[1]) as two:
        waits = await asked_for(one)
        statuses: list[int] = []

        async def approve(served: Serving) -> None:
            async with httpx2.AsyncClient(
                auth=operator(), trust_env=False, timeout=TIMEOUT_S
            ) as client:
                path = f"{served.rest_url}/approvals/{waits['order_id']}/approve"
                statuses.append((await client.post(path, json={})).status_code)

        async with anyio.create_task_group() as group:
            group.start_soon(approve, one)
            group.start_soon(approve, two)
        assert sorted(statuses) == [200, 409]
    assert len(bot_tags(clean_bot.database)) == 1


async def test_the_person_at_a_modern_client_is_asked_over_http(
    clean_bot: Sandbox, trusting: Serving
) -> None:
    """2026-07-28: the first answer is the question; the client calls again, signed anew."""
    person, wanted = Asked(YES), order()
    async with agent(trusting, person) as client:
        assert client.protocol_version == MODERN
        answer = await told(client, "create_order", **wanted)
    assert (answer["outcome"], answer["request_id"]) == ("placed", wanted["request_id"])
    [shown] = person.shown
    assert shown.startswith(
        f'Dry-run order: no real money.\nAgent "{TRADER}" wants to buy 0.001 BTC'
    )
    assert len(bot_tags(clean_bot.database)) == 1


async def test_the_person_at_a_modern_client_says_no(clean_bot: Sandbox, trusting: Serving) -> None:
    """Declined for good."""
    async with agent(trusting, Asked(DECLINED)) as client:
        result = await client.call_tool("create_order", order())
    assert result.is_error
    assert (result.structured_content or {})["code"] == "declined"
    assert bot_tags(clean_bot.database) == []


async def test_an_older_client_over_stateless_http_gets_the_plain_answer(
    clean_bot: Sandbox, trusting: Serving
) -> None:
    """There is no way back to it, and that is no failure: another person decides."""
    person = Asked(YES)
    async with agent(trusting, person, mode="legacy") as client:
        assert client.protocol_version == HANDSHAKE
        answer = await told(client, "create_order", **order())
        assert answer["outcome"] == "pending_approval"
        await told(client, "cancel_order", request_id=answer["request_id"])
    assert person.shown == []
    assert bot_tags(clean_bot.database) == []


async def test_a_client_that_the_policy_does_not_trust_is_not_asked(
    clean_bot: Sandbox, gateway: Serving
) -> None:
    """Off by default, whatever the client says of itself."""
    person = Asked(YES)
    async with agent(gateway, person) as client:
        answer = await told(client, "create_order", **order())
        await told(client, "cancel_order", request_id=answer["request_id"])
    assert (answer["outcome"], person.shown) == ("pending_approval", [])
    assert bot_tags(clean_bot.database) == []


@pytest.mark.parametrize("mode", ["legacy", "auto"])
async def test_the_person_at_a_desktop_client_is_asked_over_stdio(
    clean_bot: Sandbox, tmp_path: Path, mode: Era
) -> None:
    """2025-11-25: the question goes out while the call runs; 2026-07-28 asks here as over HTTP."""
    env = environment(
        tmp_path, **settings(clean_bot, tmp_path, asks=True),
        MCP_GATEWAY_SCOPES=" ".join(TRADER_SCOPES),
    )  # fmt: skip
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "mcp_gateway", "stdio"], env=env, cwd=tmp_path
    )
    person = Asked(YES)
    with (tmp_path / "stderr.log").open("w") as errors:
        transport = stdio_client(server, errlog=errors)
        async with Client(transport, mode=mode, elicitation_callback=person) as client:
            assert client.protocol_version == (HANDSHAKE if mode == "legacy" else MODERN)
            answer = await told(client, "create_order", **order())
    assert answer["outcome"] == "placed"
    assert len(person.shown) == len(bot_tags(clean_bot.database)) == 1
