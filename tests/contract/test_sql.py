"""The SQL store keeps its promises on SQLite and on a real PostgreSQL alike."""

import asyncio
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from threading import Event
from typing import Any

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, inspect, make_url, text
from sqlalchemy.exc import IntegrityError

from mcp_gateway.errors import ConfigurationError, StoreUnavailable
from mcp_gateway.storage.engines import journal_mode
from mcp_gateway.storage.schema import REVISION, REVISIONS, metadata
from mcp_gateway.storage.sql import Revisions, Store, check, take_turn
from tests.support.servers import Child
from tests.support.upgrade import upgrade

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

FILLER = "x" * 1_000_000


@contextmanager
def refused(code: str) -> Iterator[None]:
    """Expect StoreUnavailable with that code, and a public form that names no path or SQL."""
    with pytest.raises(StoreUnavailable) as caught:
        yield
    assert caught.value.code == code
    told = str(caught.value.public())
    assert "SELECT" not in told
    assert "INSERT" not in told


async def _add(store: Store, detail: str = "") -> None:
    def add(connection: Connection) -> None:
        connection.execute(text("CREATE TABLE IF NOT EXISTS scratch (words TEXT)"))
        connection.execute(text("INSERT INTO scratch VALUES (:words)"), {"words": detail})

    await store.write(add)


async def _count(store: Store) -> int:
    count = text("SELECT count(*) FROM scratch")
    return int(await store.read(lambda connection: connection.scalar(count)) or 0)


def _insert(connection: Connection, words: str = "") -> None:
    connection.execute(text("INSERT INTO scratch VALUES (:words)"), {"words": words})


async def _add_row(store: Store) -> None:
    await store.write(_insert)


async def _say(store: Store, statement: str) -> None:
    """Run one statement that returns nothing."""
    await store.write(lambda connection: connection.execute(text(statement)))


async def test_the_engine_is_the_configured_one(store: Store, database_url: str) -> None:
    """The URL decides, once."""
    assert store.name == make_url(database_url).get_backend_name()
    await store.ping()


async def test_what_a_function_wrote_is_kept_when_it_returns(store: Store) -> None:
    """A transaction is committed with the end of its function."""
    await _add(store)
    assert await _count(store) == 1


async def test_a_function_that_fails_leaves_nothing(store: Store) -> None:
    """An exception undoes the whole transaction, and passes on unchanged."""
    await _add(store)

    def fail(connection: Connection) -> None:
        _insert(connection)
        raise LookupError

    with pytest.raises(LookupError):
        await store.write(fail)
    assert await _count(store) == 1


async def test_a_transaction_returns_what_its_function_returns(store: Store) -> None:
    """Values leave the thread; the event loop's side sees no cursor."""
    assert await store.read(lambda connection: connection.scalars(text("SELECT 7")).all()) == [7]


class Midway:
    """A transaction that stands between its two rows until it is let go."""

    def __init__(self, *, fails: bool = False) -> None:
        self.begun = Event()
        self._go = Event()
        self._fails = fails

    def __call__(self, connection: Connection) -> None:
        """Write the first row, wait, write the second."""
        _insert(connection, "one")
        self.begun.set()
        assert self._go.wait(5)
        _insert(connection, "two")
        if self._fails:
            raise LookupError

    async def reached(self) -> None:
        """Return once the first row is written."""
        assert await anyio.to_thread.run_sync(self.begun.wait, 5)

    def go(self) -> None:
        """Let it go on."""
        self._go.set()


@pytest.mark.parametrize("fails", [False, True], ids=["commits", "fails"])
async def test_a_cancelled_caller_never_cuts_a_transaction_in_half(
    store: Store, fails: bool
) -> None:
    """What has begun ends first, as a whole, and only then the cancellation goes on."""
    await _add(store)
    midway, went_on = Midway(fails=fails), False
    async with anyio.create_task_group() as group:

        async def call() -> None:
            nonlocal went_on
            try:
                await store.write(midway)
            finally:
                went_on = True

        group.start_soon(call)
        await midway.reached()
        group.cancel_scope.cancel()
        with anyio.CancelScope(shield=True):
            for _ in range(20):
                await anyio.lowlevel.checkpoint()
            assert not went_on
            midway.go()
    assert went_on
    assert await _count(store) == (1 if fails else 3)
    with anyio.fail_after(5):
        await _add_row(store)


