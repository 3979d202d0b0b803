"""The policy in force while its file changes: what holds at once, what waits, what is refused."""

import os
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import anyio
import pytest

from mcp_gateway.audit.events import AuditEvent
from mcp_gateway.audit.trail import Trail
from mcp_gateway.errors import ConfigurationError, RequestInvalid
from mcp_gateway.risk import keeper as keeper_module
from mcp_gateway.risk.document import load_policy
from mcp_gateway.risk.inspection import shown
from mcp_gateway.risk.keeper import LOOK_EVERY_S, SETTLED_S, PolicyKeeper
from mcp_gateway.risk.policy import BUILT_IN, Policy
from tests.support.clock import ManualClock

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

START = '[defaults]\norder_notional = "100"\norders_per_minute = 5\n'
TIGHTER = '[defaults]\norder_notional = "50"\norders_per_minute = 5\n'
LOOSER = '[defaults]\norder_notional = "200"\norders_per_minute = 5\n'
BOTH = '[defaults]\norder_notional = "200"\norders_per_minute = 3\n'


class Desk:
    """A keeper over a file, with the trail that it writes to and time that a test moves."""

    def __init__(self, folder: Path, text: str = START) -> None:
        self.file = folder / "policy.toml"
        self.file.write_text(text)
        self.clock = ManualClock()
        self.trail = Trail()
        self.keeper = PolicyKeeper.of_file(self.file, self.clock, self.trail)

    @property
    def notional(self) -> str:
        """The one number that most tests move."""
        return str(self.keeper.current.defaults.order_notional)

    @property
    def waiting(self) -> str:
        """The hash of what waits."""
        assert self.keeper.pending is not None
        return self.keeper.pending.policy.hash

    def events(self) -> list[AuditEvent]:
        """Return what was written down, oldest first."""
        return list(self.trail.oldest(99))

    async def says(self, text: str | bytes) -> None:
        """Let the file say something else, and let the keeper look at it."""
        self.file.write_bytes(text if isinstance(text, bytes) else text.encode())
        await self.looked()

    async def looked(self, *, again: bool = False) -> None:
        """Let the keeper look, in its own time."""
        async with anyio.create_task_group() as group:

            async def look() -> None:
                await self.keeper.look(again=again)
                group.cancel_scope.cancel()

            group.start_soon(look)
            while True:
                await self.clock.sleeping()
                self.clock.advance(SETTLED_S)

    async def accepted(self, wanted: str, operator: str = "anna") -> None:
        """Let a person agree; the file is looked at once more for it."""
        failed: list[RequestInvalid] = []
        async with anyio.create_task_group() as group:

            async def accept() -> None:
                try:
                    await self.keeper.accept(wanted, operator)
                except RequestInvalid as error:
                    failed.append(error)
                group.cancel_scope.cancel()

            group.start_soon(accept)
            while True:
                await self.clock.sleeping()
                self.clock.advance(SETTLED_S)
        if failed:
            raise failed[0]


async def test_what_is_tightened_holds_at_once(tmp_path: Path) -> None:
    """Nobody has to agree to being more careful."""
    desk = Desk(tmp_path)
    before = desk.keeper.current.hash
    await desk.says(TIGHTER)
    assert desk.notional == "50"
    assert desk.keeper.pending is None
    [event] = desk.events()
    assert (event.event, event.channel) == ("policy.changed", "control")
    assert event.detail["old"] == before
    assert event.detail["new"] == desk.keeper.current.hash
    assert event.detail["tightened"] == ["defaults.order_notional: 50 instead of 100"]
    assert "operator" not in event.detail


async def test_what_is_loosened_waits_for_a_person(tmp_path: Path) -> None:
    """Until then everything is as it was, to the hash; what would be looser is told."""
    desk = Desk(tmp_path)
    before = desk.keeper.current.hash
    await desk.says(LOOSER)
    assert desk.keeper.current.hash == before
    [event] = desk.events()
    assert event.event == "policy.pending"
    assert event.detail["new"] == desk.waiting
    assert event.detail["loosened"] == ["defaults.order_notional: 200 instead of 100"]
    await desk.accepted(desk.waiting)
    assert desk.notional == "200"
    assert desk.keeper.pending is None
    last = desk.events()[-1]
    assert (last.event, last.detail["operator"]) == ("policy.changed", "anna")
    assert (last.detail["old"], last.detail["new"]) == (before, desk.keeper.current.hash)


