"""The kill switch: entries stop at once, exits never, and only a person lets go."""

import os
from pathlib import Path

import anyio
import pytest

from mcp_gateway.clock import Clock
from mcp_gateway.errors import GatewayError
from mcp_gateway.orders.book.actor import Actor
from mcp_gateway.orders.halts import local
from mcp_gateway.orders.halts.file import HIDDEN, UNREADABLE, UNTOLD, HaltFile
from mcp_gateway.orders.halts.local import LocalHalts
from tests.support.clock import ManualClock
from tests.support.desk import Desk, admission, open_desk, order, refused, rested, stored
from tests.support.halting import (
    REASON,
    LateHalt,
    codes,
    halted,
    new_halt,
    resumed,
)
from tests.support.tradingbot import TradingBot

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


async def test_a_halt_of_everything_stops_entries_and_no_exit(desk: Desk) -> None:
    """Exits and cancels are never trapped (docs/halts.md)."""
    await desk.orders.create(admission(), order())
    resting = await rested(desk, pair="ETH/USDT", amount="2")
    await halted(desk)
    error = await refused(desk, order(pair="ETH/USDT"), "agent-b")
    assert (error.code, error.status) == ("trading_halted", 422)
    cancelled = await desk.orders.cancel(admission(operation="cancel_order"), resting.request_id)
    assert cancelled["status"] == "cancelled"
    sold = await desk.orders.create(admission(), order(side="sell"))
    assert sold.answer["outcome"] == "placed"
    assert [post["pair"] for post in desk.bot.posts if "pair" in post] == ["BTC/USDT", "ETH/USDT"]


@pytest.mark.parametrize(
    ("scope", "subject", "pair", "stopped"),
    [
        pytest.param({"agent": "agent-a"}, "agent-a", "BTC/USDT", True, id="the-agent"),
        pytest.param({"agent": "agent-a"}, "agent-b", "BTC/USDT", False, id="another-agent"),
        pytest.param({"pair": "ETH/USDT"}, "agent-a", "ETH/USDT", True, id="the-pair"),
        pytest.param({"pair": "ETH/USDT"}, "agent-a", "BTC/USDT", False, id="another-pair"),
        pytest.param({"agent": "ETH/USDT"}, "agent-a", "ETH/USDT", False, id="agent-like-a-pair"),
    ],
)
async def test_a_halt_binds_what_it_names(
    desk: Desk, scope: dict[str, str], subject: str, pair: str, stopped: bool
) -> None:
    """A halt of one agent or one pair leaves the others alone."""
    await halted(desk, **scope)
    wanted = order(pair=pair)
    if stopped:
        assert (await refused(desk, wanted, subject)).code == "trading_halted"
        assert desk.bot.posts == []
    else:
        created = await desk.orders.create(admission(subject), wanted)
        assert created.answer["outcome"] == "placed"


async def test_a_dry_run_tells_of_the_halt(desk: Desk) -> None:
    """Preview and create never disagree on the same state, the file included."""
    assert (await desk.orders.preview(admission(), order())).valid
    desk.halts.local.file.write("stop")
    told = await desk.orders.preview(admission(), order())
    assert [check.rule for check in told.checks if not check.passed] == ["trading_halted"]