async def test_a_task_cancelled_past_anyio_finishes_its_transaction_too(store: Store) -> None:
    """A server that stops cancels its tasks natively; no scope holds that back.

    The task is gone at once; its transaction ends in its thread, never mixed with the next,
    and closing waits for it.
    """
    await _add(store)
    midway = Midway()
    task = asyncio.create_task(store.write(midway))
    await midway.reached()
    for _ in range(2):
        task.cancel()
        await anyio.lowlevel.checkpoint()
    await asyncio.wait([task], timeout=5)
    assert task.cancelled()
    async with anyio.create_task_group() as group:
        group.start_soon(_add_row, store)
        await anyio.lowlevel.checkpoint()
        midway.go()
    await store.close()
    await store.open()
    assert await _count(store) == 4


async def test_a_caller_cancelled_while_it_waits_begins_nothing(
    sqlite_url: str, tmp_path: Path
) -> None:
    """Who goes before its turn leaves no row; the one before and the one behind are kept."""
    store = Store(sqlite_url, data_dir=tmp_path)
    await store.open()
    await _add(store)
    midway = Midway()
    async with anyio.create_task_group() as group:
        group.start_soon(store.write, midway)
        await midway.reached()
        with anyio.move_on_after(0) as waiting:
            await _add_row(store)
        assert waiting.cancelled_caught
        group.start_soon(_add_row, store)
        await anyio.lowlevel.checkpoint()
        midway.go()
    assert await _count(store) == 4
    await store.close()


async def test_closing_waits_for_what_runs_and_takes_nothing_new(store: Store) -> None:
    """A lock that went before the last commit would let in a second process."""
    await _add(store)
    midway = Midway()
    async with anyio.create_task_group() as group:
        group.start_soon(store.write, midway)
        await midway.reached()
        group.start_soon(store.close)
        await anyio.lowlevel.checkpoint()
        with refused("database_unavailable"):
            await store.ping()
        if store.name == "sqlite":
            with refused("store_held"):
                await store.open()
        midway.go()
    await store.open()
    assert await _count(store) == 3


async def test_the_event_loop_goes_on_while_a_transaction_stands(store: Store) -> None:
    """A database that takes its time delays nobody who does not need it."""
    await _add(store)
    midway = Midway()
    async with anyio.create_task_group() as group:
        group.start_soon(store.write, midway)
        await midway.reached()
        for _ in range(1000):
            await anyio.lowlevel.checkpoint()
        midway.go()
    assert await _count(store) == 3


async def test_turns_of_one_name_follow_each_other(store: Store) -> None:
    """Who reads what others wrote before it writes must not do so beside another."""
    await _add(store)
    first = Midway()

    def turn(connection: Connection) -> int:
        take_turn(connection, "entries")
        return int(connection.scalar(text("SELECT count(*) FROM scratch")) or 0)

    def held(connection: Connection) -> None:
        take_turn(connection, "entries")
        first(connection)

    seen: list[int] = []

    async def second() -> None:
        seen.append(await store.write(turn))

    async with anyio.create_task_group() as group:
        group.start_soon(store.write, held)
        await first.reached()
        group.start_soon(second)
        if store.name == "postgresql":
            await _until_somebody_waits(store)
        first.go()
    assert seen == [3]


async def _until_somebody_waits(store: Store) -> None:
    waiting = text("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted")
    with anyio.fail_after(5):
        while not await store.read(lambda connection: connection.scalar(waiting)):
            await anyio.lowlevel.checkpoint()


