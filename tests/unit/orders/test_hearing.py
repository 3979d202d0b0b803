"""When the follower looks, and what the bot's websocket adds: when to look, and why."""

from dataclasses import replace
from typing import Any

import anyio
import pytest

from mcp_gateway.domain.orders import State
from mcp_gateway.errors import GatewayError
from mcp_gateway.freqtrade.events import BotEvents
from mcp_gateway.freqtrade.messages import BotEvent, Reason
from mcp_gateway.orders.settling.follow import CANCELS_KEPT, INTERVAL_S, SHORTEST_PAUSE_S
from tests.support.desk import Desk, followed_twice, rested, stored
from tests.support.messenger import TOKEN, messenger

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


def cancelled(tag: str, reason: Reason = "timed_out") -> BotEvent:
    """What the bot tells of an entry that bought nothing."""
    return BotEvent("entry_cancel", 1, "BTC/USDT", tag, reason=reason, vanished=True)


async def test_the_bots_event_tells_why_an_entry_is_gone(desk: Desk) -> None:
    """`entry_cancel` comes before the bot forgets: then it is cancelled, and for that reason."""
    wanted = await rested(desk)
    desk.follower.hear(cancelled("gw:another", "asked"))
    desk.follower.hear(cancelled((await stored(desk, wanted)).tag))
    desk.bot.status.clear()
    await desk.follower.look()
    record = await stored(desk, wanted)
    assert (record.state, record.code) == (State.CANCELLED, "timed_out")


async def test_an_event_alone_cancels_nothing(desk: Desk) -> None:
    """The websocket only wakes: an order that the bot still shows rests."""
    wanted = await rested(desk)
    desk.follower.hear(cancelled((await stored(desk, wanted)).tag))
    await desk.follower.look()
    assert (await stored(desk, wanted)).state is State.PLACED


async def test_a_reason_outlives_a_store_that_fails(desk: Desk) -> None:
    """The bot tells it once: it is kept until it is written."""
    wanted = await rested(desk)
    record = await stored(desk, wanted)
    desk.follower.hear(cancelled(record.tag))
    desk.bot.status.clear()
    await desk.store.close()
    with pytest.raises(GatewayError):
        await desk.follower.follow(record)
    await desk.store.open()
    await desk.follower.look()
    record = await stored(desk, wanted)
    assert (record.state, record.code) == (State.CANCELLED, "timed_out")


async def test_only_so_many_reasons_are_kept(desk: Desk) -> None:
    """Events of orders that are nobody's here must not fill the memory; the oldest go."""
    wanted = await rested(desk)
    desk.follower.hear(cancelled((await stored(desk, wanted)).tag))
    for number in range(CANCELS_KEPT):
        desk.follower.hear(cancelled(f"gw:{number}"))
    assert len(desk.follower._cancelled) == CANCELS_KEPT
    desk.bot.status.clear()
    await followed_twice(desk)
    assert (await stored(desk, wanted)).state is State.VANISHED


async def _until(desk: Desk, wanted: Any, state: State) -> None:
    with anyio.fail_after(5):
        while (await stored(desk, wanted)).state is not state:
            await anyio.lowlevel.checkpoint()


async def _woken(desk: Desk) -> None:
    """Wait until the follower was told to look, and let the shortest pause pass."""
    with anyio.fail_after(5):
        await desk.follower._woken.wait()
    desk.clock.advance(SHORTEST_PAUSE_S)


async def test_it_looks_again_in_the_bots_own_rhythm_and_at_once_when_woken(desk: Desk) -> None:
    """Every five seconds, and when the bot's websocket says that something happened."""
    wanted = await rested(desk)
    async with anyio.create_task_group() as group:
        group.start_soon(desk.follower.run)
        await desk.clock.sleeping()
        desk.bot.fill(1, 0.5)
        desk.follower.hear(BotEvent("entry_fill", 1, "BTC/USDT"))
        desk.clock.advance(SHORTEST_PAUSE_S)
        await _until(desk, wanted, State.PARTIALLY_FILLED)
        await desk.clock.sleeping()
        desk.bot.fill(1)
        asked = desk.bot.asked("status")
        for after_s in (SHORTEST_PAUSE_S, INTERVAL_S - SHORTEST_PAUSE_S - 1):
            desk.clock.advance(after_s)
            await anyio.wait_all_tasks_blocked()
        assert desk.bot.asked("status") == asked
        desk.clock.advance(1)
        await _until(desk, wanted, State.FILLED)
        group.cancel_scope.cancel()


