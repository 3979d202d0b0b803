"""`mcp-gateway serve` as a process: how it ends, comes back, and what a bad bot does to it."""

import re
import signal
import uuid
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from anyio.abc import TaskGroup
from mcp import Client

from mcp_gateway.client import GatewayAuth, open_session
from tests.support.gateway import TRADER
from tests.support.processes import Serving, environment, run, serving, token
from tests.support.records import audit_rows, order_shown
from tests.support.standin import TIMEFRAME, StandIn, stand_in
from tests.support.wires import signing

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

ORDER = {"pair": "BTC/USDT", "side": "buy", "amount": "1", "order_type": "market"}
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
ACCEPT = {"accept": "application/json, text/event-stream"}
NO_QUOTA = {
    "RATE_LIMIT_PER_MINUTE": "1000000",
    "MCP_GATEWAY_SERVER_RATE_LIMIT_PER_MINUTE": "1000000",
}
CANDLES = {"pair": "BTC/USDT", "timeframe": TIMEFRAME, "limit": 3}


@asynccontextmanager
async def session(served: Serving, subject: str = TRADER) -> AsyncIterator[Client]:
    """Open an MCP session over HTTP; the trader's is signed."""
    shown = token(subject=subject)
    auth = signing(shown) if subject == TRADER else GatewayAuth(shown)
    async with open_session(served.mcp_url, auth) as client:
        yield client


