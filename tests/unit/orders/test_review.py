"""Orders that wait for a person, from the first doubt to the decision: what is held, and whose."""

import pytest

from mcp_gateway.audit.log import AuditLog
from mcp_gateway.domain.orders import State
from mcp_gateway.errors import GatewayError, OutcomeUnknown
from mcp_gateway.orders.book import answers, contradiction
from mcp_gateway.orders.records import Records, settle_order
from mcp_gateway.orders.settling import reconcile
from mcp_gateway.telemetry import metrics
from tests.support.desk import BOT, PAIR, Desk, admission, order, refused
from tests.support.heard import heard
from tests.support.review import executed_late, given_up, sold_and_forgotten

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

DECISION = {"finding": "not-placed", "reason": "nothing at the exchange"}


async def bought(desk: Desk, agent: str, pair: str = PAIR) -> str:
    """Return ``placed``, or the code that an agent's market entry is refused with."""
    try:
        created = await desk.orders.create(admission(agent), order(pair=pair))
    except GatewayError as refused:
        return refused.code
    return str(created.answer["outcome"])


def contradicted() -> float:
    """Return what the counter of contradictions stands at."""
    return metrics.REGISTRY.get_sample_value("mcp_gateway_orders_contradicted_total") or 0.0


def under_review() -> float | None:
    """Return how many orders the gauge tells to wait for the operator."""
    return metrics.REGISTRY.get_sample_value("mcp_gateway_orders_under_review")


def unresolved() -> float | None:
    """Return of how many orders the gauge tells that nobody knows the outcome."""
    return metrics.REGISTRY.get_sample_value("mcp_gateway_orders_unresolved")


async def test_a_review_holds_its_agent_in_its_pair_until_it_is_settled(desk: Desk) -> None:
    """Nobody else, no other pair; free again by the operator's word."""
    waits = await sold_and_forgotten(desk)
    assert await bought(desk, "agent-a") == "order_under_review"
    assert await bought(desk, "agent-a", "ETH/USDT") == "placed"
    records = Records(desk.ledger, AuditLog(desk.store), desk.reconciler.bot, BOT)
    args = {"id": str(waits.request_id), "decision": DECISION}
    told = await settle_order(records, args, "ann")
    assert (told["state"], told["operator"]) == ("rejected", "ann")
    assert await bought(desk, "agent-a") == "placed"


async def test_an_order_under_review_is_told_with_its_own_code(desk: Desk) -> None:
    """Whoever asks again is not sent back to ask on: a person has the next word (interface)."""
    waits = await sold_and_forgotten(desk)
    told = await desk.orders.get(admission(), waits.request_id)
    wanted = order(request_id=waits.request_id, side="sell")
    error = await refused(desk, wanted)
    assert isinstance(error, OutcomeUnknown)
    public = error.public()
    assert (public["outcome"], public["code"], public["retryable"]) == (
        "unknown", "trade_gone", False,
    )  # fmt: skip
    assert public["message"] == told["message"] == answers.REVIEW_MESSAGE
    assert error.hint.startswith("Do not send it again. The operator settles it;")


async def test_what_waits_for_the_operator_is_counted_and_logged(desk: Desk) -> None:
    """A gauge to alert on and one line for each order, with what to look for (operations)."""
    with heard(contradiction, reconcile) as logged:
        waits = await sold_and_forgotten(desk)
    [line] = [line for line in logged if line["log_level"] == "error"]
    assert line["event"] == "An order waits for the operator"
    assert (line["order"], line["code"]) == (waits.order_id, "trade_gone")
    await desk.reconciler.resolve_all()
    assert (under_review(), unresolved()) == (1, 0)
    records = Records(desk.ledger, AuditLog(desk.store), desk.reconciler.bot, BOT)
    args = {"id": str(waits.request_id), "decision": DECISION}
    await settle_order(records, args, "ann")
    await desk.reconciler.resolve_all()
    assert under_review() == 0


async def test_a_review_holds_no_other_agent(desk: Desk) -> None:
    """One agent's doubt is not another's."""
    await sold_and_forgotten(desk)
    assert await bought(desk, "agent-b") == "placed"


async def test_a_dry_run_tells_of_the_review(desk: Desk) -> None:
    """By the same rule as the order itself."""
    await sold_and_forgotten(desk)
    preview = await desk.orders.preview(admission(operation="dry_run_order"), order())
    assert [check.rule for check in preview.checks if not check.passed] == ["order_under_review"]


async def test_an_order_that_comes_true_too_late_is_told_loudly(desk: Desk) -> None:
    """It was told as rejected: an error in the log, a counter, and a person's work."""
    before = contradicted()
    with heard(contradiction, reconcile) as logged:
        record = await executed_late(desk)
        await desk.follower.look()
    assert (record.state, record.code) == (State.NEEDS_REVIEW, "executed_late")
    told = await desk.orders.get(admission(), record.request_id)
    assert (told["outcome"], told["code"], told["final"]) == ("unknown", "executed_late", False)
    assert told["message"] == answers.REVIEW_MESSAGE
    assert contradicted() == before + 1
    errors = [line for line in logged if line["log_level"] == "error"]
    assert [line["order"] for line in errors] == [record.order_id]
    assert (await desk.events())[-1] == "order.needs_review"


async def test_what_was_bought_too_late_can_be_sold_by_its_agent(desk: Desk) -> None:
    """An exit is never trapped: not by a review, and not for another agent to take."""
    record = await executed_late(desk)
    with pytest.raises(GatewayError) as refused:
        await desk.orders.create(admission("agent-b"), order(side="sell"))
    assert refused.value.code == "position_not_yours"
    part = await desk.orders.create(admission(), order(side="sell", amount="0.4"))
    rest = await desk.orders.create(admission(), order(side="sell", amount="0.6"))
    assert [sold.answer["status"] for sold in (part, rest)] == ["filled", "filled"]
    assert (await desk.ledger.by_id(record.order_id)) == record
    assert desk.bot.status == []


async def test_an_order_of_somebody_elses_mark_contradicts_nothing(desk: Desk) -> None:
    """Another gateway's tag, the strategy's, and a rejected order that stays away."""
    record = await given_up(desk)
    before = contradicted()
    desk.bot.enter("ETH/USDT", "gw:of-another-ledger")
    desk.bot.enter(PAIR, "strategy")
    await desk.follower.look()
    assert (await desk.ledger.by_id(record.order_id)) == record
    assert contradicted() == before
