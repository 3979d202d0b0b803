"""The file of the keys: believed only where nobody else can read or replace it, written whole."""

import json
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mcp_gateway.access.keys import file
from mcp_gateway.access.keys.records import KeySet
from mcp_gateway.errors import ConfigurationError
from tests.support.clock import START
from tests.support.keys import made, record, written

pytestmark = [pytest.mark.unit]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir(mode=0o700)
    return folder / "keys.json"


def faults(path: Path) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as refused:
        file.read(path)
    return tuple(refused.value.faults)


def test_what_is_written_is_read(path: Path) -> None:
    """Every field of every kind of key comes back as it was."""
    keys = (record(), made("ed25519").record, record(revoked_at=START, secret=None, reason="x"))
    assert file.read(written(path, *keys)) == KeySet(keys)


def test_no_file_is_no_key(path: Path) -> None:
    """A gateway starts before its first key is made."""
    assert file.read(path) == KeySet()


def test_the_file_is_its_owners_alone(path: Path) -> None:
    """It holds secrets; so do a draft and the lock beside it."""
    old = os.umask(0)
    try:
        written(path, record())
    finally:
        os.umask(old)
    assert {stat.S_IMODE(one.stat().st_mode) for one in path.parent.iterdir()} == {0o600}


@pytest.mark.parametrize("mode", [0o604, 0o640, 0o660, 0o666, 0o601, 0o644])
def test_a_file_that_others_can_read_is_refused(path: Path, mode: int) -> None:
    """Whoever read it can sign as every agent; the line says what to do."""
    written(path, record()).chmod(mode)
    assert "chmod 600" in faults(path)[0]


def test_a_file_of_another_account_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That account could read and change it at any time."""
    written(path, record())
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    if path.stat().st_uid == 0:
        os.chown(path, 12345, 12345)
    assert "chown" in faults(path)[0]


def test_roots_command_leaves_the_file_to_the_gateways_account(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key made with sudo must not lock the gateway out of its own file, nor root."""
    given: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", lambda _file, uid, gid: given.append((uid, gid)))
    written(path, record())
    folder = path.parent.stat()
    assert given == [(folder.st_uid, folder.st_gid)] * 2  # the lock beside it and the file
    assert len(file.read(path).records) == 1


def test_root_gives_away_no_lock_that_is_somebody_elses_file(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may write the folder could name any file so, and own it once root has come by."""
    given: list[tuple[int, int]] = []
    shadow = path.with_name("shadow")
    shadow.touch(0o600)
    path.with_name("keys.json.lock").hardlink_to(shadow)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "fchown", lambda _file, uid, gid: given.append((uid, gid)))
    written(path, record())
    assert len(given) == 1


def test_a_link_in_its_place_is_refused(path: Path, tmp_path: Path) -> None:
    """The folder that it leads to may be anybody's; nothing is written over it either."""
    true = written(tmp_path / "true" / "keys.json", record())
    path.symlink_to(true)
    assert "is a link" in faults(path)[0]
    with pytest.raises(ConfigurationError):
        written(path, record())
    assert path.is_symlink()


def test_a_folder_that_others_can_write_is_refused(path: Path) -> None:
    """Who can write there can put another file in its place."""
    written(path, record())
    path.parent.chmod(0o770)
    assert "go-w" in faults(path)[0]
    path.parent.chmod(0o1777)  # there nobody can replace another's file
    assert len(file.read(path).records) == 1


def test_a_pipe_in_its_place_does_not_hang_the_gateway(path: Path) -> None:
    """Opening a pipe waits for a writer that never comes."""
    os.mkfifo(path, 0o600)
    assert "is no file" in faults(path)[0]
    path.unlink()
    path.mkdir(0o700)
    assert "is no file" in faults(path)[0]


def test_a_file_that_is_too_large_is_refused(path: Path) -> None:
    """Reading it would take the memory of the gateway."""
    with path.open("wb") as stream:
        path.chmod(0o600)
        stream.truncate(file.LARGEST_BYTES + 1)
    assert "larger" in faults(path)[0]


SOUND = json.loads(file.rendered(KeySet((record(),))))


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"\xff\xfe", b"null", b"[]", b"{}", b'{"version": 1}', b'{"version": 2, "keys": []}',
     b'{"version": 1, "keys": {}}', b'{"version": 1, "keys": [], "more": 1}',
     b'{"version": 1, "version": 1, "keys": []}', b'{"version": 1, "keys": [null]}',
     b"[" * 100_000, b'{"version": 1, "keys": [{"key_id": "a", "key_id": "b"}]}',
     json.dumps(SOUND | {"keys": SOUND["keys"] * 2}).encode(), json.dumps(SOUND).encode()[:-3]],
    ids=range(16),
)  # fmt: skip
def test_a_file_that_does_not_say_clearly_what_it_says_is_refused(path: Path, text: bytes) -> None:
    """Half a file, another version, a name twice: nothing is guessed."""
    path.write_bytes(text)
    path.chmod(0o600)
    found = faults(path)
    assert all(fault.startswith(f"MCP_GATEWAY_KEYS_FILE: {path}: ") for fault in found)
    assert SOUND["keys"][0]["secret"] not in str(found)


def test_every_fault_is_told_at_once(path: Path) -> None:
    """An operator mends a file in one go."""
    bad = [SOUND["keys"][0] | {"algorithm": "none"}, SOUND["keys"][0] | {"key_id": "", "extra": 1}]
    path.write_text(json.dumps({"version": 1, "keys": bad}))
    path.chmod(0o600)
    assert len(faults(path)) == 3


def test_a_change_that_is_refused_leaves_the_file_as_it_was(path: Path) -> None:
    """Neither a refusal before nor one just before writing leaves anything behind."""
    written(path, record())
    before = path.read_bytes()

    def refuse(*_: Any) -> Any:
        raise ConfigurationError(["no"])

    attempts: list[tuple[Callable[[KeySet], KeySet], Callable[[], object]]] = [
        (refuse, lambda: None), (lambda _keys: KeySet(), refuse)
    ]  # fmt: skip
    for make, before_writing in attempts:
        with pytest.raises(ConfigurationError):
            file.change(path, make, before_writing)
        assert path.read_bytes() == before
    assert {one.name for one in path.parent.iterdir()} == {"keys.json", "keys.json.lock"}


def test_changes_at_the_same_time_lose_nothing(path: Path) -> None:
    """Twenty commands at once: each reads what the one before wrote."""
    one_by_one = [record(f"agent-{number}") for number in range(20)]
    start = threading.Barrier(20)

    def add(place: int) -> None:
        start.wait()
        file.change(path, lambda keys: keys.with_new(one_by_one[place], START), lambda: None)

    threads = [threading.Thread(target=add, args=(place,)) for place in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {one.key_id for one in file.read(path).records} == {one.key_id for one in one_by_one}


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    """A fault of the set-up, with its setting's name."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError) as refused:
        file.change(tmp_path / "file" / "keys.json", lambda keys: keys, lambda: None)
    assert refused.value.faults[0].startswith("MCP_GATEWAY_KEYS_FILE: ")


def test_the_mark_changes_with_content_and_with_mode(path: Path) -> None:
    """A chmod that opens it to others is news, too."""
    assert file.mark(path) is None
    seen = {file.mark(written(path, record()))}
    path.chmod(0o644)
    seen.add(file.mark(path))
    path.chmod(0o600)
    seen.add(file.mark(written(path, record())))
    assert len(seen) == 3
