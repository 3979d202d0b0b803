"""What a database's errors mean, in our words; its own text goes to the log alone."""

from typing import Final, Literal

from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from mcp_gateway.errors import StoreUnavailable
from mcp_gateway.telemetry import logs

EngineName = Literal["sqlite", "postgresql"]
TITLES: Final[dict[EngineName, str]] = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}

# Primary result codes of SQLite (sqlite.org/rescode.html); extended ones begin with them.
_SQLITE_WORDS: Final = (
    ("SQLITE_FULL", "the disk is full"),
    ("SQLITE_READONLY", "the database is read-only"),
    ("SQLITE_IOERR", "the disk reports an input or output error, or is full"),
    ("SQLITE_BUSY", "the database is locked by another process"),
    ("SQLITE_CORRUPT", "the database file is damaged"),
    ("SQLITE_NOTADB", "the file is no SQLite database"),
)
# SQLSTATE classes and codes (PostgreSQL manual, appendix A).
_POSTGRES_WORDS: Final = (
    ("53100", "the disk is full"),
    ("25006", "the database is read-only"),
    ("55P03", "a lock was not free in time"),
    ("57014", "a statement took too long"),
    ("42P01", "a table is missing"),
    ("42501", "the user lacks a right"),
)
_log = logs.get(__name__)


def unavailable(engine: EngineName, error: SQLAlchemyError) -> StoreUnavailable:
    """Translate trouble: a known cause is named, everything else is an engine that is gone."""
    state = _state(error)
    words = _SQLITE_WORDS if engine == "sqlite" else _POSTGRES_WORDS
    cause = next((says for begins, says in words if state.startswith(begins)), None)
    _log.error("the store does not serve", engine=engine, state=state, trouble=words_of(error))
    title = TITLES[engine]
    if cause is not None:
        return StoreUnavailable(f"{title} can't serve: {cause}.")
    if isinstance(error, DBAPIError) and (error.connection_invalidated or _never_reached(state)):
        return StoreUnavailable(f"{title} does not answer.", code="database_unavailable")
    return StoreUnavailable(f"{title} can't serve.")


def crowded(engine: EngineName) -> StoreUnavailable:
    """Return the refusal of a transaction that did not get its turn in time."""
    _log.error("the store does not serve", engine=engine, trouble="no turn in time")
    return StoreUnavailable(f"{TITLES[engine]} can't serve: too many transactions wait for it.")


def is_duplicate(error: IntegrityError) -> bool:
    """Tell whether a unique index refused, rather than a check or a trigger."""
    return _state(error) in {"23505", "SQLITE_CONSTRAINT_UNIQUE", "SQLITE_CONSTRAINT_PRIMARYKEY"}


def _state(error: SQLAlchemyError) -> str:
    """Return PostgreSQL's SQLSTATE or SQLite's code name, empty where no server spoke."""
    if not isinstance(error, DBAPIError) or error.orig is None:
        return ""
    told = error.orig
    return str(getattr(told, "sqlstate", None) or getattr(told, "sqlite_errorname", None) or "")


def _never_reached(state: str) -> bool:
    # Classes 08 (connection), 28 and 3D (log-in, no such database), 53 and 57 (not taking any).
    return state in {"", "SQLITE_CANTOPEN"} or state[:2] in {"08", "28", "3D", "53", "57"}


def words_of(error: SQLAlchemyError) -> str:
    """Return what the engine itself said, for the log."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        return str(error.orig)
    return type(error).__name__
