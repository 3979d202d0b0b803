"""`mcp-gateway sandbox`: the real command, its children, and every way in which it ends."""

import json
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from mcp_gateway.clock import Clock
from mcp_gateway.domain.operations import TOOLS
from mcp_gateway.settings import child_environment, default_cache_dir
from tests.support.bot import install_bot
from tests.support.pipe import Pipe, piped
from tests.support.processes import Ends, Running, descendants, run, running

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

KEYS = {
    "mcp_url", "rest_url", "health_url", "metrics_url", "token", "key_id", "key",
    "freqtrade_url", "freqtrade_username", "freqtrade_password", "exchange_url",
}  # fmt: skip
PARTS = ("mcp_gateway.sandbox.exchange", "freqtrade trade", "mcp_gateway serve")
LOOK_S = 0.2


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    """What these tests run is installed before, and once for all sandboxes."""
    anyio.run(install_bot)


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A user's environment with a home of its own, who has installed Freqtrade already."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    return child_environment() | {
        "HOME": str(tmp_path),
        "TMPDIR": str(temporary),
        "XDG_DATA_HOME": str(tmp_path / "share"),
        "XDG_CACHE_HOME": str(default_cache_dir().parent),
    }


@contextmanager
def sandbox(
    folder: Path, env: dict[str, str], *words: str
) -> Iterator[tuple[Running, dict[str, Any]]]:
    """Run the sandbox and yield it with what its line says, once it is ready."""
    with running("sandbox", "--json", "--port", "0", *words, folder=folder, env=env) as command:
        assert command.process.stdout is not None
        line = command.process.stdout.readline()
        assert line, "\n".join(command.log)
        yield command, json.loads(line)


def parts_of(command: Running) -> dict[str, int]:
    """Return the running parts of a sandbox by name: exchange, bot and gateway."""
    found = {}
    for pid in descendants(command.process.pid):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
        for part in PARTS:
            # The watcher's guard has the same words after its own, and is none of the parts.
            if part in words and "sandbox.watcher" not in words:
                found[part] = pid
    return found


def test_one_line_tells_a_script_all_and_ctrl_c_ends_it_in_order(
    tmp_path: Path, env: dict[str, str]
) -> None:
    """While it runs `mcp-gateway call` finds it; afterwards nothing is left of it."""
    with sandbox(tmp_path, env) as (command, told):
        assert told.keys() == KEYS
        ends = Ends(descendants(command.process.pid))
        candles = run(
            "call", "get_candles", "pair=BTC/USDT", "timeframe=5m", "limit=3",
            folder=tmp_path, env=env,
        )  # fmt: skip
        assert (candles.returncode, json.loads(candles.stdout)["count"]) == (0, 3)
        placed = run(
            "call", "--json", "create_order", "pair=BTC/USDT", "side=buy", "amount=0.001",
            "order_type=market", folder=tmp_path, env=env,
        )  # fmt: skip
        assert (placed.returncode, json.loads(placed.stdout)["outcome"]) == (0, "placed")
        refused = run(
            "call", "get_candles", "pair=NO/USDT", "timeframe=5m", folder=tmp_path, env=env
        )
        assert (refused.returncode, json.loads(refused.stdout)["code"]) == (1, "pair_unknown")
        for name in ("health_url", "metrics_url"):
            assert httpx2.get(told[name], trust_env=False).status_code == 200
        login = (told["freqtrade_username"], told["freqtrade_password"])
        trades = httpx2.get(
            f"{told['freqtrade_url']}/api/v1/status", auth=login, trust_env=False
        ).json()
        assert [trade["pair"] for trade in trades] == ["BTC/USDT"]
        command.signal(signal.SIGINT)
        assert command.wait() == 0, command.log
        assert command.process.stdout is not None
        assert command.process.stdout.read() == ""
    assert ends.wait() == 0
    assert not (tmp_path / "share/mcp-gateway/sandbox.json").exists()
    assert list((tmp_path / "temporary").iterdir()) == []