async def test_of_a_file_that_does_both_one_half_holds_at_once(tmp_path: Path) -> None:
    """The tighter of each field, until the rest is agreed to."""
    desk = Desk(tmp_path)
    await desk.says(BOTH)
    assert desk.notional == "100"
    assert desk.keeper.current.defaults.orders_per_minute == 3
    assert [event.event for event in desk.events()] == ["policy.changed", "policy.pending"]
    assert desk.events()[0].detail["loosened"] == []
    await desk.looked(again=True)
    assert len(desk.events()) == 2  # nothing has changed since
    assert shown(desk.keeper)["pending"] == {
        "hash": desk.waiting, "loosens": ["defaults.order_notional: 200 instead of 100"],
    }  # fmt: skip
    await desk.accepted(desk.waiting)
    assert desk.notional == "200"
    assert desk.keeper.current.defaults.orders_per_minute == 3


async def test_going_back_to_what_was_before_is_loosening_too(tmp_path: Path) -> None:
    """What took force stays in force; the file's earlier state is no agreement."""
    desk = Desk(tmp_path)
    await desk.says(TIGHTER)
    await desk.says(START)
    assert desk.notional == "50"
    await desk.accepted(desk.waiting)
    assert desk.notional == "100"


async def test_a_change_that_is_taken_back_waits_no_more(tmp_path: Path) -> None:
    """And can't be agreed to."""
    desk = Desk(tmp_path)
    await desk.says(LOOSER)
    wanted = desk.waiting
    await desk.says(START)
    assert desk.keeper.pending is None
    with pytest.raises(RequestInvalid) as refused:
        await desk.accepted(wanted)
    assert refused.value.code == "nothing_pending"
    assert desk.notional == "100"


async def test_a_person_agrees_to_what_was_shown_and_to_nothing_else(tmp_path: Path) -> None:
    """The file is read once more: what it says by now is another policy, with another hash."""
    desk = Desk(tmp_path)
    await desk.says(LOOSER)
    wanted = desk.waiting
    desk.file.write_text(LOOSER.replace("200", "9000"))
    with pytest.raises(RequestInvalid) as refused:
        await desk.accepted(wanted)
    assert refused.value.code == "policy_differs"
    assert desk.notional == "100"
    assert [event.event for event in desk.events()] == ["policy.pending"] * 2


@pytest.mark.parametrize(
    "text",
    [b"[defaults]\norder_notional = 0\n", b"[defaults", b"caf\xe9", None],
    ids=["value", "syntax", "encoding", "missing"],
)
async def test_a_faulty_file_changes_nothing_and_says_so(
    text: bytes | None, tmp_path: Path
) -> None:
    """Not even to the built-in policy: what was agreed to holds until there is a sound file."""
    desk = Desk(tmp_path)
    before = desk.keeper.current
    if text is None:
        desk.file.unlink()
        await desk.looked()
    else:
        await desk.says(text)
    assert desk.keeper.current is before
    [event] = desk.events()
    assert event.event == "policy.refused"
    assert event.detail["old"] == before.hash
    assert event.detail["faults"] == list(desk.keeper.faults) == shown(desk.keeper)["faults"]
    await desk.looked(again=True)
    assert len(desk.events()) == 1  # told once
    await desk.says(TIGHTER)
    assert desk.notional == "50"
    assert shown(desk.keeper)["faults"] == []


async def test_what_waits_can_t_be_agreed_to_while_the_file_has_faults(tmp_path: Path) -> None:
    """It is no longer what the file says; mended, it waits as before and is not told again."""
    desk = Desk(tmp_path)
    await desk.says(LOOSER)
    wanted = desk.waiting
    await desk.says("nonsense")
    with pytest.raises(RequestInvalid) as refused:
        await desk.accepted(wanted)
    assert refused.value.code == "policy_faulty"
    await desk.says(LOOSER)
    assert desk.waiting == wanted
    assert [event.event for event in desk.events()] == ["policy.pending", "policy.refused"]


async def test_a_file_that_is_still_being_written_is_not_read(tmp_path: Path) -> None:
    """Half of one may read like a whole one, and what it leaves out would hold for good."""
    desk = Desk(tmp_path)
    before = desk.keeper.current.hash
    desk.file.write_text("[defaults]\norders_per_minute = 1\n")
    async with anyio.create_task_group() as group:
        group.start_soon(desk.keeper.look)
        await desk.clock.sleeping()
        desk.file.write_text(START + "enabled = true\n")
        desk.clock.advance(SETTLED_S)
        await desk.clock.sleeping()
        assert desk.keeper.current.hash == before
        desk.clock.advance(SETTLED_S)
    assert desk.keeper.current.hash == before
    assert desk.events() == []


