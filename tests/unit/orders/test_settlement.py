"""An operator decides what nobody else can find out: once, with a reason, in the records."""

from decimal import Decimal
from typing import Any

import anyio
import pytest
from pydantic import ValidationError

from mcp_gateway.domain.orders import OrderRecord, State
from mcp_gateway.errors import BotUnavailable, GatewayError, RequestInvalid
from mcp_gateway.orders.settling.settlement import Decision, settle
from tests.support.desk import BOT, Desk, admission, order
from tests.support.review import executed_late, sold_and_forgotten
from tests.support.tradingbot import PRICE

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

REASON = "order 4711 at the exchange"


def decision(finding: str, **changes: Any) -> Decision:
    told = {"finding": finding, "reason": REASON}
    return Decision.model_validate(told | changes)


async def settled(desk: Desk, record: OrderRecord, finding: str, **changes: Any) -> OrderRecord:
    made = decision(finding, **changes)
    return await settle(desk.ledger, desk.reconciler.bot, record, made, "ann", bot_name=BOT)


async def told(desk: Desk, record: OrderRecord) -> dict[str, Any]:
    """Return what the agent's get_order answers."""
    return await desk.orders.get(admission(), record.request_id)


async def test_an_exit_that_did_not_happen_is_rejected_as_settled(desk: Desk) -> None:
    """The agent gets a final answer; who decided and why is not for it."""
    waits = await sold_and_forgotten(desk)
    assert (await told(desk, waits))["final"] is False
    done = await settled(desk, waits, "not-placed")
    assert (done.state, done.code) == (State.REJECTED, "settled")
    answer = await told(desk, waits)
    assert (answer["outcome"], answer["code"], answer["final"]) == ("rejected", "settled", True)
    assert "ann" not in str(answer)
    assert REASON not in str(answer)
    with pytest.raises(GatewayError) as refused:
        await desk.orders.create(admission(), order(request_id=waits.request_id, side="sell"))
    assert refused.value.code == "settled"


async def test_an_exit_that_happened_gets_the_operators_numbers(desk: Desk) -> None:
    """The bot knows nothing any more; what a person saw at the exchange is written down."""
    waits = await sold_and_forgotten(desk)
    done = await settled(desk, waits, "placed", filled="0.75", average_price="101.5")
    assert (done.state, done.filled_amount) == (State.FILLED, Decimal("0.75"))
    answer = await told(desk, waits)
    assert (answer["outcome"], answer["status"], answer["final"]) == ("placed", "filled", True)
    assert (answer["requested_amount"], answer["amount"], answer["filled_amount"]) == (
        1.0, 0.75, 0.75,
    )  # fmt: skip
    assert answer["average_price"] == 101.5
    again = await desk.orders.create(admission(), order(request_id=waits.request_id, side="sell"))
    assert (again.replayed, again.answer["filled_amount"]) == (True, 0.75)


async def test_an_exit_of_which_no_number_is_known_ends_as_vanished(desk: Desk) -> None:
    """Placed, and nothing that could be followed: no row is left to be asked about for ever."""
    waits = await sold_and_forgotten(desk)
    done = await settled(desk, waits, "placed")
    assert (done.state, done.filled_amount) == (State.VANISHED, Decimal(0))
    answer = await told(desk, waits)
    assert (answer["outcome"], answer["status"]) == ("placed", "vanished")
    assert (answer["code"], answer["final"]) == ("settled", True)


async def test_the_decision_stands_in_history_and_audit_log(desk: Desk) -> None:
    """Who, why and what was found; under the caller whose order it was."""
    waits = await sold_and_forgotten(desk)
    await settled(desk, waits, "placed", filled="0.50", average_price="99")
    found = {
        "finding": "placed", "reason": REASON, "operator": "ann", "filled": "0.5",
        "price": "99",
    }  # fmt: skip
    history = await desk.ledger.history(waits.order_id)
    assert [(step.state, step.code) for step in history][-3:] == [
        (State.NEEDS_REVIEW, "trade_gone"), (State.PLACED, "settled"), (State.FILLED, "settled"),
    ]  # fmt: skip
    assert history[-2].detail == found
    *_, placed, filled = [row.event for row in await desk.audit_log.tail(100)]
    assert [placed.event, filled.event] == ["order.placed", "order.filled"]
    assert (placed.channel, placed.operation, placed.subject) == (
        "control", "settle_order", "agent-a",
    )  # fmt: skip
    assert {name: (placed.detail or {})[name] for name in found} == found


async def test_an_entry_that_the_bot_shows_gets_the_bots_numbers(desk: Desk) -> None:
    """A slip of the operator's pen changes nothing that the bot can tell."""
    waits = await executed_late(desk)
    done = await settled(desk, waits, "placed", filled="77", average_price="1")
    assert (done.state, done.filled_amount) == (State.FILLED, Decimal(1))
    assert (done.average_price, done.trade_id) == (Decimal(str(PRICE)), 1)
    assert done.bot_order_id == "order-1"


