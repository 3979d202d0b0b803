"""When the follower looks, and what the bot's websocket adds: when to look, and why."""

from dataclasses import replace
from typing import Any

import anyio
import pytest

from mcp_gateway.domain.orders import State
from mcp_gateway.errors import GatewayError
from mcp_gateway.freqtrade.events import BotEvents
from mcp_gateway.freqtrade.messages import BotEvent, Reason
from mcp_gateway.orders.follow import CANCELS_KEPT, INTERVAL_S
from tests.support.desk import Desk, rested, stored
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
    await desk.follower.look()
    assert (await stored(desk, wanted)).state is State.VANISHED


async def _until(desk: Desk, wanted: Any, state: State) -> None:
    with anyio.fail_after(5):
        while (await stored(desk, wanted)).state is not state:
            await anyio.lowlevel.checkpoint()


async def test_it_looks_again_in_the_bots_own_rhythm_and_at_once_when_woken(desk: Desk) -> None:
    """Every five seconds, and when the bot's websocket says that something happened."""
    wanted = await rested(desk)
    async with anyio.create_task_group() as group:
        group.start_soon(desk.follower.run)
        await desk.clock.sleeping()
        desk.bot.fill(1, 0.5)
        desk.follower.hear(BotEvent("entry_fill", 1, "BTC/USDT"))
        await _until(desk, wanted, State.PARTIALLY_FILLED)
        await desk.clock.sleeping()
        desk.bot.fill(1)
        asked = desk.bot.asked("status")
        desk.clock.advance(INTERVAL_S - 1)
        await anyio.wait_all_tasks_blocked()
        assert desk.bot.asked("status") == asked
        desk.clock.advance(1)
        await _until(desk, wanted, State.FILLED)
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
        desk.clock.advance(INTERVAL_S)
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
    await desk.follower.look()
    assert (await stored(desk, wanted)).state is State.VANISHED


@pytest.mark.parametrize(
    ("heard", "told"),
    [(True, (State.CANCELLED, "timed_out")), (False, (State.VANISHED, None))],
    ids=["told_late", "never_told"],
)
async def test_while_the_bot_tells_its_events_one_look_more_is_taken(
    desk: Desk, heard: bool, told: tuple[State, str | None]
) -> None:
    """The event that tells why may come a moment after the deletion."""
    wanted = await rested(desk)
    desk.follower.events = BotEvents("http://bot.test", "token", clock=desk.clock)
    desk.follower.events._connected = True
    desk.bot.status.clear()
    await desk.follower.look()
    assert (await stored(desk, wanted)).state is State.PLACED
    if heard:
        desk.follower.hear(cancelled((await stored(desk, wanted)).tag))
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
        with anyio.fail_after(5):
            while desk.bot.asked("status") < 2:  # at the start, and when the connection stood
                await anyio.lowlevel.checkpoint()
        await desk.clock.sleeping()
        desk.bot.fill(1)
        await told.tell({"type": "entry_fill", "trade_id": 1, "pair": "BTC/USDT"})
        await _until(desk, wanted, State.FILLED)
        group.cancel_scope.cancel()
