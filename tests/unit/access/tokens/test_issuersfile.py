"""The issuers file: what it may hold, and that every fault is told by issuer and field."""

import os
import re
import stat
from pathlib import Path
from typing import Any

import pytest

from mcp_gateway.access.tokens.faults import issuer_faults
from mcp_gateway.access.tokens.issuersfile import FIELDS, load_issuers, writers
from mcp_gateway.access.tokens.jwks import JwksKeys
from mcp_gateway.domain.operations import DEFAULT_LOCAL_SCOPES
from mcp_gateway.errors import ConfigurationError
from mcp_gateway.settings import Settings
from tests.house.repository import page, rows
from tests.support.clock import ManualClock
from tests.support.issuers import ed25519, issuers_file, jwks, p256, written

pytestmark = pytest.mark.unit

GOOD: dict[str, Any] = {
    "issuer": "https://login.example", "algorithm": "EdDSA", "key_file": "desk.pem"
}  # fmt: skip
REMOTE = {"issuer": "https://login.example", "algorithm": "EdDSA", "jwks_url": "https://k.example/"}
PREFIX = "MCP_GATEWAY_ISSUERS_FILE: issuers.desk: "


def load(folder: Path, **tables: Any) -> Any:
    written(folder, "desk.pem", ed25519().pem)
    return read(issuers_file(folder, **tables))


def read(path: Path) -> Any:
    taken = ("local", "mcp-gateway")
    return load_issuers(path, audience="us", longest_s=600, taken=taken, clock=ManualClock())


def faults(folder: Path, **tables: Any) -> list[str]:
    with pytest.raises(ConfigurationError) as refused:
        load(folder, **tables)
    return list(refused.value.faults)


def test_what_is_not_said_is_safe(tmp_path: Path) -> None:
    """Tokens of an issuer read and preview at most, unless its table says that they trade."""
    [issuer] = load(tmp_path, desk=GOOD)
    assert (issuer.name, issuer.issuer, issuer.algorithm) == (
        "desk", "https://login.example", "EdDSA"
    )  # fmt: skip
    assert (issuer.audience, issuer.longest_s) == ("us", 600)
    assert issuer.scopes == frozenset(DEFAULT_LOCAL_SCOPES)
    assert issuer.may_name("anybody")
    assert len(issuer.source.keys) == 1


def test_what_is_said_holds(tmp_path: Path) -> None:
    """Every field of a table reaches the issuer; files lie beside the issuers file."""
    written(tmp_path, "ca.pem", "certificates")
    bounds = {"audience": "them", "longest_s": 60, "scopes": ["ops:halt"],
              "subjects": ["desk-*", "chief"], "ca_file": "ca.pem"}  # fmt: skip
    [issuer] = load(tmp_path, desk=REMOTE | bounds)
    assert (issuer.audience, issuer.longest_s, issuer.scopes) == ("them", 60, {"ops:halt"})
    named = ("desk-", "desk-1", "chief", "chief-1", "Desk-1", "other-desk-1", "")
    assert [issuer.may_name(each) for each in named] == [True] * 3 + [False] * 4
    assert isinstance(issuer.source, JwksKeys)
    assert issuer.source.url == "https://k.example/"
    assert len(issuer.source.keys) == 0


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"issuer": None}, "issuer: missing"),
        ({"algorithm": None}, "algorithm: missing"),
        ({"issuer": ""}, "issuer: 1 to 256 characters"),
        ({"issuer": 1}, "issuer: text, as it stands in the tokens' iss"),
        ({"issuer": "a\nb"}, "issuer: text, as it stands in the tokens' iss"),
        ({"issuer": " a"}, "issuer: text, as it stands in the tokens' iss"),
        ({"issuer": "local"}, "issuer: stands for somebody else already; one issuer has one way"),
        ({"issuer": "mcp-gateway"},
         "issuer: stands for somebody else already; one issuer has one way"),
        ({"algorithm": "HS256"}, "algorithm: one of EdDSA ES256 RS256"),
        ({"algorithm": "none"}, "algorithm: one of EdDSA ES256 RS256"),
        ({"algorithm": ["EdDSA", "ES256"]}, "algorithm: one of EdDSA ES256 RS256"),
        ({"algorithm": "RS256"}, "key_file: RS256 wants an RSA key of 2048 to 8192 bits, e below 2^32"),
        ({"key_file": None}, "key_file or jwks_url: one of the two"),
        ({"jwks_url": "https://k.example/"}, "key_file or jwks_url: one of the two"),
        ({"ca_file": "desk.pem"}, "ca_file: belongs to a jwks_url"),
        ({"key_file": 1}, "key_file: text"),
        ({"key_file": ""}, "key_file: text"),
        ({"audience": ""}, "audience: text"),
        ({"audience": ["a"]}, "audience: text"),
        ({"longest_s": 59}, "longest_s: a whole number of seconds, 60 to 31536000"),
        ({"longest_s": True}, "longest_s: a whole number of seconds, 60 to 31536000"),
        ({"longest_s": "60"}, "longest_s: a whole number of seconds, 60 to 31536000"),
        ({"longest_s": 31_536_001}, "longest_s: a whole number of seconds, 60 to 31536000"),
        ({"scopes": "orders:create"}, "scopes: a list of text"),
        ({"scopes": [1]}, "scopes: a list of text"),
        ({"subjects": []}, "subjects: a list of 1 to 64 names"),
        ({"subjects": "desk-*"}, "subjects: a list of 1 to 64 names"),
        ({"subjects": ["*-desk"]}, "subjects: names of subjects, or their beginning with * at the end"),
        ({"subjects": [""]}, "subjects: names of subjects, or their beginning with * at the end"),
        ({"jwks": "x"}, "unknown field jwks"),
    ],
)  # fmt: skip
def test_a_fault_is_told_by_issuer_and_field(
    tmp_path: Path, fields: dict[str, Any], fault: str
) -> None:
    """An operator mends the line that is named."""
    changed = {name: value for name, value in (GOOD | fields).items() if value is not None}
    assert PREFIX + fault in faults(tmp_path, desk=changed)


