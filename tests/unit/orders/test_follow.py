"""What becomes of placed orders: the bot is asked, and its answer alone is believed."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from mcp_gateway.domain.orders import OrderRecord, State
from mcp_gateway.domain.positions import Trade, TradeOrder
from mcp_gateway.errors import GatewayError
from mcp_gateway.orders.book import background, marks
from mcp_gateway.orders.settling.follow import INTERVAL_S
from mcp_gateway.telemetry import metrics
from tests.support.desk import (
    PATIENCE,
    Desk,
    admission,
    followed_twice,
    order,
    refused,
    rested,
    stored,
)
from tests.support.heard import heard

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


async def bought(desk: Desk, **changes: Any) -> None:
    """Buy two of the base at the market."""
    await desk.orders.create(admission(), order(amount="2", **changes))


async def states(desk: Desk, record: OrderRecord) -> list[State]:
    return [step.state for step in await desk.ledger.history(record.order_id)]


async def test_every_fill_is_appended(desk: Desk) -> None:
    """The order's life goes on after its receipt, which stays as it was (orders)."""
    wanted = await rested(desk)
    for amount, state, filled in (
        (0.25, State.PARTIALLY_FILLED, 0.25),
        (0.25, State.PARTIALLY_FILLED, 0.5),
        (None, State.FILLED, 1.0),
    ):
        desk.bot.fill(1, amount)
        await desk.follower.look()
        record = await stored(desk, wanted)
        assert (record.state, float(record.filled_amount)) == (state, filled)
    assert record.average_price == 96
    told = await desk.orders.get(admission(), wanted.request_id)
    assert (told["status"], told["filled_amount"]) == ("filled", 1.0)
    steps = [
        (step["state"], step.get("filled_amount"), step.get("average_price"))
        for step in told["history"]
    ]
    assert steps == [
        ("received", None, None), ("reserved", None, None), ("sent", None, None),
        ("placed", 0.0, None), ("partially_filled", 0.25, 96.0), ("partially_filled", 0.5, 96.0),
        ("filled", 1.0, 96.0),
    ]  # fmt: skip
    replay = await desk.orders.create(admission(), wanted)
    assert replay.answer["status"] == "submitted"


async def test_a_look_that_finds_nothing_new_writes_nothing(desk: Desk) -> None:
    """A history of looks would bury the history of the order."""
    wanted = await rested(desk)
    desk.bot.fill(1, 0.5)
    for _ in range(3):
        await desk.follower.look()
    assert (await states(desk, await stored(desk, wanted)))[-2:] == [
        State.PLACED, State.PARTIALLY_FILLED,
    ]  # fmt: skip


async def test_a_resting_order_is_followed_when_asked_for(desk: Desk) -> None:
    """get_order asks the bot itself: nobody has to wait for the next look."""
    wanted = await rested(desk)
    desk.bot.fill(1)
    told = await desk.orders.get(admission(), wanted.request_id)
    assert (told["status"], told["final"]) == ("filled", True)


async def test_a_bot_that_is_down_leaves_the_record_to_tell(desk: Desk) -> None:
    """What was known last is the answer; nothing is concluded from silence."""
    wanted = await rested(desk)
    desk.bot.fails = 500
    told = await desk.orders.get(admission(), wanted.request_id)
    assert told["status"] == "submitted"
    with pytest.raises(GatewayError):
        await desk.follower.look()
    assert (await stored(desk, wanted)).state is State.PLACED


async def test_a_filled_order_is_not_asked_for_again(desk: Desk) -> None:
    """What is final is told from the record; a trade that was deleted later changes nothing."""
    wanted = order()
    await desk.orders.create(admission(), wanted)
    desk.bot.status.clear()
    await desk.follower.look()
    told = await desk.orders.get(admission(), wanted.request_id)
    assert (told["status"], told["outcome"]) == ("filled", "placed")


async def test_what_a_time_out_of_the_bots_left_is_held(desk: Desk) -> None:
    """It cancels the rest of a part-filled entry; the filled part can be sold."""
    wanted = await rested(desk)
    desk.bot.fill(1, 0.25)
    desk.bot._cancel(1)
    await desk.follower.look()
    record = await stored(desk, wanted)
    assert (record.state, float(record.filled_amount)) == (State.CANCELLED, 0.25)
    sold = await desk.orders.create(admission(), order(side="sell", amount="0.25"))
    assert sold.answer["outcome"] == "placed"


async def test_an_entry_that_the_bot_forgot_has_vanished(desk: Desk) -> None:
    """An unfilled entry that is cancelled is deleted; without its event nobody knows why."""
    wanted = await rested(desk)
    desk.bot._take_off(desk.bot.status[0], desk.bot.status[0]["orders"][0])
    await followed_twice(desk)
    told = await desk.orders.get(admission(), wanted.request_id)
    assert (told["status"], told["outcome"], told["code"]) == ("vanished", "placed", None)


async def test_books_that_are_another_bots_for_a_moment_make_nothing_vanish(desk: Desk) -> None:
    """A bot that is being set up may show none of ours: two looks five seconds apart agree."""
    wanted = await rested(desk)
    books = list(desk.bot.status)
    for _ in range(2):
        desk.bot.status.clear()
        await desk.follower.look()
        desk.clock.advance(INTERVAL_S - 1)
        await desk.follower.look()
        desk.bot.status.extend(books)
        await desk.follower.look()
        desk.clock.advance(INTERVAL_S)
    assert (await stored(desk, wanted)).state is State.PLACED


