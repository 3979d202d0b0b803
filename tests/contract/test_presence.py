"""Each process that holds the store can be asked after, by every other one on the database."""

import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import psycopg
import pytest
from anyio.abc import Process
from sqlalchemy import Connection, make_url, text

from mcp_gateway.errors import StoreUnavailable
from mcp_gateway.storage import presence
from mcp_gateway.storage.engines import make_session_engine, read_url
from mcp_gateway.storage.presence import is_held
from mcp_gateway.storage.sql import Store
from tests.support.servers import Child, plain
from tests.support.upgrade import upgrade

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

NOBODY = "0" * 32
# The sessions that stand for a process, in the order of their ids.
SESSIONS = text(
    "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND mode = 'ShareLock' AND granted "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) ORDER BY pid"
)


@contextmanager
def unavailable() -> Iterator[None]:
    """Expect the refusal of a database that does not answer."""
    with pytest.raises(StoreUnavailable) as caught:
        yield
    assert caught.value.code == "database_unavailable"


@asynccontextmanager
async def shared(url: str, folder: Path, count: int) -> AsyncIterator[list[Store]]:
    """Open so many stores on one PostgreSQL, each with an id of its own."""
    await upgrade(url, data_dir=folder)
    stores = [Store(url, data_dir=folder) for _ in range(count)]
    try:
        for store in stores:
            await store.open()
        yield stores
    finally:
        for store in stores:
            await store.close()


async def _sessions(store: Store) -> list[int]:
    return list(await store.read(lambda connection: connection.scalars(SESSIONS).all()))


async def _gone(store: Store, holder: str) -> bool:
    return not await store.is_alive(holder)


async def _until(holds: Callable[[], Awaitable[bool]], *, within_s: float) -> None:
    with anyio.fail_after(within_s):
        while not await holds():
            await anyio.lowlevel.checkpoint()


async def test_who_holds_the_store_is_alive_and_nobody_else(store: Store) -> None:
    """On each engine: the own id lives, one that no process has does not."""
    assert await store.is_alive(store.holder)
    assert not await store.is_alive(NOBODY)
    assert not await store.is_alive("")


async def test_each_opening_is_a_life_of_its_own(store: Store) -> None:
    """What an earlier life left is nobody's, even if it was the same process."""
    before = store.holder
    await store.close()
    with unavailable():
        await store.is_alive(before)
    await store.open()
    assert store.holder != before
    assert await store.is_alive(store.holder)
    assert not await store.is_alive(before)


async def test_two_processes_see_each_other(postgres_url: str, tmp_path: Path) -> None:
    """Each is alive to the other for as long as it holds the store, and not a moment longer."""
    async with shared(postgres_url, tmp_path, 2) as (one, other):
        assert one.holder != other.holder
        assert await one.is_alive(other.holder)
        assert await other.is_alive(one.holder)
        await other.close()
        assert not await one.is_alive(other.holder)
        assert await one.is_alive(one.holder)


async def test_a_process_lives_until_its_last_transaction_is_over(
    postgres_url: str, tmp_path: Path
) -> None:
    """Who is taken for gone has nothing under way that could still be committed."""
    async with shared(postgres_url, tmp_path, 2) as (one, other):
        begun, go = Event(), Event()

        def last(_: Connection) -> None:
            begun.set()
            assert go.wait(5)

        async with anyio.create_task_group() as group:
            group.start_soon(one.write, last)
            assert await anyio.to_thread.run_sync(begun.wait, 5)
            group.start_soon(one.close)
            await anyio.lowlevel.checkpoint()
            with unavailable():
                await one.ping()
            assert await other.is_alive(one.holder)
            go.set()
        assert not await other.is_alive(one.holder)


async def test_an_id_counts_in_its_own_database_only(postgres_url: str, tmp_path: Path) -> None:
    """A copy of a ledger on the same server holds ids of processes that don't serve it."""
    copy = make_url(postgres_url).set(database=f"{make_url(postgres_url).database}_copy")
    with psycopg.connect(plain(postgres_url), autocommit=True) as admin:
        admin.execute(f'CREATE DATABASE "{copy.database}"'.encode())
        try:
            async with (
                shared(postgres_url, tmp_path, 1) as (one,),
                shared(copy.render_as_string(hide_password=False), tmp_path, 1) as (other,),
            ):
                assert not await other.is_alive(one.holder)
        finally:
            admin.execute(f'DROP DATABASE "{copy.database}" WITH (FORCE)'.encode())