async def test_64_writers_all_get_through(store: Store) -> None:
    """Writers wait for each other instead of failing."""
    await _add(store)
    async with anyio.create_task_group() as group:
        for _ in range(64):
            group.start_soon(_add_row, store)
    assert await _count(store) == 65


async def test_a_refused_row_is_left_to_the_caller(store: Store) -> None:
    """IntegrityError alone passes the door: who wrote the row knows what it means."""
    orphan = "INSERT INTO order_history (order_id, state, at, detail) VALUES ('x', 'sent', 1, '{}')"
    with pytest.raises(IntegrityError):
        await _say(store, orphan)


async def test_any_other_error_of_the_engine_is_ours_at_the_door(store: Store) -> None:
    """No sentence of a database reaches a caller."""
    with refused("store_unavailable"):
        await store.read(lambda connection: connection.scalar(text("SELECT nonsense FROM orders")))


async def test_a_store_that_is_not_open_refuses(store: Store) -> None:
    """Closed is unavailable; closing twice is no error."""
    await store.close()
    await store.close()
    with refused("database_unavailable"):
        await store.ping()


async def test_an_open_store_is_not_opened_twice(store: Store) -> None:
    """A fault of the code, which must not cost the store that serves."""
    with pytest.raises(RuntimeError):
        await store.open()
    await store.ping()


async def test_a_closed_store_opens_again_with_its_rows(store: Store) -> None:
    """What was confirmed survives the process."""
    await _add(store)
    await store.close()
    assert (await store.open()).ready
    assert await _count(store) == 1


# The schema


