"""The promise: at most one effect for one request_id, and an honest answer."""

from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest

from mcp_gateway.domain.operations import OPERATIONS
from mcp_gateway.domain.orders import State
from mcp_gateway.domain.principals import Principal, admission_by_the_gate
from mcp_gateway.errors import (
    BotRejected,
    GatewayError,
    IdempotencyConflict,
    NotFound,
    NotPermitted,
    OrderDenied,
    OutcomeUnknown,
    QuotaExceeded,
    StoreUnavailable,
)
from mcp_gateway.orders import answers
from mcp_gateway.orders.reconcile import ORIGIN
from mcp_gateway.orders.steps import audit_event
from mcp_gateway.telemetry import metrics
from tests.support.clock import ManualClock
from tests.support.desk import Desk, admission, open_desk, order, request_id
from tests.support.tradingbot import TradingBot

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


@pytest.fixture
def bot() -> TradingBot:
    return TradingBot(ManualClock())


@pytest.fixture
async def desk(tmp_path: Path, bot: TradingBot) -> AsyncIterator[Desk]:
    clock = bot.clock
    assert isinstance(clock, ManualClock)
    async with open_desk(tmp_path, bot, clock) as opened:
        yield opened


async def refused(desk: Desk, wanted: Any, subject: str = "agent-a") -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await desk.orders.create(admission(subject), wanted)
    return caught.value


async def test_an_order_is_placed_and_told_with_the_bots_numbers(desk: Desk) -> None:
    """The receipt has requested and actual amount, average price and fee (interface)."""
    created = await desk.orders.create(admission(), order(amount="1"))
    told = created.answer
    assert not created.replayed
    assert (told["outcome"], told["status"], told["mode"]) == ("placed", "filled", "dry-run")
    assert (told["requested_amount"], told["filled_amount"]) == (1.0, 1.0)
    assert (told["average_price"], told["fee"]) == (100.0, 0.1)
    assert (told["trade_id"], told["agent"]) == (1, "agent-a")


async def test_the_row_is_written_before_the_bot_is_called(desk: Desk) -> None:
    """Every effect has a `sent` row older than it (orders, invariant 3)."""
    desk.bot.faults.append("hang")
    wanted = order()
    async with anyio.create_task_group() as group:
        group.start_soon(desk.orders.create, admission(), wanted)
        await desk.bot.posted()
        record = await desk.ledger.find("tests", "agent-a", wanted.request_id)
        assert record is not None
        assert record.state is State.SENT
        assert record.sent_at is not None
        desk.bot.release.set()


async def test_the_order_carries_a_tag_that_no_caller_can_guess(desk: Desk) -> None:
    """The tag is an unguessable id of its own, not the request_id (orders)."""
    wanted = order()
    await desk.orders.create(admission(), wanted)
    tag = desk.bot.posts[0]["entry_tag"]
    assert tag.startswith("gw:")
    assert len(tag) >= 30
    assert str(wanted.request_id) not in tag


async def test_a_repeated_request_is_answered_from_the_record(desk: Desk) -> None:
    """The same request_id again trades once and tells the same words (orders)."""
    wanted = order()
    first = await desk.orders.create(admission(), wanted)
    again = await desk.orders.create(admission(), wanted)
    assert again.answer == first.answer
    assert again.replayed
    assert len(desk.bot.posts) == 1


async def test_a_denial_is_repeated_in_the_same_words(desk: Desk) -> None:
    """A denied request stays denied, whatever has changed meanwhile (invariant 2)."""
    wanted = order(amount="1000")
    first = await refused(desk, wanted)
    again = await refused(desk, wanted)
    assert first.code == "notional_too_large"
    assert first.public() == again.public()
    assert first.public()["limit"] == "1000"
    assert not desk.bot.posts


@pytest.mark.parametrize(
    "change", [{"amount": "2"}, {"pair": "ETH/USDT"}, {"order_type": "limit", "price": "90"}]
)
async def test_a_request_id_stands_for_one_order(desk: Desk, change: dict[str, str]) -> None:
    """Same key, other order: a conflict, and nothing is sent (orders)."""
    wanted = order()
    await desk.orders.create(admission(), wanted)
    other = order(request_id=wanted.request_id, **change)
    assert isinstance(await refused(desk, other), IdempotencyConflict)
    assert len(desk.bot.posts) == 1


async def test_sixty_four_twins_trade_once(desk: Desk) -> None:
    """Concurrent calls with one request_id wait for the one that sends (orders, race)."""
    wanted = order()
    desk.bot.faults.append("hang")
    answers = []

    async def call() -> None:
        answers.append((await desk.orders.create(admission(), wanted)).answer)

    async with anyio.create_task_group() as group:
        for _ in range(64):
            group.start_soon(call)
        await desk.bot.posted()
        desk.bot.release.set()
    assert len(answers) == 64
    assert all(told == answers[0] for told in answers)
    assert len(desk.bot.posts) == 1


