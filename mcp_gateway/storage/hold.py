"""One gateway process holds an embedded store: a lock that the system drops with its process."""

import fcntl
import os
from pathlib import Path

from mcp_gateway.errors import StoreUnavailable

LOCK_NAME = "gateway.lock"


class Hold:
    """An exclusive ``flock`` on ``<folder>/gateway.lock``, with the holder's pid inside.

    The file stays when the lock goes: removing it would let two processes lock two files.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK_NAME
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
            holder = os.read(descriptor, 32).decode("ascii", "replace").strip()
            os.close(descriptor)
            raise _held(holder) from error
        os.truncate(descriptor, 0)
        os.write(descriptor, f"{os.getpid()}\n".encode())
        self._descriptor = descriptor

    def drop(self) -> None:
        """Let the lock go; a second call does nothing."""
        if self._descriptor is not None:
            os.truncate(self._descriptor, 0)
            os.close(self._descriptor)
            self._descriptor = None


def _held(holder: str) -> StoreUnavailable:
    return StoreUnavailable(
        f"Another mcp-gateway (process {holder or 'unknown'}) holds this data folder.",
        code="store_held",
        hint="Use that one over HTTP (`mcp-gateway call --url http://HOST:PORT/mcp`), or give this "
        "one a folder of its own in MCP_GATEWAY_DATA_DIR.",
        detail={"holder": holder},
    )