async def test_a_flood_of_events_is_no_flood_of_questions(desk: Desk) -> None:
    """Whatever wakes it, between two looks lies half a second."""
    async with anyio.create_task_group() as group:
        group.start_soon(desk.follower.run)
        await desk.clock.sleeping()
        asked = desk.bot.asked("status")
        for _ in range(100):
            desk.follower.hear(BotEvent("entry_fill", 1, "BTC/USDT"))
            await anyio.wait_all_tasks_blocked()
        assert desk.bot.asked("status") == asked
        desk.clock.advance(SHORTEST_PAUSE_S)
        await anyio.wait_all_tasks_blocked()
        assert desk.bot.asked("status") == asked + 1
        group.cancel_scope.cancel()


async def test_following_goes_on_through_trouble(desk: Desk) -> None:
    """A bot that is down for a while is asked again."""
    wanted = await rested(desk)
    desk.bot.fails = 500
    async with anyio.create_task_group() as group:
        group.start_soon(desk.follower.run)
        await desk.clock.sleeping()
        desk.bot.fails = None
        desk.bot.fill(1)
        for after_s in (SHORTEST_PAUSE_S, INTERVAL_S - SHORTEST_PAUSE_S):
            desk.clock.advance(after_s)
            await anyio.wait_all_tasks_blocked()
        await _until(desk, wanted, State.FILLED)
        group.cancel_scope.cancel()


@pytest.mark.parametrize(
    "event",
    [
        BotEvent("entry_cancel", 1, "BTC/USDT", "TAG", reason="kept_open"),
        BotEvent("exit_cancel", 1, "BTC/USDT", "TAG", reason="timed_out"),
        BotEvent("entry_cancel", 1, "BTC/USDT", None, reason="timed_out", vanished=True),
    ],
    ids=["kept_open", "exit", "untagged"],
)
async def test_an_event_that_deletes_no_trade_of_ours_is_no_reason(
    desk: Desk, event: BotEvent
) -> None:
    """What was kept open, what was an exit, what has no tag: none says why an entry is gone."""
    wanted = await rested(desk)
    tag = (await stored(desk, wanted)).tag
    desk.follower.hear(replace(event, tag=tag if event.tag else None))
    desk.bot.status.clear()
    await followed_twice(desk)
    assert (await stored(desk, wanted)).state is State.VANISHED


@pytest.mark.parametrize(
    ("heard", "after_s", "told"),
    [
        (True, 0.0, (State.CANCELLED, "timed_out")),
        (False, INTERVAL_S - 1, (State.PLACED, None)),
        (False, INTERVAL_S, (State.VANISHED, None)),
    ],
    ids=["told_late", "not_yet", "never_told"],
)
async def test_an_order_that_is_gone_is_looked_for_once_more(
    desk: Desk, heard: bool, after_s: float, told: tuple[State, str | None]
) -> None:
    """The event that tells why may come a moment after the deletion."""
    wanted = await rested(desk)
    desk.bot.status.clear()
    await desk.follower.look()
    assert (await stored(desk, wanted)).state is State.PLACED
    if heard:
        desk.follower.hear(cancelled((await stored(desk, wanted)).tag))
    desk.clock.advance(after_s)
    await desk.follower.look()
    record = await stored(desk, wanted)
    assert (record.state, record.code) == told


async def test_candles_wake_nobody(desk: Desk) -> None:
    """There is one for each pair every few minutes, and none moves an order."""
    async with anyio.create_task_group() as group:
        group.start_soon(desk.follower.run)
        await desk.clock.sleeping()
        asked = desk.bot.asked("status")
        desk.follower.hear(BotEvent("new_candle", pair="BTC/USDT", timeframe="5m"))
        desk.clock.advance(SHORTEST_PAUSE_S)
        await anyio.wait_all_tasks_blocked()
        assert desk.bot.asked("status") == asked
        group.cancel_scope.cancel()


async def test_what_a_real_websocket_tells_is_heard(desk: Desk) -> None:
    """From the wire to the look: a fill is in the ledger before the bot is asked by the clock."""
    wanted = await rested(desk)
    async with messenger() as told, anyio.create_task_group() as group:
        desk.follower.events = BotEvents(told.url, TOKEN, clock=desk.clock)
        group.start_soon(desk.follower.run)
        group.start_soon(desk.follower.listen)
        await _woken(desk)  # when the connection stood
        with anyio.fail_after(5):
            while desk.bot.asked("status") < 2:  # at the start, and then
                await anyio.lowlevel.checkpoint()
        await desk.clock.sleeping()
        desk.bot.fill(1)
        await told.tell({"type": "entry_fill", "trade_id": 1, "pair": "BTC/USDT"})
        await _woken(desk)
        await _until(desk, wanted, State.FILLED)
        group.cancel_scope.cancel()
