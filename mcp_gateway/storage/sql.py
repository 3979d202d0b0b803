"""The SQL store: SQLite in the data folder, or PostgreSQL; one door for every statement.

Importing it costs 0.2 s (SQLAlchemy), so only what runs after the start does.
"""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final, TypeVar
from uuid import uuid4

import anyio
import anyio.to_thread
from sqlalchemy import Connection, Engine, bindparam, func, select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from mcp_gateway.errors import StoreUnavailable
from mcp_gateway.storage.engines import file_of, make_engine, read_url
from mcp_gateway.storage.hold import Hold
from mcp_gateway.storage.opened import Opened
from mcp_gateway.storage.presence import is_held
from mcp_gateway.storage.revisions import (
    Revisions,
    migrate,
    outdated,
    read_revisions,
    refuse_newer,
)
from mcp_gateway.storage.trouble import crowded, unavailable
from mcp_gateway.storage.workers import NoTurn

__all__ = ["Revisions", "Store", "check", "take_turn"]

T = TypeVar("T")
_TURN: Final = select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("name"), 0)))


class Store:
    """A database and the one way into it: a function that is a whole transaction.

    It runs in a thread of the store's, so it may neither await nor touch what belongs to the
    event loop, and what it returns has to be values: a cursor is closed by then.

    SQLite has one connection and one thread. Transactions follow each other in the order
    they came, reads and writes alike, so no reader ever blocks a commit; a reader waits for
    the writers before it, each as long as its own statements, for a function can wait for
    nothing else. PostgreSQL has a pool, and a thread for each connection of it. Who finds no
    thread free within WAIT_S is refused, and nothing was begun.

    Whatever the engine reports becomes StoreUnavailable, but for IntegrityError: the ledger
    reads from it what was refused.

    ``holder`` is an id that nobody can guess, a new one from each ``open`` on. While the store
    is open, every process on the same database can ask whether it is (``is_alive``).

    Args:
        url: ``sqlite:///FILE`` or ``postgresql://…``, with or without the driver's name.
        data_dir: the folder whose lock an embedded store takes; ``serves`` is told to others.

    Raises:
        ConfigurationError: another kind of URL, or a driver that is not installed.
    """

    def __init__(self, url: str, *, data_dir: Path, serves: str = "") -> None:
        self.name, self._url = read_url(url)
        self._data_dir = data_dir.absolute()
        self._serves = serves
        self.holder = uuid4().hex
        self._holds: list[Hold] = []
        self._opened: Opened | None = None

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
            RuntimeError: it is open already.
        """
        if self._opened is not None:
            raise RuntimeError("the store is open")
        try:
            if self.name == "sqlite":
                self._take_hold()
            self.holder = uuid4().hex
            opened = self._opened = Opened.at(self.name, self._url, self.holder)
            found = await self._prepare(self.name == "sqlite" if migrates is None else migrates)
            if opened.presence is not None:
                await self._answered(opened, opened.presence.begin)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self.close()
            raise
        return found

    async def close(self) -> None:
        """Wait for the transactions under way, close every connection and let the lock go.

        From its first moment on new transactions are refused. A second call does nothing.
        """
        opened, self._opened = self._opened, None
        holds, self._holds = self._holds, []
        try:
            if opened is not None:
                await opened.close()
        finally:
            for hold in reversed(holds):
                hold.drop()

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run one transaction that writes; it is committed when ``work`` returns.

        It is undone when ``work`` raises. Once begun it is finished, even where the caller is
        cancelled meanwhile. A connection lost at the commit leaves open whether it happened:
        read again.

        Raises:
            StoreUnavailable: the engine is gone, full, read-only or too slow, or SQLite's file
                is not the one that was opened.
        """
        return await self._run(work, writes=True, checked=True)

    async def read(self, work: Callable[[Connection], T]) -> T:
        """Run one transaction that only reads.

        Raises:
            StoreUnavailable: the engine is gone or too slow.
        """
        return await self._run(work)

    async def ping(self) -> None:
        """Return if the engine answers a SELECT, and would take a write.

        An SQLite file that was deleted or replaced is still read from the open handle.

        Raises:
            StoreUnavailable: as for ``write``.
        """
        await self._run(lambda connection: connection.scalar(select(1)), checked=True)

    async def is_alive(self, holder: str) -> bool:
        """Tell whether the process of that id holds this store open now.

        Nobody else ever holds SQLite; of others PostgreSQL is asked. There a process that
        lives may seem gone until it has a new session, after a restart of the server say: who
        takes something over compares and sets.

        Raises:
            StoreUnavailable: the engine is gone or too slow: nothing is known.
        """
        self._require()
        if self.name == "sqlite" or holder == self.holder:
            return holder == self.holder
        return await self.read(lambda connection: is_held(connection, holder))

    async def revisions(self) -> Revisions:
        """Return the schema's revision, and the one this program needs."""
        return await self.read(read_revisions)

    def _take_hold(self) -> None:
        """Lock the data folder, and the database's own where that is another."""
        try:
            for folder in dict.fromkeys((self._data_dir, file_of(self._url).parent)):
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                hold = Hold(folder, self._serves)
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
        await self.write(migrate)
        return found

    def _require(self) -> Opened:
        if self._opened is None:
            raise StoreUnavailable("The store is not open.", code="database_unavailable")
        return self._opened

    async def _run(
        self, work: Callable[[Connection], T], *, writes: bool = False, checked: bool = False
    ) -> T:
        opened = self._require()
        transaction = partial(opened.transact, work, writes=writes, checked=checked)
        return await self._answered(opened, transaction)

    async def _answered(self, opened: Opened, work: Callable[[], T]) -> T:
        try:
            return await opened.workers.run(work)
        except NoTurn:
            raise crowded(self.name) from None
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            raise unavailable(self.name, error) from error


def take_turn(connection: Connection, name: str) -> None:
    """Let no other transaction that takes the turn of this name run beside this one.

    SQLite has one writer at a time anyway.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(_TURN, {"name": name})


async def check(url: str) -> Revisions:
    """Look at a database's revision, changing nothing; a running gateway is no hindrance.

    Raises:
        ConfigurationError: as for Store.
        StoreUnavailable: the database does not answer.
    """
    name, parts = read_url(url)
    if name == "sqlite" and not file_of(parts).exists():
        return Revisions(None)  # connecting would make the file
    try:
        return await anyio.to_thread.run_sync(_look, make_engine(name, parts))
    except SQLAlchemyError as error:
        raise unavailable(name, error) from error


def _look(engine: Engine) -> Revisions:
    try:
        with engine.connect() as connection:
            return read_revisions(connection)
    finally:
        engine.dispose()
