"""An order above the line waits for a person: asked once, answered once, checked again."""

from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from sqlalchemy import Connection

from mcp_gateway.domain.orders import OrderRequest, State
from mcp_gateway.errors import GatewayError, NotPending
from mcp_gateway.orders.approvals import decisions, dispatch
from mcp_gateway.orders.approvals.decisions import APPROVED_LASTS
from mcp_gateway.orders.approvals.dispatch import NOT_OURS_YET
from mcp_gateway.orders.book import answers
from mcp_gateway.orders.book.actor import Actor
from mcp_gateway.orders.book.protocol import HELD
from mcp_gateway.orders.book.question import Question
from mcp_gateway.orders.evidence.comparison import compare
from mcp_gateway.orders.sending.submission import APPROVAL_WAIT
from mcp_gateway.risk.policy import Policy
from tests.support.asking import (
    CONSOLE,
    LINE,
    approved,
    approver,
    asking,
    declined,
    id_of,
    not_approved,
    waiting,
)
from tests.support.clock import ManualClock
from tests.support.desk import BOT, Desk, admission, open_desk, order, refused, stored
from tests.support.heard import heard
from tests.support.tradingbot import TradingBot

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

CANCEL = admission(operation="cancel_order")
GET = admission(operation="get_order")
WAIT_S = APPROVAL_WAIT.total_seconds()
LASTS_S = APPROVED_LASTS.total_seconds()
GRACE_S = NOT_OURS_YET.total_seconds()


@pytest.fixture
def rules() -> Policy:
    """Every order of a hundred needs a person."""
    return asking()


async def state(desk: Desk, wanted: OrderRequest) -> tuple[State, str | None]:
    """Return where an order stands in the ledger, and why."""
    record = await stored(desk, wanted)
    return record.state, record.code


async def approved_only(desk: Desk, wanted: OrderRequest) -> None:
    """Write a yes down as a process does that ends right behind it."""
    await desk.orders.approvals.approve(await id_of(desk, wanted), CONSOLE)


async def test_an_order_above_the_line_is_answered_at_once_and_not_sent(desk: Desk) -> None:
    """A success: outcome and status `pending_approval`, until when, the text, the next step."""
    created = await desk.orders.create(admission(), order())
    told = created.answer
    assert (told["outcome"], told["status"], created.replayed) == (
        "pending_approval", "pending_approval", False,
    )  # fmt: skip
    assert told["expires_at"] == "2025-11-18T10:15:00Z"
    assert told["question"].startswith("Dry-run order: no real money.\n")
    assert (told["message"], told["hint"]) == (answers.PENDING_MESSAGE, answers.PENDING_HINT)
    assert desk.bot.posts == []


async def test_an_order_at_the_line_needs_nobody(tmp_path: Path, clock: ManualClock) -> None:
    """`approval_above`: stake and fee may reach it."""
    bot = TradingBot(clock)
    async with open_desk(tmp_path, bot, clock, policy=asking(approval_above=Decimal(150))) as desk:
        assert (await desk.orders.create(admission(), order())).answer["outcome"] == "placed"


async def test_an_exit_waits_for_nobody(tmp_path: Path, clock: ManualClock) -> None:
    """Exits are never trapped."""
    bot = TradingBot(clock)
    async with open_desk(tmp_path, bot, clock) as before:
        await before.orders.create(admission(), order())
    async with open_desk(tmp_path, bot, clock, policy=asking()) as desk:
        sold = await desk.orders.create(admission(), order(side="sell"))
    assert sold.answer["outcome"] == "placed"


async def test_an_order_that_a_rule_denies_is_not_put_before_a_person(desk: Desk) -> None:
    """Nobody is asked for what could not be sent anyway."""
    wanted = order(amount="11")
    assert (await refused(desk, wanted)).code == "notional_too_large"
    assert await desk.orders.approvals.pending() == ()


async def test_the_same_request_again_is_told_the_present_state(desk: Desk) -> None:
    """A replay of what waits, then of what became of it."""
    wanted = await waiting(desk)
    again = await desk.orders.create(admission(), wanted)
    assert (again.replayed, again.answer["outcome"]) == (True, "pending_approval")
    await approved(desk, wanted)
    placed = await desk.orders.create(admission(), wanted)
    assert (placed.replayed, placed.answer["outcome"]) == (True, "placed")
    assert len(desk.bot.posts) == 1


