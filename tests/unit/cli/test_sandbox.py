"""`mcp-gateway sandbox`: the page that a person pastes from, and what its gateway is told."""

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest

from mcp_gateway.cli.sandbox import _page
from mcp_gateway.cli.sandbox_stdio import _settings
from mcp_gateway.risk.document import load_policy
from mcp_gateway.sandbox.bot import SandboxOptions
from mcp_gateway.sandbox.market import PAIRS

pytestmark = pytest.mark.unit
TOLD = dict.fromkeys(
    ["mcp_url", "rest_url", "health_url", "metrics_url", "token", "key_id", "key",
     "freqtrade_url", "freqtrade_username", "freqtrade_password", "exchange_url"], "x",
)  # fmt: skip


def desktop_server() -> dict[str, Any]:
    """Return what the page tells a desktop app to start."""
    [line] = [line for line in _page(TOLD).splitlines() if "mcpServers" in line]
    server: dict[str, Any] = json.loads(line)["mcpServers"]["freqtrade"]
    return server


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed script, in a folder whose name needs quotes."""
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "my venv" / "mcp-gateway"
    script.parent.mkdir()
    script.touch(mode=0o700)
    return script


def test_a_desktop_app_is_told_a_program_that_it_finds_from_any_folder(
    script: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`make sandbox` starts it by a relative path; a desktop app starts in a folder of its own."""
    monkeypatch.setattr(sys, "argv", ["my venv/mcp-gateway", "sandbox"])
    assert desktop_server() == {"command": str(script), "args": ["sandbox", "--stdio"]}
    [line] = [line for line in _page(TOLD).splitlines() if " call get_candles" in line]
    assert shlex.split(line)[0] == str(script)


@pytest.mark.parametrize("started", ["-c", "pytest", "nowhere/mcp-gateway"])
@pytest.mark.usefixtures("script")
def test_without_a_script_it_is_python_that_starts_the_package(
    started: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`python -m mcp_gateway` has no script of that name."""
    monkeypatch.setattr(sys, "argv", [started, "sandbox"])
    told = desktop_server()
    assert told["args"] == ["-m", "mcp_gateway", "sandbox", "--stdio"]
    assert Path(told["command"]).is_absolute()
    assert Path(told["command"]).is_file()


def test_a_desktop_apps_sandbox_knows_its_markets_before_its_bot_is_there(tmp_path: Path) -> None:
    """A first order needs lot step and minimum, and the bot tells neither."""
    settings = _settings(SandboxOptions(freqtrade_port=8080), tmp_path)
    assert set(load_policy(settings.policy).markets) == set(PAIRS)
