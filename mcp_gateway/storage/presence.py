"""Who is alive, told by PostgreSQL: each process holds a lock that ends with its session.

The lock is a shared one, and no two processes have the same: nobody ever waits for it, and a
process may take it in a new session while the server still counts the old one. Who asks
reads the list of locks and takes none, so asking can't be mistaken for living.

A process that ended, killed or not, is gone within milliseconds, one whose host vanished
within ten seconds (``engines.make_session_engine``). One that is stopped or hangs lives. A
standby that takes over knows no locks: there everybody seems gone for a moment.
"""

from selectors import EVENT_READ, DefaultSelector
from socket import socketpair
from threading import Thread
from typing import Any, Final, cast

from sqlalchemy import Connection, Engine, select, text
from sqlalchemy.exc import SQLAlchemyError

from mcp_gateway.storage.engines import WAIT_S
from mcp_gateway.storage.trouble import words_of
from mcp_gateway.telemetry import logs

RETRY_S: Final = 0.25
BEAT_S: Final = 10.0  # so that nothing in between ends a session for being silent
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

    A session that is lost (a restart of the server, a cut network) is noticed by its socket
    and replaced, tried every ``RETRY_S``. Until then others read that this process is gone,
    although it lives.

    Both methods block.

    Args:
        engine: gives a session of its own, outside of any transaction; keeps none itself.
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
        """Let the lock go, where it was taken; when this returns, others read that it is gone.

        A server that does not answer holds nobody up: it drops the lock with the connection.
        """
        self._end.close()
        if self._thread is None:
            self._ended.close()
        else:
            self._thread.join(WAIT_S)

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
        with self._ended:
            while session is not None and not self._kept(session):
                session = self._taken_again()

    def _kept(self, session: Connection) -> bool:
        """Keep a session until the end (True) or until it is lost."""
        with session:
            try:
                descriptor = _descriptor(session)
                while not self._ends(BEAT_S, descriptor):
                    # What a server says unasked is mostly good-bye.
                    session.scalar(select(1))
                session.execute(_DROP)
            except SQLAlchemyError as error:
                _log.warning("Others may take this gateway for gone", trouble=words_of(error))
                return False
        return True

    def _taken_again(self) -> Connection | None:
        while not self._ends(RETRY_S):
            try:
                session = self._take()
            except SQLAlchemyError:
                continue  # it was told when the session was lost
            _log.warning("Others see this gateway again")
            return session
        return None

    def _ends(self, within_s: float, descriptor: int | None = None) -> bool:
        """Wait that long, or for news on the descriptor; tell whether this is the end."""
        with DefaultSelector() as news:
            news.register(self._ended, EVENT_READ)
            if descriptor is not None:
                news.register(descriptor, EVENT_READ)
            return any(key.fileobj is self._ended for key, _ in news.select(within_s))


def _descriptor(session: Connection) -> int:
    return int(cast(Any, session.connection.driver_connection).fileno())
