"""An open database: its connections, a thread for each, and how a transaction runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Self, TypeVar

import anyio
import anyio.to_thread
from sqlalchemy import Connection, Engine
from sqlalchemy.engine import URL

from mcp_gateway.storage.engines import (
    CONNECTIONS,
    WAIT_S,
    WRITES,
    file_of,
    make_engine,
    make_session_engine,
)
from mcp_gateway.storage.presence import Presence
from mcp_gateway.storage.sqlite_file import SqliteFile
from mcp_gateway.storage.trouble import EngineName
from mcp_gateway.storage.workers import Workers

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Opened:
    """What a store has while it is open.

    ``presence`` is a sign of life where others may ask for it, ``file`` what an embedded
    database writes to.
    """

    engine: Engine
    workers: Workers
    presence: Presence | None
    file: SqliteFile | None

    @classmethod
    def at(cls, name: EngineName, url: URL, holder: str) -> Self:
        """Make ready what connects when it is first used; SQLite's file has to exist."""
        workers = Workers(CONNECTIONS[name], name=f"gateway-{name}", patience_s=WAIT_S)
        engine = make_engine(name, url)
        if name == "sqlite":
            file = SqliteFile(file_of(url))
            file.watch(engine)
            return cls(engine, workers, None, file)
        return cls(engine, workers, Presence(make_session_engine(url), holder), None)

    def transact(self, work: Callable[[Connection], T], *, writes: bool, checked: bool) -> T:
        """Run one transaction, in the calling thread.

        Args:
            checked: an embedded database whose file is not the opened one refuses.
        """
        with self.engine.connect() as connection:
            connection.execution_options(**{WRITES: writes})
            with connection.begin():
                if checked and self.file is not None:
                    self.file.require(connection)
                return work(connection)

    async def close(self) -> None:
        """Wait for the transactions under way and close every connection."""
        await self.workers.stop()
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._let_go)

    def _let_go(self) -> None:
        if self.presence is not None:
            self.presence.end()
        self.engine.dispose()
