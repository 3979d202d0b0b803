"""SQLite's file on the disk: whether it is still the one that is open."""

from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, event

from mcp_gateway.errors import StoreUnavailable

_LOG: Final = "gateway_wal"  # under which a connection keeps what its log was
Identity = tuple[int, int] | None  # device and inode; None where there is no file


class SqliteFile:
    """A database file that has to stay in its place while it is open.

    Where somebody deletes or replaces it, SQLite in WAL mode goes on in the file that nobody
    finds any more: after a restart every order since would be forgotten, and could be sent
    again. The same holds for the log beside it (``-wal``).

    Args:
        path: of a file that exists; it is remembered as it is now.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log = path.with_name(f"{path.name}-wal")
        self._was = _identity(path)

    def watch(self, engine: Engine) -> None:
        """Remember of each connection that the engine makes which log it has opened."""

        def note(connection: Any, record: Any) -> None:
            connection.execute("SELECT 1 FROM sqlite_schema").fetchall()  # opens the log
            record.info[_LOG] = _identity(self._log)

        event.listen(engine, "connect", note)

    def require(self, connection: Connection) -> None:
        """Return if both files are those that the connection writes to.

        Raises:
            StoreUnavailable: one was removed or replaced.
        """
        opened = _identity(self._path), _identity(self._log)
        if opened != (self._was, connection.info[_LOG]):
            raise StoreUnavailable(
                "The database file was removed or replaced.",
                hint="Stop the gateway, put the file back, and start again.",
            )


def _identity(path: Path) -> Identity:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
