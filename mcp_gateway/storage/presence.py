"""Who is alive, told by PostgreSQL: each process holds a lock that ends with its session.

The lock is a shared one, and no two processes have the same: nobody ever waits for it, and a
process may take it in a new session while the server still counts the old one. Who asks
reads the list of locks and takes none, so asking can't be mistaken for living.
"""

from itertools import chain, repeat
from selectors import EVENT_READ, DefaultSelector
from socket import socketpair
from threading import Thread
from typing import Any, Final, cast

from sqlalchemy import Connection, Engine, select, text
from sqlalchemy.exc import SQLAlchemyError

from mcp_gateway.telemetry import logs

RETRY_S: Final = 0.25
# Of another seed than turns (storage.sql): an id never meets the name of a turn.
_KEY: Final = "hashtextextended(:holder, 1)"
_TAKE: Final = text(f"SELECT pg_advisory_lock_shared({_KEY})")
_DROP: Final = text("SELECT pg_advisory_unlock_all()")
# A server may be set to end idle sessions (since version 14); this one is idle for life.
_STAYS: Final = text(
    "SELECT set_config(name, '0', false) FROM pg_settings WHERE name = 'idle_session_timeout'"
)
# How a key of 64 bits is listed: PostgreSQL manual, pg_locks.
_HELD: Final = text(f"""
    SELECT EXISTS (
        SELECT FROM pg_locks
        WHERE locktype = 'advisory' AND granted AND objsubid = 1
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND (CAST(classid AS bigint) << 32) | CAST(objid AS bigint) = {_KEY}
    )""")  # noqa: S608 - joined from constants; the id is a parameter
_log = logs.get(__name__)


def is_held(connection: Connection, holder: str) -> bool:
    """Tell whether a session of this database holds the lock of that id now."""
    return bool(connection.scalar(_HELD, {"holder": holder}))


class Presence:
    """The lock of one process, and the thread that keeps it.

    A session that is lost (a restart of the server, a cut network) is noticed at once by its
    socket and taken anew, tried again every ``RETRY_S``. Until then others read that this
    process is gone, although it lives.

    Both methods block.

    Args:
        engine: gives a session of its own, outside of any transaction; disposed of by ``end``.
        holder: the id that others ask for.
    """

    def __init__(self, engine: Engine, holder: str) -> None:
        self._engine = engine
        self._holder = holder
        self._end, self._ended = socketpair()
        self._thread: Thread | None = None

    def begin(self) -> None:
        """Take the lock, and keep it from now on.

        Raises:
            SQLAlchemyError: the server does not give it.
        """
        session = self._take()
        # A daemon, for a process that ends without a word must not wait for it.
        self._thread = Thread(
            target=self._stay, args=(session,), name="gateway-presence", daemon=True
        )
        self._thread.start()

    def end(self) -> None:
        """Let the lock go, where it was taken; when this returns, others read that it is free."""
        self._end.close()
        if self._thread is not None:
            self._thread.join()
        self._ended.close()
        self._engine.dispose()

    def _take(self) -> Connection:
        session = self._engine.connect()
        try:
            session.execute(_STAYS)
            session.execute(_TAKE, {"holder": self._holder})
        except BaseException:
            session.close()
            raise
        return session

    def _stay(self, session: Connection | None) -> None:
        while session is not None and not self._kept(session):
            session = self._taken_again()

    def _kept(self, session: Connection) -> bool:
        """Keep a session until it is to end (True) or lost."""
        with session:
            try:
                descriptor = _descriptor(session)
                while not self._ends(descriptor=descriptor):
                    # What a server says unasked is mostly good-bye.
                    session.scalar(select(1))
                session.execute(_DROP)
            except SQLAlchemyError as error:
                _log.warning("Other gateways may take this one for gone", trouble=str(error))
                return False
        return True

    def _taken_again(self) -> Connection | None:
        for pause_s in chain([0.0], repeat(RETRY_S)):
            if self._ends(pause_s):
                break
            try:
                session = self._take()
            except SQLAlchemyError:
                continue  # told once, when it was lost
            _log.warning("Other gateways see this one again")
            return session
        return None

    def _ends(self, within_s: float | None = None, *, descriptor: int | None = None) -> bool:
        """Wait that long, or for news on the descriptor; tell whether this is the end."""
        with DefaultSelector() as news:
            news.register(self._ended, EVENT_READ)
            if descriptor is not None:
                news.register(descriptor, EVENT_READ)
            return any(key.fileobj is self._ended for key, _ in news.select(within_s))


def _descriptor(session: Connection) -> int:
    return int(cast(Any, session.connection.driver_connection).fileno())
