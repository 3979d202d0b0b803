"""`mcp-gateway stdio`, down to the last byte of its pipe."""

import signal
import uuid
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from mcp_gateway.clock import Clock
from mcp_gateway.domain.operations import TOOLS
from mcp_gateway.domain.orders import State
from tests.support.gateway import JWT_SECRET, TRADER_SCOPES
from tests.support.pipe import PATIENCE_S, Pipe, piped
from tests.support.processes import Ends, descendants, environment, run, serving
from tests.support.records import order_shown
from tests.support.standin import StandIn, stand_in
from tests.support.tokens import forge

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

LOOK_S = 0.05
SCOPES = " ".join(TRADER_SCOPES)
ORDER = {"pair": "BTC/USDT", "side": "buy", "amount": "1", "order_type": "market"}


def trader(folder: Path, **settings: str) -> dict[str, str]:
    """Return the environment of a stdio server whose local caller may trade."""
    return environment(folder, MCP_GATEWAY_SCOPES=SCOPES, **settings)


def is_json_rpc(line: bytes) -> bool:
    """Tell whether a line is one JSON-RPC 2.0 message."""
    told = orjson.loads(line)
    kinds = {"method", "result", "error"} & told.keys()
    return told["jsonrpc"] == "2.0" and len(kinds) == 1


async def test_stdout_carries_json_rpc_and_nothing_else(tmp_path: Path) -> None:
    """MCP, transports, stdio: nothing else on stdout, whatever is logged and whatever fails."""
    env = trader(tmp_path, LOG_LEVEL="DEBUG")
    async with piped("stdio", folder=tmp_path, env=env) as pipe:
        assert (await pipe.shake_hands())["serverInfo"]["name"] == "mcp-gateway"
        listed = await pipe.ask("tools/list")
        assert tuple(tool["name"] for tool in listed["tools"]) == TOOLS
        codes = [await code(pipe, tool, arguments) for tool, arguments, _ in FAILURES]
        assert codes == [expected for _, _, expected in FAILURES]
        assert (await pipe.ask("resources/read", {"uri": "freqtrade://pairs"}))["data"]["code"] == (
            "bot_unreachable"
        )
        assert (await pipe.ask("no/such/method"))["code"] == -32601
        await pipe.write(b"this is no JSON")
        assert await pipe.ask("ping") == {}
        await pipe.hang_up()
        assert await pipe.wait() == 0
    assert all(is_json_rpc(line) for line in pipe.lines)
    logged = [orjson.loads(line) for line in pipe.stderr.splitlines()]
    assert "DEBUG" in {line["level"] for line in logged}


FAILURES: list[tuple[str, dict[str, Any], str]] = [
    ("get_candles", {"pair": "BTC/USDT", "timeframe": "5m"}, "bot_unreachable"),
    ("get_candles", {"pair": "BTC/USDT", "timeframe": "5m", "limit": 0}, "request_invalid"),
    ("get_candles", {"pair": "BTC/USDT", "timeframe": "5m", "x": 1}, "request_invalid"),
    ("get_open_positions", {}, "bot_unreachable"),
    ("get_account", {}, "bot_unreachable"),
    ("get_order", {"request_id": str(uuid.uuid4())}, "order_unknown"),
    ("create_order", ORDER | {"request_id": str(uuid.uuid4())}, "bot_unavailable"),
    ("create_order", ORDER | {"request_id": "1"}, "request_invalid"),
    ("no_such_tool", {}, "tool_unknown"),
]


async def code(pipe: Pipe, tool: str, arguments: dict[str, Any]) -> str:
    """Return the code with which a call is refused."""
    return str((await pipe.call(tool, **arguments))["code"])


async def sent_order(pipe: Pipe, bot: StandIn) -> str:
    """Send an order that hangs at the bot; return its request_id."""
    bot.bot.faults.append("hang")
    request_id = str(uuid.uuid4())
    arguments = ORDER | {"request_id": request_id}
    await pipe.send("tools/call", {"name": "create_order", "arguments": arguments})
    await bot.asked("forceenter")
    return request_id