# Asking


async def test_twenty_who_ask_at_once_agree(postgres_url: str, tmp_path: Path) -> None:
    """Nobody takes another who asks for the one who is asked after."""
    async with shared(postgres_url, tmp_path, 4) as stores:
        said: dict[str, list[bool]] = {stores[0].holder: [], NOBODY: []}

        async def ask(store: Store, holder: str) -> None:
            for _ in range(10):
                said[holder].append(await store.is_alive(holder))

        async with anyio.create_task_group() as group:
            for number in range(20):
                for holder in said:
                    group.start_soon(ask, stores[1 + number % 3], holder)
        assert said == {stores[0].holder: [True] * 200, NOBODY: [False] * 200}


async def test_asking_takes_nothing(postgres_url: str, tmp_path: Path) -> None:
    """A transaction that has asked holds no lock of anybody's, not even for its own length."""
    own = text(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()"
    )
    async with shared(postgres_url, tmp_path, 2) as (one, other):

        def ask(connection: Connection) -> tuple[bool, bool, Any]:
            alive, dead = (is_held(connection, holder) for holder in (other.holder, NOBODY))
            return alive, dead, connection.scalar(own)

        before = await _sessions(one)
        assert await one.read(ask) == (True, False, 0)
        assert await _sessions(one) == before
        assert len(before) == 2


# Ends and losses

HOLDER = """
import asyncio, pathlib, sys
from mcp_gateway.storage.sql import Store
async def main():
    store = Store(sys.argv[1], data_dir=pathlib.Path(sys.argv[2]))
    await store.open()
    print(store.holder, flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


@asynccontextmanager
async def holding(url: str, folder: Path) -> AsyncIterator[tuple[Process, str]]:
    """Start a process that holds the store, and tell its id."""
    command = [sys.executable, "-c", HOLDER, url, str(folder)]
    async with await anyio.open_process(command) as child:
        try:
            assert child.stdout is not None
            yield child, (await child.stdout.receive()).decode().strip()
        finally:
            if child.returncode is None:
                child.kill()


async def test_a_killed_process_is_gone_within_a_second(postgres_url: str, tmp_path: Path) -> None:
    """SIGKILL frees the lock with the connection; a process that only stands still lives."""
    async with (
        shared(postgres_url, tmp_path, 1) as (store,),
        holding(postgres_url, tmp_path) as (child, holder),
    ):
        assert await store.is_alive(holder)
        child.send_signal(signal.SIGSTOP)
        assert await store.is_alive(holder)
        child.kill()
        await _until(lambda: _gone(store, holder), within_s=1)


async def test_a_killed_process_of_the_embedded_store_is_gone(
    sqlite_url: str, tmp_path: Path
) -> None:
    """Who can open the store knows that nobody else holds it."""
    async with holding(sqlite_url, tmp_path) as (child, holder):
        store = Store(sqlite_url, data_dir=tmp_path)
        with pytest.raises(StoreUnavailable):
            await store.open()
        child.kill()
    await store.open()
    assert not await store.is_alive(holder)
    await store.close()


async def test_a_server_that_was_restarted_learns_who_lives(
    own_postgres: Child, tmp_path: Path
) -> None:
    """Every process takes its lock anew by itself, without a transaction that needs it."""
    async with shared(own_postgres.url, tmp_path, 2) as (one, other):
        own_postgres.stop()
        with unavailable():
            await one.is_alive(other.holder)
        with unavailable():
            await one.is_alive(NOBODY)
        assert await one.is_alive(one.holder)
        await anyio.to_thread.run_sync(own_postgres.start)
        await _until(lambda: one.is_alive(other.holder), within_s=5)
        await _until(lambda: other.is_alive(one.holder), within_s=5)
        assert not await one.is_alive(NOBODY)
        await other.close()
        assert not await one.is_alive(other.holder)


async def test_a_session_that_is_lost_alone_is_replaced(postgres_url: str, tmp_path: Path) -> None:
    """An operator who ends an idle session costs no caller anything."""
    end = text("SELECT pg_terminate_backend(pid, 5000) FROM unnest(:pids) AS pid")
    async with shared(postgres_url, tmp_path, 2) as (one, other):
        before = await _sessions(one)
        ended = await one.read(lambda c: c.scalars(end, {"pids": before}).all())
        assert ended == [True, True]
        await _until(lambda: one.is_alive(other.holder), within_s=5)
        await _until(lambda: other.is_alive(one.holder), within_s=5)
        assert not set(before) & set(await _sessions(one))


async def test_a_server_that_is_gone_holds_up_no_closing(
    own_postgres: Child, tmp_path: Path
) -> None:
    """There is nothing to let go any more."""
    async with shared(own_postgres.url, tmp_path, 1) as (store,):
        own_postgres.stop()
        with anyio.fail_after(2):
            await store.close()


async def test_a_server_that_hangs_holds_up_no_closing(
    own_postgres: Child, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for its answer beyond a bound; once it goes on, it hears that we left."""
    monkeypatch.setattr(presence, "WAIT_S", 0.2)
    async with shared(own_postgres.url, tmp_path, 2) as (one, other):
        await other.close()
        [backend] = await _sessions(one)
        await other.open()
        os.kill(backend, signal.SIGSTOP)
        try:
            with anyio.fail_after(2):
                await one.close()
            assert await other.is_alive(one.holder)
        finally:
            os.kill(backend, signal.SIGCONT)
        await _until(lambda: _gone(other, one.holder), within_s=2)