async def test_another_order_under_the_same_request_is_a_conflict(desk: Desk) -> None:
    """What a person is asked for can't be exchanged under its id."""
    wanted = await waiting(desk)
    changed = order(request_id=wanted.request_id, amount="2")
    assert (await refused(desk, changed)).code == "idempotency_conflict"
    assert (await stored(desk, wanted)).amount == 1


async def test_get_order_tells_that_it_waits_and_is_not_final(desk: Desk) -> None:
    """The agent asks until it is."""
    wanted = await waiting(desk)
    told = await desk.orders.get(GET, wanted.request_id)
    assert (told["outcome"], told["final"]) == ("pending_approval", False)
    assert told["question"]
    assert [step["state"] for step in told["history"]] == ["received", "pending_approval"]


async def test_an_approved_order_is_sent_once_with_who_and_when(desk: Desk) -> None:
    """The yes stands in history and audit log with name, time and fingerprint, then the order."""
    wanted = await waiting(desk)
    desk.clock.advance(30)
    record = await approved(desk, wanted)
    assert (record.state, len(desk.bot.posts)) == (State.FILLED, 1)
    history = await desk.ledger.history(record.order_id)
    yes = next(step for step in history if step.state is State.APPROVED)
    assert yes.at == desk.clock.now()
    assert yes.detail["by"] == "root"
    assert yes.detail["fingerprint"] == record.fingerprint
    [row] = [r for r in await desk.audit_log.tail(100) if r.event.event == "order.approved"]
    assert (row.event.channel, row.event.operation) == ("control", "approve_order")
    assert row.event.detail["by"] == "root"
    assert await desk.events() == [
        f"order.{word}"
        for word in ("received", "pending_approval", "approved", "reserved", "sent", "placed", "filled")
    ]  # fmt: skip


async def test_the_audit_row_of_a_signed_approval_names_its_key(desk: Desk) -> None:
    """Who approved over REST is proven by a signature; its key is written down."""
    await approved(desk, await waiting(desk), approver())
    [row] = [r for r in await desk.audit_log.tail(100) if r.event.event == "order.approved"]
    assert row.event.detail["by"] == "operator"
    assert row.event.detail["by_issuer"] == "tests"
    assert row.event.detail["key_id"] == "key-of-operator"
    assert (row.event.channel, row.event.call_id) == ("rest", "call-9")


async def test_nothing_that_the_fingerprint_is_made_of_changes_on_the_way(desk: Desk) -> None:
    """Approved is what was asked for, and what is sent is what was approved."""
    wanted = await waiting(desk)
    before = await stored(desk, wanted)
    after = await approved(desk, wanted)
    fixed = ("agent", "pair", "side", "amount", "order_type", "price", "mode", "approved_quote")
    assert {name: getattr(after, name) for name in (*fixed, "fingerprint")} == {
        name: getattr(before, name) for name in (*fixed, "fingerprint")
    }


async def test_a_second_approval_has_no_effect(desk: Desk) -> None:
    """Single use."""
    wanted = await waiting(desk)
    await approved(desk, wanted)
    assert (await not_approved(desk, wanted)).code == "not_pending"
    assert len(desk.bot.posts) == 1


async def test_two_approvals_at_once_have_one_effect(desk: Desk) -> None:
    """Both were under way together; the ledger lets one of them take the order on."""
    wanted = await waiting(desk)
    desk.bot.faults.append("hang")
    ends: list[State | str] = []

    async def approve(person: Actor) -> None:
        try:
            ends.append((await approved(desk, wanted, person)).state)
        except GatewayError as error:
            ends.append(error.code)

    async with anyio.create_task_group() as group:
        group.start_soon(approve, CONSOLE)
        group.start_soon(approve, approver())
        await desk.bot.posted()
        desk.bot.release.set()
    assert sorted(ends) == ["filled", "not_pending"]
    assert len(desk.bot.posts) == 1


