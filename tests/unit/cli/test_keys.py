"""`mcp-gateway keys`: made, listed, rotated, revoked; a secret is printed once and never again."""

import json
import os
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mcp_gateway.client import GatewayAuth
from tests.support.commands import Outcome, command
from tests.support.issuers import DESK, ed25519, issuers_file, written

pytestmark = [pytest.mark.unit]

SECRETS = ("secret", "private_key")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "data"
    made.mkdir(mode=0o700)
    return made


def keys(folder: Path, *words: str, **environment: str) -> Outcome:
    return command(folder, "keys", *words, **environment)


def new(folder: Path, *words: str) -> dict[str, Any]:
    made = keys(folder, "new", "--subject", "signal-agent", "--json", *words)
    assert (made.code, made.err) == (0, f"(keys file: {folder / 'keys.json'})\n")
    told: dict[str, Any] = made.json()
    return told


def listed(folder: Path) -> dict[str, str]:
    return {one["key_id"]: one["state"] for one in keys(folder, "list", "--json").json()}


def rows(folder: Path) -> list[tuple[str, str]]:
    with sqlite3.connect(folder / "gateway.sqlite") as store:
        return store.execute("SELECT event, subject FROM audit_log ORDER BY id").fetchall()


def public_pem(key: Any) -> bytes:
    pem: bytes = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return pem


def test_a_new_keys_secret_is_printed_once(folder: Path) -> None:
    """What is printed works in the client; nothing prints it again."""
    made = new(folder)
    GatewayAuth("token", key=made["secret"], key_id=made["key_id"])
    assert made["state"] == "active"
    assert made["secret"] in (folder / "keys.json").read_text()
    for again in (("list",), ("list", "--json"), ("rotate", made["key_id"], "--json"),
                  ("revoke", made["key_id"], "--reason", "x", "--json"), ("list", "--json")):  # fmt: skip
        told = keys(folder, *again)
        assert told.code == 0
        assert made["secret"] not in told.out + told.err
    assert made["secret"] not in (folder / "keys.json").read_text()


def test_people_are_told_that_it_is_shown_once(folder: Path) -> None:
    """On stderr, so that stdout stays a script's."""
    told = keys(folder, "new", "--subject", "signal-agent")
    assert told.code == 0
    assert "secret: " in told.out
    assert "once" in told.err


def test_of_a_pair_the_gateway_keeps_the_public_half_alone(folder: Path) -> None:
    """Nobody who reads the gateway's files can sign as the agent."""
    made = new(folder, "--alg", "ed25519")
    GatewayAuth("token", key=made["private_key"], key_id=made["key_id"])
    private = made["private_key"].split("-----")[2].strip()
    assert private not in (folder / "keys.json").read_text()
    assert "secret" not in made


def test_an_agent_may_keep_its_private_half_to_itself(folder: Path) -> None:
    """It hands over the public one; nothing secret is printed at all."""
    pem = folder / "agent.pem"
    pem.write_bytes(public_pem(Ed25519PrivateKey.generate()))
    made = new(folder, "--alg", "ed25519", "--public-key", str(pem))
    assert not made.keys() & set(SECRETS)
    assert made["public_key"] in (folder / "keys.json").read_text()


def test_a_secret_can_go_into_a_file_of_its_own(folder: Path) -> None:
    """Mode 0600, never over another file, and then not to the terminal."""
    out = folder / "agent.key"
    made = new(folder, "--out", str(out))
    assert not made.keys() & set(SECRETS)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600
    GatewayAuth("token", key=out.read_text(), key_id=made["key_id"])
    again = keys(folder, "new", "--subject", "signal-agent", "--out", str(out))
    assert again.code == 2
    assert len(listed(folder)) == 1


def test_a_key_that_is_not_made_leaves_no_secret_behind(folder: Path) -> None:
    """The file of --out goes again where the key is refused."""
    new(folder)
    new(folder)
    refused = keys(folder, "new", "--subject", "signal-agent", "--out", str(folder / "third"))
    assert (refused.code, "keys_full" in refused.err) == (1, True)
    assert not (folder / "third").exists()


def test_a_rotation_leaves_both_in_force_and_names_them(folder: Path) -> None:
    """The new one is of the same kind and subject; the old one retires."""
    old = new(folder, "--alg", "ed25519")
    told = keys(folder, "rotate", old["key_id"], "--overlap", "12h", "--json").json()
    assert told["replaces"] == old["key_id"]
    assert (told["algorithm"], told["subject"]) == ("ed25519", "signal-agent")
    assert listed(folder) == {old["key_id"]: "retiring", told["key_id"]: "active"}
    at_once = keys(folder, "rotate", told["key_id"], "--overlap", "0", "--json")
    assert (at_once.code, "keys_full" in at_once.err) == (0, False)
    assert listed(folder)[told["key_id"]] == "ended"


