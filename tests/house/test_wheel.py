"""The wheel is whole: what runs in a checkout runs where only the wheel is installed."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.house.repository import PACKAGE, ROOT

pytestmark = pytest.mark.integration

UV = Path(sys.executable).parent / "uv"


def run(*command: object, cwd: Path, env: dict[str, str] | None = None) -> Any:
    """Run a command to its end and return what it said; a failure shows all of it."""
    told = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=env, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert told.returncode == 0, told.stdout + told.stderr
    return told


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel without a network and install it into a folder of its own."""
    made = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", made, cwd=ROOT)
    (wheel,) = made.glob("*.whl")
    site = tmp_path_factory.mktemp("site")
    offline = ("--offline", "--no-deps", "--quiet", "--python", sys.executable)
    run(UV, "pip", "install", *offline, "--target", site, wheel, cwd=made)
    return site


def told_by(installed: Path, folder: Path, *arguments: str, **settings: str) -> str:
    """Run Python with the installed wheel before everything else, far from the checkout."""
    env = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    env |= {"PYTHONPATH": str(installed)} | settings
    said: str = run(sys.executable, *arguments, cwd=folder, env=env).stdout
    return said


def test_the_installed_package_is_the_one_that_runs(installed: Path, tmp_path: Path) -> None:
    """Otherwise every other test of this module would look at the checkout."""
    said = told_by(installed, tmp_path, "-c", "import mcp_gateway; print(mcp_gateway.__file__)")
    assert Path(said.strip()).is_relative_to(installed)


def test_the_wheel_holds_every_file_of_the_package(installed: Path) -> None:
    """Modules, type marker, pins, strategy: what git has below mcp_gateway/ is in it."""
    listed = run("git", "ls-files", "mcp_gateway", cwd=ROOT).stdout.splitlines()
    missing = [name for name in listed if not (installed / name).is_file()]
    assert listed
    assert not missing


def test_the_prompts_come_with_the_wheel(installed: Path, tmp_path: Path) -> None:
    """They stand at the top of the checkout and inside the package when installed."""
    code = (
        "from mcp_gateway.transports.mcp.prompts import PromptLibrary, prompts_folder\n"
        "print(prompts_folder()); print(*[one.name for one in PromptLibrary.load().listed()])"
    )
    folder, names = told_by(installed, tmp_path, "-c", code).splitlines()
    assert Path(folder).is_relative_to(installed)
    assert names.split() == sorted(path.stem for path in (ROOT / "prompts").glob("*.md"))


def test_the_migrations_run_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    """A fresh SQLite comes up to the revision that this version needs."""
    data = str(tmp_path / "data")
    upgrade = ("-m", "mcp_gateway", "db", "upgrade")
    told_by(installed, tmp_path, *upgrade, MCP_GATEWAY_DATA_DIR=data)
    check = ("-m", "mcp_gateway", "db", "check", "--json")
    found = json.loads(told_by(installed, tmp_path, *check, MCP_GATEWAY_DATA_DIR=data))

    assert found["ready"]
    assert found["current"] == found["needed"]
    assert (tmp_path / "data" / "gateway.sqlite").is_file()


def test_the_sandbox_finds_its_pins_and_its_strategy_in_the_wheel(
    installed: Path, tmp_path: Path
) -> None:
    """The lock file is read through the package, the strategy lies beside it."""
    code = "from mcp_gateway.sandbox.installation import lock_text; print(lock_text())"
    pins = told_by(installed, tmp_path, "-c", code)
    strategy = "mcp_gateway/sandbox/strategy/GatewaySandbox.py.txt"

    assert pins.strip() == (PACKAGE / "sandbox/freqtrade.lock").read_text().strip()
    assert (installed / strategy).read_bytes() == (ROOT / strategy).read_bytes()


def test_the_command_line_answers_from_the_wheel(installed: Path, tmp_path: Path) -> None:
    """`python -m mcp_gateway --help` shows the first day's commands, and the script is named."""
    assert "doctor" in told_by(installed, tmp_path, "-m", "mcp_gateway", "--help")
    (entry,) = installed.glob("freqtrade_mcp_gateway-*.dist-info/entry_points.txt")
    assert "mcp-gateway = mcp_gateway.cli.main:main" in entry.read_text()
