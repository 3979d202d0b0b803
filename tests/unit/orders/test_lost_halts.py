"""A database that comes back older, many halts, and releases that come late: no halt is lost."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, delete, func, insert, select

from mcp_gateway.domain.operations import OPERATIONS
from mcp_gateway.domain.principals import Principal, admission_by_the_gate
from mcp_gateway.errors import GatewayError, StoreUnavailable
from mcp_gateway.orders.book.actor import Actor
from mcp_gateway.orders.halts import rows as halt_rows
from mcp_gateway.orders.halts import switch
from mcp_gateway.orders.halts.board import Board
from mcp_gateway.orders.halts.local import MOST_OF_A_CALLER, LocalHalts
from mcp_gateway.orders.halts.records import HaltRequest, NewHalt
from mcp_gateway.orders.halts.switch import RELEASE_WITHIN_S, Halts
from mcp_gateway.storage.schema import halts as halts_table
from tests.support.clock import START
from tests.support.desk import Desk, admission, order, refused
from tests.support.halting import codes, halted, new_halt, resumed
from tests.support.heard import heard

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

BOB = Actor.operating("bob", "resume")


async def restored(desk: Desk) -> None:
    """Let the database be the one of before any halt, whose ids begin anew."""

    def forget(connection: Connection) -> None:
        connection.execute(delete(halts_table))
        connection.exec_driver_sql("DELETE FROM sqlite_sequence WHERE name = 'halts'")

    await desk.store.write(forget)


def another_gateway(desk: Desk, folder: Path) -> Halts:
    """Return the kill switch of another process on the same database."""
    (folder / "other").mkdir()
    return Halts(desk.store, desk.clock, LocalHalts(folder / "other", desk.clock))


@pytest.mark.parametrize("scope", [{}, {"agent": "agent-a"}, {"pair": "BTC/USDT"}], ids=str)
async def test_a_halt_whose_row_is_gone_stays_and_is_written_anew(
    desk: Desk, scope: dict[str, str]
) -> None:
    """A restored database has no row of it, and no person has released it."""
    await halted(desk, **scope)
    await desk.halts.refresh()
    await restored(desk)
    with heard(switch) as lines:
        await desk.halts.refresh()
    assert (await refused(desk, order())).code == "trading_halted"
    [record] = await desk.halts.in_force()
    assert (record.id, record.by, record.at) == (1, "alice", START)
    assert [line["log_level"] for line in lines if "lost" in line["event"]] == ["error"]
    assert (await desk.events()).count("halt.set") == 2
    await resumed(desk)
    assert (await desk.orders.create(admission(), order())).answer["outcome"] == "placed"


async def test_the_file_of_a_person_stays_where_its_row_is_gone(desk: Desk) -> None:
    """It goes with the release of its halt, and with nothing else."""
    path = desk.halts.local.file.path
    assert path is not None
    path.write_text("the exchange is odd")
    await desk.halts.refresh()
    await restored(desk)
    await desk.halts.refresh()
    await desk.halts.refresh()
    assert (path.exists(), await codes(desk)) == (True, ["file"])
    await resumed(desk)
    assert (path.exists(), await codes(desk)) == (False, [])


async def test_another_halt_under_the_same_id_stands_for_itself(desk: Desk) -> None:
    """A restored database gives its ids a second time."""
    await halted(desk, agent="agent-a")
    await desk.halts.refresh()
    await restored(desk)
    row = {
        "scope": "pair", "name": "ETH/USDT", "code": "operator",
        "at": START + timedelta(seconds=1), "by": "x",
        "reason": "another",
    }  # fmt: skip
    await desk.store.write(lambda connection: connection.execute(insert(halts_table), row))
    await desk.halts.refresh()
    held = await desk.halts.in_force()
    assert [(one.id, one.name) for one in held] == [(1, "ETH/USDT"), (2, "agent-a")]


async def test_what_a_person_released_since_is_not_halted_again(desk: Desk, tmp_path: Path) -> None:
    """A gateway that comes later than the one that wrote it anew overrules nobody."""
    other = another_gateway(desk, tmp_path)
    lost = await halted(desk)
    await other.refresh()
    await restored(desk)
    await halted(desk, agent="agent-z")  # takes the id of the lost one
    await desk.halts.refresh()
    anew = await resumed(desk)
    assert lost.id not in {one.id for one in anew if one.scope == "all"}
    await other.refresh()
    assert (other.local.in_force(), await codes(desk)) == ((), [])


async def test_that_the_bot_was_paused_is_written_anew_too(desk: Desk) -> None:
    """Else nobody would start it again."""
    await halted(desk)
    await desk.switch.look()
    await desk.halts.refresh()
    await restored(desk)
    await desk.halts.refresh()
    await resumed(desk)
    await desk.switch.look()
    assert desk.bot.state == "running"


async def test_a_halt_that_another_gateway_released_is_let_go(desk: Desk, tmp_path: Path) -> None:
    """Its row says who did it."""
    other = another_gateway(desk, tmp_path)
    await halted(desk)
    await other.refresh()
    assert other.local.is_global
    await resumed(desk)
    await other.refresh()
    assert (other.local.in_force(), other.local.unwritten) == ((), ())


async def test_many_halts_are_released_in_one_transaction(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody's new halt waits behind a thousand releases; each has its row in the audit log."""
    for number in range(30):
        await halted(desk, agent=f"agent-{number}")
    made, write = [], desk.store.write

    async def counted(work: Callable[[Connection], Any]) -> Any:
        made.append(work)
        return await write(work)

    monkeypatch.setattr(desk.store, "write", counted)
    assert len(await resumed(desk)) == 30
    assert len(made) == 1
    assert (await desk.events()).count("halt.released") == 30


