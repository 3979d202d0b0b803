"""Selling: what the same agent bought, no more of it, and never held up."""

import anyio
import pytest

from mcp_gateway.domain.operations import OPERATIONS
from mcp_gateway.domain.principals import Principal, admission_by_the_gate
from mcp_gateway.domain.quotas import Reserve
from mcp_gateway.errors import (
    QuotaExceeded,
)
from tests.support.desk import Desk, admission, order, refused

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


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
    """An agent that bought too fast can still get out, and its buys take nothing of that."""
    await desk.orders.create(admission(), order())
    spent: list[str] = []

    async def spend() -> None:
        spent.append("exit")

    trader = Principal("tests", "agent-a", frozenset({"orders:create"}))
    kept = Reserve(QuotaExceeded("Too many calls.", retry_after_s=1.0), spend)
    shown = admission_by_the_gate(
        trader, OPERATIONS["create_order"], "http", "call-1", reserve=kept
    )
    with pytest.raises(QuotaExceeded):
        await desk.orders.create(shown, order(pair="ETH/USDT"))
    assert spent == []
    assert (await desk.orders.create(shown, order(side="sell"))).answer["outcome"] == "placed"
    assert spent == ["exit"]


async def test_an_exit_beyond_its_reserve_is_refused_before_anything_is_written(
    desk: Desk,
) -> None:
    """A loop of sells is bounded too; its request_id stays unused."""
    await desk.orders.create(admission(), order())
    used_up = QuotaExceeded("Too many calls.", retry_after_s=1.0)

    async def spend() -> None:
        raise used_up

    trader = Principal("tests", "agent-a", frozenset({"orders:create"}))
    shown = admission_by_the_gate(
        trader, OPERATIONS["create_order"], "http", "call-1", reserve=Reserve(used_up, spend)
    )
    selling = order(side="sell")
    with pytest.raises(QuotaExceeded):
        await desk.orders.create(shown, selling)
    again = await desk.orders.create(admission(), selling)
    assert (again.answer["outcome"], again.replayed) == ("placed", False)


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
        ("agent-b", "1", "position_not_yours"),
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
    error = await refused(desk, order(side="sell"))
    assert error.code == "position_not_yours"
    assert "sell what is yours" in error.hint
