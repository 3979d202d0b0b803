"""Halts on both engines; on PostgreSQL over two gateways, and how soon the other one knows."""

import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import anyio
import psycopg
import pytest

from mcp_gateway.clock import Clock
from mcp_gateway.errors import GatewayError
from mcp_gateway.orders.book.actor import Actor
from mcp_gateway.orders.halts.freshness import FRESH_S
from mcp_gateway.orders.halts.local import LocalHalts
from mcp_gateway.orders.halts.records import NewHalt
from mcp_gateway.orders.halts.switch import Halts
from mcp_gateway.storage.sql import Store
from tests.support.clock import START, ManualClock
from tests.support.desk import Desk, admission, open_desk, order, refused
from tests.support.halting import halted, new_halt, resumed
from tests.support.servers import Child, plain
from tests.support.tradingbot import TradingBot

pytestmark = [pytest.mark.integration, pytest.mark.anyio]


@pytest.fixture
def halts(store: Store, tmp_path: Path) -> Halts:
    """The kill switch over one engine."""
    return Halts(store, ManualClock(), LocalHalts(tmp_path, ManualClock()))


@asynccontextmanager
async def two(url: str, folder: Path, *, clock: Clock | None = None) -> AsyncIterator[list[Halts]]:
    """Open the kill switches of two gateways with folders of their own on one database."""
    async with AsyncExitStack() as stack:
        made = []
        for name in ("one", "other"):
            (folder / name).mkdir()
            store = Store(url, data_dir=folder / name)
            await store.open(migrates=True)
            stack.push_async_callback(store.close)
            made.append(Halts(store, clock or ManualClock(), LocalHalts(folder / name)))
        yield made


async def test_a_halt_is_set_told_and_released(halts: Halts) -> None:
    """A row with everything that was said, and one more word when it goes."""
    record = await halted(halts, agent="agent-a")
    assert (record.scope, record.name, record.by, record.at) == ("agent", "agent-a", "alice", START)
    assert await halts.in_force() == (record,)
    [released] = await resumed(halts, record.id)
    assert await halts.in_force() == ()
    assert await halts.recent() == (released,)
    assert (released.id, released.released_by) == (record.id, "bob")


async def test_an_episode_is_halted_once(halts: Halts) -> None:
    """What a person released is not set again by the watch before its cause was gone."""
    watch = Actor.watching("watch")
    found = NewHalt("all", "", "bot_stalled", "no loop", watch, START, START - timedelta(hours=1))
    first = await halts.set(found)
    assert first is not None
    assert await halts.set(replace(found)) == first
    await resumed(halts)
    assert await halts.set(replace(found)) is None
    assert (halts.local.in_force(), len(await halts.recent())) == ((), 1)
    later = replace(found, unless_since=START + timedelta(seconds=1))
    assert await halts.set(later) is not None


async def test_two_who_halt_at_once_make_one_halt(postgres_url: str, tmp_path: Path) -> None:
    """The same watch in two gateways finds the same cause in the same second."""
    async with two(postgres_url, tmp_path) as made:
        async with anyio.create_task_group() as group:
            for halts in made * 5:
                group.start_soon(halts.set, new_halt())
        assert len(await made[0].recent()) == 1


async def test_two_who_release_at_once_release_once(postgres_url: str, tmp_path: Path) -> None:
    """One of them is told that it is not in force."""
    async with two(postgres_url, tmp_path) as made:
        await halted(made[0])
        told: list[str] = []

        async def release(halts: Halts) -> None:
            try:
                await resumed(halts, 1)
                told.append("released")
            except GatewayError as error:
                told.append(error.code)

        async with anyio.create_task_group() as group:
            for halts in made:
                group.start_soon(release, halts)
        assert sorted(told) == ["halt_unknown", "released"]


async def test_another_gateway_stops_its_entries_with_the_same_row(
    postgres_url: str, tmp_path: Path
) -> None:
    """It reads the halts in the transaction that would send, without having been told."""
    clock = ManualClock()
    async with AsyncExitStack() as stack:
        desks: list[Desk] = []
        for name in ("one", "other"):
            (tmp_path / name).mkdir()
            opened = open_desk(tmp_path / name, TradingBot(clock), clock, url=postgres_url)
            desks.append(await stack.enter_async_context(opened))
        one, other = desks
        await halted(one)
        assert other.halts.local.in_force() == ()
        assert (await refused(other, order())).code == "trading_halted"
        await resumed(one)
        assert (await other.orders.create(admission(), order())).answer["outcome"] == "placed"