async def test_sigterm_lets_an_order_on_its_way_arrive(tmp_path: Path) -> None:
    """Orders, draining: stop admitting, wait for the answer, record it; then exit 0."""
    async with stand_in() as bot:
        env = trader(tmp_path, FREQTRADE_URL=bot.url)
        async with piped("stdio", folder=tmp_path, env=env) as pipe:
            await pipe.shake_hands()
            request_id = await sent_order(pipe, bot)
            ends = Ends([pipe.process.pid, *descendants(pipe.process.pid)])
            pipe.process.send_signal(signal.SIGTERM)
            while (await pipe.call("get_order", request_id=request_id)).get("code") != "draining":
                pass  # the signal has not been seen yet
            bot.bot.release.set()
            assert await pipe.wait() == 0
        assert ends.wait() == 0
        assert len(bot.bot.posts) == 1
    shown = await order_shown(tmp_path / "data", request_id)
    assert [step["state"] for step in shown["history"]] == [
        "received",
        "reserved",
        "sent",
        "placed",
        "filled",
    ]
    assert shown["tag"] == bot.bot.posts[0]["entry_tag"]


async def test_the_end_of_stdin_ends_the_server_and_keeps_the_order(tmp_path: Path) -> None:
    """A desktop app that closes takes its server with it, and no order is lost by that."""
    async with stand_in() as bot:
        env = trader(tmp_path, FREQTRADE_URL=bot.url)
        async with piped("stdio", folder=tmp_path, env=env) as pipe:
            await pipe.shake_hands()
            request_id = await sent_order(pipe, bot)
            await pipe.hang_up()
            bot.bot.release.set()
            assert await pipe.wait() == 0
    shown = await order_shown(tmp_path / "data", request_id)
    assert shown["state"] == State.FILLED


async def test_a_signal_after_the_end_of_stdin_cuts_no_order_off(tmp_path: Path) -> None:
    """MCP, lifecycle, shutdown: a client closes stdin, waits a little, then sends SIGTERM."""
    async with stand_in() as bot:
        env = trader(tmp_path, FREQTRADE_URL=bot.url)
        async with piped("stdio", folder=tmp_path, env=env) as pipe:
            await pipe.shake_hands()
            request_id = await sent_order(pipe, bot)
            control = tmp_path / "data/control.sock"
            assert control.exists()
            await pipe.hang_up()
            with anyio.fail_after(PATIENCE_S):
                while control.exists():  # the server ends it as soon as it sees the end
                    await Clock().sleep(LOOK_S)
            pipe.process.send_signal(signal.SIGTERM)
            bot.bot.release.set()
            assert await pipe.wait() == 0
        assert len(bot.bot.posts) == 1
    shown = await order_shown(tmp_path / "data", request_id)
    assert shown["state"] == State.FILLED


async def test_the_operator_s_commands_reach_a_running_server(tmp_path: Path) -> None:
    """It holds the store, so `orders`, `audit` and `token` ask it, as they ask `serve`."""
    async with stand_in() as bot:
        env = trader(tmp_path, FREQTRADE_URL=bot.url)
        async with piped("stdio", folder=tmp_path, env=env) as pipe:
            await pipe.shake_hands()
            request_id = str(uuid.uuid4())
            placed = await pipe.call("create_order", **ORDER, request_id=request_id)
            assert placed["outcome"] == "placed"
            [listed] = await told(tmp_path, env, "orders", "list", "--json")
            assert (listed["request_id"], listed["state"]) == (request_id, State.FILLED)
            issued = await anyio.to_thread.run_sync(
                lambda: run("token", "--subject", "signal-agent", folder=tmp_path, env=env)
            )
            assert (issued.returncode, issued.stdout.count(".")) == (0, 2), issued.stderr
            last = await told(tmp_path, env, "audit", "tail", "--limit", "1", "--json")
            assert (last["event"], last["subject"]) == ("token.issued", "signal-agent")
            assert len((await pipe.ask("tools/list"))["tools"]) == len(TOOLS)
            await pipe.hang_up()
            assert await pipe.wait() == 0
    assert all(is_json_rpc(line) for line in pipe.lines)
    assert not (tmp_path / "data/control.sock").exists()
    [again] = await told(tmp_path, env, "orders", "list", "--json")
    assert again == listed