async def test_a_declined_order_is_denied_for_good(desk: Desk) -> None:
    """With a code and a next step; the reason is for the records and not for the agent."""
    wanted = await waiting(desk)
    record = await declined(desk, wanted)
    assert (record.state, record.code) == (State.DENIED, "declined")
    error = await refused(desk, wanted)
    assert (error.code, error.replayed) == ("declined", True)
    assert "not today" not in str(error.public())
    last = (await desk.ledger.history(record.order_id))[-1]
    assert (last.detail["by"], last.detail["reason"]) == ("root", "not today")
    assert (await not_approved(desk, wanted)).code == "not_pending"
    assert desk.bot.posts == []


@pytest.mark.parametrize(
    "person",
    [
        pytest.param(approver("agent-a"), id="itself"),
        pytest.param(approver("agent-a", issuer="elsewhere"), id="its name of another issuer"),
        pytest.param(approver("boss", act_for=("agent-a",)), id="acts for it"),
    ],
)
async def test_nobody_decides_about_an_order_of_their_own(desk: Desk, person: Actor) -> None:
    """Neither yes nor no, by whatever name."""
    wanted = await waiting(desk)
    assert (await not_approved(desk, wanted, person)).code == "approver_is_requester"
    with pytest.raises(GatewayError) as caught:
        await declined(desk, wanted, person)
    assert caught.value.code == "approver_is_requester"
    assert await state(desk, wanted) == (State.PENDING_APPROVAL, None)


async def test_the_caller_behind_an_agent_does_not_decide_either(desk: Desk) -> None:
    """A caller that acts for an agent is the requester, and so is the agent."""
    principal = replace(admission("desk").principal, act_for=frozenset({"bot-7"}))
    caller = replace(admission("desk"), principal=principal)
    wanted = order(agent="bot-7")
    told = (await desk.orders.create(caller, wanted)).answer
    for name in ("desk", "bot-7"):
        with pytest.raises(GatewayError) as caught:
            await desk.orders.dispatch.approve(told["order_id"], approver(name))
        assert caught.value.code == "approver_is_requester"


@pytest.mark.parametrize("wanted", ["nonsense", "", "0" * 32])
async def test_an_order_that_is_not_there_is_not_approved(desk: Desk, wanted: str) -> None:
    """A mistyped id is told as that."""
    with pytest.raises(GatewayError) as caught:
        await desk.orders.dispatch.approve(wanted, CONSOLE)
    assert caught.value.code == "order_unknown"


async def test_an_order_of_another_bot_is_not_approved_here(
    desk: Desk, tmp_path: Path, clock: ManualClock
) -> None:
    """Gateways that share a ledger answer for their own bot."""
    wanted = await waiting(desk)
    approvals = replace(desk.orders.approvals, bot_name="another")
    assert await approvals.pending() == ()
    with pytest.raises(GatewayError) as caught:
        await approvals.approve(await id_of(desk, wanted), CONSOLE)
    assert caught.value.code == "order_unknown"


async def test_what_waits_is_listed_oldest_first(desk: Desk) -> None:
    """And what is over is not: the look itself denies it."""
    first = await waiting(desk)
    desk.clock.advance(60)
    second = await waiting(desk, amount="2")
    listed = await desk.orders.approvals.pending()
    assert [one.record.request_id for one in listed] == [first.request_id, second.request_id]
    desk.clock.advance(WAIT_S - 60)
    [left] = await desk.orders.approvals.pending()
    assert left.record.request_id == second.request_id
    assert await state(desk, first) == (State.DENIED, "approval_expired")


async def test_what_waits_too_long_is_denied_by_the_loop(desk: Desk) -> None:
    """A moment before the end it waits still."""
    wanted = await waiting(desk)
    desk.clock.advance(WAIT_S - 0.001)
    await desk.orders.dispatch.look()
    assert await state(desk, wanted) == (State.PENDING_APPROVAL, None)
    desk.clock.advance(0.001)
    await desk.orders.dispatch.look()
    assert await state(desk, wanted) == (State.DENIED, "approval_expired")