async def test_a_twin_at_another_gateway_waits_for_the_row(desk: Desk) -> None:
    """On a shared store the first call may be elsewhere: its row is watched, not repeated."""
    wanted = order()
    elsewhere = desk.orders._new_record(admission(), wanted)
    event = audit_event(elsewhere, State.RECEIVED, ORIGIN, desk.clock)
    await desk.ledger.receive(elsewhere, event)
    told = answers.refusal(elsewhere)
    assert told is not None
    assert (told.code, "not sent" in told.message) == ("order_in_progress", True)
    errors: list[GatewayError] = []

    async def call() -> None:
        errors.append(await refused(desk, wanted))

    async with anyio.create_task_group() as group:
        group.start_soon(call)
        await anyio.wait_all_tasks_blocked()
        await desk.reconciler.submission.deny(elsewhere, ORIGIN, "bot_busy")
    assert [error.code for error in errors] == ["bot_busy"]
    assert not desk.bot.posts


async def test_two_agents_may_use_the_same_request_id(desk: Desk) -> None:
    """The key is (principal, request_id): a stranger's id tells and blocks nothing."""
    wanted = order()
    await desk.orders.create(admission("agent-a"), wanted)
    other = order(request_id=wanted.request_id, pair="ETH/USDT")
    told = (await desk.orders.create(admission("agent-b"), other)).answer
    assert told["pair"] == "ETH/USDT"


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


async def test_an_exit_that_another_gateway_overtook_is_not_sent(desk: Desk) -> None:
    """The trade is looked at again once its place is taken: stale sizes sell too much."""
    await desk.orders.create(admission(), order(amount="2"))
    desk.bot.sells_behind = 0.8
    error = await refused(desk, order(side="sell", amount="1.5"))
    assert (error.code, error.public()["outcome"]) == ("position_changed", "denied")
    assert len(desk.bot.posts) == 1


async def test_a_slow_exit_holds_up_no_other(desk: Desk) -> None:
    """Exits of different pairs do not wait for each other."""
    await desk.orders.create(admission(), order())
    await desk.orders.create(admission(), order(pair="ETH/USDT"))
    desk.bot.faults.append("hang")
    async with anyio.create_task_group() as group:
        group.start_soon(desk.orders.create, admission(), order(side="sell"))
        await desk.bot.posted(3)
        other = await desk.orders.create(admission(), order(side="sell", pair="ETH/USDT"))
        assert other.answer["outcome"] == "placed"
        desk.bot.release.set()


async def test_when_the_quota_is_spent_exits_are_still_served(desk: Desk) -> None:
    """An agent that bought too fast can still get out (access)."""
    await desk.orders.create(admission(), order())
    spent = QuotaExceeded("Too many calls.", retry_after_s=1.0)
    trader = Principal("tests", "agent-a", frozenset({"orders:create"}))
    shown = admission_by_the_gate(
        trader, OPERATIONS["create_order"], "http", "call-1", exits_only=spent
    )
    with pytest.raises(QuotaExceeded):
        await desk.orders.create(shown, order(pair="ETH/USDT"))
    assert (await desk.orders.create(shown, order(side="sell"))).answer["outcome"] == "placed"


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


async def test_a_connection_that_was_never_made_is_a_denial(desk: Desk) -> None:
    """Only a refused connection proves that nothing was sent: try again, new id (orders)."""
    desk.bot.faults.append("no_connection")
    error = await refused(desk, order())
    assert isinstance(error, OrderDenied)
    assert error.code == "bot_unavailable"
    assert (await desk.orders.create(admission(), order())).answer["outcome"] == "placed"


async def test_the_bots_refusal_is_a_rejection_in_our_words(desk: Desk) -> None:
    """502 with a reason: nothing happened; no sentence of the bot's is passed on."""
    desk.bot.faults.append("refuse:Maximum number of trades is reached.")
    error = await refused(desk, order())
    assert isinstance(error, BotRejected)
    assert error.code == "no_free_slot"
    assert "Maximum number" not in str(error.public())


async def test_a_bot_that_is_down_denies_before_anything_is_sent(desk: Desk) -> None:
    """The checks need the bot; without it the order is denied and the row says so."""
    desk.bot.fails = 500
    error = await refused(desk, order())
    assert (error.code, error.public()["outcome"]) == ("bot_unavailable", "denied")
    assert await desk.events() == ["order.received", "order.denied"]


async def test_a_sell_closes_in_part_and_then_wholly(desk: Desk) -> None:
    """A sell closes what the same agent opened; all of it without an amount (freqtrade)."""
    await desk.orders.create(admission(), order(amount="2"))
    part = await desk.orders.create(admission(), order(side="sell", amount="0.5"))
    assert part.answer["filled_amount"] == 0.5
    rest = await desk.orders.create(admission(), order(side="sell", amount="1.5"))
    assert rest.answer["outcome"] == "placed"
    assert [post.get("amount") for post in desk.bot.posts] == [None, 0.5, None]
    assert desk.bot.status == []


