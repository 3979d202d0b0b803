"""The clients file of POST /auth/token, and its passwords."""

import os
import time
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from mcp_gateway.access.clients import KEPT_FREE, WAITING, Clients, hash_password
from mcp_gateway.errors import ConfigurationError, QuotaExceeded

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

LONGEST_S = 86400
PASSWORD = "correct horse battery"
HASH = hash_password(PASSWORD)
GOOD = f"""
[clients.admin]
password = "{HASH}"
scopes = ["market:read", "orders:create"]
ttl_s = 600
act_for = ["scout"]

[clients.reader]
password = "{HASH}"
scopes = ["market:read"]
"""


def write(folder: Path, text: str | bytes, mode: int = 0o600) -> Path:
    path = folder / "clients.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


async def test_the_right_password_gives_the_client(tmp_path: Path) -> None:
    """What stands in the file is what its tokens will say."""
    client = await Clients.load(write(tmp_path, GOOD), LONGEST_S).check("admin", PASSWORD)
    assert client is not None
    assert (client.name, client.ttl_s) == ("admin", 600)
    assert client.act_for == {"scout"}
    assert client.scopes == {"market:read", "orders:create"}


@pytest.mark.parametrize(
    ("name", "password"),
    [
        ("admin", "correct horse batterz"), ("admin", ""), ("nobody", PASSWORD), ("", ""),
        ("Admin", PASSWORD), ("admin", PASSWORD + "\0"), ("admin", "\ud800"),
        ("admin", PASSWORD * 1000),
    ],
)  # fmt: skip
async def test_a_wrong_name_and_a_wrong_password_get_the_same_answer(
    tmp_path: Path, name: str, password: str
) -> None:
    """Nobody learns by asking which names exist."""
    assert await Clients.load(write(tmp_path, GOOD), LONGEST_S).check(name, password) is None


async def test_an_unknown_name_costs_as_much_as_a_known_one(tmp_path: Path) -> None:
    """The clock does not tell either: every check does the same work."""
    clients = Clients.load(write(tmp_path, GOOD), LONGEST_S)

    async def cost_s(name: str) -> float:
        costs = []
        for _ in range(3):
            began = time.process_time()
            await clients.check(name, "wrong password")
            costs.append(time.process_time() - began)
        return min(costs)

    known_s, unknown_s = await cost_s("admin"), await cost_s("nobody")
    assert 0.5 < unknown_s / known_s < 2


async def test_checking_a_password_does_not_hold_the_loop(tmp_path: Path) -> None:
    """Other callers go on while a hash is computed."""
    clients = Clients.load(write(tmp_path, GOOD), LONGEST_S)
    turns = 0
    async with anyio.create_task_group() as group:
        done = anyio.Event()

        async def check() -> None:
            await clients.check("admin", PASSWORD)
            done.set()

        group.start_soon(check)
        while not done.is_set():
            turns += 1
            await anyio.lowlevel.checkpoint()
    assert turns > 100


async def test_a_flood_of_logins_is_turned_away(tmp_path: Path) -> None:
    """Each costs a core and 16 MB: a bounded number waits, the rest is told when to come again."""
    clients = Clients.load(write(tmp_path, GOOD), LONGEST_S)
    refused = []

    async def login() -> None:
        try:
            await clients.check("nobody", "password")
        except QuotaExceeded as refusal:
            refused.append(refusal)

    async with anyio.create_task_group() as group:
        for _ in range(WAITING - KEPT_FREE + 3):
            group.start_soon(login)
        await anyio.lowlevel.checkpoint()
        known = await clients.check("admin", PASSWORD, is_known=True)
    assert known is not None
    assert [(each.code, each.retry_after_s) for each in refused] == [("quota_exceeded", 1.0)] * 3
    assert await clients.check("admin", PASSWORD) is not None


def test_a_folder_that_others_can_write_is_refused(tmp_path: Path) -> None:
    """Who can write there puts a file with its own password in its place."""
    path = write(tmp_path, GOOD)
    tmp_path.chmod(0o770)
    with pytest.raises(ConfigurationError) as refused:
        Clients.load(path, LONGEST_S)
    assert "go-w" in refused.value.faults[0]
    tmp_path.chmod(0o1777)  # there nobody can replace another's file
    assert isinstance(Clients.load(path, LONGEST_S), Clients)


