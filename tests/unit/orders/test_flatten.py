"""Closing what this gateway opened, by orders like the agents' own, and nothing twice."""

from uuid import UUID, uuid4

import anyio
import pytest

from mcp_gateway.domain.invalid import read
from mcp_gateway.domain.orders import State
from mcp_gateway.errors import RequestInvalid
from mcp_gateway.orders.flatten import Flattening, FlattenRequest
from tests.support.clock import ManualClock
from tests.support.desk import BOT, Desk, admission, order, refused, rested, stored
from tests.support.halting import halted

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


def flattening(desk: Desk, confirmation: UUID | None = None) -> Flattening:
    """Return an operator's order to close everything."""
    return Flattening(
        desk.orders, desk.halts, desk.ledger, desk.switch.bot, BOT, "dry-run", desk.clock,
        confirmation or uuid4(), "alice",
    )  # fmt: skip


def sells(desk: Desk) -> list[int]:
    """Return the trades that the bot was asked to sell."""
    return [post["tradeid"] for post in desk.bot.posts if "tradeid" in post]


async def held(desk: Desk) -> None:
    """Let two agents hold a position each, and the strategy a third."""
    desk.bot.max_open_trades = 10
    await desk.orders.create(admission("agent-a"), order())
    await desk.orders.create(admission("agent-b"), order(pair="ETH/USDT", amount="2"))
    desk.bot.enter("XRP/USDT", "the strategy's own")


async def test_everything_of_ours_is_sold_and_the_rest_is_named(desk: Desk) -> None:
    """By each owner's own exit; the strategy's position is left alone."""
    await held(desk)
    told = await flattening(desk).run("leaving")
    assert told["flat"] is True
    assert sells(desk) == [1, 2]
    assert {(one["agent"], one["pair"], one["outcome"]) for one in told["orders"]} == {
        ("agent-a", "BTC/USDT", "placed"),
        ("agent-b", "ETH/USDT", "placed"),
    }
    assert [one["pair"] for one in told["left"]["others"]] == ["XRP/USDT"]
    assert [trade["pair"] for trade in desk.bot.status] == ["XRP/USDT"]


async def test_everything_is_halted_before_anything_is_sold(desk: Desk) -> None:
    """Else an agent buys again what is just being sold."""
    await held(desk)
    told = await flattening(desk).run("leaving")
    assert told["halt"]["scope"] == "all"
    assert (await refused(desk, order())).code == "trading_halted"
    events = await desk.events()
    assert events.index("halt.set") < len(events) - events[::-1].index("order.filled") - 1


async def test_the_audit_log_names_the_operator_and_the_order_its_owner(desk: Desk) -> None:
    """The position is the agent's, the decision is not."""
    await held(desk)
    told = await flattening(desk).run("leaving")
    sold = next(one for one in told["orders"] if one["agent"] == "agent-b")
    record = await desk.ledger.by_id(sold["order_id"])
    assert record is not None
    assert (record.agent, record.subject, record.issuer) == ("agent-b", "agent-b", "tests")
    rows = await desk.audit_log.tail(100, order_id=record.order_id)
    assert {row.event.detail["operator"] for row in rows} == {"alice"}
    assert {row.event.channel for row in rows} == {"control"}


async def test_resting_entries_are_taken_back_and_what_they_bought_is_sold(desk: Desk) -> None:
    """A part that was filled already is a position like any other."""
    whole = await rested(desk)
    part = await rested(desk, "agent-b", pair="ETH/USDT", amount="2")
    desk.bot.fill(2, 0.5)
    told = await flattening(desk).run("leaving")
    assert told["flat"] is True
    assert sorted(desk.bot.cancels) == [1, 2]
    assert (await stored(desk, whole)).state is State.CANCELLED
    assert (await stored(desk, part, "agent-b")).state is State.CANCELLED
    assert [
        (post["tradeid"], post.get("amount")) for post in desk.bot.posts if "tradeid" in post
    ] == [(2, None)]
    assert desk.bot.status == []


async def test_a_plan_changes_nothing(desk: Desk) -> None:
    """What an operator is shown before saying yes."""
    await desk.orders.create(admission("agent-a"), order())
    await rested(desk, "agent-c", pair="ETH/USDT")
    desk.bot.enter("XRP/USDT", "the strategy's own")
    plan = (await flattening(desk).plan()).as_json()
    assert [(one["pair"], one["agent"], one["amount"]) for one in plan["sells"]] == [
        ("BTC/USDT", "agent-a", "1"),
    ]
    assert [one["pair"] for one in plan["cancels"]] == ["ETH/USDT"]
    assert [one["pair"] for one in plan["others"]] == ["XRP/USDT"]
    assert (sells(desk), desk.bot.cancels, await desk.halts.in_force()) == ([], [], ())