# The session


async def test_the_session_is_never_silent_for_long(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What lies in between, a proxy say, may end connections that carry nothing."""
    monkeypatch.setattr(presence, "BEAT_S", 0.02)
    last = text("SELECT query_start FROM pg_stat_activity WHERE pid = :pid")
    async with shared(postgres_url, tmp_path, 1) as (store,):
        [pid] = await _sessions(store)

        async def spoken() -> Any:
            return await store.read(lambda connection: connection.scalar(last, {"pid": pid}))

        for _ in range(2):
            before = await spoken()

            async def again(before: Any = before) -> bool:
                return bool(await spoken() > before)

            await _until(again, within_s=2)
        assert await _sessions(store) == [pid]


async def test_a_server_that_ends_idle_sessions_leaves_this_one(
    postgres_url: str, tmp_path: Path
) -> None:
    """It is idle for life, and its process must not seem gone for that."""
    name = make_url(postgres_url).database
    with psycopg.connect(plain(postgres_url), autocommit=True) as admin:
        admin.execute(f"ALTER DATABASE \"{name}\" SET idle_session_timeout = '100ms'".encode())
    async with shared(postgres_url, tmp_path, 1) as (store,):
        before = await _sessions(store)
        await anyio.sleep(0.4)
        assert await _sessions(store) == before
        assert len(before) == 1


def test_a_server_notices_a_host_that_vanished(postgres_url: str) -> None:
    """No packet tells that a host lost its power: the server has to ask, and soon."""
    engine = make_session_engine(read_url(postgres_url)[1])
    with engine.connect() as session:
        idle, interval, count = (
            int(str(session.scalar(text(f"SHOW tcp_keepalives_{name}"))))
            for name in ("idle", "interval", "count")
        )
    assert 0 < idle + interval * count < 10


async def test_a_process_that_can_not_show_its_life_does_not_open(
    postgres_url: str, tmp_path: Path
) -> None:
    """Its rows would be taken up by others while it is still at work on them."""
    await upgrade(postgres_url, data_dir=tmp_path)
    role = f"r{make_url(postgres_url).database}"
    url = make_url(postgres_url).set(username=role, password="lock")
    with psycopg.connect(plain(postgres_url), autocommit=True) as admin:
        admin.execute(f"CREATE ROLE {role} LOGIN PASSWORD 'lock' CONNECTION LIMIT 1".encode())
        try:
            admin.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}".encode())
            store = Store(url.render_as_string(hide_password=False), data_dir=tmp_path)
            with unavailable():
                await store.open()
            with unavailable():
                await store.ping()
            admin.execute(f"ALTER ROLE {role} CONNECTION LIMIT -1".encode())
            await store.open()
            await store.close()
        finally:
            admin.execute(f"DROP OWNED BY {role}".encode())
            admin.execute(f"DROP ROLE {role}".encode())
