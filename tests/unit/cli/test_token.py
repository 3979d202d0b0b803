"""`mcp-gateway token` and `mcp-gateway hash-password`."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from click.testing import CliRunner

from mcp_gateway.access.clients import Clients
from mcp_gateway.access.tokens.issuers import one_box
from mcp_gateway.access.tokens.verifier import TokenVerifier
from mcp_gateway.cli import main
from mcp_gateway.cli.token import hash_password
from mcp_gateway.clock import Clock
from mcp_gateway.domain.operations import DEFAULT_LOCAL_SCOPES

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

SECRET = "a-secret-of-the-tests-only-0123456789abcdef"


@dataclass(frozen=True)
class Ran:
    """How a command ended."""

    exit_code: int
    stdout: str
    stderr: str


Run = Callable[..., Ran]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return what runs ``mcp-gateway token`` with a store of its own."""
    monkeypatch.chdir(tmp_path)

    def invoke(*words: str, **environment: str) -> Ran:
        settings = {"JWT_SECRET": SECRET, "MCP_GATEWAY_DATA_DIR": str(tmp_path / "data")}
        for name, value in (settings | environment).items():
            monkeypatch.setenv(name, value)
        code = main.run(["token", *words])
        told = capsys.readouterr()
        return Ran(code, told.out, told.err)

    return invoke


def rows(folder: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(folder / "data" / "gateway.sqlite") as store:
        return store.execute("SELECT event, subject FROM audit_log").fetchall()


def test_the_token_is_printed_and_nothing_else(run: Run) -> None:
    """A script reads it with $(…); the gateway accepts it."""
    result = run("--subject", "signal-agent", "--scope", "orders:create", "--act-for", "scout")
    assert (result.exit_code, result.stderr) == (0, "")
    text = result.stdout.removesuffix("\n")
    verifier = TokenVerifier([one_box(SECRET.encode(), "mcp-gateway", "mcp-gateway", 86400)], Clock())
    principal = verifier.verify(text)
    assert principal.subject == "signal-agent"
    assert principal.scopes == {"orders:create"}
    assert principal.act_for == {"scout"}
    assert principal.token_id


def test_without_scopes_it_reads_and_previews(run: Run) -> None:
    """Nothing dangerous is a default."""
    result = run("--subject", "signal-agent", MCP_GATEWAY_ISSUER="me", MCP_GATEWAY_AUDIENCE="us")
    verifier = TokenVerifier([one_box(SECRET.encode(), "me", "us", 86400)], Clock())
    assert verifier.verify(result.stdout.strip()).scopes == frozenset(DEFAULT_LOCAL_SCOPES)


@pytest.mark.parametrize(
    ("words", "environment"),
    [
        (["--subject", "a"], {"JWT_SECRET": ""}),
        (["--subject", "a"], {"JWT_SECRET": "short"}),
        (["--subject", "a"], {"MCP_GATEWAY_NO_SUCH_THING": "1"}),
        (["--subject", "a", "--scope", "orders:everything"], {}),
        (["--subject", ""], {}),
        (["--subject", "a\nb"], {}),
        (["--subject", "a", "--act-for", ""], {}),
        (["--subject", "a", "--ttl", "0"], {}),
        (["--subject", "a", "--ttl", "86401"], {}),
        (["--subject", "a", "--ttl", "soon"], {}),
        ([], {}),
    ],
)
def test_misuse_and_wrong_settings_end_with_2_and_no_token(
    run: Run, words: list[str], environment: dict[str, str]
) -> None:
    """Exit code 2, the reason on stderr without the secret, nothing on stdout."""
    result = run(*words, **environment)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr
    assert SECRET not in result.stderr


def test_a_token_leaves_an_audit_row_without_the_token(run: Run, tmp_path: Path) -> None:
    """Every administrative act is written down (access); the secret is not."""
    text = run("--subject", "signal-agent").stdout.strip()
    assert rows(tmp_path) == [("token.issued", "signal-agent")]
    assert text.encode() not in (tmp_path / "data" / "gateway.sqlite").read_bytes()


def test_without_an_audit_row_there_is_no_token(run: Run, tmp_path: Path) -> None:
    """Administrative acts fail closed."""
    (tmp_path / "data").write_text("in the way")
    result = run("--subject", "signal-agent")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "store_unavailable" in result.stderr


async def test_a_hashed_password_opens_the_clients_file(tmp_path: Path) -> None:
    """What the command prints is what the file takes."""
    result = CliRunner().invoke(hash_password, input="correct horse battery\n")
    assert result.exit_code == 0
    path = tmp_path / "clients.toml"
    path.write_text(f'[clients.admin]\npassword = "{result.stdout.strip()}"\nscopes = []\n')
    path.chmod(0o600)
    clients = Clients.load(path, 3600)
    assert await clients.check("admin", "correct horse battery") is not None


def test_an_unusable_password_is_refused_with_2() -> None:
    """Empty or short: the fault is told before it stands in a file."""
    result = CliRunner().invoke(hash_password, input="\n")
    assert (result.exit_code, result.stdout) == (2, "")