async def test_another_gateway_knows_within_a_tenth_of_a_second(
    postgres_url: str, tmp_path: Path
) -> None:
    """For the moment between its ``sent`` and the first byte; the fastest of five."""
    took: list[float] = []
    both = two(postgres_url, tmp_path, clock=Clock())
    async with both as (one, other), anyio.create_task_group() as group:
        group.start_soon(other.keep)
        for _ in range(5):
            began = time.monotonic()
            await halted(one)
            with anyio.fail_after(5):
                while not other.local.is_global:  # noqa: ASYNC110 (that it is polled is the point)
                    await anyio.sleep(0.001)
            took.append(time.monotonic() - began)
            await resumed(one)
            while other.local.is_global:  # noqa: ASYNC110 (as above)
                await anyio.sleep(0.001)
        assert not other.local.freshness.is_stale
        group.cancel_scope.cancel()
    await anyio.sleep(2 * FRESH_S)
    assert other.local.freshness.is_stale  # nobody looks any more: nothing more leaves it
    print([round(one, 4) for one in took])
    assert min(took) < 0.1


async def test_a_file_at_one_gateway_halts_the_other_and_goes_with_its_row(
    postgres_url: str, tmp_path: Path
) -> None:
    """The row is released at the other one; the file's own gateway takes it away."""
    async with two(postgres_url, tmp_path) as (one, other):
        one.local.file.write("stop")
        await one.refresh()
        await other.refresh()
        assert [held.code for held in other.local.in_force()] == ["file"]
        await resumed(other)
        assert one.local.is_global
        await one.refresh()
        assert (one.local.file.seen(), one.local.in_force()) == (None, ())
        await one.refresh()
        assert await other.in_force() == ()


async def test_a_database_that_goes_down_releases_nothing(
    own_postgres: Child, tmp_path: Path
) -> None:
    """What is known stays in force; what is set meanwhile follows."""
    async with two(own_postgres.url, tmp_path) as (one, other):
        await halted(one)
        await other.refresh()
        await anyio.to_thread.run_sync(own_postgres.stop)
        with pytest.raises(GatewayError):
            await other.refresh()
        assert other.local.is_global
        late = await other.set(new_halt(agent="agent-a"))
        assert late is not None
        assert late.id is None
        await anyio.to_thread.run_sync(own_postgres.start)
        await other.refresh()
        assert sorted(held.scope for held in await one.in_force()) == ["agent", "all"]


async def test_a_database_that_comes_back_older_loses_no_halt(
    own_postgres: Child, tmp_path: Path
) -> None:
    """Restored from a backup, or failed over to a replica that lagged: nobody has released it."""
    server, _, _ = own_postgres.url.rpartition("/")
    admin = plain(own_postgres.url)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("CREATE DATABASE gateway")
    async with two(f"{server}/gateway", tmp_path) as (one, other):
        for halts in (one, other):
            await halts.refresh()
        await one._store.close()
        await other._store.close()
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute("CREATE DATABASE older TEMPLATE gateway")
        await one._store.open()
        await other._store.open()
        await halted(one, agent="agent-a")
        other.local.file.write("stop")
        for halts in (one, other, one):
            await halts.refresh()
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute("DROP DATABASE gateway WITH (FORCE)")
            connection.execute("ALTER DATABASE older RENAME TO gateway")
        for halts in (one, other, one):
            await halts.refresh()
            held = sorted(one.code for one in await halts.in_force())
            assert held == ["file", "operator"]
        assert other.local.file.seen() is not None
        await resumed(one)
        await other.refresh()
        assert (other.local.file.seen(), other.local.in_force()) == (None, ())


async def test_a_halt_waits_for_no_thousand_releases(postgres_url: str, tmp_path: Path) -> None:
    """All are released in one transaction, and the other gateway's halt is there behind it."""
    async with two(postgres_url, tmp_path) as (one, other):
        await halted(one, agent="agent-a")
        with psycopg.connect(plain(postgres_url)) as connection:
            connection.execute(
                "INSERT INTO halts (scope, name, code, at, by, reason) SELECT 'agent', 'n' || i,"
                " 'operator', (SELECT at FROM halts), 'x', 'r' FROM generate_series(1, 999) i"
            )
        async with anyio.create_task_group() as group:
            group.start_soon(resumed, one)
            await anyio.sleep(0.05)
            late = await other.set(new_halt(reason="meanwhile"))
        assert late is not None
        assert late.id is not None
        assert {held.reason for held in await one.in_force()} <= {"meanwhile"}
        released = [row for row in await one.recent(2000) if row.released_at is not None]
        assert len(released) >= 1000