async def test_the_migrations_make_what_the_statements_expect(
    store: Store, database_url: str, tmp_path: Path
) -> None:
    """Alembic finds no difference, and the catalogue agrees word for word with the tables."""

    def differences(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    def made(connection: Connection) -> dict[str, Any]:
        found = inspect(connection)
        return {
            table: {
                "columns": [
                    (c["name"], str(c["type"]), c["nullable"]) for c in found.get_columns(table)
                ],
                "key": found.get_pk_constraint(table),
                "foreign": found.get_foreign_keys(table),
                "unique": sorted(found.get_unique_constraints(table), key=str),
                "checks": sorted(found.get_check_constraints(table), key=str),
                "indexes": sorted(_index(index) for index in found.get_indexes(table)),
            }
            for table in metadata.tables
        }

    def made_anew(connection: Connection) -> dict[str, Any]:
        metadata.drop_all(connection)
        metadata.create_all(connection)
        return made(connection)

    assert await store.read(differences) == []
    migrated = await store.read(made)
    assert await store.write(made_anew) == migrated
    places = [index for index in migrated["orders"]["indexes"] if "in_flight" in index[0]]
    assert [(unique, "sent" in only) for _, unique, _, only in places] == [(True, True)] * 2


def _index(index: Any) -> tuple[str, bool, list[str], str]:
    options = index.get("dialect_options", {})
    only = options.get("sqlite_where", options.get("postgresql_where", ""))
    return index["name"], bool(index["unique"]), index["column_names"], str(only)


def test_the_code_names_the_newest_revision() -> None:
    """The start compares one word instead of loading alembic; the word must be true."""
    config = Config()
    config.set_main_option("script_location", "mcp_gateway.storage:migrations")
    scripts = ScriptDirectory.from_config(config)
    assert scripts.get_current_head() == REVISION
    assert [one.revision for one in reversed(list(scripts.walk_revisions()))] == list(REVISIONS)


def _files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_an_empty_database_is_told_apart_and_upgraded(
    database_url: str, tmp_path: Path
) -> None:
    """``check`` changes nothing; ``upgrade`` runs what is missing, once."""
    assert await check(database_url) == Revisions(None)
    assert not any(_files(tmp_path))
    assert (await upgrade(database_url, data_dir=tmp_path)).current is None
    assert (await upgrade(database_url, data_dir=tmp_path)).ready
    assert (await check(database_url)).ready


async def test_postgres_waits_for_an_operator(postgres_url: str, tmp_path: Path) -> None:
    """A database that other gateways may be using is not migrated by a start."""
    store = Store(postgres_url, data_dir=tmp_path)
    with refused("schema_outdated"):
        await store.open()
    assert await check(postgres_url) == Revisions(None)
    with refused("database_unavailable"):
        await store.ping()
    await upgrade(postgres_url, data_dir=tmp_path)
    await store.open()
    await store.ping()
    await store.close()


async def test_sqlite_is_migrated_by_the_start(sqlite_url: str, tmp_path: Path) -> None:
    """One process owns the file, so nobody has to be asked."""
    store = Store(sqlite_url, data_dir=tmp_path)
    assert (await store.open()).current is None
    assert (await store.revisions()).ready
    await store.close()


async def test_a_database_of_a_newer_program_is_refused(store: Store) -> None:
    """Old code on a new schema would write what it does not understand."""
    await _say(store, "UPDATE alembic_version SET version_num = '9999'")
    await store.close()
    with refused("schema_newer"):
        await store.open()


async def test_upgrades_that_meet_run_one_after_the_other(
    postgres_url: str, tmp_path: Path
) -> None:
    """Two operators, or two starting containers, migrate once."""
    async with anyio.create_task_group() as group:
        for _ in range(4):
            group.start_soon(lambda: upgrade(postgres_url, data_dir=tmp_path))
    assert (await check(postgres_url)).ready


# The embedded store


async def test_a_second_holder_is_refused_and_told_the_way(sqlite_url: str, tmp_path: Path) -> None:
    """One gateway process holds the store; another is told to bridge to it."""
    first = Store(sqlite_url, data_dir=tmp_path, serves="https://gateway.test")
    second = Store(sqlite_url, data_dir=tmp_path)
    await first.open()
    with pytest.raises(StoreUnavailable) as held:
        await second.open()
    assert held.value.code == "store_held"
    assert "call --url https://gateway.test/mcp" in held.value.hint
    assert "MCP_GATEWAY_DATA_DIR" in held.value.hint
    await first.ping()
    await first.close()
    await second.open()
    await second.close()


HOLDER = """
import asyncio, pathlib, sys
from mcp_gateway.storage.sql import Store
async def main():
    await Store(sys.argv[1], data_dir=pathlib.Path(sys.argv[2])).open()
    print("open", flush=True)
    await asyncio.sleep(600)
asyncio.run(main())
"""


async def test_a_killed_process_leaves_the_store_free(sqlite_url: str, tmp_path: Path) -> None:
    """The system drops the lock with its process; no stale file has to be removed by hand."""
    command = [sys.executable, "-c", HOLDER, sqlite_url, str(tmp_path)]
    async with await anyio.open_process(command) as holder:
        assert holder.stdout is not None
        assert (await holder.stdout.receive()).startswith(b"open")
        store = Store(sqlite_url, data_dir=tmp_path)
        with pytest.raises(StoreUnavailable) as held:
            await store.open()
        assert (held.value.code, held.value.detail) == ("store_held", {"holder": str(holder.pid)})
        holder.kill()
    await store.open()
    await store.close()


async def test_one_file_under_two_data_folders_is_held_once(
    sqlite_url: str, tmp_path: Path
) -> None:
    """The file is what must not be shared, whatever the folder is called."""
    first = Store(sqlite_url, data_dir=tmp_path / "one")
    await first.open()
    with refused("store_held"):
        await Store(sqlite_url, data_dir=tmp_path / "two").open()
    await first.close()


async def test_nobody_else_can_read_the_embedded_store(tmp_path: Path) -> None:
    """Folder, database, and lock belong to the gateway's user alone."""
    folder = tmp_path / "data"
    store = Store(f"sqlite:///{folder / 'gateway.sqlite'}", data_dir=folder)
    await store.open()
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o077 for path in _files(folder)} == {0}
    await store.close()


