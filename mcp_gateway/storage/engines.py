"""The two SQL engines, each set up so that it keeps what it confirmed."""

import sqlite3
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool, QueuePool

from mcp_gateway.errors import ConfigurationError
from mcp_gateway.storage.trouble import EngineName

_ENGINES: Final[dict[str, EngineName]] = {
    "sqlite": "sqlite",
    "sqlite+pysqlite": "sqlite",
    "postgresql": "postgresql",
    "postgresql+psycopg": "postgresql",
}
_DRIVERS: Final[dict[EngineName, str]] = {
    "sqlite": "sqlite+pysqlite",
    "postgresql": "postgresql+psycopg",
}
# The WAL-Reset Bug (sqlite.org/wal.html) corrupts a database that two connections write or
# checkpoint at once; 3.51.3 is the first without it, and of two older lines these.
_WAL_CORRECTED: Final = (3, 51, 3)
_WAL_CORRECTED_IN: Final[dict[tuple[int, ...], tuple[int, ...]]] = {
    (3, 44): (3, 44, 6),
    (3, 50): (3, 50, 7),
}


def journal_mode(version: tuple[int, ...]) -> str:
    """Return WAL where this version of SQLite keeps a database whole in it."""
    return "WAL" if version >= _WAL_CORRECTED_IN.get(version[:2], _WAL_CORRECTED) else "TRUNCATE"


# FULL, for a row must have reached the disk before the order leaves.
_PRAGMAS: Final = (
    f"journal_mode={journal_mode(sqlite3.sqlite_version_info)}",
    "synchronous=FULL",
    "foreign_keys=ON",
)
WRITES: Final = "gateway_writes"  # the execution option that says how a transaction begins
WAIT_S: Final = 5
# SQLite has one only: in the modes without WAL a reader would block every commit.
CONNECTIONS: Final[dict[EngineName, int]] = {"sqlite": 1, "postgresql": 10}
# Nothing that hangs at the database may hold an order back for longer.
_POSTGRES: Final = {
    "connect_timeout": 3,
    "tcp_user_timeout": 5000,
    # A host that vanishes while we wait for its answer: nothing of ours is underway then.
    "keepalives_idle": 5,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "options": "-c statement_timeout=5s -c lock_timeout=4s "
    "-c idle_in_transaction_session_timeout=10s",
}
# The other direction: a server with the system's own settings would count a host that vanished
# for two hours more.
_SERVER_KEEPALIVES: Final = (
    " -c tcp_keepalives_idle=5 -c tcp_keepalives_interval=1 -c tcp_keepalives_count=3"
)


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


def make_engine(name: EngineName, url: URL) -> Engine:
    """Return an engine that connects when it is first used.

    It has as many connections as there are threads to use them (``CONNECTIONS``), so no
    thread ever waits for one.
    """
    pool: dict[str, Any] = {
        "poolclass": QueuePool,
        "pool_size": CONNECTIONS[name],
        "max_overflow": 0,
        "pool_timeout": WAIT_S,
    }
    if name == "sqlite":
        return _sqlite(url, pool)
    return create_engine(
        url,
        hide_parameters=True,
        connect_args=_POSTGRES,
        pool_pre_ping=True,  # a server that was restarted costs no caller an error
        **pool,
    )


def make_session_engine(url: URL) -> Engine:
    """Return an engine for a PostgreSQL session that is held for long, outside of transactions."""
    return create_engine(
        url,
        hide_parameters=True,
        connect_args=_POSTGRES | {"options": f"{_POSTGRES['options']}{_SERVER_KEEPALIVES}"},
        poolclass=NullPool,
        isolation_level="AUTOCOMMIT",
    )


def _sqlite(url: URL, pool: dict[str, Any]) -> Engine:
    engine = create_engine(
        url,
        hide_parameters=True,
        # One thread after the other, which Python's driver would rather not believe.
        connect_args={"timeout": WAIT_S, "check_same_thread": False},
        **pool,
    )
    event.listen(engine, "connect", _set_up)
    event.listen(engine, "begin", _begin)
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
