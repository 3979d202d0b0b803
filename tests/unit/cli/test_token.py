"""`mcp-gateway token` and `mcp-gateway hash-password`."""

import io
import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from mcp_gateway.access.clients import Clients
from mcp_gateway.access.tokens.issuers import one_box
from mcp_gateway.access.tokens.verifier import TokenVerifier
from mcp_gateway.cli import main
from mcp_gateway.cli.token import hash_password
from mcp_gateway.clock import Clock
from mcp_gateway.domain.operations import DEFAULT_LOCAL_SCOPES
from tests.support.tokens import forge

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


def rows(folder: Path) -> list[tuple[str, str | None]]:
    with sqlite3.connect(folder / "data" / "gateway.sqlite") as store:
        return store.execute("SELECT event, subject FROM audit_log").fetchall()


def test_the_token_is_printed_and_nothing_else(run: Run) -> None:
    """A script reads it with $(…); the gateway accepts it."""
    result = run("--subject", "signal-agent", "--scope", "orders:create", "--act-for", "scout")
    assert (result.exit_code, result.stderr) == (0, "")
    text = result.stdout.removesuffix("\n")
    verifier = TokenVerifier(
        [one_box(SECRET.encode(), "mcp-gateway", "mcp-gateway", 86400)], Clock()
    )
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


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Return what lays a text onto standard input."""
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_the_word_issue_may_be_left_out(run: Run) -> None:
    """Scripts of before the group go on working."""
    for words in (["issue"], []):
        result = run(*words, "--subject", "signal-agent")
        assert (result.exit_code, result.stdout.count(".")) == (0, 2)


def test_a_token_is_looked_into_without_its_signature(
    run: Run, heard: Callable[[str], None]
) -> None:
    """Claims, scopes, issuer, times, and whether this gateway would believe it."""
    text = run("--subject", "signal-agent", "--scope", "market:read").stdout.strip()
    heard(f"{text}\n")
    result = run("inspect", "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["believed"], told["revoked"]) == (0, True, False)
    assert (told["issuer"], told["subject"]) == ("mcp-gateway", "signal-agent")
    assert (told["scopes"], told["algorithm"]) == (["market:read"], "HS256")
    assert told["claims"]["jti"] == told["jti"]
    assert told["issued_at"] < told["expires_at"]
    heard(text)
    plain = run("inspect", "-").stdout
    for secret in (text.rpartition(".")[2], SECRET):
        assert secret not in result.stdout + plain
    assert "believed   yes" in plain


NOT_BELIEVED: dict[str, tuple[dict[str, Any], str]] = {
    "expired": ({"iat": 1, "exp": 600}, "expired"),
    "another issuer's": ({"iss": "somebody"}, "not a token of this server"),
    "another key's": ({}, "not a token of this server"),
}


@pytest.mark.parametrize("which", NOT_BELIEVED)
def test_why_a_token_is_not_believed_is_told(
    run: Run, heard: Callable[[str], None], which: str
) -> None:
    """An operator may know what a caller is not told; what it claims is shown all the same."""
    changes, why = NOT_BELIEVED[which]
    now = int(Clock().now().timestamp())
    secret = b"x" * 32 if which == "another key's" else SECRET.encode()
    heard(forge(secret=secret, **({"iat": now, "exp": now + 60} | changes)))
    result = run("inspect", "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["believed"]) == (1, False)
    assert why in told["why_not"]["message"]
    assert told["subject"] == "signal-agent"


@pytest.mark.parametrize("text", ["", "garbage", "a.b.c", "\x1b[2J.x.y", "."])
def test_what_is_no_token_is_told_so(run: Run, heard: Callable[[str], None], text: str) -> None:
    """Nothing of it is repeated: it may be a password that was pasted."""
    heard(text)
    result = run("inspect")
    assert (result.exit_code, result.stdout.count("\n")) == (1, 1)
    assert result.stdout.startswith("believed   no: ")
    assert "\x1b" not in result.stdout


def test_hostile_claims_do_nothing_to_a_terminal(run: Run, heard: Callable[[str], None]) -> None:
    """Whatever an unbelieved token says is written in ASCII."""
    hostile = "\x1b[2J\u202egnp.exe\x07\n"
    heard(forge(secret=b"x" * 32, sub=hostile, scope=hostile, **dict[str, Any]({hostile: hostile})))
    told = run("inspect").stdout
    assert told.isascii()
    assert not {"\x1b", "\x07"} & set(told)


def test_a_token_given_as_an_argument_is_refused(run: Run) -> None:
    """Other users of the machine see the arguments of a command."""
    text = run("--subject", "signal-agent").stdout.strip()
    result = run("inspect", text)
    assert (result.exit_code, result.stdout) == (2, "")
    assert text not in result.stderr


def test_with_no_store_the_rest_is_told(run: Run, heard: Callable[[str], None]) -> None:
    """Whether it was revoked is not known then, and that is said."""
    now = int(Clock().now().timestamp())
    heard(forge(secret=SECRET.encode(), iat=now, exp=now + 60))
    told = json.loads(run("inspect", "--json").stdout)
    assert (told["believed"], told["revoked"]) == (True, None)


def test_a_revoked_token_is_told_with_who_and_why(
    run: Run, heard: Callable[[str], None], tmp_path: Path
) -> None:
    """Without a running gateway the store alone does it; the act leaves its row."""
    text = run("--subject", "signal-agent").stdout.strip()
    heard(text)
    jti = json.loads(run("inspect", "--json").stdout)["jti"]
    revoked = run("revoke", "--jti", jti, "--reason", "stolen\x1b[2J", "--json")
    assert (revoked.exit_code, json.loads(revoked.stdout)["jti"]) == (0, jti)
    heard(text)
    result = run("inspect", "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["why_not"]["code"]) == (1, "token_revoked")
    assert told["revoked"]["reason"] == "stolen [2J"
    assert told["revoked"]["by"]
    assert rows(tmp_path) == [("token.issued", "signal-agent"), ("token.revoked", None)]


def test_a_token_made_after_its_subject_was_revoked_is_good(
    run: Run, heard: Callable[[str], None]
) -> None:
    """The older one goes, at once and for good; the output tells look-alike letters apart."""
    old = run("--subject", "sign\u0430l-agent").stdout.strip()
    result = run("revoke", "--subject", "sign\u0430l-agent", "--reason", "stolen")
    assert "sign\\u0430l-agent" in result.stdout
    new = run("--subject", "sign\u0430l-agent").stdout.strip()
    believed = []
    for text in (old, new):
        heard(text)
        believed.append(json.loads(run("inspect", "--json").stdout)["believed"])
    assert believed == [False, True]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--reason", "x"], 2),
        (["--jti", "a", "--subject", "b", "--reason", "x"], 2),
        (["--jti", "a"], 2),
        (["--jti", "a", "--reason", " "], 1),
        (["--jti", "a", "--reason", "x" * 1001], 1),
        (["--subject", " a", "--reason", "x"], 1),
        (["--subject", "a" * 129, "--reason", "x"], 1),
        (["--subject", "a", "--issuer", "nobody", "--reason", "x"], 1),
    ],
)
def test_what_can_not_be_revoked_is_refused(run: Run, words: list[str], code: int) -> None:
    """One thing, named as it stands in a token, of an issuer that is believed, and why."""
    run("--subject", "signal-agent")
    result = run("revoke", *words)
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr


def test_where_no_gateway_has_been_nothing_is_revoked(run: Run) -> None:
    """In a wrong folder a revocation would stop nobody."""
    result = run("revoke", "--jti", "t-1", "--reason", "stolen")
    assert result.exit_code == 1
    assert "store_missing" in result.stderr


@pytest.mark.parametrize("scheme", ["Bearer ", "bearer   "])
def test_a_token_is_read_with_the_word_before_it_too(
    run: Run, heard: Callable[[str], None], scheme: str
) -> None:
    """So it stands in the header that it is copied from."""
    heard(scheme + run("--subject", "signal-agent").stdout)
    assert run("inspect").exit_code == 0


def test_a_revocation_that_may_be_a_typo_is_noted(run: Run) -> None:
    """It holds all the same; a subject that is known here gets no note."""
    run("--subject", "signal-agent")
    known = run("revoke", "--subject", "signal-agent", "--reason", "x")
    assert (known.exit_code, known.stderr) == (0, "")
    typo = run("revoke", "--subject", "signal-agnet", "--reason", "x", "--json")
    assert (typo.exit_code, json.loads(typo.stdout)["subject"]) == (0, "signal-agnet")
    assert "Nobody has shown such a token here" in typo.stderr
    one = run("revoke", "--jti", "t-1", "--reason", "x")
    assert (one.exit_code, "not known here" in one.stderr) == (0, True)


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
