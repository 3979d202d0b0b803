"""One gateway process holds an embedded store: a lock that the system drops with its process."""

import fcntl
import os
from pathlib import Path
from typing import Final

from mcp_gateway.errors import StoreUnavailable

LOCK_NAME: Final = "gateway.lock"
STDIO: Final = "stdio"
LONGEST_LINE: Final = 1024
_ELSEWHERE: Final = "or give this one a folder of its own in MCP_GATEWAY_DATA_DIR."


class Hold:
    """An exclusive ``flock`` on ``<folder>/gateway.lock``; who holds it stands inside.

    The file stays when the lock goes: removing it would let two processes lock two files.

    Args:
        serves: what whoever is refused is told: the base URL that the holder answers at,
            ``stdio``, or nothing for a command that is soon done.
    """

    def __init__(self, folder: Path, serves: str = "") -> None:
        self._path = folder / LOCK_NAME
        self._serves = serves
        self._descriptor: int | None = None

    def take(self) -> None:
        """Take the lock, or refuse at once.

        Raises:
            StoreUnavailable: ``store_held``, with the way to the process that holds it.
            OSError: the folder can't be written.
        """
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            told = os.read(descriptor, LONGEST_LINE).decode("ascii", "replace")
            os.close(descriptor)
            raise _held(told.partition("\n")[0]) from error
        line = f"{os.getpid()} {self._serves}".rstrip() + "\n"
        # What a killed holder left is written over first: a reader takes the first line alone.
        os.pwrite(descriptor, line.encode(), 0)
        os.truncate(descriptor, len(line))
        self._descriptor = descriptor

    def drop(self) -> None:
        """Let the lock go; a second call does nothing."""
        if self._descriptor is not None:
            os.truncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def _held(told: str) -> StoreUnavailable:
    holder, _, serves = told.partition(" ")
    return StoreUnavailable(
        f"Another mcp-gateway (process {holder or 'unknown'}) holds this data folder.",
        code="store_held",
        hint=_way_out(serves),
        detail={"holder": holder} | ({"serves": serves} if serves else {}),
    )


def _way_out(serves: str) -> str:
    if serves == STDIO:
        return (
            "It serves one desktop app over stdio only, so nothing else can use it: close that "
            f"app, and serve HTTP for both with `mcp-gateway serve`; {_ELSEWHERE}"
        )
    if serves:
        return f"Use that one: `mcp-gateway call --url {serves}/mcp`; {_ELSEWHERE}"
    return f"It is a command that will soon be done: try again; {_ELSEWHERE}"