def test_an_unknown_scope_is_told_with_the_known_ones(tmp_path: Path) -> None:
    """A typing error must not silently allow nothing."""
    [fault] = faults(tmp_path, desk=GOOD | {"scopes": ["order:create"]})
    assert fault.startswith(PREFIX + "scopes: unknown scope order:create; known: market:read")


@pytest.mark.parametrize(
    "url",
    [
        "http://keys.example/jwks", "http://10.0.0.1/jwks", "http://localhost.example/", "ftp://k/",
        "file:///etc/passwd", "https://", "https://:443/", "https://k:70000/", "https://k:0/",
        "https://user:pw@k.example/", "https://user@k.example/", "https://k.example/#part", "", 1,
        "https://k.example/ x", "https://k\nx/", "https://ké.example/", "//k.example/", "k.example",
        "http://127.0.0.1@k.example/", "http://[::1/", "unix:///tmp/x",
    ],
)  # fmt: skip
def test_keys_come_over_https_or_from_this_machine(tmp_path: Path, url: Any) -> None:
    """Over http anybody on the way hands out keys; a password in a URL ends in logs."""
    [fault] = faults(tmp_path, desk=REMOTE | {"jwks_url": url})
    assert fault.startswith(PREFIX + "jwks_url: ")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/k", "http://[::1]:9/k", "http://localhost/k", "HTTPS://K.example/"]
)
def test_this_machine_may_speak_in_clear_text(tmp_path: Path, url: str) -> None:
    """A sidecar on loopback has no certificate; nobody stands between."""
    [issuer] = load(tmp_path, desk=REMOTE | {"jwks_url": url})
    assert issuer.source.url == url


def test_no_two_tables_are_one_issuer(tmp_path: Path) -> None:
    """A token's iss must lead to one algorithm and one set of keys."""
    [fault] = faults(tmp_path, desk=GOOD, floor=REMOTE)
    assert "issuers.floor: issuer: stands for somebody else already" in fault


def test_every_fault_is_told_at_once(tmp_path: Path) -> None:
    """Not one for each start."""
    told = faults(tmp_path, desk={"issuer": "a"}, floor=GOOD | {"longest_s": 1, "x": 1})
    assert len(told) == 4


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "no [issuers.NAME] in it"),
        ("[issuers]", "no [issuers.NAME] in it"),
        ("issuers = 1", "no [issuers.NAME] in it"),
        ("[issuers]\ndesk = 1", "issuers.desk: not a table"),
        ("[issuer.desk]\n", "unknown table issuer"),
        ("[issuers.desk", "not TOML in UTF-8"),
        (b"\xff", "not TOML in UTF-8"),
        ("#" + "x" * 300_000, "not TOML in UTF-8 of at most 262144 bytes"),
        ('[issuers."a b"]\n', "issuers.a b: a name has 1 to 64 letters, digits, dots, dashes"),
        ("\n".join(f"[issuers.a{n}]" for n in range(33)), "more than 32 issuers"),
    ],
)
def test_what_is_no_issuers_file_is_refused(tmp_path: Path, text: str | bytes, fault: str) -> None:
    """Half a configuration is none."""
    with pytest.raises(ConfigurationError) as refused:
        read(written(tmp_path, "issuers.toml", text))
    assert any(fault in each for each in refused.value.faults)


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    """Issuers file and key file alike."""
    with pytest.raises(ConfigurationError) as refused:
        read(tmp_path / "none.toml")
    assert "cannot be read (No such file or directory)" in refused.value.faults[0]
    [fault] = faults(tmp_path, desk=GOOD | {"key_file": "none.pem"})
    assert "key_file: " in fault
    assert "cannot be read (No such file or directory)" in fault


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o666])
@pytest.mark.parametrize("name", ["issuers.toml", "desk.pem"])
def test_whoever_else_can_write_it_decides_who_trades(tmp_path: Path, name: str, mode: int) -> None:
    """A file that others can write is refused, with the command that mends it."""
    path = issuers_file(tmp_path, desk=GOOD)
    written(tmp_path, "desk.pem", ed25519().pem)
    (tmp_path / name).chmod(mode)
    with pytest.raises(ConfigurationError) as refused:
        read(path)
    [fault] = refused.value.faults
    assert fault.endswith(f"{name}: others can write it; chmod go-w")


