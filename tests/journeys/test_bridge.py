"""A desktop app before a gateway elsewhere: the SDK's client, the bridge as a process, real wires."""

import signal
import sys
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from typing import Annotated, Any

import anyio
import orjson
import pytest
from mcp import Client, MCPError
from mcp.client import ClientRequestContext
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.server import MCPServer
from mcp.server.mcpserver import Context, Elicit, Resolve
from mcp.types import ElicitRequestParams, ElicitResult
from pydantic import BaseModel

from mcp_gateway.access.clients import hash_password
from mcp_gateway.clock import Clock
from mcp_gateway.settings import child_environment
from tests.house.repository import ROOT
from tests.support.gateway import HMAC_SECRET, JWT_SECRET, TRADER, TRADER_SCOPES
from tests.support.mcpserver import ERAS, Era
from tests.support.pipe import Pipe, piped
from tests.support.policy import POLICY_FILE
from tests.support.processes import environment, run, serving, token
from tests.support.standin import TIMEFRAME, stand_in
from tests.support.tokens import forge
from tests.support.wire import served

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

PASSWORD = "canary-password: one & two"
CANDLES = {"pair": "BTC/USDT", "timeframe": TIMEFRAME, "limit": 2}
ANOTHER_SECRET = "another-jwt-canary-" + "c" * 32


def an_order() -> dict[str, Any]:
    """Return a new order's arguments."""
    return {
        "request_id": str(uuid.uuid4()), "pair": "BTC/USDT", "side": "buy", "amount": "1",
        "order_type": "market",
    }  # fmt: skip


def with_token(shown: str) -> dict[str, str]:
    """Return the environment of a bridge that has one token and one key."""
    key = {"HMAC_SECRET": HMAC_SECRET, "MCP_GATEWAY_SUBJECT": TRADER}
    return child_environment() | {"MCP_GATEWAY_TOKEN": shown} | key


def with_client(folder: Path) -> dict[str, str]:
    """Return the environment of a bridge that fetches its tokens; its secrets lie in files."""
    secret, key = folder / "client.secret", folder / "signing.key"
    for path, text in ((secret, PASSWORD), (key, HMAC_SECRET)):
        path.write_text(f"{text}\n")
        path.chmod(0o600)
    return child_environment() | {
        "MCP_GATEWAY_CLIENT_ID": TRADER,
        "MCP_GATEWAY_CLIENT_SECRET_FILE": str(secret),
        "MCP_GATEWAY_SIGNING_KEY_FILE": str(key),
        "MCP_GATEWAY_KEY_ID": TRADER,
    }


def clients_file(folder: Path) -> Path:
    """Return a clients file with the trader in it."""
    path = folder / "clients.toml"
    scopes = orjson.dumps(TRADER_SCOPES).decode()
    hashed = hash_password(PASSWORD)
    path.write_text(f'[clients.{TRADER}]\npassword = "{hashed}"\nscopes = {scopes}\n')
    path.chmod(0o600)
    return path


@asynccontextmanager
async def app(
    folder: Path, url: str, env: dict[str, str], mode: Era = "auto", **callbacks: Any
) -> AsyncIterator[Client]:
    """Open what a desktop app has: the SDK's client with the bridge as its server."""
    command = ["-m", "mcp_gateway", "bridge", "--url", url]
    server = StdioServerParameters(command=sys.executable, args=command, env=env, cwd=folder)
    with (folder / "bridge.log").open("a") as log:
        async with Client(stdio_client(server, errlog=log), mode=mode, **callbacks) as client:
            yield client