@pytest.mark.parametrize(
    ("subject", "amount", "code"),
    [
        ("agent-a", "2.1", "more_than_held"),
        ("agent-a", "0.000000000001", "amount_below_step"),
        ("agent-b", "1", "nothing_to_sell"),
    ],
)
async def test_a_sell_of_more_or_of_anothers_is_denied(
    desk: Desk, subject: str, amount: str, code: str
) -> None:
    """Freqtrade would sell everything; another agent's position is not for sale (orders)."""
    await desk.orders.create(admission("agent-a"), order(amount="2"))
    error = await refused(desk, order(side="sell", amount=amount), subject)
    assert error.code == code
    assert len(desk.bot.posts) == 1


async def test_the_strategys_position_is_not_for_sale(desk: Desk) -> None:
    """What this gateway did not open, it does not close."""
    desk.bot.enter("BTC/USDT", "strategy")
    assert (await refused(desk, order(side="sell"))).code == "nothing_to_sell"


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


async def test_a_caller_who_hangs_up_does_not_touch_the_order(desk: Desk) -> None:
    """Submission runs in a task that the server owns (orders, joints 4)."""
    desk.bot.faults.append("hang")
    wanted = order()
    async with anyio.create_task_group() as group:

        async def call(scope: anyio.CancelScope) -> None:
            with scope:
                await desk.orders.create(admission(), wanted)

        hang_up = anyio.CancelScope()
        group.start_soon(call, hang_up)
        await desk.bot.posted()
        hang_up.cancel()
    desk.bot.release.set()
    told = (await desk.orders.create(admission(), wanted)).answer
    assert told["outcome"] == "placed"
    assert len(desk.bot.posts) == 1


async def test_an_agent_that_the_token_does_not_speak_for_is_refused(desk: Desk) -> None:
    """The agent is the subject or one of act_for (access)."""
    error = await refused(desk, order(agent="somebody-else"))
    assert isinstance(error, NotPermitted)
    assert error.code == "agent_not_allowed"
    assert await desk.events() == []


async def test_an_order_of_somebody_else_is_not_told(desk: Desk) -> None:
    """get_order knows the caller's own orders only."""
    wanted = order()
    await desk.orders.create(admission("agent-a"), wanted)
    with pytest.raises(NotFound):
        await desk.orders.get(admission("agent-b"), wanted.request_id)
    with pytest.raises(NotFound):
        await desk.orders.get(admission("agent-a"), request_id())


async def test_every_step_has_its_audit_row(desk: Desk) -> None:
    """No audit row, no order: both are one transaction (invariant 8)."""
    wanted = order()
    await desk.orders.create(admission(), wanted)
    assert await desk.events() == [
        "order.received", "order.reserved", "order.sent", "order.placed",
    ]  # fmt: skip
    rows = await desk.audit_log.tail(10)
    assert {row.event.request_id for row in rows} == {str(wanted.request_id)}


async def test_the_audit_row_says_which_key_and_token_asked(desk: Desk) -> None:
    """Who is liable can tell by which key an order was signed (access)."""
    trader = Principal("tests", "agent-a", frozenset({"orders:create"}), token_id="jti-1")
    shown = admission_by_the_gate(trader, OPERATIONS["create_order"], "http", "call-1", "key-1")
    await desk.orders.create(shown, order())
    [row] = await desk.audit_log.tail(10, event="order.received")
    assert (row.event.detail["key_id"], row.event.detail["jti"]) == ("key-1", "jti-1")
    assert (row.event.channel, row.event.call_id) == ("http", "call-1")


async def test_orders_are_counted_by_side_and_outcome(desk: Desk) -> None:
    """What an operator watches: mcp_gateway_orders_total."""
    placed = metrics.orders_total.labels("buy", "placed")
    denied = metrics.orders_total.labels("buy", "denied")
    before = placed._value.get(), denied._value.get()
    wanted = order()
    await desk.orders.create(admission(), wanted)
    await desk.orders.create(admission(), wanted)
    await refused(desk, order(amount="1000", pair="ETH/USDT"))
    assert (placed._value.get(), denied._value.get()) == (before[0] + 1, before[1] + 1)


async def test_a_store_that_is_gone_lets_nothing_out(desk: Desk) -> None:
    """Writes fail closed: no row, no order (invariant 3)."""
    await desk.store.close()
    assert isinstance(await refused(desk, order()), StoreUnavailable)
    assert not desk.bot.posts


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


async def test_a_dry_run_uses_up_nothing(desk: Desk) -> None:
    """It sends nothing, writes nothing, and the request_id stays free (orders)."""
    wanted = order()
    preview = await desk.orders.preview(admission(), wanted)
    assert preview.valid
    assert (preview.estimated_cost, preview.estimated_fee) == (Decimal(100), Decimal("0.1"))
    assert not desk.bot.posts
    assert await desk.events() == []
    assert (await desk.orders.create(admission(), wanted)).replayed is False


async def test_a_dry_run_says_no_where_create_says_no(desk: Desk) -> None:
    """One function decides for both (architecture)."""
    wanted = order(amount="1000")
    preview = await desk.orders.preview(admission(), wanted)
    error = await refused(desk, wanted)
    assert not preview.valid
    assert preview.errors[0].split(":")[0] == error.code