def test_nothing_is_left_running_when_the_command_is_killed(
    tmp_path: Path, env: dict[str, str]
) -> None:
    """However the command goes, SIGKILL included, exchange, bot and gateway go with it.

    This one shows the gateway's log, on the command's standard error.
    """
    with sandbox(tmp_path, env, "--verbose") as (command, _):
        assert any("uvicorn" in line for line in command.log)
        assert parts_of(command).keys() == set(PARTS)
        ends = Ends(descendants(command.process.pid))
        command.signal(signal.SIGKILL)
        command.wait()
    assert ends.wait() == 0


def test_a_freqtrade_that_dies_ends_the_sandbox_with_a_message(
    tmp_path: Path, env: dict[str, str]
) -> None:
    """Exit 1, and what has happened in words, with the end of the bot's log."""
    with sandbox(tmp_path, env) as (command, _):
        ends = Ends(descendants(command.process.pid))
        os.kill(parts_of(command)["freqtrade trade"], signal.SIGKILL)
        assert command.wait() == 1
    told = "\n".join(command.log)
    assert f"Freqtrade ended by itself (exit code {-signal.SIGKILL})" in told
    assert "Traceback" not in told
    assert ends.wait() == 0


def test_a_busy_port_is_told_before_anything_starts(tmp_path: Path, env: dict[str, str]) -> None:
    """Exit 1, the port by its number, and nothing begun for nothing."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        told = run("sandbox", "--port", port, folder=tmp_path, env=env)
    assert (told.returncode, told.stdout) == (1, "")
    assert "port_busy" in told.stderr
    assert port in told.stderr
    assert "Starting" not in told.stderr
    assert list((tmp_path / "temporary").iterdir()) == []


def test_the_tour_walks_through_every_tool_and_exits_0(tmp_path: Path, env: dict[str, str]) -> None:
    """What a visitor runs first: each call and its answer, readable, and no failure."""
    with running("sandbox", "--tour", folder=tmp_path, env=env) as command:
        assert command.process.stdout is not None
        shown = command.process.stdout.read()
        assert command.wait() == 0, command.log
    assert all(f"▶ {tool} " in shown for tool in TOOLS)
    for title in ("freqtrade://pairs", "freqtrade://positions/open", "gateway://limits"):
        assert title in shown


async def test_stdio_answers_at_once_and_trades_when_the_bot_is_there(
    tmp_path: Path, env: dict[str, str]
) -> None:
    """A desktop app has its tools while the bot starts; until then they say so."""
    async with piped("sandbox", "--stdio", folder=tmp_path, env=env) as pipe:
        await pipe.shake_hands()
        assert [tool["name"] for tool in (await pipe.ask("tools/list"))["tools"]] == list(TOOLS)
        first = await candles(pipe)
        assert (first["code"], first["retryable"]) == ("bot_starting", True)
        assert first["retry_after_s"] > 0
        with anyio.fail_after(60):
            while (told := await candles(pipe)).get("code") == "bot_starting":
                await Clock().sleep(LOOK_S)  # the real bot takes real time
        # Its first candles come a moment after it answers.
        with anyio.fail_after(30):
            while told.get("code") in {"candles_not_ready", "bot_stopped"}:
                await Clock().sleep(LOOK_S)
                told = await candles(pipe)
        assert told["count"] == 3
        ends = Ends(descendants(pipe.process.pid))
        await pipe.hang_up()
        assert await pipe.wait() == 0
    assert ends.wait() == 0
    assert list((tmp_path / "temporary").iterdir()) == []


async def test_stdio_installs_nothing(tmp_path: Path, env: dict[str, str]) -> None:
    """A desktop app shows no progress: where Freqtrade is missing, the tools say what to run."""
    cache = tmp_path / "cache"
    env |= {"XDG_CACHE_HOME": str(cache)}
    async with piped("sandbox", "--stdio", folder=tmp_path, env=env) as pipe:
        await pipe.shake_hands()
        told = await candles(pipe)
        while told["code"] == "bot_starting":
            told = await candles(pipe)
        assert told["code"] == "not_installed"
        assert "mcp-gateway sandbox" in told["hint"]
        await pipe.hang_up()
        assert await pipe.wait() == 0
    assert not cache.exists() or list(cache.rglob("*")) == []


async def candles(pipe: Pipe) -> dict[str, Any]:
    """Ask for three candles."""
    return await pipe.call("get_candles", pair="BTC/USDT", timeframe="5m", limit=3)
