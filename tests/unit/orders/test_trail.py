"""What is written down of an order, and who may read it."""

import anyio
import pytest

from mcp_gateway.domain.operations import OPERATIONS
from mcp_gateway.domain.orders import State
from mcp_gateway.domain.principals import Principal, admission_by_the_gate
from mcp_gateway.errors import (
    NotFound,
    NotPermitted,
    StoreUnavailable,
)
from mcp_gateway.telemetry import metrics
from tests.support.desk import Desk, admission, order, refused, request_id

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


async def test_the_row_is_written_before_the_bot_is_called(desk: Desk) -> None:
    """Every effect has a `sent` row older than it (docs/orders.md, 3)."""
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
    """No audit row, no order: both are one transaction (docs/orders.md, 7)."""
    wanted = order()
    await desk.orders.create(admission(), wanted)
    assert await desk.events() == [
        "order.received", "order.reserved", "order.sent", "order.placed", "order.filled",
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
    """Writes fail closed: no row, no order (docs/orders.md, 3)."""
    await desk.store.close()
    assert isinstance(await refused(desk, order()), StoreUnavailable)
    assert not desk.bot.posts