async def test_an_exit_that_left_a_trade_that_stays_was_cancelled(desk: Desk) -> None:
    """From its answers the bot hides an exit that was cancelled unfilled (freqtrade)."""
    await bought(desk)
    wanted = await rested(desk, side="sell", amount="2", price="110")
    desk.bot._cancel(1)
    await desk.follower.look()
    record = await stored(desk, wanted)
    assert (record.state, record.code) == (State.CANCELLED, "cancelled_at_bot")
    assert record.filled_amount == 0


@pytest.mark.parametrize("side", ["buy", "sell"])
async def test_a_trade_id_that_was_given_away_again_tells_nothing(desk: Desk, side: str) -> None:
    """Another trade under the id: vanished, and never the other's numbers (freqtrade)."""
    if side == "sell":
        await bought(desk)
    price = "96" if side == "buy" else "110"
    wanted = await rested(desk, side=side, price=price)
    before = await stored(desk, wanted)
    desk.bot.status.clear()
    desk.bot.enter("BTC/USDT", "strategy", 7.0)
    await followed_twice(desk)
    record = await stored(desk, wanted)
    assert (record.trade_id, desk.bot.status[0]["trade_id"]) == (1, 1)
    assert (record.state, record.filled_amount) == (State.VANISHED, Decimal(0))
    assert record.bot_order_id == before.bot_order_id


async def test_an_order_id_of_another_pair_is_another_order(desk: Desk) -> None:
    """Exchanges count orders by market: the same number in another pair is not ours."""
    wanted = await rested(desk)
    theirs = (await stored(desk, wanted)).bot_order_id
    desk.bot.status.clear()
    desk.bot.enter("ETH/USDT", "strategy", 7.0)
    desk.bot.status[0]["orders"][0]["order_id"] = theirs
    await followed_twice(desk)
    record = await stored(desk, wanted)
    assert (record.state, record.filled_amount) == (State.VANISHED, Decimal(0))


async def test_one_order_that_is_moved_elsewhere_holds_up_no_other(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another gateway may have written it down just now; the look goes on."""
    first, second = await rested(desk), await rested(desk, pair="ETH/USDT")
    seen = await stored(desk, first)
    desk.bot.fill(1)
    desk.bot.fill(2)
    asked = desk.follower.ledger.in_states

    async def an_old_look(*asking: Any) -> tuple[OrderRecord, ...]:
        old = await asked(*asking)
        await desk.follower.follow(seen)
        return old

    monkeypatch.setattr(desk.follower.ledger, "in_states", an_old_look)
    await desk.follower.look()
    assert [(await stored(desk, one)).state for one in (first, second)] == [State.FILLED] * 2
    assert (await states(desk, seen)).count(State.FILLED) == 1


async def test_one_order_that_cannot_be_understood_holds_up_no_other(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug that one trade brings out is loud, and the rest is followed all the same."""
    first, second = await rested(desk), await rested(desk, pair="ETH/USDT")
    understood = marks.same_order

    def stumbles(record: OrderRecord, trade: Trade) -> TradeOrder | None:
        if record.request_id == first.request_id:
            raise ZeroDivisionError
        return understood(record, trade)

    monkeypatch.setattr(marks, "same_order", stumbles)
    desk.bot.fill(1)
    desk.bot.fill(2)
    with heard(background) as logged:
        await desk.follower.look()
    assert [(await stored(desk, one)).state for one in (first, second)] == [
        State.PLACED, State.FILLED,
    ]  # fmt: skip
    assert [line["event"] for line in logged] == ["An order could not be taken on"]


async def test_an_order_that_happened_although_it_was_told_as_rejected_is_for_a_person(
    desk: Desk,
) -> None:
    """The one exception to a final word is loud: counted, and held under review."""
    desk.bot.faults.append("late")
    wanted = order()
    await refused(desk, wanted)
    for after_s in (0, PATIENCE.quiet_s, PATIENCE.cycle_s):
        desk.clock.advance(after_s)
        await desk.reconciler.resolve_all()
    assert (await stored(desk, wanted)).state is State.REJECTED
    before = metrics.orders_contradicted_total._value.get()
    desk.bot.take_effect()
    for _ in range(2):
        await desk.follower.look()
    record = await stored(desk, wanted)
    assert (record.state, record.code) == (State.NEEDS_REVIEW, "executed_late")
    assert metrics.orders_contradicted_total._value.get() == before + 1
    held = await refused(desk, order())
    assert held.code == "order_under_review"


@pytest.mark.parametrize("tag", ["gw:nobody", "strategy"])
async def test_a_tag_that_the_ledger_does_not_know_is_no_contradiction(
    desk: Desk, tag: str
) -> None:
    """Another gateway's trade, or the strategy's: none of ours was told otherwise."""
    before = metrics.orders_contradicted_total._value.get()
    desk.bot.enter("BTC/USDT", tag)
    desk.clock.set_wall(desk.clock.now() + timedelta(seconds=1))
    await desk.follower.look()
    assert metrics.orders_contradicted_total._value.get() == before