async def told(folder: Path, env: dict[str, str], *command: str) -> Any:
    """Return what a command prints, as the JSON that it must be."""
    ran = await anyio.to_thread.run_sync(lambda: run(*command, folder=folder, env=env))
    assert ran.returncode == 0, ran.stderr
    return orjson.loads(ran.stdout)


async def test_an_expired_token_is_told_at_the_start(tmp_path: Path) -> None:
    """Whoever starts the server reads it at once, and not at every call; stdout stays empty."""
    now = int(Clock().now().timestamp())
    expired = forge(secret=JWT_SECRET.encode(), iat=now - 7200, exp=now - 3600)
    env = environment(tmp_path, MCP_GATEWAY_TOKEN=expired)
    ran = await anyio.to_thread.run_sync(lambda: run("stdio", folder=tmp_path, env=env))
    assert (ran.returncode, ran.stdout) == (1, "")
    assert "token_expired" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert expired not in ran.stderr


async def test_a_wrong_policy_is_told_before_anything_starts(tmp_path: Path) -> None:
    """Every fault with its line beside those of the settings; no store is made."""
    policy = tmp_path / "policy.toml"
    policy.write_text('[markets."BTC/USDT"]\nlot_step = 0\nminimum = 5\n')
    env = environment(tmp_path, MCP_GATEWAY_POLICY=str(policy), REDIS_PORT="none")
    ran = await anyio.to_thread.run_sync(lambda: run("stdio", folder=tmp_path, env=env))
    assert (ran.returncode, ran.stdout) == (2, "")
    told = [line.split(": ")[:2] for line in ran.stderr.splitlines()[1:]]
    assert [name.strip() for name, _ in told] == ["REDIS_PORT", *["MCP_GATEWAY_POLICY"] * 2]
    assert [place for _, place in told[1:]] == ["line 2", "line 3"]
    assert not (tmp_path / "data").exists()


async def test_reads_go_on_where_another_gateway_holds_the_store(tmp_path: Path) -> None:
    """Only orders need the store; they say who holds it and how to reach that one."""
    async with stand_in() as bot:
        with serving(tmp_path, FREQTRADE_URL=bot.url) as first:
            env = trader(tmp_path, FREQTRADE_URL=bot.url)
            async with piped("stdio", folder=tmp_path, env=env) as pipe:
                await pipe.shake_hands()
                refused = await pipe.call("create_order", **ORDER, request_id=str(uuid.uuid4()))
                assert refused["code"] == "store_held"
                assert f"mcp-gateway call --url {first.url}/mcp" in refused["hint"]
                assert refused["holder"] == str(first.process.pid)
                told = await pipe.call("get_candles", pair="BTC/USDT", timeframe="1d", limit=3)
                assert told["count"] == 3
        assert bot.bot.posts == []


async def test_who_comes_to_a_desktop_app_s_store_is_told_that_it_serves_stdio_only(
    tmp_path: Path,
) -> None:
    """There is no address to give; the line says what else to do."""
    async with stand_in() as bot:
        env = trader(tmp_path, FREQTRADE_URL=bot.url)
        async with piped("stdio", folder=tmp_path, env=env) as pipe:
            await pipe.shake_hands()
            told = await pipe.call("get_order", request_id=str(uuid.uuid4()))
            assert told["code"] == "order_unknown"  # so the store is open
            second = await anyio.to_thread.run_sync(
                lambda: run("serve", "--port", "0", folder=tmp_path, env=env)
            )
    assert (second.returncode, second.stdout) == (1, "")
    assert "store_held" in second.stderr
    assert "over stdio only" in second.stderr
    assert "mcp-gateway call" not in second.stderr