def test_a_revoked_key_says_so_with_its_reason(folder: Path) -> None:
    """And revoking it once more is no failure: the operator wanted it gone."""
    made = new(folder)
    told = keys(folder, "revoke", made["key_id"], "--reason", "laptop lost", "--json").json()
    assert (told["state"], told["reason"]) == ("revoked", "laptop lost")
    again = keys(folder, "revoke", made["key_id"], "--reason", "again")
    assert (again.code, "before" in again.out) == (0, True)
    assert "laptop lost" in keys(folder, "list").out


def test_every_change_is_an_audit_row(folder: Path) -> None:
    """Who got which key, and when it ended, outlives the file."""
    made = new(folder)
    other = keys(folder, "rotate", made["key_id"], "--json").json()
    keys(folder, "revoke", other["key_id"], "--reason", "x")
    keys(folder, "revoke", other["key_id"], "--reason", "x")
    agent = "signal-agent"
    assert rows(folder) == [
        ("key.created", agent), ("key.rotated", agent), ("key.revoked", agent)
    ]  # fmt: skip
    with sqlite3.connect(folder / "gateway.sqlite") as store:
        told = str(store.execute("SELECT * FROM audit_log").fetchall())
    assert made["secret"] not in told
    assert other["secret"] not in told


def test_no_row_no_key_but_a_revocation_holds_all_the_same(folder: Path) -> None:
    """A key nobody wrote down must not exist; one that must go goes even with the store down."""
    made = new(folder)
    down = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"}
    refused = keys(folder, "new", "--subject", "signal-agent", **down)
    assert refused.code == 1
    assert list(listed(folder)) == [made["key_id"]]
    assert keys(folder, "revoke", made["key_id"], "--reason", "x", **down).code == 1
    assert listed(folder) == {made["key_id"]: "revoked"}


def test_the_environments_keys_are_listed_too(folder: Path) -> None:
    """An operator sees every key that counts, and whose it is; not what it is."""
    secret = "hmac-canary-" + "b" * 32
    given = {"HMAC_SECRET": secret, "MCP_GATEWAY_SUBJECT": "signal-agent"}
    told = keys(folder, "list", "--json", **given)
    assert [(one["key_id"], one["source"]) for one in told.json()] == [
        ("signal-agent", "environment")
    ]
    assert secret not in told.out
    assert "no keys" in keys(folder, "list").out


def test_lists_can_be_narrowed_to_a_subject(folder: Path) -> None:
    """A fleet has thousands."""
    new(folder)
    keys(folder, "new", "--subject", "risk-agent")
    told = keys(folder, "list", "--subject", "risk-agent", "--json").json()
    assert [one["subject"] for one in told] == ["risk-agent"]


@pytest.mark.parametrize(
    "words",
    [
        ("new",), ("new", "--subject", ""), ("new", "--subject", "a\x1b[31m"),
        ("new", "--subject", "x" * 129), ("new", "--subject", "a", "--alg", "rsa"),
        ("new", "--subject", "a", "--public-key", "/nowhere"),
        ("new", "--subject", "a", "--issuer", ""), ("new", "--subject", "a", "--valid-for", "7"),
        ("new", "--subject", "a", "--valid-for", "-1d"), ("new", "--subject", "a", "--valid-for", "9999d"),
        ("new", "--subject", "a", "--valid-for", "0"),
        ("rotate", "k", "--overlap", "week"), ("rotate",), ("revoke", "k"),
        ("revoke", "k", "--reason", " "), ("revoke", "k", "--reason", "a\nb"),
        ("revoke", "k", "--reason", "x" * 201),
    ],
    ids=range(17),
)  # fmt: skip
def test_misuse_is_told_and_changes_nothing(folder: Path, words: tuple[str, ...]) -> None:
    """Exit code 2, a sentence, and no file."""
    told = keys(folder, *words)
    assert (told.code, told.out) == (2, "")
    assert told.err
    assert not (folder / "keys.json").exists()


@pytest.mark.parametrize("kind", ["text", "other", "private", "hmac"])
def test_a_public_key_that_is_none_is_refused(folder: Path, kind: str) -> None:
    """Not PEM, another kind, a private key handed over by mistake, or beside an HMAC key."""
    pem = folder / "agent.pem"
    told = {
        "text": b"no key", "other": public_pem(ec.generate_private_key(ec.SECP256R1())),
        "private": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
        "hmac": public_pem(Ed25519PrivateKey.generate()),
    }  # fmt: skip
    pem.write_bytes(told[kind])
    algorithm = () if kind == "hmac" else ("--alg", "ed25519")
    words = ("new", "--subject", "a", "--public-key", str(pem), *algorithm)
    assert keys(folder, *words).code == (2 if kind == "hmac" else 1)
    assert listed(folder) == {}