async def test_an_entry_that_rests_is_followed_behind_the_decision(desk: Desk) -> None:
    """Settled says that it was placed; what becomes of it is seen as of any other."""
    waits = await executed_late(desk, order_type="limit", price="96")
    done = await settled(desk, waits, "placed")
    assert (done.state, done.filled_amount) == (State.PLACED, Decimal(0))
    desk.bot.fill(1)
    await desk.follower.look()
    assert (await told(desk, waits))["status"] == "filled"


async def test_an_entry_that_the_bot_shows_is_not_settled_as_nothing(desk: Desk) -> None:
    """Open or closed since, by its tag; the refusal names trade and order."""
    waits = await executed_late(desk)
    for _ in range(2):
        with pytest.raises(RequestInvalid) as refused:
            await settled(desk, waits, "not-placed")
        assert refused.value.code == "mark_found"
        if desk.bot.status:
            desk.bot._exit({"tradeid": 1})
    assert (await desk.ledger.by_id(waits.order_id)) == waits


async def test_an_entry_is_not_settled_while_the_bot_is_away(desk: Desk) -> None:
    """It may have the order; and nothing can be bought before it is back."""
    waits = await executed_late(desk)
    desk.bot.fails = 500
    for finding in ("placed", "not-placed"):
        with pytest.raises(BotUnavailable):
            await settled(desk, waits, finding)
    assert (await desk.ledger.by_id(waits.order_id)) == waits


async def test_an_exit_is_settled_though_the_bot_is_away(desk: Desk) -> None:
    """Its trade is gone: the bot has nothing to say."""
    waits = await sold_and_forgotten(desk)
    desk.bot.fails = 500
    assert (await settled(desk, waits, "not-placed")).state is State.REJECTED


async def test_no_more_is_settled_as_filled_than_twice_the_amount(desk: Desk) -> None:
    """A slip of the pen would stand for good; the refusal names the limit."""
    waits = await sold_and_forgotten(desk)
    with pytest.raises(RequestInvalid) as refused:
        await settled(desk, waits, "placed", filled="2.00001")
    assert refused.value.code == "request_invalid"
    assert refused.value.detail == {"field": "filled", "limit": "2"}
    assert (await settled(desk, waits, "placed", filled="2")).filled_amount == Decimal(2)


@pytest.mark.parametrize("finding", ["placed", "not-placed"])
async def test_an_order_of_another_bot_is_not_settled(desk: Desk, finding: str) -> None:
    """The bot that is asked has never seen it: its mark would be missed, and it would be sold."""
    waits = await executed_late(desk)
    with pytest.raises(RequestInvalid) as refused:
        await settle(
            desk.ledger, desk.reconciler.bot, waits, decision(finding), "ann", bot_name="second"
        )
    assert (refused.value.code, refused.value.detail) == ("other_bot", {"bot": BOT})
    assert (await desk.ledger.by_id(waits.order_id)) == waits


async def test_only_what_waits_for_a_person_is_settled(desk: Desk) -> None:
    """Not a placed order, a rejected one, or one that was settled before."""
    waits = await sold_and_forgotten(desk)
    done = await settled(desk, waits, "not-placed")
    [bought] = await desk.ledger.in_states(BOT, {State.FILLED})
    for record in (done, bought):
        with pytest.raises(RequestInvalid) as refused:
            await settled(desk, record, "placed")
        assert refused.value.code == "not_under_review"


async def test_of_two_operators_one_decides(desk: Desk) -> None:
    """Both saw it waiting; the ledger takes the first word and tells the other so."""
    waits = await sold_and_forgotten(desk)
    ends: list[str] = []

    async def decide(finding: str) -> None:
        try:
            ends.append((await settled(desk, waits, finding)).state)
        except RequestInvalid as refused:
            ends.append(refused.code)

    async with anyio.create_task_group() as group:
        group.start_soon(decide, "placed")
        group.start_soon(decide, "not-placed")
    assert len(ends) == 2
    assert "not_under_review" in ends
    history = await desk.ledger.history(waits.order_id)
    assert sum("operator" in step.detail for step in history) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"finding": "perhaps"},
        {"reason": "sure      "},
        {"reason": "x" * 1001},
        {"operator": "mallory"},
        {"filled": "0"},
        {"filled": "-1"},
        {"filled": "NaN"},
        {"filled": "1e999"},
        {"average_price": "100"},
        {"finding": "not-placed", "filled": "1"},
        {"finding": "not-placed", "filled": "1", "average_price": "100"},
        {"filled": "1", "average_price": "Infinity"},
        {"order_id": "another"},
    ],
    ids=str,
)  # fmt: skip
def test_a_decision_that_makes_no_sense_is_refused(changes: dict[str, str]) -> None:
    """A reason that says something, numbers of what happened only, and nobody else's name."""
    sound = {"finding": "placed", "reason": REASON}
    assert Decision.model_validate(sound).filled is None
    with pytest.raises(ValidationError):
        Decision.model_validate(sound | changes)
