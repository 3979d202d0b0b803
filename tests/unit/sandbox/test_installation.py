"""The bot's environment is made once, wholly, and from pinned packages only."""

import os
import sys
from pathlib import Path

import anyio
import pytest

from mcp_gateway.clock import Clock
from mcp_gateway.sandbox.failures import SandboxFailed
from mcp_gateway.sandbox.installation import (
    Installation,
    default_folder,
    find_uv,
    lock_text,
    stanza,
)
from mcp_gateway.sandbox.locks import held
from tests.support.clock import ManualClock

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

NOWHERE = "http://127.0.0.1:9/simple"  # the discard port: nobody listens there


def offline(folder: Path) -> dict[str, str]:
    """An environment in which every package index is a closed port and no cache helps."""
    return {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "UV_NO_CONFIG": "1",
        "UV_DEFAULT_INDEX": NOWHERE,
        "UV_CACHE_DIR": str(folder / "cache"),
        "UV_HTTP_RETRIES": "0",
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": NOWHERE,
        "PIP_RETRIES": "0",
        "PIP_NO_CACHE_DIR": "1",
    }


@pytest.mark.parametrize("uv", [find_uv(), None], ids=["uv", "pip"])
async def test_without_network_the_installation_is_refused_clearly(
    tmp_path: Path, uv: Path | None
) -> None:
    """A missing mirror is one code with the installer's last words, and nothing half-made counts."""
    environment = Installation(tmp_path / "bot", uv, offline(tmp_path))
    told: list[str] = []
    with pytest.raises(SandboxFailed) as failed:
        await environment.install(told.append, Clock())
    assert failed.value.code == "install_failed"
    assert "PIP_INDEX_URL" in failed.value.hint
    assert failed.value.log_tail
    assert told
    assert not environment.installed()


async def test_a_folder_that_cannot_be_made_is_the_same_refusal(tmp_path: Path) -> None:
    """A full or read-only disk is no traceback."""
    (tmp_path / "file").touch()
    environment = Installation(tmp_path / "file" / "bot", find_uv(), offline(tmp_path))
    with pytest.raises(SandboxFailed) as failed:
        await environment.install(lambda _: None, Clock())
    assert failed.value.code == "install_failed"


def finish(folder: Path) -> None:
    """Leave what a finished installation leaves."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    (folder / ".complete").touch()


def test_an_interrupted_installation_does_not_count(tmp_path: Path) -> None:
    """Only the mark made at the very end says that all packages are there."""
    environment = Installation(tmp_path / "bot")
    finish(environment.folder)
    assert environment.installed()
    (environment.folder / ".complete").unlink()
    assert not environment.installed()


def test_an_environment_whose_interpreter_is_gone_does_not_count(tmp_path: Path) -> None:
    """After an upgrade of the system's Python the link leads nowhere."""
    environment = Installation(tmp_path / "bot")
    finish(environment.folder)
    environment.python.unlink()
    environment.python.symlink_to(tmp_path / "removed")
    assert not environment.installed()


async def test_a_finished_installation_is_left_alone(tmp_path: Path) -> None:
    """The second start says nothing and runs no installer."""
    environment = Installation(tmp_path / "bot", Path("/nonexistent/uv"))
    finish(environment.folder)
    told: list[str] = []
    await environment.install(told.append, ManualClock())
    assert told == []


async def test_a_second_installer_waits_for_the_first(tmp_path: Path) -> None:
    """Two sandboxes started at once make one environment."""
    environment = Installation(tmp_path / "bot", Path("/nonexistent/uv"))
    clock, told = ManualClock(), list[str]()
    async with anyio.create_task_group() as group:
        with held(tmp_path / "bot.lock") as ours:
            assert ours
            group.start_soon(environment.install, told.append, clock)
            await clock.sleeping()
            clock.advance(1)
            await clock.sleeping()
            finish(environment.folder)
        clock.advance(1)
    assert len(told) == 1


def test_the_folder_is_named_after_the_pins() -> None:
    """New pins get a new environment, the old one is not touched."""
    assert default_folder().name.startswith("freqtrade-2026.9-")
    assert default_folder().parent.name == "mcp-gateway"


def test_every_pinned_package_has_a_hash() -> None:
    """An index that is replaced cannot slip in another file."""
    names = [line for line in lock_text().splitlines() if line and not line.startswith((" ", "#"))]
    assert len(names) > 80
    for name in names:
        assert "--hash=sha256:" in stanza(lock_text(), name.split("==")[0])


def test_the_build_tool_is_cut_out_with_its_hashes() -> None:
    """The one source archive is built by the pinned tool, which is installed before it."""
    lock = "a==1 \\\n    --hash=sha256:11\nb==2 \\\n    --hash=sha256:22\nc==3 \\\n    --hash=sha256:33\n"
    assert stanza(lock, "b") == "b==2 \\\n    --hash=sha256:22\n"