def test_unknown_keys_and_broken_files_are_told(folder: Path) -> None:
    """Exit code 1 for what is not there, 2 for a file that has to be mended first."""
    unknown = keys(folder, "revoke", "nobody", "--reason", "x")
    assert (unknown.code, "key_unknown" in unknown.err) == (1, True)
    (folder / "keys.json").write_text("{}")
    for words in (("list",), ("new", "--subject", "a"), ("rotate", "k")):
        broken = keys(folder, *words)
        assert (broken.code, "chmod 600" in broken.err) == (2, True)


def test_a_file_elsewhere_is_used_where_one_is_named(folder: Path, tmp_path: Path) -> None:
    """MCP_GATEWAY_KEYS_FILE takes the place of the data folder's."""
    elsewhere = tmp_path / "etc" / "keys.json"
    told = keys(folder, "new", "--subject", "a", MCP_GATEWAY_KEYS_FILE=str(elsewhere))
    assert told.code == 0
    assert elsewhere.exists()
    assert not (folder / "keys.json").exists()


HMAC = {"HMAC_SECRET": "hmac-canary-" + "b" * 32, "MCP_GATEWAY_SUBJECT": "signal-agent"}


def test_a_key_of_an_issuer_that_nobody_believes_is_refused(folder: Path) -> None:
    """It would never serve; whom this gateway believes is told."""
    written(folder, "desk.pem", ed25519().pem)
    desk = {"issuer": DESK, "algorithm": "EdDSA", "key_file": "desk.pem"}
    given = {"MCP_GATEWAY_ISSUERS_FILE": str(issuers_file(folder, desk=desk))}
    told = keys(folder, "new", "--subject", "a", "--issuer", f"{DESK}/", **given)
    assert (told.code, told.out, "issuer_unknown" in told.err) == (1, "", True)
    assert f"Believed here: {DESK}, mcp-gateway" in told.err
    assert not (folder / "keys.json").exists()
    for name in (DESK, "mcp-gateway"):
        assert keys(folder, "new", "--subject", "a", "--issuer", name, **given).code == 0


def test_the_file_that_is_meant_is_named(folder: Path, tmp_path: Path) -> None:
    """On stderr, by every command: a key in another gateway's file serves nobody."""
    made = new(folder)
    for words in (("list",), ("rotate", made["key_id"]), ("revoke", "nobody", "--reason", "x")):
        assert str(folder / "keys.json") in keys(folder, *words).err
    elsewhere = str(tmp_path / "elsewhere.json")
    assert elsewhere in keys(folder, "list", MCP_GATEWAY_KEYS_FILE=elsewhere).err


def test_a_running_sandbox_is_not_meant_and_that_is_said(folder: Path) -> None:
    """Where nothing is set up, an operator may think that its keys are made."""
    home = folder / "mcp-gateway"
    home.mkdir()
    told = {"pid": os.getpid(), "data_dir": "/the/sandbox"}
    (home / "sandbox.json").write_text(json.dumps(told))
    unset: dict[str, Any] = {"MCP_GATEWAY_DATA_DIR": None}
    assert "MCP_GATEWAY_DATA_DIR=/the/sandbox" in keys(folder, "list", **unset).err
    assert "/the/sandbox" not in keys(folder, "list").err


def test_where_the_environments_key_leaves_no_room_it_is_named(folder: Path) -> None:
    """It counts as one of two; no command can end it."""
    made = new(folder)
    told = keys(folder, "rotate", made["key_id"], **HMAC)
    assert (told.code, "keys_full" in told.err) == (1, True)
    assert "HMAC_SECRET counts as one" in told.err
    assert listed(folder) == {made["key_id"]: "active"}
    operators = {
        "OPERATOR_HMAC_SECRET": "operator-canary-" + "c" * 32, "MCP_GATEWAY_OPERATOR": "signal-agent"
    }  # fmt: skip
    told = keys(folder, "rotate", made["key_id"], **operators)
    assert "OPERATOR_HMAC_SECRET counts as one" in told.err


@pytest.mark.parametrize(
    "words", [("revoke", "--reason", "x"), ("rotate",)], ids=["revoke", "rotate"]
)
def test_a_key_of_the_environment_is_no_unknown_one(folder: Path, words: tuple[str, ...]) -> None:
    """It is listed, so the answer says where it stands and how to be rid of it."""
    told = keys(folder, words[0], "signal-agent", *words[1:], **HMAC)
    assert (told.code, "key_of_environment" in told.err) == (1, True)
    assert "Take HMAC_SECRET out of the environment" in told.err
    assert HMAC["HMAC_SECRET"] not in told.err


def test_the_last_column_of_the_list_has_a_name(folder: Path) -> None:
    """It holds the issuer, or why a key was revoked."""
    new(folder)
    head, row = keys(folder, "list").out.splitlines()
    assert head.index("issuer or reason") == row.index("mcp-gateway")
