"""The file that keeps the signing keys: read with every fault told, written whole or not at all.

It holds secrets in plain text, so it is believed only where nobody but its owner can read it,
or put another in its place.
"""

import errno
import fcntl
import json
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from mcp_gateway.access.folders import open_to_others
from mcp_gateway.access.keys.records import KeyRecord, KeySet, record_faults
from mcp_gateway.errors import ConfigurationError

VERSION: Final = 1
LARGEST_BYTES: Final = 16 * 1024 * 1024  # of some 40,000 keys
OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
OWN: Final = 0o600
Mark = tuple[int, int, int, int]
Change = Callable[[KeySet], KeySet]


def read(path: Path) -> KeySet:
    """Return the keys of the file; of none where there is no file.

    Raises:
        ConfigurationError: every fault, one line each, with what mends it.
    """
    try:
        text = _text(path)
    except FileNotFoundError:
        return KeySet()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise _faulty(path, ["is a link; name the file that it leads to"]) from None
        raise _faulty(path, [f"cannot be read ({error.strerror})"]) from None
    try:
        return parse(text)
    except ConfigurationError as error:
        raise _faulty(path, error.faults) from None


def parse(text: bytes) -> KeySet:
    """Return the keys that a file's bytes tell.

    Raises:
        ConfigurationError: every fault, one line each.
    """
    try:
        document = json.loads(text.decode("utf-8"), object_pairs_hook=_each_once)
    except (ValueError, RecursionError):
        raise ConfigurationError(["not JSON in UTF-8, each name once"]) from None
    if not isinstance(document, dict) or document.get("version") != VERSION:
        raise ConfigurationError([f"not a keys file of version {VERSION}"])
    told = document.get("keys")
    if set(document) != {"version", "keys"} or not isinstance(told, list):
        raise ConfigurationError(["has a version and a list of keys, and nothing else"])
    looked_at = [record_faults(one, place) for place, one in enumerate(told)]
    if faults := [fault for _, found in looked_at for fault in found]:
        raise ConfigurationError(faults)
    return KeySet(tuple(record for record, _ in looked_at if record is not None))


def rendered(keys: KeySet) -> bytes:
    """Return the file's bytes for these keys; the only place where secrets are written."""
    told = [_told(record) for record in keys.records]
    return json.dumps({"version": VERSION, "keys": told}, indent=2).encode() + b"\n"


def change(path: Path, make: Change, before_writing: Callable[[], object]) -> KeySet:
    """Read the file, change what it tells, and write it, with nobody in between.

    Args:
        make: returns the keys as they shall be; what it raises leaves the file as it was.
        before_writing: called when all is well but the file not yet written; it may still raise.

    Raises:
        ConfigurationError: the file has faults, or cannot be written.
    """
    with _locked(path):
        keys = read(path)
        wanted = make(keys)
        if wanted == keys:
            return keys
        try:
            draft = _drafted(path, rendered(wanted))
        except OSError as error:
            raise _faulty(path, [f"cannot be written ({error.strerror})"]) from None
        try:
            before_writing()
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
        _synced(path.parent)
        return wanted


def mark(path: Path) -> Mark | None:
    """Return what changes with every writing of the file, or of its mode; None: there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ctime_ns, found.st_size, found.st_ino


def _text(path: Path) -> bytes:
    # Opened once and looked at open, so that nobody swaps it in between; a pipe must not block.
    # A link is not followed: others might write the folder that it leads to.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise _faulty(path, ["is no file"])
        faults = _open_to_others(found, path.parent.stat())
        if found.st_size > LARGEST_BYTES:
            faults.append(f"larger than {LARGEST_BYTES} bytes")
        if faults:
            raise _faulty(path, faults)
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            return stream.read(LARGEST_BYTES + 1)
    finally:
        os.close(descriptor)


def _open_to_others(found: os.stat_result, folder: os.stat_result) -> list[str]:
    faults = []
    if found.st_mode & OTHERS:
        faults.append("others can read it; chmod 600, and rotate its keys if others have")
    me = os.geteuid()
    # Root's command works on the gateway account's file, in that account's folder.
    believed = {me, 0} if me else {0, folder.st_uid}
    if found.st_uid not in believed:
        faults.append("belongs to another account; chown it to the gateway's")
    if open_to_others(folder):
        faults.append("its folder can be written by others; chmod go-w")
    return faults


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _lock_file(path)
    except OSError as error:
        raise _faulty(path, [f"its folder cannot be written ({error.strerror})"]) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _lock_file(path: Path) -> int:
    way = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    lock = os.open(path.with_name(f"{path.name}.lock"), way, OWN)
    try:
        found = os.fstat(lock)
        # A file with another name, or with something in it, is no lock of ours to give away.
        if found.st_nlink == 1 and found.st_size == 0:
            _left_to_the_owner(path, lock)
    except BaseException:
        os.close(lock)
        raise
    return lock


def _drafted(path: Path, text: bytes) -> Path:
    """Write a file beside it, safe on the disk before it takes the other's place."""
    draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, OWN)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            _left_to_the_owner(path, descriptor)
            stream.write(text)
            stream.flush()
            os.fsync(descriptor)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return draft


def _left_to_the_owner(path: Path, descriptor: int) -> None:
    if os.geteuid() == 0:  # root's command must not lock the gateway's account out
        owner = (path if path.exists() else path.parent).stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _synced(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _told(record: KeyRecord) -> dict[str, Any]:
    told: dict[str, Any] = record.model_dump(mode="json", exclude_none=True)
    return told


def _each_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    told = dict(pairs)
    if len(told) != len(pairs):
        raise ValueError("a name stands twice")
    return told


def _faulty(path: Path, faults: list[str] | tuple[str, ...]) -> ConfigurationError:
    return ConfigurationError([f"MCP_GATEWAY_KEYS_FILE: {path}: {fault}" for fault in faults])