async def test_a_halt_set_between_the_checks_and_the_send_stops_the_entry(
    tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> None:
    """``sent`` is committed, and the halt comes before the first byte: nothing is sent."""
    late = LateHalt(tmp_path)
    async with open_desk(tmp_path, bot, clock, local=late) as desk:
        wanted = order()
        error = await refused(desk, wanted)
        assert (late.looks, error.code, bot.posts) == (1, "trading_halted", [])
        record = await stored(desk, wanted)
        history = await desk.ledger.history(record.order_id)
        assert [str(step.state) for step in history] == ["received", "reserved", "sent", "denied"]
        await desk.halts.refresh()
        await resumed(desk)
        free = LocalHalts(tmp_path, clock)  # what was set aside is free again
        assert free.in_force() == ()
    async with open_desk(tmp_path, bot, clock) as desk:
        assert (await desk.orders.create(admission(), order())).answer["outcome"] == "placed"


async def test_a_halt_outlives_the_process(
    tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> None:
    """Kept across restarts: the row is in the store."""
    async with open_desk(tmp_path, bot, clock) as before:
        await halted(before)
    async with open_desk(tmp_path, bot, clock) as desk:
        assert (await refused(desk, order())).code == "trading_halted"


async def test_a_release_lets_entries_through_again(desk: Desk) -> None:
    """By its id, and of nothing else."""
    first, second = await halted(desk, agent="agent-a"), await halted(desk, pair="ETH/USDT")
    [released] = await resumed(desk, first.id)
    assert (released.released_by, released.release_reason) == ("bob", "it is over")
    assert (await desk.orders.create(admission(), order())).answer["outcome"] == "placed"
    assert [one.id for one in await desk.halts.in_force()] == [second.id]


async def test_what_is_not_in_force_can_not_be_released(desk: Desk) -> None:
    """A second release says so, and writes no second audit row."""
    record = await halted(desk)
    await resumed(desk, record.id)
    with pytest.raises(GatewayError) as told:
        await resumed(desk, record.id)
    assert told.value.code == "halt_unknown"
    assert (await desk.events()).count("halt.released") == 1


async def test_setting_and_releasing_are_written_into_the_audit_log(desk: Desk) -> None:
    """Who, what, and why, in the transaction of the row itself."""
    record = await halted(desk, agent="agent-a")
    await resumed(desk, record.id)
    rows = [row.event for row in await desk.audit_log.tail(10)]
    assert [row.event for row in rows] == ["halt.set", "halt.released"]
    assert [row.detail["by"] for row in rows] == ["alice", "bob"]
    assert [row.detail["reason"] for row in rows] == [REASON, "it is over"]
    assert {(row.agent, row.code, row.channel) for row in rows} == {
        ("agent-a", "operator", "control")
    }


async def test_the_same_halt_set_twice_is_one(desk: Desk) -> None:
    """Of the same scope, name, code and reason; another reason is another halt."""
    first = await halted(desk)
    assert await halted(desk) == first
    assert (await desk.events()).count("halt.set") == 1
    other = await desk.halts.set(new_halt(reason="another reason"))
    assert other is not None
    assert other.id != first.id
    await resumed(desk, first.id)
    assert [one.id for one in await desk.halts.in_force()] == [other.id]


async def test_the_file_halts_at_once_and_a_row_follows(desk: Desk) -> None:
    """One look before each entry; what is written in it is the reason."""
    path = desk.halts.local.file.path
    assert path is not None
    path.write_text("the exchange\n\n is \x1b[31modd\n")
    assert (await refused(desk, order())).code == "trading_halted"
    await desk.halts.refresh()
    [record] = await desk.halts.in_force()
    assert (record.id, record.code) == (1, "file")
    assert record.reason == "the exchange is [31modd"


async def test_removing_the_file_does_not_release_what_it_set(desk: Desk) -> None:
    """A new container has an empty folder: that is no person's word."""
    path = desk.halts.local.file.path
    assert path is not None
    path.touch()
    await desk.halts.refresh()
    path.unlink()
    await desk.halts.refresh()
    assert (await refused(desk, order())).code == "trading_halted"
    assert (await desk.halts.in_force())[0].reason == UNTOLD


async def test_releasing_the_files_halt_takes_the_file_away(desk: Desk) -> None:
    """Else everything would be halted again by the next look."""
    path = desk.halts.local.file.path
    assert path is not None
    path.write_text("stop")
    await resumed(desk)
    assert not path.exists()
    await desk.halts.refresh()
    assert await desk.halts.in_force() == ()
    assert (await desk.orders.create(admission(), order())).answer["outcome"] == "placed"


async def test_a_file_that_was_written_anew_is_another_halt(desk: Desk) -> None:
    """Whoever halts while another one resumes is heard."""
    path = desk.halts.local.file.path
    assert path is not None
    path.write_text("first")
    await desk.halts.refresh()
    path.unlink()
    path.write_text("second")
    os.utime(path, (1, 1))
    await resumed(desk, 1)
    await desk.halts.refresh()
    assert path.exists()
    [record] = await desk.halts.in_force()
    assert (record.code, record.reason) == ("file", "second")


async def test_a_release_says_when_the_file_can_not_be_removed(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything stays halted, and whoever resumes must know."""
    path = desk.halts.local.file.path
    assert path is not None
    path.write_text("stop")
    await desk.halts.refresh()

    def unwritable(self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "no")

    monkeypatch.setattr(Path, "unlink", unwritable)
    with pytest.raises(GatewayError) as told:
        await resumed(desk)
    assert told.value.code == "halt_file_stays"
    assert (await refused(desk, order())).code == "trading_halted"
    monkeypatch.undo()
    await desk.halts.refresh()  # the next look removes it
    assert not path.exists()


async def test_a_signal_halts_at_once_and_a_row_follows(desk: Desk) -> None:
    """SIGUSR1: in memory and in the file, so that it outlives the process too."""
    await desk.halts.local.by_signal()
    await desk.halts.local.by_signal()
    assert (await refused(desk, order())).code == "trading_halted"
    assert desk.halts.local.file.seen() is not None
    await desk.halts.refresh()
    assert await codes(desk) == ["signal"]
    await resumed(desk)
    assert desk.halts.local.in_force() == ()


async def test_with_the_store_down_a_halt_is_kept_in_memory_and_file(desk: Desk) -> None:
    """It is told as such: no id; the row follows when the store is back."""
    await desk.store.close()
    record = await halted(desk)
    assert record.id is None
    assert desk.halts.local.binding("BTC/USDT", "agent-a") is not None
    assert "alice: the agent buys tops" in desk.halts.local.file.reason()
    assert [one.id for one in await desk.halts.in_force()] == [None]
    await desk.store.open()
    await desk.halts.refresh()
    [record] = await desk.halts.in_force()
    assert (record.id, record.code, record.by) == (1, "operator", "alice")
    await resumed(desk)
    assert desk.halts.local.in_force() == ()


async def test_a_halt_of_the_file_outlives_a_store_that_stays_down(
    tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> None:
    """The process ends before the store is back: the next one finds the file."""
    async with open_desk(tmp_path, bot, clock) as before:
        await before.store.close()
        await halted(before)
    async with open_desk(tmp_path, bot, clock) as desk:
        assert (await refused(desk, order())).code == "trading_halted"
        await desk.halts.refresh()
        assert await codes(desk) == ["file"]


async def test_nothing_is_released_while_the_store_is_down(desk: Desk) -> None:
    """A release that nobody could write down would be none."""
    await halted(desk)
    await desk.store.close()
    with pytest.raises(GatewayError) as told:
        await resumed(desk)
    assert told.value.code == "database_unavailable"
    assert desk.halts.local.binding("BTC/USDT", "agent-a") is not None
    await desk.store.open()


async def test_a_store_that_is_down_is_not_asked_all_the_time(desk: Desk) -> None:
    """Twenty looks a second would fill the log; they begin again when it is back."""
    before = desk.halts.pause_s
    await desk.store.close()
    async with anyio.create_task_group() as group:
        group.start_soon(desk.halts.keep)
        await desk.clock.sleeping()
        assert desk.halts.pause_s > before
        await desk.store.open()
        desk.clock.advance(desk.halts.pause_s)
        await desk.clock.sleeping()
        assert desk.halts.pause_s == before
        group.cancel_scope.cancel()


@pytest.fixture
def place(tmp_path: Path) -> HaltFile:
    """Where the file would lie."""
    return HaltFile(tmp_path)


async def test_no_file_is_no_halt(place: HaltFile) -> None:
    """And neither is a data folder that is not there."""
    assert place.seen() is None
    assert HaltFile(Path("/nowhere/at/all")).seen() is None
    assert HaltFile(None).seen() is None


async def test_a_file_that_is_there_already_is_not_overwritten(place: HaltFile) -> None:
    """The first reason stays."""
    first = place.write("first")
    assert place.write("second") == first == place.seen()
    assert place.reason() == "first"


async def test_a_removed_file_must_be_the_one_that_is_known(place: HaltFile) -> None:
    """Another one is another halt."""
    known = place.write("first")
    assert place.path is not None
    place.path.write_text("second and longer")
    os.utime(place.path, (1, 1))
    assert not place.remove(known)
    assert place.remove(place.seen() or (0, 0, 0))
    assert place.seen() is None


@pytest.mark.parametrize("kind", ["folder", "dangling-link", "pipe", "loop"])
async def test_whatever_lies_there_halts(place: HaltFile, kind: str) -> None:
    """Nobody has to make a well-formed file in an emergency; and none of it hangs a reader."""
    path = place.path
    assert path is not None
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.symlink_to(path if kind == "loop" else "nowhere")
    assert place.seen() is not None
    assert place.reason() in {UNREADABLE, UNTOLD}
    assert LocalHalts(path.parent, Clock()).binding("BTC/USDT", "a") is not None


async def test_a_place_that_can_not_be_looked_at_halts(tmp_path: Path) -> None:
    """A rule that can't be evaluated denies: a file where the folder should be."""
    (tmp_path / "data").touch()
    place = HaltFile(tmp_path / "data")
    assert place.seen() is not None
    assert place.reason() == HIDDEN
    assert LocalHalts(tmp_path / "data", Clock()).is_global


async def test_a_long_reason_is_cut(place: HaltFile) -> None:
    """Whoever can write the file can't fill the log."""
    assert place.path is not None
    place.path.write_bytes(b"\xff" * 100_000)
    assert 0 < len(place.reason()) <= 1000


def test_equal_halts_wait_for_the_store_as_one(clock: ManualClock, tmp_path: Path) -> None:
    """Whoever repeats a halt while the store is down piles nothing up."""
    local = LocalHalts(tmp_path, clock)
    for _ in range(3):
        local.add(new_halt(agent="agent-a"))
    local.add(new_halt(agent="agent-b"))
    assert [one.name for one in local.unwritten] == ["agent-a", "agent-b"]
    local.wrote(new_halt(agent="agent-a"), None)
    assert [one.name for one in local.unwritten] == ["agent-b"]


async def test_halts_of_agents_and_pairs_are_bounded_and_the_global_one_is_not_in_their_way(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each one in force is read before every entry: whoever piles them up slows every order."""
    monkeypatch.setattr(local, "MOST_IN_FORCE", 3)
    first, *_ = [await halted(desk, name) for name in ("agent-b", "agent-c", "agent-d")]
    with pytest.raises(GatewayError) as crowded:
        await halted(desk, pair="ETH/USDT")
    assert (crowded.value.code, crowded.value.status) == ("too_many_halts", 422)
    placed = await desk.orders.create(admission(), order(pair="ETH/USDT"))  # it is not in force
    assert placed.answer["outcome"] == "placed"
    assert await halted(desk, "agent-b") == first  # what is in force already is no further one
    assert (await halted(desk)).scope == "all"
    assert (await refused(desk, order())).code == "trading_halted"
    await resumed(desk, first.id)
    assert (await halted(desk, pair="ETH/USDT")).scope == "pair"


async def test_a_callers_global_halts_are_bounded_and_the_operators_never(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A token with ops:halt must not keep the command line from halting, or from flattening."""
    monkeypatch.setattr(local, "MOST_IN_FORCE", 2)
    caller = Actor.calling(admission())
    for reason in ("one", "two"):
        await desk.halts.set(new_halt(reason=reason, who=caller))
    with pytest.raises(GatewayError) as crowded:
        await desk.halts.set(new_halt(reason="three", who=caller))
    assert crowded.value.code == "too_many_halts"
    assert (await halted(desk)).id is not None
    assert len(await codes(desk)) == 3


async def test_what_waits_for_the_store_counts_too(desk: Desk) -> None:
    """With the store down nobody fills the memory either."""
    for number in range(local.MOST_IN_FORCE):
        desk.halts.local.add(new_halt(f"agent-{number}"))
    with pytest.raises(GatewayError) as crowded:
        desk.halts.local.add(new_halt("one-more"))
    assert crowded.value.code == "too_many_halts"
    assert desk.halts.local.binding("BTC/USDT", "one-more") is None
    assert desk.halts.local.binding("BTC/USDT", "agent-0") is not None
