"""Two gateways on one PostgreSQL: a row in flight belongs to its process for as long as it lives."""

from pathlib import Path

import anyio
import pytest

from mcp_gateway.domain.orders import State
from tests.support.clock import ManualClock
from tests.support.desk import admission, open_desk, order
from tests.support.tradingbot import TradingBot

pytestmark = [pytest.mark.integration, pytest.mark.anyio]


async def test_a_row_in_flight_is_left_to_a_process_that_lives(
    postgres_url: str, tmp_path: Path
) -> None:
    """Another gateway takes up what is nobody's any more, at once, and nothing else."""
    clock = ManualClock()
    bot = TradingBot(clock)
    async with open_desk(tmp_path, bot, clock, url=postgres_url) as other:
        async with open_desk(tmp_path, bot, clock, url=postgres_url) as desk:
            bot.faults.append("hang")
            async with anyio.create_task_group() as group:
                group.start_soon(desk.orders.create, admission(), order())
                await bot.posted()
                clock.advance(3600)
                await other.reconciler.recover()
                [record] = await other.ledger.recent(limit=2)
                assert record.state is State.SENT
                group.cancel_scope.cancel()
            await desk.store.close()  # the crash: nothing more is written
            bot.release.set()
            await other.reconciler.recover()
            [record] = await other.ledger.recent(limit=2)
            assert record.state is State.UNKNOWN
            await other.reconciler.resolve_all()
        [record] = await other.ledger.recent(limit=2)
    assert record.state is State.FILLED
    assert len(bot.posts) == 1