async def test_what_waits_too_long_is_denied_by_any_look(desk: Desk) -> None:
    """Nobody is told that an order waits which can't be approved any more."""
    asked, repeated, late = [await waiting(desk, amount=str(n)) for n in (1, 2, 3)]
    desk.clock.advance(WAIT_S)
    told = await desk.orders.get(GET, asked.request_id)
    assert (told["outcome"], told["code"], told["final"]) == ("denied", "approval_expired", True)
    assert (await refused(desk, repeated)).code == "approval_expired"
    assert (await not_approved(desk, late)).code == "not_pending"
    assert await state(desk, late) == (State.DENIED, "approval_expired")


async def test_the_wait_is_a_setting(desk: Desk) -> None:
    """MCP_GATEWAY_APPROVAL_WAIT_S."""
    submission = replace(desk.orders._submission, approval_wait=APPROVAL_WAIT / 15)
    desk.orders._carriage = replace(desk.orders._carriage, submission=submission)
    created = await desk.orders.create(admission(), order())
    assert created.answer["expires_at"] == "2025-11-18T10:01:00Z"


async def test_a_yes_that_nobody_carries_out_is_taken_up_by_the_loop(desk: Desk) -> None:
    """Approved by another process, or by one that ended: sent within seconds, once."""
    wanted = await waiting(desk)
    await approved_only(desk, wanted)
    await desk.orders.dispatch.look()
    assert await state(desk, wanted) == (State.APPROVED, None)  # whoever took the yes is at it
    desk.clock.advance(GRACE_S)
    await desk.orders.dispatch.look()
    await desk.orders.dispatch.look()
    assert (await stored(desk, wanted)).state is State.FILLED
    assert len(desk.bot.posts) == 1


async def test_the_loop_leaves_alone_what_this_process_is_at(desk: Desk) -> None:
    """An approved order may wait for its turn for longer than others leave it alone."""
    first, second = await waiting(desk), await waiting(desk, pair="ETH/USDT")
    desk.bot.faults.append("hang")
    async with anyio.create_task_group() as group:
        group.start_soon(approved, desk, first)
        await desk.bot.posted()
        group.start_soon(approved, desk, second)
        while (await stored(desk, second)).state is not State.APPROVED:
            await anyio.lowlevel.checkpoint()
        desk.clock.advance(GRACE_S)
        with anyio.fail_after(5):  # it would wait for the same turn
            await desk.orders.dispatch.look()
        assert (await stored(desk, second)).order_id in desk.orders._submission.running
        desk.bot.release.set()
    assert (await stored(desk, second)).state is State.FILLED
    assert len(desk.bot.posts) == 2


async def test_the_loop_runs_by_itself(desk: Desk) -> None:
    """As long as the gateway does."""
    wanted = await waiting(desk)
    await approved_only(desk, wanted)
    async with anyio.create_task_group() as group:
        group.start_soon(desk.orders.dispatch.run)
        for _ in range(3):
            await desk.clock.sleeping()
            desk.clock.advance(GRACE_S / 2)
        await desk.bot.posted()
        await desk.clock.sleeping()
        group.cancel_scope.cancel()
    assert (await stored(desk, wanted)).state is State.FILLED


async def test_a_yes_lasts_a_minute(desk: Desk) -> None:
    """It was to the market of that moment."""
    wanted = await waiting(desk)
    await approved_only(desk, wanted)
    desk.clock.advance(LASTS_S)
    await desk.orders.dispatch.look()
    assert await state(desk, wanted) == (State.DENIED, "approval_expired")
    assert desk.bot.posts == []


async def test_a_yes_that_ends_while_the_bot_is_asked_sends_nothing(
    tmp_path: Path, clock: ManualClock
) -> None:
    """The last look at the time is in the transaction that would send it."""

    class SlowBot(TradingBot):
        slow = False

        def _told(self, endpoint: str, params: Any) -> Any:
            if self.slow:
                clock.advance(LASTS_S)
            return super()._told(endpoint, params)

    bot = SlowBot(clock)
    async with open_desk(tmp_path, bot, clock, policy=asking()) as desk:
        wanted = await waiting(desk)
        bot.slow = True
        record = await approved(desk, wanted)
    assert (record.state, record.code, bot.posts) == (State.DENIED, "approval_expired", [])


