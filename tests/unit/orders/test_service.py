"""The promise: at most one effect for one request_id, and an honest answer."""

from decimal import Decimal

import anyio
import pytest

from mcp_gateway.errors import (
    BotRejected,
    GatewayError,
    IdempotencyConflict,
    OrderDenied,
)
from mcp_gateway.orders.book import answers
from mcp_gateway.orders.book.steps import audit_event
from mcp_gateway.orders.settling.reconcile import ORIGIN
from tests.support.desk import Desk, admission, order, refused

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


async def test_an_order_is_placed_and_told_with_the_bots_numbers(desk: Desk) -> None:
    """The receipt has requested and actual amount, average price and fee (interface)."""
    created = await desk.orders.create(admission(), order(amount="1"))
    told = created.answer
    assert not created.replayed
    assert (told["outcome"], told["status"], told["mode"]) == ("placed", "filled", "dry-run")
    assert (told["requested_amount"], told["filled_amount"]) == (1.0, 1.0)
    assert (told["average_price"], told["fee"]) == (100.0, 0.1)
    assert (told["trade_id"], told["agent"]) == (1, "agent-a")


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
    """A denied request stays denied, whatever has changed meanwhile (docs/orders.md, 2)."""
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
    """Concurrent calls with one request_id wait for the one that sends."""
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
    elsewhere = desk.orders._intake.record(admission(), wanted)
    event = audit_event(elsewhere, ORIGIN)
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


async def test_a_caller_who_hangs_up_does_not_touch_the_order(desk: Desk) -> None:
    """Submission runs in a task that the server owns."""
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
