"""What the bot's answer leaves open is called unknown, and found out later."""

from datetime import timedelta

import anyio
import pytest

from mcp_gateway.errors import (
    GatewayError,
    OutcomeUnknown,
)
from tests.support.desk import Desk, admission, order, refused

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


@pytest.mark.parametrize(
    ("fault", "happened"),
    [("fail", False), ("fail_done", True), ("lose", False), ("lose_done", True), ("other", True)],
)
async def test_what_is_not_known_is_called_unknown(desk: Desk, fault: str, happened: bool) -> None:
    """A 500, a lost answer, an answer without our tag: unknown, never failed (freqtrade)."""
    desk.bot.faults.append(fault)
    wanted = order()
    error = await refused(desk, wanted)
    assert isinstance(error, OutcomeUnknown)
    assert error.retryable is False
    assert bool(desk.bot.status) is happened
    again = await refused(desk, wanted)
    assert (again.code, len(desk.bot.posts)) == ("outcome_unknown", 1)


async def test_a_lost_answer_is_found_by_its_tag(desk: Desk) -> None:
    """get_order asks the bot: what carries our tag was placed (orders, reconciler)."""
    desk.bot.faults.append("lose_done")
    wanted = order()
    await refused(desk, wanted)
    told = await desk.orders.get(admission(), wanted.request_id)
    assert (told["outcome"], told["final"]) == ("placed", True)
    replay = await desk.orders.create(admission(), wanted)
    assert (replay.answer["trade_id"], replay.replayed) == (1, True)
    assert len(desk.bot.posts) == 1


async def test_an_absence_counts_only_when_the_bot_is_quiescent(desk: Desk) -> None:
    """Its own time-outs have passed, and two clean reads a cycle apart agree (orders)."""
    desk.bot.faults.append("lose")
    wanted = order()
    await refused(desk, wanted)
    for elapsed_s in (0, 30, 29, 1):
        desk.clock.advance(elapsed_s)
        told = await desk.orders.get(admission(), wanted.request_id)
        assert told["outcome"] == "unknown"
    desk.clock.advance(7)
    told = await desk.orders.get(admission(), wanted.request_id)
    assert (told["outcome"], told["code"]) == ("rejected", "not_executed")


async def test_a_wall_clock_that_jumps_makes_no_absence_count(desk: Desk) -> None:
    """Waits are counted on the monotonic clock: an hour set forward is no hour."""
    desk.bot.faults.append("lose")
    wanted = order()
    await refused(desk, wanted)
    for _ in range(3):
        desk.clock.set_wall(desk.clock.now() + timedelta(hours=1))
        told = await desk.orders.get(admission(), wanted.request_id)
        assert told["outcome"] == "unknown"


async def test_a_late_effect_is_found_before_its_absence_counts(desk: Desk) -> None:
    """An order that takes effect after its answer was lost is placed (simulation: late)."""
    desk.bot.faults.append("lose")
    wanted = order()
    await refused(desk, wanted)
    desk.clock.advance(40)
    await desk.orders.get(admission(), wanted.request_id)
    desk.bot.enter("BTC/USDT", desk.bot.posts[0]["entry_tag"])
    told = await desk.orders.get(admission(), wanted.request_id)
    assert told["outcome"] == "placed"


async def test_an_unknown_entry_keeps_its_place(desk: Desk) -> None:
    """One entry in flight per bot: until it is known, the next is denied unsent (orders)."""
    desk.bot.faults.append("fail")
    await refused(desk, order())
    error = await refused(desk, order(pair="ETH/USDT"))
    assert (error.code, error.public()["outcome"]) == ("bot_busy", "denied")
    assert len(desk.bot.posts) == 1


async def test_an_exit_is_not_held_up_by_an_unknown_entry(desk: Desk) -> None:
    """Exits are never held by an entry of another pair (orders)."""
    await desk.orders.create(admission(), order(amount="2"))
    desk.bot.faults.append("fail")
    await refused(desk, order(pair="ETH/USDT"))
    told = (await desk.orders.create(admission(), order(side="sell", amount="2"))).answer
    assert (told["outcome"], told["filled_amount"]) == ("placed", 2.0)


async def test_a_lost_exit_is_found_by_comparing_the_trade(desk: Desk) -> None:
    """An exit has no tag: it is the sell order that the trade had not before (freqtrade)."""
    await desk.orders.create(admission(), order(amount="2"))
    await desk.orders.create(admission(), order(side="sell", amount="0.5"))
    desk.bot.faults.append("lose_done")
    wanted = order(side="sell", amount="0.7")
    await refused(desk, wanted)
    told = await desk.orders.get(admission(), wanted.request_id)
    assert (told["outcome"], told["filled_amount"]) == ("placed", 0.7)


async def test_an_exit_that_never_happened_is_not_mistaken_for_an_earlier_one(desk: Desk) -> None:
    """The sells that were there before do not count as this one."""
    await desk.orders.create(admission(), order(amount="2"))
    await desk.orders.create(admission(), order(side="sell", amount="0.5"))
    desk.bot.faults.append("lose")
    wanted = order(side="sell", amount="0.5")
    await refused(desk, wanted)
    assert (await desk.orders.get(admission(), wanted.request_id))["outcome"] == "unknown"


async def test_the_strategys_exit_is_not_taken_for_ours(desk: Desk) -> None:
    """A stop loss that comes in between is a sell of the same trade, and not this order."""
    await desk.orders.create(admission(), order(amount="2"))
    desk.bot.faults.append("lose")
    wanted = order(side="sell", amount="0.5")
    await refused(desk, wanted)
    [trade] = desk.bot.status
    trade["orders"].append(desk.bot._order("sell", 0.5, True, "stop_loss"))
    assert (await desk.orders.get(admission(), wanted.request_id))["outcome"] == "unknown"


async def test_a_store_that_goes_while_the_order_is_out_says_unknown(desk: Desk) -> None:
    """After the send nothing may read like "nothing was done"."""
    desk.bot.faults.append("hang")
    errors: list[GatewayError] = []

    async def call() -> None:
        errors.append(await refused(desk, order()))

    async with anyio.create_task_group() as group:
        group.start_soon(call)
        await desk.bot.posted()
        await desk.store.close()
        desk.bot.release.set()
    assert [error.code for error in errors] == ["outcome_unknown"]