async def told(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool and return its structured content."""
    content: dict[str, Any] = (await client.call_tool(tool, arguments)).structured_content
    return content


async def told_at_last(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool, again where the gateway needs longer to start than the bridge waits."""
    while True:
        try:
            return await told(client, tool, **arguments)
        except MCPError as error:
            if error.data["code"] != "gateway_unreachable":
                raise


@pytest.mark.parametrize("mode", ERAS)
async def test_an_app_trades_through_the_bridge_while_the_gateway_restarts(
    tmp_path: Path, mode: Era
) -> None:
    """Lists, reads, an order; a restart, behind which the old token is good no more; one trade."""
    async with stand_in() as bot:
        settings = {
            "FREQTRADE_URL": bot.url,
            "MCP_GATEWAY_CLIENTS_FILE": str(clients_file(tmp_path)),
        }
        with serving(tmp_path, **settings) as gateway:
            port = int(gateway.url.rpartition(":")[2])
            async with app(tmp_path, gateway.mcp_url, with_client(tmp_path), mode) as client:
                assert client.server_info is not None
                assert client.server_info.name == "mcp-gateway"
                assert len((await client.list_tools()).tools) == 7
                assert (await told(client, "get_candles", **CANDLES))["count"] == 2
                order = an_order()
                placed = await told(client, "create_order", **order)
                assert placed["outcome"] == "placed"
                gateway.signal(signal.SIGTERM)
                assert await anyio.to_thread.run_sync(gateway.wait) == 0
                async with anyio.create_task_group() as group:
                    answers: list[dict[str, Any]] = []

                    async def repeat() -> None:
                        answers.append(await told_at_last(client, "create_order", **order))

                    group.start_soon(repeat)
                    await anyio.wait_all_tasks_blocked()  # it is said, and nobody is there
                    with serving(tmp_path, port, **settings, JWT_SECRET=ANOTHER_SECRET):
                        while not answers:
                            await Clock().sleep(0.05)
                        assert answers == [placed]
                        read = await client.read_resource("freqtrade://positions/open")
                        assert "BTC/USDT" in str(read.contents[0])
        assert len(bot.bot.posts) == 1
    log = (tmp_path / "bridge.log").read_text()
    assert PASSWORD not in log
    assert HMAC_SECRET not in log


async def test_an_order_whose_answer_was_lost_is_asked_for_and_not_traded_again(
    tmp_path: Path,
) -> None:
    """The gateway is killed with the order at the bot; the bridge repeats it to the next one."""
    async with stand_in() as bot:
        settings = {"FREQTRADE_URL": bot.url}
        with serving(tmp_path, **settings) as gateway:
            port = int(gateway.url.rpartition(":")[2])
            async with app(tmp_path, gateway.url, with_token(token())) as client:
                await told(client, "get_candles", **CANDLES)
                order, answers = an_order(), list[dict[str, Any]]()

                async def place() -> None:
                    try:
                        answers.append(await told(client, "create_order", **order))
                    except MCPError as error:  # the next gateway took too long to start
                        answers.append(error.data)

                async with anyio.create_task_group() as group:
                    bot.bot.faults.append("hang")
                    group.start_soon(place)
                    await bot.asked("forceenter")
                    gateway.signal(signal.SIGKILL)
                    await anyio.to_thread.run_sync(gateway.wait)
                    bot.bot.release.set()
                    with serving(tmp_path, port, **settings):
                        while not answers:
                            await Clock().sleep(0.05)
                [answer] = answers
                assert answer["request_id"] == order["request_id"]
                assert {answer.get("outcome"), answer.get("code")} & {
                    "placed",
                    "unknown",
                    "outcome_unknown",
                }
        assert len(bot.bot.posts) == 1


async def test_an_expired_token_is_told_and_its_file_read_anew(tmp_path: Path) -> None:
    """The gateway's own refusal first; a new token in the file, and the next call works."""
    now = int(Clock().now().timestamp())
    path = tmp_path / "token"
    path.write_text(forge(secret=JWT_SECRET.encode(), iat=now - 7200, exp=now - 3600))
    path.chmod(0o600)
    env = child_environment() | {"MCP_GATEWAY_TOKEN_FILE": str(path)}
    async with stand_in() as bot:
        with serving(tmp_path, FREQTRADE_URL=bot.url) as gateway:
            async with piped("bridge", "--url", gateway.url, folder=tmp_path, env=env) as pipe:
                refused = await pipe.ask("tools/list")
                assert refused["data"]["code"] == "token_expired"
                path.write_text(token())
                assert len((await pipe.ask("tools/list"))["tools"]) == 7
                unsigned = await pipe.call("create_order", **an_order())
                assert unsigned["code"] == "signature_missing"
                await pipe.hang_up()
                assert await pipe.wait() == 0


async def test_a_key_that_the_gateway_made_signs_through_the_bridge(tmp_path: Path) -> None:
    """`keys new` writes the private half into a file; the bridge reads it there."""
    key, made = tmp_path / "agent.pem", ("keys", "new", "--subject", TRADER, "--alg", "ed25519")
    settings = environment(tmp_path)
    ran = run(*made, "--out", str(key), "--json", folder=tmp_path, env=settings)
    assert ran.returncode == 0, ran.stderr
    env = child_environment() | {
        "MCP_GATEWAY_TOKEN": token(),
        "MCP_GATEWAY_SIGNING_KEY_FILE": str(key),
        "MCP_GATEWAY_KEY_ID": orjson.loads(ran.stdout)["key_id"],
    }
    async with stand_in() as bot:
        with serving(tmp_path, FREQTRADE_URL=bot.url) as gateway:
            async with app(tmp_path, gateway.url, env) as client:
                assert (await told(client, "create_order", **an_order()))["outcome"] == "placed"
        assert len(bot.bot.posts) == 1


def test_an_app_that_is_gone_ends_the_bridge(tmp_path: Path) -> None:
    """Nobody hears the answer: it leaves without a word about its own failure."""
    command = [sys.executable, "-m", "mcp_gateway", "bridge", "--url", "http://127.0.0.1:9"]
    with Popen(
        command, cwd=tmp_path, env=with_token("any"), stdin=PIPE, stdout=PIPE, stderr=PIPE
    ) as bridge:
        assert bridge.stdin is not None
        assert bridge.stdout is not None
        assert bridge.stderr is not None
        bridge.stdout.close()
        bridge.stdin.write(b"to this there is an answer\n")
        bridge.stdin.flush()
        assert bridge.wait(60) == 0  # with its input still open
        assert b"Traceback" not in bridge.stderr.read()


async def test_neither_the_wire_nor_the_log_nor_the_command_line_shows_a_secret(
    tmp_path: Path,
) -> None:
    """Standard output carries JSON-RPC alone; what fails is told without what was shown."""
    shown = token()
    async with stand_in() as bot:
        with serving(tmp_path, FREQTRADE_URL=bot.url) as gateway:
            env = with_token(shown)
            async with piped("bridge", "--url", gateway.url, folder=tmp_path, env=env) as pipe:
                command = await anyio.Path(f"/proc/{pipe.process.pid}/cmdline").read_text()
                await talk(pipe)
                gateway.signal(signal.SIGTERM)
                await anyio.to_thread.run_sync(gateway.wait)
                away = await pipe.ask("tools/list")
                assert away["data"]["code"] == "gateway_unreachable"
                await pipe.hang_up()
                assert await pipe.wait() == 0
    for line in pipe.lines:
        assert orjson.loads(line)["jsonrpc"] == "2.0"
    seen = command + pipe.stderr + b"".join(pipe.lines).decode()
    for secret in (shown, shown.split(".")[2], HMAC_SECRET, JWT_SECRET):
        assert secret not in seen


async def talk(pipe: Pipe) -> None:
    """Say what succeeds and what fails in every way."""
    await pipe.shake_hands()
    assert (await pipe.call("get_candles", **CANDLES))["count"] == 2
    assert (await pipe.call("create_order", **an_order()))["outcome"] == "placed"
    assert (await pipe.call("no_such_tool"))["code"] == "tool_unknown"
    assert "code" in await pipe.ask("no/such/method")
    await pipe.write(b"this is no JSON")
    await pipe.write(b'[{"jsonrpc":"2.0","id":1,"method":"ping"}]')
    await pipe.write(b'{"jsonrpc":"2.0","id":2,"id":3,"method":"ping"}')


@pytest.mark.parametrize("name", ["freqtrade", "freqtrade-remote"])
async def test_the_desktop_app_s_example_starts_a_server_that_answers(
    tmp_path: Path, name: str
) -> None:
    """Its very settings, with the true paths and addresses put in, as a person would."""
    path = ROOT / "claude_desktop_config.example.json"
    told = orjson.loads(path.read_bytes())["mcpServers"][name]
    async with stand_in() as bot:
        clients = str(clients_file(tmp_path))
        with serving(tmp_path, FREQTRADE_URL=bot.url, MCP_GATEWAY_CLIENTS_FILE=clients) as gateway:
            true = with_client(tmp_path) | {
                "FREQTRADE_URL": bot.url,
                "MCP_GATEWAY_POLICY": str(POLICY_FILE),
            }
            env = child_environment() | told["env"]
            env |= {key: value for key, value in true.items() if key in told["env"]}
            env["MCP_GATEWAY_DATA_DIR"] = str(tmp_path / "desktop")
            arguments = [gateway.url if "example" in word else word for word in told["args"]]
            server = StdioServerParameters(
                command=sys.executable,
                args=["-m", "mcp_gateway", *arguments],
                env=env,
                cwd=tmp_path,
            )
            with (tmp_path / "desktop.log").open("w") as log:
                async with Client(stdio_client(server, errlog=log)) as client:
                    names = [tool.name for tool in (await client.list_tools()).tools]
                    candles = await client.call_tool("get_candles", CANDLES)
    assert candles.structured_content["count"] == 2
    assert ("create_order" in names) == (name == "freqtrade-remote")


class Choice(BaseModel):
    """What a person is asked."""

    go: bool


async def asks_first() -> Elicit[Choice]:
    """Ask the person."""
    return Elicit("Go?", Choice)


def talkative() -> MCPServer[Any]:
    """Return a server that tells progress and asks back, as a gateway with sessions might."""
    server: MCPServer[Any] = MCPServer("talkative", version="1")

    @server.tool()
    async def walk(context: Context[Any, Any]) -> str:
        """Take three steps."""
        for step in range(3):
            await context.report_progress(step + 1, 3, "a step")
        return "there"

    @server.tool()
    async def ask(choice: Annotated[Choice, Resolve(asks_first)]) -> str:
        """Ask before going."""
        return str(choice.go)

    return server


@pytest.mark.parametrize("mode", ERAS)
async def test_progress_and_questions_come_through(tmp_path: Path, mode: Era) -> None:
    """What the server says comes in, and what the person answers goes out, in both eras."""
    shown: list[str] = []
    steps: list[float] = []

    async def person(_context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        shown.append(params.message)
        return ElicitResult(action="accept", content={"go": True})

    async def step(progress: float, total: float | None, message: str | None) -> None:
        steps.append(progress)

    server = talkative()
    face = server.streamable_http_app()
    env = child_environment() | {"MCP_GATEWAY_TOKEN": "any"}
    async with server.session_manager.run(), served(face) as wire:
        url = f"http://127.0.0.1:{wire.port}"
        async with app(tmp_path, url, env, mode, elicitation_callback=person) as client:
            walked = await client.call_tool("walk", {}, progress_callback=step)
            asked = await client.call_tool("ask", {})
    assert "there" in str(walked.content)
    assert steps == [1, 2, 3]
    assert "True" in str(asked.content)
    assert shown == ["Go?"]