async def answer(client: Client, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Call a tool and return its structured content."""
    content: dict[str, Any] = (await client.call_tool(tool, arguments)).structured_content
    return content


async def order_on_its_way(group: TaskGroup, served: Serving, bot: StandIn) -> str:
    """Send an order that hangs at the bot, from a caller who may lose its answer."""
    bot.bot.faults.append("hang")
    request_id = str(uuid.uuid4())

    async def place() -> None:
        async with httpx2.AsyncClient(auth=signing(token()), trust_env=False, timeout=60) as http:
            try:
                order = ORDER | {"request_id": request_id}
                await http.post(f"{served.rest_url}/orders", json=order)
            except httpx2.TransportError:
                pass  # the gateway went away

    group.start_soon(place)
    await bot.asked("forceenter")
    return request_id


async def until_it_takes_no_more(served: Serving) -> None:
    """Return when the gateway has heard the signal: its port is shut."""
    host, _, port = served.url.removeprefix("http://").partition(":")
    while True:
        try:
            stream = await anyio.connect_tcp(host, int(port))
        except OSError:
            return
        await stream.aclose()


@pytest.mark.parametrize("caller_waits", [True, False])
async def test_sigterm_lets_an_order_on_its_way_arrive(tmp_path: Path, caller_waits: bool) -> None:
    """Orders, draining: the answer is waited for and recorded, even if its caller hung up."""
    async with stand_in() as bot:
        with serving(tmp_path, FREQTRADE_URL=bot.url) as served:
            async with anyio.create_task_group() as group:
                request_id = await order_on_its_way(group, served, bot)
                if not caller_waits:
                    group.cancel_scope.cancel()
                with anyio.CancelScope(shield=True):
                    served.signal(signal.SIGTERM)
                    await until_it_takes_no_more(served)
                    assert served.process.poll() is None
                    bot.bot.release.set()
            assert await anyio.to_thread.run_sync(served.wait) == 0
        assert len(bot.bot.posts) == 1
    shown = await order_shown(served.data_dir, request_id)
    assert [step["state"] for step in shown["history"]] == STATES


STATES = ["received", "reserved", "sent", "placed", "filled"]


async def test_an_order_survives_the_gateway_that_sent_it(tmp_path: Path) -> None:
    """Killed between send and answer: started again it finds the order, and sends none."""
    async with stand_in() as bot:
        with serving(tmp_path, FREQTRADE_URL=bot.url) as first:
            async with anyio.create_task_group() as group:
                request_id = await order_on_its_way(group, first, bot)
                first.signal(signal.SIGKILL)
                await anyio.to_thread.run_sync(first.wait)
                bot.bot.release.set()
        with serving(tmp_path, FREQTRADE_URL=bot.url) as second:
            async with session(second) as client:
                found = await answer(client, "get_order", {"request_id": request_id})
                assert found["outcome"] == "placed"
                again = await answer(client, "create_order", ORDER | {"request_id": request_id})
                assert again["order_id"] == found["order_id"]
                assert again["outcome"] == "placed"
        assert len(bot.bot.posts) == 1
    rows = await anyio.to_thread.run_sync(
        lambda: audit_rows(second.data_dir, request_id=request_id)
    )
    assert [row["event"] for row in rows] == [
        "order.received", "order.reserved", "order.sent", "order.unknown", "order.placed",
        "order.filled",
    ]  # fmt: skip


async def test_a_slow_bot_holds_up_nobody_who_can_be_answered_without_it(tmp_path: Path) -> None:
    """While one agent's question hangs at the bot, another pings, lists and reads the cache."""
    async with stand_in() as bot, anyio.create_task_group() as group:
        with serving(tmp_path, FREQTRADE_URL=bot.url) as served:
            async with session(served) as waiting, session(served, "other-agent") as other:
                assert (await answer(other, "get_candles", CANDLES))["source"] == "live"
                bot.bot.hold = anyio.Event()
                late: list[dict[str, Any]] = []

                async def ask() -> None:
                    late.append(
                        await answer(waiting, "get_candles", CANDLES | {"pair": "ETH/USDT"})
                    )

                group.start_soon(ask)
                await bot.asked("pair_candles", times=2)
                with anyio.fail_after(5):
                    async with rest(served) as http:
                        assert (await http.get(f"{served.url}/health/live")).status_code == 200
                        ponged = await http.post(served.mcp_url, json=PING, headers=ACCEPT)
                        assert ponged.json() == {"jsonrpc": "2.0", "id": 1, "result": {}}
                    assert (await other.list_tools()).tools
                    assert (await answer(other, "get_candles", CANDLES))["source"] == "cache"
                    assert (await answer(other, "get_open_positions", {}))["total_count"] == 0
                assert late == []
                bot.bot.hold.set()
                with anyio.fail_after(5):
                    while not late:
                        await anyio.lowlevel.checkpoint()
                assert late[0]["count"] == 3


async def test_a_bot_that_does_not_answer_is_told_in_time(tmp_path: Path) -> None:
    """A read has a deadline by the wall clock; the refusal says that nothing was changed."""
    async with stand_in() as bot:
        bot.bot.hold = anyio.Event()
        settings = {"FREQTRADE_URL": bot.url, "MCP_GATEWAY_READ_TIMEOUT_S": "0.3"}
        with serving(tmp_path, **settings) as served:
            async with session(served) as client:
                with anyio.fail_after(5):
                    told = await answer(client, "get_candles", CANDLES)
        assert told["code"] == "bot_timeout"
        assert told["retryable"] is True
        assert told["hint"]


async def test_a_bot_that_is_gone_is_told_and_what_is_kept_is_marked_stale(tmp_path: Path) -> None:
    """Nothing old goes unmarked, and a failure of the bot is an error, never an empty list."""
    with ExitStack() as stack:
        async with stand_in(candles_behind=3) as bot:
            served = stack.enter_context(serving(tmp_path, FREQTRADE_URL=bot.url, **NO_QUOTA))
            async with session(served) as client:
                live = await answer(client, "get_candles", CANDLES)
        async with session(served) as client:
            with anyio.fail_after(10):
                kept = await until_not_fresh(client)
            assert kept["source"] == "stale"
            assert kept["rows"] == live["rows"]
            assert kept["as_of"] == live["as_of"]
            for tool, arguments in (
                ("get_candles", CANDLES | {"pair": "ETH/USDT"}), ("get_open_positions", {}),
            ):  # fmt: skip
                told = await answer(client, tool, arguments)
                assert (told["code"], told["retryable"]) == ("bot_unreachable", True)
                assert told["hint"]
        async with rest(served) as http:
            refused = await http.get("/positions/open")
            assert (refused.status_code, refused.json()["code"]) == (503, "bot_unreachable")
            assert int(refused.headers["retry-after"]) >= 1
            health = (await http.get(f"{served.url}/health")).json()
            assert health["status"] == "degraded"
            assert health["services"]["freqtrade"] == "unhealthy"


async def until_not_fresh(client: Client) -> dict[str, Any]:
    """Ask until the answer is no longer called fresh; a late bot's candles are for two seconds."""
    while True:
        told = await answer(client, "get_candles", CANDLES)
        if told["source"] != "cache":
            return told


@asynccontextmanager
async def rest(served: Serving) -> AsyncIterator[httpx2.AsyncClient]:
    """Open a client of the REST face with a trader's token."""
    headers = {"authorization": f"Bearer {token()}"}
    async with httpx2.AsyncClient(
        base_url=served.rest_url, headers=headers, trust_env=False
    ) as client:
        yield client


def test_a_second_gateway_is_refused_and_told_why(tmp_path: Path) -> None:
    """One store, one process; one port, one server: exit 1, a code, and what to do instead."""
    with serving(tmp_path) as first:
        same_store = run("serve", "--port", "0", folder=tmp_path, env=environment(tmp_path))
        assert (same_store.returncode, same_store.stdout) == (1, "")
        assert "store_held" in same_store.stderr
        [line] = set(re.findall(r"`mcp-gateway (call --url [^`]+)`", same_store.stderr))
        asking = environment(tmp_path, MCP_GATEWAY_TOKEN=token())
        pasted = run(*line.split(), "--json", folder=tmp_path, env=asking)
        assert pasted.returncode == 0
        assert "get_account" in pasted.stdout
        port = first.url.rpartition(":")[2]
        elsewhere = environment(tmp_path, MCP_GATEWAY_DATA_DIR=str(tmp_path / "elsewhere"))
        same_port = run("serve", "--port", port, folder=tmp_path, env=elsewhere)
        assert (same_port.returncode, same_port.stdout) == (1, "")
        assert "port_busy" in same_port.stderr
        assert "Traceback" not in same_store.stderr + same_port.stderr
        assert httpx2.get(f"{first.url}/health/live", trust_env=False).status_code == 200


def test_every_fault_of_the_configuration_is_told_at_once(tmp_path: Path) -> None:
    """Exit 2 before anything starts; each variable by its name, no secret in the text."""
    faulty = {
        "JWT_SECRET": "short-canary",
        "HMAC_SECRET": "short-canary-too",
        "MCP_GATEWAY_SUBJECT": "",
        "FREQTRADE_URL": "ftp://bot",
        "FREQTRADE_USERNAME": "user",
        "FREQTRADE_POOL_SIZE": "none",
        "POSTGRES_HOST": "db",
        "RATE_LIMIT_PER_MINUTE": "0",
        "LOG_LEVEL": "LOUD",
        "MCP_GATEWAY_HOST": "0.0.0.0",
        "MCP_GATEWAY_PORTT": "8000",
        "MCP_GATEWAY_MODE": "real",
        "MCP_GATEWAY_POLICY": "missing.toml",
    }
    told = run("serve", folder=tmp_path, env=environment(tmp_path, **faulty))
    assert (told.returncode, told.stdout) == (2, "")
    named = {line.strip().partition(":")[0] for line in told.stderr.splitlines()[1:]}
    expected = {*faulty, "MCP_GATEWAY_ALLOWED_HOSTS", "MCP_GATEWAY_ALLOWED_ORIGINS"}
    told_by_another = {
        "FREQTRADE_USERNAME": "FREQTRADE_PASSWORD",
        "POSTGRES_HOST": "POSTGRES_PASSWORD",
        "MCP_GATEWAY_HOST": "MCP_GATEWAY_ALLOWED_HOSTS",
    }
    assert named == {told_by_another.get(name, name) for name in expected}
    assert "canary" not in told.stderr
    assert not (tmp_path / "data").exists()
