"""The two SQL engines, each set up so that it keeps what it confirmed."""

import sqlite3
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from mcp_gateway.errors import ConfigurationError
from mcp_gateway.storage.trouble import EngineName

_ENGINES: Final[dict[str, EngineName]] = {
    "sqlite": "sqlite",
    "sqlite+aiosqlite": "sqlite",
    "postgresql": "postgresql",
    "postgresql+psycopg": "postgresql",
}
_DRIVERS: Final[dict[EngineName, str]] = {
    "sqlite": "sqlite+aiosqlite",
    "postgresql": "postgresql+psycopg",
}
# Until 3.51.3 SQLite could corrupt a database in WAL mode (sqlite.org/wal.html).
WAL_IS_SAFE: Final = sqlite3.sqlite_version_info >= (3, 51, 3)
# FULL, for a row must have reached the disk before the order leaves.
_PRAGMAS: Final = (
    f"journal_mode={'WAL' if WAL_IS_SAFE else 'TRUNCATE'}",
    "synchronous=FULL",
    "foreign_keys=ON",
)
WRITES: Final = "gateway_writes"  # the execution option that says how a transaction begins
WAIT_S: Final = 5
POOL_SIZE: Final = 10
# Nothing that hangs at the database may hold an order back for longer.
_POSTGRES: Final = {
    "connect_timeout": 3,
    "tcp_user_timeout": 5000,
    "options": "-c statement_timeout=5s -c lock_timeout=4s "
    "-c idle_in_transaction_session_timeout=10s",
}


def read_url(url: str) -> tuple[EngineName, URL]:
    """Return which engine a URL names, and the URL with the driver that is used for it.

    Raises:
        ConfigurationError: another engine, no file, or a driver that is not installed.
    """
    try:
        parts = make_url(url)
        engine = _ENGINES[parts.drivername]
    except (ArgumentError, ValueError, KeyError):
        # The URL may hold a password: neither it nor its parts are repeated.
        raise ConfigurationError(["DATABASE_URL: postgresql://… or sqlite:///FILE"]) from None
    if engine == "sqlite" and (parts.database or ":memory:") == ":memory:":
        raise ConfigurationError(["DATABASE_URL: a ledger in memory forgets; name a file"])
    if engine == "postgresql" and find_spec("psycopg") is None:
        raise ConfigurationError(
            ["DATABASE_URL: PostgreSQL needs `pip install 'freqtrade-mcp-gateway[postgres]'`"]
        )
    return engine, parts.set(drivername=_DRIVERS[engine])


def file_of(url: URL) -> Path:
    """Return the absolute path of an SQLite URL's file."""
    return Path(str(url.database)).absolute()


def make_engine(name: EngineName, url: URL) -> AsyncEngine:
    """Return an engine that connects when it is first used."""
    if name == "sqlite":
        return _sqlite(url)
    return create_async_engine(
        url,
        hide_parameters=True,
        connect_args=_POSTGRES,
        pool_size=POOL_SIZE,
        max_overflow=POOL_SIZE,
        pool_timeout=WAIT_S,
        pool_pre_ping=True,  # a server that was restarted costs no caller an error
    )


def _sqlite(url: URL) -> AsyncEngine:
    """One connection only: in the modes without WAL a reader would block every commit."""
    engine = create_async_engine(
        url,
        hide_parameters=True,
        connect_args={"timeout": WAIT_S},
        poolclass=AsyncAdaptedQueuePool,
        pool_size=1,
        max_overflow=0,
        pool_timeout=WAIT_S,
    )
    event.listen(engine.sync_engine, "connect", _set_up)
    event.listen(engine.sync_engine, "begin", _begin)
    return engine


def _set_up(connection: Any, _record: Any) -> None:
    # Python's driver would begin transactions by its own rules, and DDL outside of any.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    # A writer takes its lock at once: a reader that turns writer can only fail.
    writes = connection.get_execution_options().get(WRITES, False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