@pytest.mark.parametrize("name", ["issuers.toml", "desk.pem"])
def test_whoever_can_write_its_folder_decides_too(tmp_path: Path, name: str) -> None:
    """They put another file in its place; that a link leads there changes nothing."""
    inner, outer = tmp_path / "inner", tmp_path / "outer"
    inner.mkdir(0o700)
    outer.mkdir(0o700)
    path = issuers_file(inner, desk=GOOD)
    written(inner, "desk.pem", ed25519().pem)
    (inner / name).rename(outer / name)
    (inner / name).symlink_to(outer / name)
    assert len(read(path)) == 1
    outer.chmod(0o777)
    with pytest.raises(ConfigurationError) as refused:
        read(path)
    [fault] = refused.value.faults
    assert fault.endswith(f"{name}: its folder {outer} can be written by others; chmod go-w")


def test_a_file_of_another_user_is_refused() -> None:
    """Its owner can make it writable at any time; root can do so anyway."""

    def owned_by(uid: int) -> os.stat_result:
        return os.stat_result((stat.S_IFREG | 0o644, 0, 0, 1, uid, 0, 0, 0, 0, 0))

    told = "keys.pem: belongs to another user; chown it"
    assert writers("keys.pem", owned_by(os.geteuid() + 4711)) == [told]
    assert writers("keys.pem", owned_by(os.geteuid())) == []
    assert writers("keys.pem", owned_by(0)) == []


def test_a_key_file_may_hold_several_keys(tmp_path: Path) -> None:
    """A JWKS on disk rotates with an overlap, as one at a URL does."""
    written(tmp_path, "keys.json", jwks(ed25519(), ed25519("k-2", "next"), p256("k-3")))
    [issuer] = load(tmp_path, desk=GOOD | {"key_file": "keys.json"})
    assert len(issuer.source.keys) == 2


def settings(folder: Path, **given: Any) -> Settings:
    return Settings.apart(data_dir=folder, **given)


def test_the_settings_tell_the_file_s_faults_with_their_own(tmp_path: Path) -> None:
    """All at once, before anything is started."""
    path = issuers_file(tmp_path, desk=GOOD)
    [fault] = issuer_faults(settings(tmp_path, issuers_file=path))
    assert fault.startswith(PREFIX + "key_file: ")
    written(tmp_path, "desk.pem", ed25519().pem)
    assert issuer_faults(settings(tmp_path, issuers_file=path)) == []
    assert issuer_faults(settings(tmp_path)) == []


def test_one_issuer_never_has_two_ways(tmp_path: Path) -> None:
    """Where JWT_SECRET signs for a name, a key for that name would be a second way in."""
    written(tmp_path, "desk.pem", ed25519().pem)
    path = issuers_file(tmp_path, desk=GOOD | {"issuer": "ours"})
    own = settings(tmp_path, issuers_file=path, issuer="ours", jwt_secret="s" * 32)
    [fault] = issuer_faults(own)
    assert fault.startswith(PREFIX + "issuer: ")
    assert issuer_faults(settings(tmp_path, issuers_file=path, issuer="ours")) == []


def test_the_example_of_the_documentation_is_a_file_that_is_read(tmp_path: Path) -> None:
    """Operators copy it; every field that there is stands in its table."""
    text = page("docs/tokens.md").text
    [example] = re.findall(r"```toml\n(\[issuers.*?)```", text, re.DOTALL)
    written(tmp_path, "research.pem", p256().pem)
    login, research = read(written(tmp_path, "issuers.toml", example))
    assert (login.algorithm, login.subjects) == ("EdDSA", ("desk-*", "treasury"))
    assert (research.algorithm, research.longest_s) == ("ES256", 3600)
    section = text.split("\n## The issuers file")[1].split("\n## ")[0]
    assert {row[0].strip("`") for row in rows(section)[1:]} == FIELDS.keys()