async def test_an_order_pending_over_a_restart_stays_pending(
    tmp_path: Path, clock: ManualClock
) -> None:
    """Recovery takes up what somebody carried; nobody carries this."""
    bot = TradingBot(clock)
    async with open_desk(tmp_path, bot, clock, policy=asking()) as before:
        wanted = await waiting(before)
    async with open_desk(tmp_path, bot, clock, policy=asking()) as after:
        await after.reconciler.recover()
        await after.reconciler.resolve_all()
        await after.follower.look()
        assert await state(after, wanted) == (State.PENDING_APPROVAL, None)
        assert (await approved(after, wanted)).state is State.FILLED


async def test_a_yes_over_a_restart_is_carried_out(tmp_path: Path, clock: ManualClock) -> None:
    """The process ended between the yes and the order."""
    bot = TradingBot(clock)
    async with open_desk(tmp_path, bot, clock, policy=asking()) as before:
        wanted = await waiting(before)
        await approved_only(before, wanted)
    async with open_desk(tmp_path, bot, clock, policy=asking()) as after:
        await after.reconciler.recover()
        clock.advance(GRACE_S)
        await after.orders.dispatch.look()
        assert (await stored(after, wanted)).state is State.FILLED
    assert len(bot.posts) == 1


async def test_the_comparison_knows_what_waits(desk: Desk) -> None:
    """It was never sent, so the bot's books lack it rightly; with it in them, they don't."""
    wanted = await waiting(desk)
    client = desk.orders._submission.bot
    assert (await compare(desk.ledger, client, BOT)).differences == ()
    tag = (await stored(desk, wanted)).tag
    desk.bot._enter(
        {"pair": "BTC/USDT", "stakeamount": 100, "ordertype": "market", "entry_tag": tag}
    )
    [found] = (await compare(desk.ledger, client, BOT)).differences
    assert found.kind == "executed_after_all"


@pytest.mark.parametrize("first", [False, True], ids=["pending", "approved"])
async def test_its_agent_can_take_it_back(desk: Desk, first: bool) -> None:
    """cancel_order withdraws it; nothing was sent, and asking again says the same."""
    wanted = await waiting(desk)
    if first:
        await approved_only(desk, wanted)
    for _ in range(2):
        told = await desk.orders.cancel(CANCEL, wanted.request_id)
        assert (told["outcome"], told["code"], told["final"]) == ("denied", "withdrawn", True)
    assert (await not_approved(desk, wanted)).code == "not_pending"
    desk.clock.advance(GRACE_S)
    await desk.orders.dispatch.look()
    assert desk.bot.posts == []


async def test_another_agents_order_is_not_withdrawn(desk: Desk) -> None:
    """To another caller it does not exist."""
    wanted = await waiting(desk)
    with pytest.raises(GatewayError) as caught:
        await desk.orders.cancel(admission("agent-b", "cancel_order"), wanted.request_id)
    assert caught.value.code == "order_unknown"
    assert (await stored(desk, wanted)).state is State.PENDING_APPROVAL


async def test_a_bot_that_is_away_when_the_yes_comes_denies_the_order(desk: Desk) -> None:
    """Everything is checked anew; what can't be checked is denied."""
    wanted = await waiting(desk)
    desk.bot.faults.append("no_connection")
    record = await approved(desk, wanted)
    assert (record.state, record.code) == (State.DENIED, "bot_unavailable")
    assert (await refused(desk, wanted)).code == "bot_unavailable"


async def test_what_the_order_needs_is_checked_anew(desk: Desk) -> None:
    """Another took the pair meanwhile."""
    wanted = await waiting(desk)
    other = await waiting(desk, "agent-b")
    await desk.orders.dispatch.approve(await id_of(desk, other, "agent-b"), CONSOLE)
    record = await approved(desk, wanted)
    assert (record.state, record.code) == (State.DENIED, "position_exists")
    assert len(desk.bot.posts) == 1


