"""`mcp-gateway token` and `mcp-gateway hash-password`."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mcp_gateway.access.clients import Clients
from mcp_gateway.access.tokens import TokenVerifier
from mcp_gateway.cli.token import hash_password, token
from mcp_gateway.clock import Clock
from mcp_gateway.domain.operations import DEFAULT_LOCAL_SCOPES

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

SECRET = "a-secret-of-the-tests-only-0123456789abcdef"


def run(*words: str, **environment: str) -> Result:
    return CliRunner().invoke(token, words, env={"JWT_SECRET": SECRET} | environment)


@pytest.fixture(autouse=True)
def _in_a_folder_without_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_token_is_printed_and_nothing_else() -> None:
    """A script reads it with $(…); the gateway accepts it."""
    result = run("--subject", "signal-agent", "--scope", "orders:create", "--act-for", "scout")
    assert (result.exit_code, result.stderr) == (0, "")
    text = result.stdout.removesuffix("\n")
    verifier = TokenVerifier(SECRET.encode(), "mcp-gateway", "mcp-gateway", 86400, Clock())
    principal = verifier.verify(text)
    assert principal.subject == "signal-agent"
    assert principal.scopes == {"orders:create"}
    assert principal.act_for == {"scout"}
    assert principal.token_id


def test_without_scopes_it_reads_and_previews() -> None:
    """Nothing dangerous is a default."""
    result = run("--subject", "signal-agent", MCP_GATEWAY_ISSUER="me", MCP_GATEWAY_AUDIENCE="us")
    verifier = TokenVerifier(SECRET.encode(), "me", "us", 86400, Clock())
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
    words: list[str], environment: dict[str, str]
) -> None:
    """Exit code 2, the reason on stderr without the secret, nothing on stdout."""
    result = run(*words, **environment)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr
    assert SECRET not in result.stderr


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
