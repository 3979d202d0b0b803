"""Orders that only a person can settle, and orders that come true too late."""

import pytest

from mcp_gateway.domain.orders import OrderRecord, State
from mcp_gateway.errors import OutcomeUnknown
from tests.support.desk import BOT, PAIR, PATIENCE, Desk, admission, order


async def sold_and_forgotten(desk: Desk, agent: str = "agent-a", pair: str = PAIR) -> OrderRecord:
    """Return an exit whose answer was lost and whose trade the bot has deleted since."""
    await desk.orders.create(admission(agent), order(pair=pair))
    desk.bot.faults.append("lose_done")
    with pytest.raises(OutcomeUnknown):
        await desk.orders.create(admission(agent), order(pair=pair, side="sell"))
    del desk.bot.closed[0]
    [record] = await desk.ledger.in_states(BOT, {State.UNKNOWN})
    waits = await desk.reconciler.resolve(record)
    assert (waits.state, waits.code) == (State.NEEDS_REVIEW, "trade_gone")
    return waits


async def given_up(desk: Desk, **changes: object) -> OrderRecord:
    """Return an entry that was told as never executed; the bot will carry it out when asked."""
    desk.bot.faults.append("late")
    with pytest.raises(OutcomeUnknown):
        await desk.orders.create(admission(), order(**changes))
    for _ in range(3):
        await desk.reconciler.resolve_all()
        desk.clock.advance(PATIENCE.quiet_s)
    [record] = await desk.ledger.in_states(BOT, {State.REJECTED})
    assert record.code == "not_executed"
    return record


async def executed_late(desk: Desk, **changes: object) -> OrderRecord:
    """Return an entry that was told as never executed and that the bot holds after all."""
    record = await given_up(desk, **changes)
    desk.bot.take_effect()
    await desk.follower.look()
    found = await desk.ledger.by_id(record.order_id)
    assert found is not None
    return found