@asynccontextmanager
async def watched(desk: Desk) -> AsyncIterator[None]:
    async with anyio.create_task_group() as group:
        group.start_soon(desk.keeper.watch)
        await desk.clock.sleeping()
        yield
        group.cancel_scope.cancel()


async def test_the_file_is_looked_at_all_the_time(tmp_path: Path) -> None:
    """Every two seconds; also one that takes the other's place with its size and its time."""
    desk = Desk(tmp_path)
    other = tmp_path / "other.toml"
    other.write_text(START.replace("100", "070"))
    told = desk.file.stat()
    os.utime(other, ns=(told.st_atime_ns, told.st_mtime_ns))
    other.rename(desk.file)
    async with watched(desk):
        desk.clock.advance(LOOK_EVERY_S)
        while desk.notional != "70":
            await desk.clock.sleeping()
            desk.clock.advance(SETTLED_S)


async def test_the_watch_outlives_a_bug_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gateway that stopped reading its policy would hold to an old one in silence."""
    desk = Desk(tmp_path)
    looked = []

    async def broken() -> None:
        looked.append(desk.clock.monotonic())
        raise ZeroDivisionError

    monkeypatch.setattr(desk.keeper, "look", broken)
    async with watched(desk):
        for _ in range(3):
            desk.clock.advance(LOOK_EVERY_S)
            await desk.clock.sleeping()
    assert len(looked) == 3


async def test_without_a_file_nothing_is_looked_at(tmp_path: Path) -> None:
    """The built-in policy holds; there is nothing to agree to."""
    keeper = PolicyKeeper.of_file(None, ManualClock(), Trail())
    assert keeper.current == BUILT_IN
    with anyio.fail_after(5):
        await keeper.watch()
    assert shown(keeper)["file"] is None


async def test_a_gateway_does_not_start_with_a_faulty_file(tmp_path: Path) -> None:
    """There is no earlier policy that it could hold to."""
    (tmp_path / "policy.toml").write_text("[defaults]\nclose = 1\n")
    with pytest.raises(ConfigurationError):
        PolicyKeeper.of_file(tmp_path / "policy.toml", ManualClock(), Trail())


async def test_what_is_written_while_it_is_read_is_news(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark is older than the reading, so the next look reads again."""
    read = load_policy

    def read_and_overtaken(path: Path) -> Policy:
        told = read(path)
        path.write_text(TIGHTER + "enabled = true\n")
        return told

    monkeypatch.setattr(keeper_module, "load_policy", read_and_overtaken)
    desk = Desk(tmp_path)
    monkeypatch.undo()
    assert desk.notional == "100"
    await desk.looked()
    assert desk.notional == "50"


async def test_a_large_policy_is_held_against_the_old_one_in_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It takes seconds, in which entries and halts must not wait; the loop only swaps."""
    desk = Desk(tmp_path)
    worked: list[str] = []

    def noted(work: Callable[..., Any]) -> Callable[..., Any]:
        def done(*given: Any) -> Any:
            worked.append(
                f"{work.__name__}: {threading.current_thread() is threading.main_thread()}"
            )
            return work(*given)

        return done

    for name in ("compare", "stricter", "load_policy"):
        monkeypatch.setattr(keeper_module, name, noted(vars(keeper_module)[name]))
    await desk.says(BOTH)
    assert sorted(worked) == [
        "compare: False", "compare: False", "load_policy: False", "stricter: False",
    ]  # fmt: skip
    assert desk.waiting
    assert desk.keeper.current.defaults.orders_per_minute == 3


def _write_into(pipe: Path) -> None:
    """Free whoever waits for somebody to write; nobody does where none waits."""
    with suppress(OSError):
        os.close(os.open(pipe, os.O_WRONLY | os.O_NONBLOCK))


@pytest.mark.parametrize("kind", ["pipe", "folder", "device"])
async def test_what_is_no_file_is_refused_and_hangs_nobody(tmp_path: Path, kind: str) -> None:
    """A pipe that nobody writes into would hold up the look, and the end of the process."""
    desk = Desk(tmp_path)
    desk.file.unlink()
    if kind == "pipe":
        os.mkfifo(desk.file)
        let_go = threading.Timer(2, _write_into, [desk.file])  # else a hang would be for ever
        let_go.start()
    elif kind == "folder":
        desk.file.mkdir()
    else:
        desk.file.symlink_to("/dev/null")
    began = time.monotonic()
    await desk.looked()
    assert time.monotonic() - began < 2
    assert desk.notional == "100"
    [event] = desk.events()
    assert event.event == "policy.refused"
