"""The MCP Inspector's command line as a client: a foreign implementation of the protocol."""

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mcp_gateway.domain.operations import TOOLS
from mcp_gateway.sandbox.bot import Sandbox
from mcp_gateway.settings import child_environment
from tests.support.books import bot_tags
from tests.support.gateway import HMAC_SECRET, TRADER
from tests.support.inspector.installed import inspector, with_node
from tests.support.processes import Serving, before, environment, serving, token

pytestmark = [pytest.mark.integration, pytest.mark.timeout(400)]  # it may have to be installed

ANSWER_S = 60
REFUSED = 5  # the Inspector's exit code for a result with isError
LIST = ("--method", "tools/list", "--format", "json")
CALL = ("--method", "tools/call", "--format", "json", "--tool-name")
CANDLES = ("get_candles", "--tool-arg", "pair=BTC/USDT", "timeframe=5m", "limit=3")
WIRES = ("stdio", "http", "http modern", "bridge")


@pytest.fixture(scope="module")
def launcher() -> Path:
    """The Inspector."""
    return inspector()


@pytest.fixture(scope="module")
def targets(
    real_bot: Sandbox, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, tuple[str, ...]]]:
    """How the Inspector is told to reach the gateway, by wire."""
    folder = tmp_path_factory.mktemp("inspected")
    settings = environment(folder / "stdio", **before(real_bot))
    command = [sys.executable, "-m", "mcp_gateway", "stdio"]
    given = [word for pair in settings.items() for word in ("-e", "=".join(pair))]
    with serving(folder, **before(real_bot)) as served:
        http = (served.mcp_url, "--header", f"Authorization: Bearer {token()}")
        yield {
            "stdio": (*command, *given),
            "http": http,
            "http modern": (*http, "--protocol-era", "modern"),
            "bridge": ("--config", str(bridged(folder, served)), "--server", "bridge"),
        }


def bridged(folder: Path, served: Serving) -> Path:
    """Return the Inspector's configuration of a bridge to a gateway, with token and key."""
    env = {"MCP_GATEWAY_TOKEN": token(), "HMAC_SECRET": HMAC_SECRET, "MCP_GATEWAY_SUBJECT": TRADER}
    server = {
        "type": "stdio", "command": sys.executable, "env": child_environment() | env,
        "args": ["-m", "mcp_gateway", "bridge", "--url", served.url],
    }  # fmt: skip
    path = folder / "inspector.json"
    path.write_text(json.dumps({"mcpServers": {"bridge": server}}))
    return path


def inspect(
    launcher: Path, folder: Path, target: tuple[str, ...], *words: str
) -> subprocess.CompletedProcess[str]:
    """Run the Inspector once."""
    command = [str(launcher), "--cli", *target, *words]
    env = with_node(environment(folder)) | {"HOME": str(folder)}
    return subprocess.run(
        command, cwd=folder, env=env, capture_output=True, text=True, timeout=ANSWER_S, check=False
    )


def answered(told: subprocess.CompletedProcess[str]) -> Any:
    """Return the answer of a run that succeeded."""
    assert told.returncode == 0, told.stderr + told.stdout
    return json.loads(told.stdout)["result"]


@pytest.mark.parametrize("wire", WIRES)
def test_the_inspector_lists_the_tools_without_a_complaint(
    launcher: Path, targets: dict[str, tuple[str, ...]], wire: str, tmp_path: Path
) -> None:
    """Its strict mode exits 6 where a schema is not portable between clients."""
    listed = answered(inspect(launcher, tmp_path, targets[wire], *LIST, "--strict"))
    names = {tool["name"] for tool in listed["tools"]}
    trading = {"create_order", "cancel_order"}
    unseen = trading if wire == "stdio" else set()  # the local caller may not trade
    assert names == set(TOOLS) - unseen


@pytest.mark.parametrize("wire", WIRES)
def test_the_inspector_reads_candles_and_positions(
    launcher: Path, targets: dict[str, tuple[str, ...]], wire: str, tmp_path: Path
) -> None:
    """The two calls that everybody tries first."""
    candles = answered(inspect(launcher, tmp_path, targets[wire], *CALL, *CANDLES))
    assert candles["structuredContent"]["count"] == 3
    assert json.loads(candles["content"][0]["text"]) == candles["structuredContent"]
    held = answered(inspect(launcher, tmp_path, targets[wire], *CALL, "get_open_positions"))
    told = held["structuredContent"]
    assert told["total_count"] == len(told["positions"])


def test_the_inspector_is_told_why_an_order_is_refused(
    launcher: Path, targets: dict[str, tuple[str, ...]], tmp_path: Path
) -> None:
    """It cannot sign; the refusal reaches the person before it, and not as a broken protocol."""
    order = (
        "create_order", "--tool-arg", "request_id=550e8400-e29b-41d4-a716-446655440000",
        "pair=BTC/USDT", "side=buy", "amount=0.001", "order_type=market",
    )  # fmt: skip
    told = inspect(launcher, tmp_path, targets["http"], *CALL, *order)
    assert told.returncode == REFUSED
    assert "signature_missing" in told.stdout


def test_the_inspector_trades_through_the_bridge(
    launcher: Path, targets: dict[str, tuple[str, ...]], tmp_path: Path, clean_bot: Sandbox
) -> None:
    """What can't sign itself has the bridge sign for it; a second time is no second trade."""
    order = (
        "create_order", "--tool-arg", f"request_id={uuid.uuid4()}",
        "pair=BTC/USDT", "side=buy", "amount=0.001", "order_type=market",
    )  # fmt: skip
    first, again = (
        answered(inspect(launcher, tmp_path, targets["bridge"], *CALL, *order)) for _ in range(2)
    )
    assert first["structuredContent"]["outcome"] == "placed"
    assert again["structuredContent"] == first["structuredContent"]
    assert len(bot_tags(clean_bot.database)) == 1