async def test_an_approved_order_needs_no_second_preview(
    tmp_path: Path, clock: ManualClock
) -> None:
    """Its preview was asked for before a person was, and lasts a minute only."""
    bot = TradingBot(clock)
    async with open_desk(tmp_path, bot, clock, policy=asking(preview_required=True)) as desk:
        error = await refused(desk, order())
        assert error.code == "preview_required"
        assert "Call dry_run_order" in error.hint
        wanted = order()
        seen = await desk.orders.preview(admission(operation="dry_run_order"), wanted)
        told = (await desk.orders.create(admission(), wanted, seen.preview_id)).answer
        assert told["outcome"] == "pending_approval"
        clock.advance(300)
        bot.candles = {(pair, "5m"): newest + 300 for (pair, _), newest in bot.candles.items()}
        assert (await approved(desk, wanted)).state is State.FILLED


async def test_an_order_shown_in_another_mode_is_not_sent(
    tmp_path: Path, clock: ManualClock
) -> None:
    """A yes to a dry run is none to real money, whatever the gateway was restarted as."""
    bot = TradingBot(clock)
    async with open_desk(tmp_path, bot, clock, policy=asking()) as before:
        wanted = await waiting(before)
    bot.dry_run = False
    live = replace(asking(), written=True)
    async with open_desk(tmp_path, bot, clock, policy=live, mode="live") as after:
        record = await approved(after, wanted)
    assert (record.state, record.code, bot.posts) == (State.DENIED, "mode_changed", [])


async def test_what_was_said_yes_to_may_cost_more_than_was_weighed_but_not_than_was_shown(
    desk: Desk,
) -> None:
    """The worst cost is what a person agreed to: the collar, and the fee on top."""
    record = await stored(desk, await waiting(desk))
    assert record.approved_quote is not None
    assert record.approved_quote > LINE
    question = await desk.orders.approvals.question(record)
    assert question.worst_price == Decimal(105)
    assert record.approved_quote >= Decimal(105)


async def test_the_log_tells_once_that_an_order_waits(desk: Desk) -> None:
    """An operator who watches the log need not ask."""
    with heard(dispatch) as logged:
        await waiting(desk)
        await desk.orders.dispatch.look()
        await desk.orders.dispatch.look()
    assert [line["event"] for line in logged] == ["An order waits for a person's approval"]


async def test_every_held_state_has_an_end(desk: Desk) -> None:
    """No state in which nobody would ever look at an order again."""
    assert {State.PENDING_APPROVAL, State.APPROVED} == HELD
    record = await stored(desk, await waiting(desk))
    assert record.expires_at is not None
    assert record.expires_at - record.updated_at == APPROVAL_WAIT
    yes = await desk.orders.approvals.approve(record.order_id, CONSOLE)
    assert yes.expires_at is not None
    assert yes.expires_at - yes.updated_at == APPROVED_LASTS


async def test_a_refusal_tells_where_the_order_stands(desk: Desk) -> None:
    """A late approver learns what became of it."""
    wanted = await waiting(desk)
    await declined(desk, wanted)
    error = await not_approved(desk, wanted)
    assert isinstance(error, NotPending)
    assert (error.detail["state"], error.detail["order_code"]) == ("denied", "declined")


async def test_the_question_survives_without_its_worst_price(desk: Desk) -> None:
    """A history that lacks it says so in words, and invents nothing."""
    record = await stored(desk, await waiting(desk))
    assert "worst price unknown" in Question.of(record, ()).text


async def test_many_that_wait_are_asked_about_in_one_look(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No look at the ledger for each of them; and no more are shown than a person reads."""
    for subject in ("agent-a", "agent-b", "agent-c"):
        await waiting(desk, subject)
        desk.clock.advance(1)
    looks, read = [], desk.store.read

    async def counted(work: Callable[[Connection], Any]) -> Any:
        looks.append(work)
        return await read(work)

    monkeypatch.setattr(desk.store, "read", counted)
    shown = await desk.orders.approvals.pending()
    assert (len(looks), [one.record.agent for one in shown]) == (
        2,
        ["agent-a", "agent-b", "agent-c"],
    )
    assert {one.worst_price for one in shown} == {Decimal(105)}
    monkeypatch.setattr(decisions, "MOST_SHOWN", 2)
    shown = await desk.orders.approvals.pending()
    assert [one.record.agent for one in shown] == ["agent-a", "agent-b"]
    assert len(await desk.orders.approvals.waiting()) == 3
