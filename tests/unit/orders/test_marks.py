"""How the bot's orders are told apart: ours, a person's, and what was there before."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mcp_gateway.domain.orders import State
from mcp_gateway.errors import OutcomeUnknown
from mcp_gateway.orders.book.marks import find_exits
from tests.support.clock import ManualClock
from tests.support.desk import PATIENCE, Desk, admission, open_desk, order
from tests.support.tradingbot import TradingBot

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    clock = ManualClock()
    async with open_desk(tmp_path, TradingBot(clock), clock) as opened:
        await opened.orders.create(admission(), order())
        # A person sells a part by the bot's own interface: it bears the mark of such sells too.
        opened.bot._exit({"tradeid": 1, "amount": 0.25})
        yield opened


async def test_a_sell_that_was_there_before_is_not_ours(desk: Desk) -> None:
    """The bot gives an exit no tag of ours; what came later is all that there is to go by."""
    [trade] = await desk.reconciler.bot.open_trades()
    [sold] = find_exits(trade, frozenset())
    assert find_exits(trade, frozenset({sold.bot_order_id})) == ()


async def test_an_exit_that_was_lost_is_not_told_as_an_earlier_sell(desk: Desk) -> None:
    """It never happened, however much the trade was sold by others before."""
    desk.bot.faults.append("lose")
    wanted = order(side="sell", amount="0.5")
    with pytest.raises(OutcomeUnknown):
        await desk.orders.create(admission(), wanted)
    for _ in range(3):
        await desk.reconciler.resolve_all()
        desk.clock.advance(PATIENCE.quiet_s)
    told = await desk.orders.get(admission(), wanted.request_id)
    assert (told["outcome"], told["code"]) == (State.REJECTED, "not_executed")
