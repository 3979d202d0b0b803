"""A process that was stopped for a while finds out what was halted before anything leaves it."""

from pathlib import Path

import anyio
import pytest
from anyio.abc import TaskGroup

from mcp_gateway.orders.halts.freshness import FRESH_S, Freshness
from mcp_gateway.orders.halts.local import LocalHalts
from mcp_gateway.orders.halts.switch import Halts
from tests.support.clock import ManualClock
from tests.support.desk import Desk, admission, open_desk, order, refused, stored
from tests.support.halting import halted
from tests.support.tradingbot import TradingBot

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

PAUSE_S = 3.0


class Paused(Freshness):
    """The process stands still right before the last look, as a machine that stalls does.

    What happens meanwhile, and what it does when it goes on, ``meanwhile`` says.
    """

    desk: Desk
    other: Halts | None = None
    looks: TaskGroup | None = None

    async def renewed(self) -> None:
        if self.other is not None:
            await halted(self.other)
        self.desk.clock.advance(PAUSE_S)
        if self.looks is not None:
            self.looks.start_soon(self.desk.halts.refresh)
        await super().renewed()


async def paused(desk: Desk) -> Paused:
    """Let the next order's process be stopped behind its ``sent``."""
    fresh = Paused(desk.clock)
    fresh.desk, fresh.watched = desk, True
    desk.halts.local.freshness = fresh
    await desk.halts.refresh()
    return fresh


async def test_an_entry_asks_once_more_behind_a_pause(desk: Desk) -> None:
    """It is not refused for nothing: the store answers, and nothing is halted."""
    async with anyio.create_task_group() as group:
        (await paused(desk)).looks = group
        assert (await desk.orders.create(admission(), order())).answer["outcome"] == "placed"


async def test_a_halt_of_another_gateway_set_in_the_pause_stops_the_entry(
    desk: Desk, tmp_path: Path
) -> None:
    """No entry leaves later than a tenth of a second after a halt (docs/halts.md)."""
    (tmp_path / "other").mkdir()
    other = Halts(desk.store, desk.clock, LocalHalts(tmp_path / "other", desk.clock))
    async with anyio.create_task_group() as group:
        fresh = await paused(desk)
        fresh.looks, fresh.other = group, other
        wanted = order()
        assert (await refused(desk, wanted)).code == "trading_halted"
    assert desk.bot.posts == []
    history = await desk.ledger.history((await stored(desk, wanted)).order_id)
    assert [str(step.state) for step in history] == ["received", "reserved", "sent", "denied"]


async def test_an_entry_that_hears_nothing_is_not_sent(desk: Desk) -> None:
    """Nobody knows what was halted meanwhile: it is denied, and may be sent anew."""
    await paused(desk)
    wanted = order()
    error = await refused(desk, wanted)
    assert (error.code, desk.bot.posts) == ("bot_unavailable", [])
    history = await desk.ledger.history((await stored(desk, wanted)).order_id)
    assert history[-1].detail["cause"] == "too_late"


async def test_an_exit_waits_for_no_word_of_halts(desk: Desk) -> None:
    """It is never trapped."""
    await desk.orders.create(admission(), order())
    await paused(desk)
    sold = await desk.orders.create(admission(), order(side="sell"))
    assert sold.answer["outcome"] == "placed"


async def test_a_word_is_as_old_as_its_question(clock: ManualClock) -> None:
    """An answer that took long is no news."""
    fresh = Freshness(clock)
    told = [fresh.is_stale]  # nobody else writes there
    fresh.watched = True
    told.append(fresh.is_stale)
    fresh.took(clock.monotonic())
    clock.advance(FRESH_S)
    told.append(fresh.is_stale)
    clock.advance(0.001)
    told.append(fresh.is_stale)
    fresh.took(clock.monotonic() - 2 * FRESH_S)
    assert [*told, fresh.is_stale] == [False, True, False, True, True]


async def test_one_gateway_alone_needs_no_word(
    tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> None:
    """On SQLite nobody else sets a halt; the keeper of the halts says so."""
    async with open_desk(tmp_path, bot, clock) as desk, anyio.create_task_group() as group:
        group.start_soon(desk.halts.keep)
        await clock.sleeping()
        clock.advance(PAUSE_S)
        assert (await desk.orders.create(admission(), order())).answer["outcome"] == "placed"
        assert not desk.halts.local.freshness.watched
        group.cancel_scope.cancel()
