"""SQLite's file, deleted or replaced under a store that is open."""

import shutil
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, text

from mcp_gateway.errors import StoreUnavailable
from mcp_gateway.storage import engines
from mcp_gateway.storage.sql import Store

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

FILE = "gateway.sqlite"
ADD = text("INSERT INTO scratch VALUES (1)")
COUNT = text("SELECT count(*) FROM scratch")


@pytest.fixture(params=["TRUNCATE", "WAL"])
async def store(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Store]:
    """An open store with a table, in the journal mode of each SQLite."""
    pragmas = (f"journal_mode={request.param}", *engines._PRAGMAS[1:])
    monkeypatch.setattr(engines, "_PRAGMAS", pragmas)
    opened = Store(f"sqlite:///{tmp_path}/{FILE}", data_dir=tmp_path)
    await opened.open()
    await opened.write(lambda connection: connection.execute(text("CREATE TABLE scratch (a INT)")))
    assert (tmp_path / f"{FILE}-wal").exists() == (request.param == "WAL")
    yield opened
    await opened.close()


async def wrote(store: Store) -> bool:
    """Try to write; tell whether the work was begun."""
    begun = False

    def add(connection: Connection) -> None:
        nonlocal begun
        begun = True
        connection.execute(ADD)

    try:
        await store.write(add)
    except StoreUnavailable:
        assert not begun
    return begun


def deleted(folder: Path) -> None:
    for file in folder.glob(f"{FILE}*"):
        file.unlink()


def replaced(folder: Path) -> None:
    """Put a copy in the file's place, as a restored backup is."""
    shutil.copy(folder / FILE, folder / "backup")
    (folder / "backup").replace(folder / FILE)


def moved(folder: Path) -> None:
    (folder / FILE).rename(folder / "elsewhere.sqlite")


@pytest.mark.parametrize("harm", [deleted, replaced, moved])
async def test_a_file_that_is_not_the_opened_one_takes_no_write(
    store: Store, tmp_path: Path, harm: Callable[[Path], None]
) -> None:
    """What was committed there would be forgotten at the next start, and an order sent again."""
    assert await wrote(store)
    harm(tmp_path)
    assert not await wrote(store)
    for refusing in (store.ping(), store.write(lambda connection: connection.execute(ADD))):
        with pytest.raises(StoreUnavailable) as refused:
            await refusing
        assert refused.value.code == "store_unavailable"
    assert await store.read(lambda connection: connection.scalar(COUNT)) == 1


async def test_a_file_that_is_put_back_is_written_again(store: Store, tmp_path: Path) -> None:
    """Moved away and back again it is the same file, and whole."""
    moved(tmp_path)
    assert not await wrote(store)
    (tmp_path / "elsewhere.sqlite").rename(tmp_path / FILE)
    assert await wrote(store)
    await store.ping()


@pytest.mark.parametrize("store", ["WAL"], indirect=True)
@pytest.mark.parametrize("again", [False, True], ids=["deleted", "replaced"])
async def test_a_log_that_is_not_the_opened_one_takes_no_write(
    store: Store, tmp_path: Path, again: bool
) -> None:
    """In WAL mode the newest commits stand in it alone: a crash would forget them."""
    log = tmp_path / f"{FILE}-wal"
    kept = log.read_bytes()
    log.unlink()
    if again:
        (tmp_path / "other").write_bytes(kept)
        (tmp_path / "other").rename(log)
    assert not await wrote(store)


async def test_a_store_writes_on_after_its_connection_was_made_anew(store: Store) -> None:
    """The last connection that closes removes the log, and the next one makes another."""
    store._require().engine.dispose()
    assert await wrote(store)


async def test_a_closed_store_opens_whatever_lies_there(store: Store, tmp_path: Path) -> None:
    """A backup that is put in its place while the gateway stands is the file from then on."""
    await store.close()
    replaced(tmp_path)
    await store.open()
    assert await wrote(store)