async def test_a_look_at_halts_that_are_as_before_reads_one_short_row(desk: Desk) -> None:
    """Twenty times a second; whatever changes is seen."""

    async def word(sign: halt_rows.Sign | None) -> halt_rows.Word | None:
        known = desk.halts.local.written
        return await desk.store.read(lambda connection: halt_rows.word(connection, known, sign))

    first = await word(None)
    assert first is not None
    assert await word(first.sign) is None
    for change in (
        lambda: halted(desk),
        lambda: desk.store.write(halt_rows.note_pause),
        lambda: resumed(desk),
        lambda: halted(desk),
    ):
        await change()
        now = await word(first.sign)
        assert now is not None
        assert await word(now.sign) is None
        first = now


async def test_a_release_that_comes_late_does_not_happen(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asked for it was told by then that it failed, and has gone."""
    await halted(desk)
    write = desk.store.write

    async def slow(work: Callable[[Connection], Any]) -> Any:
        desk.clock.advance(RELEASE_WITHIN_S + 0.1)
        return await write(work)

    monkeypatch.setattr(desk.store, "write", slow)
    with pytest.raises(GatewayError) as told:
        await resumed(desk)
    monkeypatch.undo()
    assert (told.value.code, await codes(desk)) == ("release_too_late", ["operator"])
    assert (await desk.events()).count("halt.released") == 0


async def test_a_release_that_the_store_loses_is_told_as_not_known(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that breaks at the commit leaves it open."""
    await halted(desk)
    write = desk.store.write

    async def broken(work: Callable[[Connection], Any]) -> Any:
        await write(work)
        raise StoreUnavailable("gone", code="database_unavailable")

    monkeypatch.setattr(desk.store, "write", broken)
    with pytest.raises(GatewayError) as told:
        await resumed(desk)
    assert told.value.code == "release_unknown"


async def test_one_caller_may_not_take_up_all_halts(desk: Desk) -> None:
    """Of agents and pairs; everything may be halted always, and by anybody else as before."""

    async def opened() -> Halts:
        return desk.halts

    board = Board(desk.halts.local, opened, desk.clock)
    principal = Principal("tests", "agent-a", frozenset({"ops:halt"}))
    caller = Actor.calling(admission_by_the_gate(principal, OPERATIONS["halt"], "rest", "c"))
    for number in range(MOST_OF_A_CALLER):
        await board.set(HaltRequest(agent=f"nobody-{number}", reason="x"), caller)
    with pytest.raises(GatewayError) as told:
        await board.set(HaltRequest(agent="one-more", reason="x"), caller)
    assert told.value.code == "too_many_halts"
    assert (await board.set(HaltRequest(agent="nobody-0", reason="x"), caller))["stored"]
    assert (await board.set(HaltRequest(reason="x"), caller))["stored"]
    assert (await board.set(HaltRequest(agent="one-more", reason="x"), BOB))["stored"]
    count = select(func.count()).select_from(halts_table)
    found = await desk.store.read(lambda connection: connection.scalar(count))
    assert found == MOST_OF_A_CALLER + 2


async def test_an_episode_of_a_clock_that_was_ahead_is_none(desk: Desk) -> None:
    """A halt of tomorrow, released, says nothing of today's cause."""
    watch = Actor.watching("watch")
    ahead = START + timedelta(days=1)
    await desk.halts.set(NewHalt("all", "", "loss_stop", "lost", watch, ahead, START))
    await resumed(desk)
    found = NewHalt("all", "", "loss_stop", "lost", watch, START, START - timedelta(hours=1))
    assert await desk.halts.set(found) is not None


def test_two_records_are_of_one_row_by_more_than_the_id() -> None:
    """What the lost and the new one have in common says nothing."""
    one, other = (new_halt(reason=reason) for reason in ("a", "b"))
    assert one.says != other.says