async def test_sqlite_confirms_only_what_is_on_the_disk(sqlite_url: str, tmp_path: Path) -> None:
    """Full synchronisation in every journal mode."""
    store = Store(sqlite_url, data_dir=tmp_path)
    await store.open()
    names = ("journal_mode", "synchronous", "foreign_keys")
    said = await store.read(lambda c: {one: c.scalar(text(f"PRAGMA {one}")) for one in names})
    mode = journal_mode(sqlite3.sqlite_version_info).lower()
    assert said == {"journal_mode": mode, "synchronous": 2, "foreign_keys": 1}
    await store.close()


async def test_others_may_read_the_file_while_the_gateway_runs(
    sqlite_url: str, tmp_path: Path
) -> None:
    """An operator's ``sqlite3`` and a backup see what is committed."""
    store = Store(sqlite_url, data_dir=tmp_path)
    await store.open()
    await _add(store)
    with closing(sqlite3.connect(f"file:{tmp_path / 'gateway.sqlite'}?mode=ro", uri=True)) as other:
        assert other.execute("SELECT count(*) FROM scratch").fetchall() == [(1,)]
        await _add_row(store)
        assert other.execute("SELECT count(*) FROM scratch").fetchall() == [(2,)]
    await store.close()


FILLING = """
import asyncio, pathlib, resource, signal, sys
from sqlalchemy import text
from mcp_gateway.errors import StoreUnavailable
from mcp_gateway.storage.sql import Store
async def main():
    store = Store(sys.argv[1], data_dir=pathlib.Path(sys.argv[2]))
    await store.open()
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, resource.RLIM_INFINITY))
    add = text("INSERT INTO audit_log (event, at, detail) VALUES ('x', 1, :filler)")
    written = 0
    try:
        for written in range(100):
            await store.write(lambda c: c.execute(add, {"filler": "x" * 50_000}))
    except StoreUnavailable as error:
        print("refused", error.code, written)
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY,) * 2)
    await store.write(lambda c: c.execute(add, {"filler": "after"}))
    print("rows", await store.read(lambda c: c.scalar(text("SELECT count(*) FROM audit_log"))))
    await store.close()
asyncio.run(main())
"""


def test_a_file_that_can_not_grow_is_told_and_loses_nothing(
    sqlite_url: str, tmp_path: Path
) -> None:
    """A full disk refuses the write; what was confirmed stays, and room again is enough."""
    command = [sys.executable, "-c", FILLING, sqlite_url, str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    # A log line stands among them.
    said = dict(line.split(" ", 1) for line in run.stdout.splitlines())
    code, written = said["refused"].split()
    rows = said["rows"]
    assert code == "store_unavailable"
    assert 0 < int(written) < 5
    assert int(rows) == int(written) + 1


async def test_a_full_database_is_named(sqlite_url: str, tmp_path: Path) -> None:
    """SQLITE_FULL is what a full disk gives; a page limit gives the same."""
    store = Store(sqlite_url, data_dir=tmp_path)
    await store.open()
    await _add(store)
    await _say(store, "PRAGMA max_page_count = 60")
    with pytest.raises(StoreUnavailable) as full:
        await _add(store, detail=FILLER)
    assert (full.value.code, full.value.message) == (
        "store_unavailable", "SQLite can't serve: the disk is full.",
    )  # fmt: skip
    assert await _count(store) == 1
    await store.close()


async def test_a_read_only_database_still_answers_reads(sqlite_url: str, tmp_path: Path) -> None:
    """Writes fail closed, reads go on."""
    store = Store(sqlite_url, data_dir=tmp_path)
    await store.open()
    await _add(store)
    await _say(store, "PRAGMA query_only = ON")
    with pytest.raises(StoreUnavailable) as refusal:
        await _add_row(store)
    assert "read-only" in refusal.value.message
    assert await _count(store) == 1
    await store.close()


async def test_a_damaged_file_is_named(sqlite_url: str, tmp_path: Path) -> None:
    """A file that is no database is not overwritten."""
    file = tmp_path / "gateway.sqlite"
    file.write_bytes(b"not a database" * 1000)
    with refused("store_unavailable"):
        await Store(sqlite_url, data_dir=tmp_path).open()
    assert file.read_bytes() == b"not a database" * 1000


async def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path) -> None:
    """A wrong data folder is named by the variable that sets it."""
    (tmp_path / "file").touch()
    folder = tmp_path / "file" / "data"
    with pytest.raises(StoreUnavailable) as refusal:
        await Store(f"sqlite:///{folder / 'x.sqlite'}", data_dir=folder).open()
    assert refusal.value.code == "store_unavailable"
    assert "MCP_GATEWAY_DATA_DIR" in refusal.value.hint