async def ended(desk: Desk, work: Flattening) -> dict[str, object]:
    """Run a flattening to its end, letting its pauses pass."""
    told: list[dict[str, object]] = []
    assert isinstance(desk.clock, ManualClock)

    async def run() -> None:
        told.append(await work.run("leaving"))

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        while not told:
            with anyio.move_on_after(0.2):
                await desk.clock.sleeping()
            desk.clock.advance(2)
    return told[0]


async def test_a_sell_whose_answer_is_lost_is_not_sent_again(desk: Desk) -> None:
    """Repeated with its confirmation, the command waits for what is known."""
    await desk.orders.create(admission(), order())
    confirmation = uuid4()
    desk.bot.faults.append("lose_done")
    first = await ended(desk, flattening(desk, confirmation))
    assert first["flat"] is False
    again = await ended(desk, flattening(desk, confirmation))
    assert (sells(desk), again["flat"]) == ([1], False)
    [unknown] = await desk.ledger.in_states(BOT, {State.UNKNOWN})
    await desk.reconciler.resolve(unknown)
    last = await flattening(desk, confirmation).run("leaving")
    assert (sells(desk), last["flat"]) == ([1], True)


async def test_a_sell_that_the_bot_refused_is_tried_again(desk: Desk) -> None:
    """It did nothing; the next try has another request_id, which follows from the confirmation too."""
    await desk.orders.create(admission(), order())
    desk.bot.faults.append("refuse:Remaining amount of 1 would be too small.")
    told = await ended(desk, flattening(desk))
    assert (sells(desk), told["flat"]) == ([1, 1], True)


async def test_the_same_confirmation_twice_at_once_sells_once(desk: Desk) -> None:
    """A nervous operator in two windows."""
    await held(desk)
    confirmation = uuid4()
    one, other = flattening(desk, confirmation), flattening(desk, confirmation)
    async with anyio.create_task_group() as group:
        group.start_soon(ended, desk, one)
        group.start_soon(ended, desk, other)
    assert sorted(sells(desk)) == [1, 2]


async def test_a_halted_gateway_can_be_flattened(desk: Desk) -> None:
    """Usually it is halted first; a second halt of it says why."""
    await held(desk)
    await halted(desk)
    assert (await flattening(desk).run("leaving"))["flat"] is True
    assert [one.reason for one in await desk.halts.in_force()][1] == "flatten: leaving"


async def test_a_paused_bot_sells_and_a_stopped_one_is_told(desk: Desk) -> None:
    """Freqtrade takes exits when it is paused, and none when it is stopped."""
    await desk.orders.create(admission(), order())
    desk.bot.state = "stopped"
    told = await ended(desk, flattening(desk))
    assert told["flat"] is False
    assert isinstance(told["orders"], list)
    assert {one["code"] for one in told["orders"]} == {"bot_not_running"}
    desk.bot.state = "paused"
    assert (await flattening(desk).run("leaving"))["flat"] is True


async def test_a_repeated_command_does_not_tell_old_refusals_anew(desk: Desk) -> None:
    """What was refused before was told then; of the last try it is told."""
    await desk.orders.create(admission(), order())
    desk.bot.state = "stopped"
    confirmation = uuid4()
    await ended(desk, flattening(desk, confirmation))
    desk.bot.state = "running"
    told = await ended(desk, flattening(desk, confirmation))
    assert isinstance(told["orders"], list)
    [sold] = told["orders"]
    assert (sold["outcome"], sold["code"], told["flat"]) == ("placed", None, True)
    assert sold["average_price"] is not None


async def test_another_gateways_positions_are_left_alone(desk: Desk) -> None:
    """A tag of ours that this ledger never wrote is somebody else's."""
    desk.bot.enter("BTC/USDT", "gw:of-another-gateway")
    told = await flattening(desk).run("leaving")
    assert (sells(desk), told["flat"]) == ([], True)
    assert [one["pair"] for one in told["left"]["others"]] == ["BTC/USDT"]


async def test_an_amount_that_no_order_can_hold_keeps_nothing_from_being_sold(desk: Desk) -> None:
    """A bot that computes in floats may tell more decimals than an order has."""
    await held(desk)
    desk.bot.status[0]["amount"] += 3e-17
    desk.bot.status[1]["amount"] = 0.00012987000000000003
    await flattening(desk).run("the account is at risk")
    assert sorted(sells(desk)) == [1, 2]


async def test_what_is_asked_is_read_strictly_and_its_reason_made_harmless() -> None:
    """It stands in the halt that everybody is shown."""
    asked = read(FlattenRequest, {"confirmation": str(uuid4()), "reason": "out\x1b[2J\nnow"})
    assert asked.reason == "out [2J now"
    with pytest.raises(RequestInvalid) as refused:
        read(FlattenRequest, {"confirmation": "1", "reason": " ", "force": True})
    fields = [one["field"] for one in refused.value.detail["faults"]]
    assert fields == ["confirmation", "reason", "force"]
