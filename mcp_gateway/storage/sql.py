"""The SQL store: SQLite in the data folder, or PostgreSQL; one door for every statement.

Importing this module costs most of a second (SQLAlchemy), so only what runs after the
start imports it.
"""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import anyio
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from mcp_gateway.errors import StoreUnavailable
from mcp_gateway.storage.engines import WRITES, file_of, make_engine, read_url
from mcp_gateway.storage.hold import Hold
from mcp_gateway.storage.revisions import (
    Revisions,
    migrate,
    outdated,
    read_revisions,
    refuse_newer,
)
from mcp_gateway.storage.trouble import unavailable

__all__ = ["Revisions", "Store", "check"]


class Store:
    """A database and the one way into it.

    SQLite has a single connection, so transactions follow each other and no reader ever
    blocks a commit; PostgreSQL has a pool. Whatever the engine reports becomes
    StoreUnavailable, but for IntegrityError: the ledger reads from it what was refused.

    Args:
        url: ``sqlite:///FILE`` or ``postgresql://…``, with or without the driver's name.
        data_dir: the folder whose lock an embedded store takes.

    Raises:
        ConfigurationError: another kind of URL, or a driver that is not installed.
    """

    def __init__(self, url: str, *, data_dir: Path) -> None:
        self.name, self._url = read_url(url)
        self._data_dir = data_dir.absolute()
        self._holds: list[Hold] = []
        self._engine: AsyncEngine | None = None
        self._opened_inode: int | None = None

    async def open(self, *, migrates: bool | None = None) -> Revisions:
        """Connect, and see to it that the schema is the one this program needs.

        SQLite is locked for this process and migrated by itself. PostgreSQL may be shared
        with gateways that run now, so there an operator migrates. May be called again
        after a failure.

        Args:
            migrates: whether missing revisions are run; None: on SQLite only.

        Returns:
            What was found, before any migration.

        Raises:
            StoreUnavailable: ``store_held``, ``schema_outdated``, ``schema_newer``,
                ``database_unavailable``, or ``store_unavailable`` (full disk, no right).
        """
        try:
            if self.name == "sqlite":
                self._take_hold()
            self._engine = make_engine(self.name, self._url)
            found = await self._prepare(self.name == "sqlite" if migrates is None else migrates)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.close()
            raise
        self._opened_inode = _inode(file_of(self._url)) if self.name == "sqlite" else None
        return found

    async def close(self) -> None:
        """Close every connection and let the lock go; a second call does nothing."""
        engine, self._engine = self._engine, None
        if engine is not None:
            await engine.dispose()
        while self._holds:
            self._holds.pop().drop()

    def write(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Run one transaction that writes; it is committed when the block ends.

        A connection lost at the commit leaves open whether it happened: read again.

        Raises:
            StoreUnavailable: the engine is gone, full, read-only or too slow.
        """
        return self._transaction(writes=True)

    def read(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """Run one transaction that only reads.

        Raises:
            StoreUnavailable: the engine is gone or too slow.
        """
        return self._transaction(writes=False)

    async def ping(self) -> None:
        """Return if the engine answers a SELECT, and SQLite's file is still the one it opened.

        A file that was deleted or replaced is still read from the open handle; only a write
        would find out.
        """
        if self.name == "sqlite" and _inode(file_of(self._url)) != self._opened_inode:
            raise StoreUnavailable(
                "The database file was removed or replaced.",
                hint="Stop the gateway, put the file back, and start again.",
            )
        async with self.read() as connection:
            await connection.execute(select(1))

    async def revisions(self) -> Revisions:
        """Return the schema's revision, and the one this program needs."""
        async with self.read() as connection:
            return await connection.run_sync(read_revisions)

    def _take_hold(self) -> None:
        """Lock the data folder, and the database's own where that is another."""
        try:
            for folder in dict.fromkeys((self._data_dir, file_of(self._url).parent)):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                hold = Hold(folder)
                hold.take()
                self._holds.append(hold)
            # SQLite gives its journal the rights of the database: nobody else's business.
            file_of(self._url).touch(mode=0o600)
        except OSError as error:
            raise StoreUnavailable(
                "The data folder can't be written.",
                hint="Name a folder that the gateway may write in MCP_GATEWAY_DATA_DIR.",
                detail={"reason": error.strerror},
            ) from error

    async def _prepare(self, migrates: bool) -> Revisions:
        found = await self.revisions()
        refuse_newer(self.name, found)
        if found.ready:
            return found
        if not migrates:
            raise outdated(self.name, found)
        async with self.write() as connection:
            await connection.run_sync(migrate)
        return found

    @asynccontextmanager
    async def _transaction(self, *, writes: bool) -> AsyncIterator[AsyncConnection]:
        if self._engine is None:
            raise StoreUnavailable("The store is not open.", code="database_unavailable")
        try:
            # A driver that is cancelled midway may never let its connection go; transactions
            # are short, and bounded by the engine's own time-outs.
            with anyio.CancelScope(shield=True):
                async with self._engine.connect() as connection:
                    await connection.execution_options(**{WRITES: writes})
                    async with connection.begin():
                        yield connection
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            raise unavailable(self.name, error) from error


def _inode(file: Path) -> int | None:
    try:
        return file.stat().st_ino
    except OSError:
        return None


async def check(url: str) -> Revisions:
    """Look at a database's revision, changing nothing; a running gateway is no hindrance.

    Raises:
        ConfigurationError: as for Store.
        StoreUnavailable: the database does not answer.
    """
    name, parts = read_url(url)
    if name == "sqlite" and not file_of(parts).exists():
        return Revisions(None)  # connecting would make the file
    engine = make_engine(name, parts)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(read_revisions)
    except SQLAlchemyError as error:
        raise unavailable(name, error) from error
    finally:
        await engine.dispose()