# PostgreSQL


async def test_a_postgres_that_dies_is_named_and_one_that_returns_is_used(
    own_postgres: Child, tmp_path: Path
) -> None:
    """It is never replaced by SQLite; back again, it serves without a restart of ours."""
    store = Store(own_postgres.url, data_dir=tmp_path)
    await store.open(migrates=True)
    await _add(store)
    own_postgres.stop()
    with refused("database_unavailable"):
        await store.ping()
    with refused("database_unavailable"):
        await _add_row(store)
    own_postgres.start()
    await _add_row(store)
    assert await _count(store) == 2
    await store.close()


async def test_a_postgres_that_was_restarted_costs_no_caller_an_error(
    own_postgres: Child, tmp_path: Path
) -> None:
    """Connections kept from before the restart are noticed before a statement goes out."""
    store = Store(own_postgres.url, data_dir=tmp_path)
    await store.open(migrates=True)
    await _add(store)
    own_postgres.stop()
    own_postgres.start()
    await _add_row(store)
    assert await _count(store) == 2
    await store.close()


async def test_a_postgres_that_dies_inside_a_transaction_keeps_none_of_it(
    own_postgres: Child, tmp_path: Path
) -> None:
    """Half a transaction is no transaction, and its author is told."""
    store = Store(own_postgres.url, data_dir=tmp_path)
    await store.open(migrates=True)
    await _add(store)

    def die_midway(connection: Connection) -> None:
        _insert(connection)
        own_postgres.stop()

    with refused("database_unavailable"):
        await store.write(die_midway)
    own_postgres.start()
    assert await _count(store) == 1
    await store.close()


async def test_a_postgres_that_is_down_is_named_at_the_start(tmp_path: Path) -> None:
    """The start says which part does not answer."""
    store = Store("postgresql://postgres@127.0.0.1:1/postgres", data_dir=tmp_path)
    with pytest.raises(StoreUnavailable) as down:
        await store.open()
    assert (down.value.code, down.value.message) == (
        "database_unavailable", "PostgreSQL does not answer.",
    )  # fmt: skip
    with refused("database_unavailable"):
        await check("postgresql://postgres@127.0.0.1:1/postgres")


async def test_any_number_of_processes_share_postgres(postgres_url: str, tmp_path: Path) -> None:
    """Only the embedded store is held by one."""
    await upgrade(postgres_url, data_dir=tmp_path)
    stores = [Store(postgres_url, data_dir=tmp_path) for _ in range(2)]
    for store in stores:
        await store.open()
    await _add(stores[0])
    assert await _count(stores[1]) == 1
    for store in stores:
        await store.close()


@pytest.mark.parametrize(
    "url", ["mysql://u:hunter2@h/d", "hunter2", "sqlite://", "sqlite:///:memory:", "redis://h/0"]
)
def test_a_url_of_another_kind_is_refused_without_repeating_it(url: str, tmp_path: Path) -> None:
    """The URL may hold a password."""
    with pytest.raises(ConfigurationError) as refusal:
        Store(url, data_dir=tmp_path)
    assert refusal.value.faults[0].startswith("DATABASE_URL: ")
    assert "hunter2" not in str(refusal.value)