def test_a_file_of_another_user_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its owner can change it at any time, also where the gateway runs as root."""
    path = write(tmp_path, GOOD)
    if path.stat().st_uid == 0:
        os.chown(path, 12345, 12345)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(ConfigurationError) as refused:
        Clients.load(path, LONGEST_S)
    assert "belongs to another user; chown it" in refused.value.faults[0]


def test_every_fault_of_the_file_is_named_at_once(tmp_path: Path) -> None:
    """An operator mends the file in one go."""
    text = f"""
    strange = 1
    [clients.a]
    password = "plain text"
    scopes = ["market:read"]
    [clients.b]
    password = "{HASH}"
    scopes = ["orders:everything"]
    [clients.c]
    password = "{HASH}"
    scopes = ["market:read"]
    ttl_s = 86401
    [clients.d]
    password = "{HASH}"
    scopes = "market:read"
    colour = "red"
    [clients.e]
    password = "{HASH}"
    scopes = ["market:read"]
    ttl_s = true
    [clients."f\\n"]
    password = "{HASH}"
    scopes = []
    """
    with pytest.raises(ConfigurationError) as refused:
        Clients.load(write(tmp_path, text, 0o644), LONGEST_S)
    told = "\n".join(refused.value.faults)
    for part in ["others can read it", "unknown table strange", "clients.a: password",
                 "clients.b: unknown scope", "clients.c: a token lives", "clients.d: scopes",
                 "clients.d: unknown field colour", "clients.e: ttl_s", "a subject is"]:  # fmt: skip
        assert part in told
    assert all(fault.startswith("MCP_GATEWAY_CLIENTS_FILE: ") for fault in refused.value.faults)


@pytest.mark.parametrize(
    "text", ["", "[clients]", "clients = 1", "[clients]\na = 1", "[[clients]]", "x", b"\xff\xfe"]
)
def test_a_file_without_clients_is_refused(tmp_path: Path, text: str | bytes) -> None:
    """A file that serves nobody is a mistake, not a setting."""
    with pytest.raises(ConfigurationError) as refused:
        Clients.load(write(tmp_path, text), LONGEST_S)
    assert refused.value.code == "configuration_invalid"


def test_a_missing_file_is_named_by_its_variable(tmp_path: Path) -> None:
    """The operator reads which setting is wrong."""
    with pytest.raises(ConfigurationError) as refused:
        Clients.load(tmp_path / "none.toml", LONGEST_S)
    assert refused.value.faults[0].startswith("MCP_GATEWAY_CLIENTS_FILE: cannot be read")


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o660])
def test_a_file_that_others_can_touch_is_refused(tmp_path: Path, mode: int) -> None:
    """Hashes can be guessed offline, and a writable file lets anybody in."""
    with pytest.raises(ConfigurationError) as refused:
        Clients.load(write(tmp_path, GOOD, mode), LONGEST_S)
    assert refused.value.code == "configuration_invalid"


SPOILT = {
    "cheaper by N": HASH.replace("16384", "2"),
    "cheaper by r": HASH.replace("$8$", "$1$"),
    "another scheme": HASH.replace("scrypt", "plain"),
    "cut": HASH[:-8],
    "longer": HASH + "$",
    "not base64": HASH[:-1] + "!",
    "the scheme alone": "scrypt$",
    "empty": "",
}


@pytest.mark.parametrize("spoilt", SPOILT.values(), ids=SPOILT.keys())
def test_a_hash_that_is_cheaper_or_broken_is_refused(tmp_path: Path, spoilt: str) -> None:
    """One cost for all: a cheaper hash could be told by the clock and guessed sooner."""
    with pytest.raises(ConfigurationError) as refused:
        Clients.load(write(tmp_path, GOOD.replace(HASH, spoilt)), LONGEST_S)
    assert refused.value.code == "configuration_invalid"


@pytest.mark.parametrize("password", ["", "short", "x" * 1025])
def test_a_password_that_no_client_should_have_is_not_hashed(password: str) -> None:
    """Empty, short or endless: refused where it is chosen."""
    with pytest.raises(ValueError, match="characters"):
        hash_password(password)


def test_the_loaded_file_shows_no_hash(tmp_path: Path) -> None:
    """Hashes never reach a log by way of repr."""
    assert repr(Clients.load(write(tmp_path, GOOD), LONGEST_S)) == "Clients(['admin', 'reader'])"
