"""`mcp-gateway db`: the schema of SQLite and of PostgreSQL."""

import socket
from pathlib import Path

import pytest

from mcp_gateway.storage.schema import metadata
from tests.support.commands import command

pytestmark = pytest.mark.integration


def test_a_database_is_checked_upgraded_and_checked_again(
    database_url: str, tmp_path: Path
) -> None:
    """On both engines: 1 while it is not ready, then 0; upgrading twice does and notes it once."""
    before = command(tmp_path, "db", "check", "--json", DATABASE_URL=database_url)
    assert before.code == 1
    assert before.json()["current"] is None
    assert before.json()["ready"] is False
    asked = command(tmp_path, "db", "check", DATABASE_URL=database_url)
    assert asked.code == 1
    assert "mcp-gateway db upgrade" in asked.out
    for _ in range(2):
        assert command(tmp_path, "db", "upgrade", DATABASE_URL=database_url).code == 0
    after = command(tmp_path, "db", "check", "--json", DATABASE_URL=database_url)
    assert after.code == 0
    assert after.out.count("\n") == 1
    assert after.json() == {
        "current": before.json()["needed"], "needed": before.json()["needed"], "ready": True,
    }  # fmt: skip
    assert "as needed" in command(tmp_path, "db", "check", DATABASE_URL=database_url).out
    noted = command(tmp_path, "audit", "tail", "--json", DATABASE_URL=database_url).json()
    assert (noted["event"], noted["detail"]["to"]) == ("store.upgraded", after.json()["current"])


def test_checking_makes_no_database(tmp_path: Path) -> None:
    """To look is not to set up."""
    assert command(tmp_path, "db", "check").code == 1
    assert not (tmp_path / "gateway.sqlite").exists()
    assert metadata.tables


@pytest.mark.parametrize("verb", ["check", "upgrade"])
def test_a_postgresql_that_is_down_is_named(verb: str, tmp_path: Path) -> None:
    """Exit code 1, and the password is not told."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"postgresql://u:canary@127.0.0.1:{held.getsockname()[1]}/d"
        told = command(tmp_path, "db", verb, DATABASE_URL=url)
    assert (told.code, told.out) == (1, "")
    assert "database_unavailable: PostgreSQL" in told.err
    assert "canary" not in told.err
    assert "Traceback" not in told.err


@pytest.mark.parametrize("url", ["mysql://u:canary@h/d", "canary", "sqlite:///:memory:"])
def test_what_is_no_store_is_a_configuration_fault(url: str, tmp_path: Path) -> None:
    """Exit code 2, by the variable's name."""
    told = command(tmp_path, "db", "check", DATABASE_URL=url)
    assert (told.code, told.out) == (2, "")
    assert "DATABASE_URL:" in told.err
    assert "canary" not in told.err
