"""The sandbox says in one word why it does not open."""

import json
import socket
from pathlib import Path

import pytest

from mcp_gateway.sandbox.bot import SandboxOptions, open_sandbox
from mcp_gateway.sandbox.configuration import BotFolder, bot_config, fresh_access, merged
from mcp_gateway.sandbox.failures import SandboxFailed, tail
from mcp_gateway.sandbox.installation import Installation
from mcp_gateway.sandbox.locks import held

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


async def refusal(options: SandboxOptions) -> SandboxFailed:
    with pytest.raises(SandboxFailed) as failed:
        async with open_sandbox(options):
            pytest.fail("it opened")
    return failed.value


def installed(folder: Path) -> Installation:
    """An environment that counts as made and runs nothing."""
    made = Installation(folder / "venv")
    made.python.parent.mkdir(parents=True)
    made.python.symlink_to("/bin/false")
    (made.folder / ".complete").touch()
    return made


@pytest.mark.parametrize("which", ["freqtrade_port", "exchange_port"])
async def test_a_busy_port_is_named_before_anything_starts(tmp_path: Path, which: str) -> None:
    """The refusal says which port, and nothing was installed for it."""
    environment = Installation(tmp_path / "venv")
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        ports = {which: port}
        failed = await refusal(SandboxOptions(installation=environment, **ports))
    assert failed.code == "port_busy"
    assert failed.detail["port"] == port
    assert not environment.folder.exists()


async def test_a_missing_installation_is_refused_where_none_is_wanted(tmp_path: Path) -> None:
    """A desktop app's server must answer at once; it never downloads half a gigabyte."""
    environment = Installation(tmp_path / "venv")
    failed = await refusal(SandboxOptions(install=False, installation=environment))
    assert failed.code == "not_installed"
    assert not environment.folder.exists()


async def test_two_sandboxes_do_not_share_a_folder(tmp_path: Path) -> None:
    """Two bots on one database would corrupt each other's trades."""
    options = SandboxOptions(folder=tmp_path / "bot", installation=installed(tmp_path))
    (tmp_path / "bot").mkdir()
    with held(tmp_path / "bot" / ".lock"):
        assert (await refusal(options)).code == "folder_busy"


async def test_a_bot_that_ends_at_once_is_told_by_its_exit_code(tmp_path: Path) -> None:
    """The code is stable, and the folder is free again for the next start."""
    options = SandboxOptions(folder=tmp_path / "bot", installation=installed(tmp_path))
    failed = await refusal(options)
    assert failed.code == "bot_died"
    assert "exit code 1" in failed.message
    with held(tmp_path / "bot" / ".lock") as ours:
        assert ours


async def test_a_fresh_start_forgets_trades_and_nothing_else(tmp_path: Path) -> None:
    """The folder is the user's; only the bot's database is removed, and only when asked."""
    folder = tmp_path / "bot"
    folder.mkdir()
    (folder / "mine.txt").touch()
    (folder / "trades.sqlite").touch()
    environment = installed(tmp_path)
    await refusal(SandboxOptions(folder=folder, fresh=False, installation=environment))
    assert (folder / "trades.sqlite").exists()
    await refusal(SandboxOptions(folder=folder, installation=environment))
    assert not (folder / "trades.sqlite").exists()
    assert (folder / "mine.txt").exists()


def test_every_start_has_secrets_of_its_own() -> None:
    """Nothing secret is the same twice, nor one secret two things."""
    one, other = fresh_access(), fresh_access()
    secrets = [
        secret
        for access in (one, other)
        for secret in (access.password, access.ws_token, access.jwt_secret)
    ]
    assert len(set(secrets)) == len(secrets)
    assert one.password not in repr(one)


async def test_given_credentials_are_the_bots(tmp_path: Path) -> None:
    """Who must speak of the bot before it runs can hand in its credentials."""
    access, folder = fresh_access(), tmp_path / "bot"
    await refusal(SandboxOptions(folder=folder, installation=installed(tmp_path), access=access))
    told = json.loads((folder / "config.json").read_text())["api_server"]
    assert told["password"] == access.password
    assert told["ws_token"] == access.ws_token


def test_the_configuration_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    """It holds the password of an API that can trade."""
    folder = BotFolder(tmp_path)
    folder.config.touch(mode=0o644)
    folder.write(bot_config(1, "http://127.0.0.1:2", fresh_access(), {}))
    assert folder.config.stat().st_mode & 0o077 == 0


def test_overrides_reach_into_objects_and_leave_the_rest(tmp_path: Path) -> None:
    """One changed key of an object does not lose its neighbours."""
    config = bot_config(1, "http://127.0.0.1:2", fresh_access(), {"exchange": {"key": "k"}})
    assert config["exchange"]["key"] == "k"
    assert config["exchange"]["name"] == "binance"
    assert merged({"a": {"b": 1}}, {"a": 2, "c": 3}) == {"a": 2, "c": 3}


def test_the_bot_is_told_of_loopback_only(tmp_path: Path) -> None:
    """No address in its configuration leads out of this machine, and it trades no money."""
    config = bot_config(1, "http://127.0.0.1:2", fresh_access(), {})
    assert config["dry_run"] is True
    assert config["api_server"]["listen_ip_address"] == "127.0.0.1"
    text = json.dumps(config)
    assert text.count("http") == text.count("http://127.0.0.1:2")


def test_the_tail_of_a_log_is_its_last_lines(tmp_path: Path) -> None:
    """A long log is not read whole, and empty lines say nothing."""
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n\n" for number in range(10_000)))
    assert tail(log)[-1] == "line 9999"
    assert len(tail(log)) == 15
