"""Recovery: what an earlier process left behind is taken up, and never sent again."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from mcp_gateway.domain.orders import State
from mcp_gateway.errors import GatewayError
from mcp_gateway.orders.book.steps import Origin, audit_event
from tests.support.clock import ManualClock
from tests.support.desk import admission, open_desk, order
from tests.support.tradingbot import TradingBot

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


async def crashed_while_sending(folder: Path, bot: TradingBot, clock: ManualClock) -> None:
    """Leave an order as a process leaves it that dies between send and answer."""
    async with open_desk(folder, bot, clock) as desk:
        bot.faults.append("hang")
        async with anyio.create_task_group() as group:
            group.start_soon(desk.orders.create, admission(), order())
            await bot.posted()
            [record] = await desk.ledger.recent(limit=2)
            assert record.state is State.SENT
            group.cancel_scope.cancel()
        await desk.store.close()  # the crash: nothing more is written
        bot.release.set()


async def test_a_sent_order_of_a_dead_process_is_unknown_then_found(
    tmp_path: Path, clock: ManualClock
) -> None:
    """SIGKILL between send and answer: recovery finds the tag, and sends nothing (orders)."""
    bot = TradingBot(clock)
    await crashed_while_sending(tmp_path, bot, clock)
    async with open_desk(tmp_path, bot, clock) as desk:
        await desk.reconciler.recover()
        [record] = await desk.ledger.recent(limit=10)
        assert record.state is State.UNKNOWN
        await desk.reconciler.resolve_all()
        [record] = await desk.ledger.recent(limit=10)
        assert (record.state, record.code) == (State.FILLED, None)
    assert len(bot.posts) == 1


async def test_a_clock_that_jumps_does_not_take_an_order_from_its_own_process(
    tmp_path: Path, clock: ManualClock
) -> None:
    """What runs here is not an orphan, whatever time it is."""
    bot = TradingBot(clock)
    async with open_desk(tmp_path, bot, clock) as desk:
        bot.faults.append("hang")
        async with anyio.create_task_group() as group:
            group.start_soon(desk.orders.create, admission(), order())
            await bot.posted()
            clock.set_wall(clock.now() + timedelta(hours=1))
            await desk.reconciler.recover()
            [record] = await desk.ledger.recent(limit=10)
            assert record.state is State.SENT
            bot.release.set()
        [record] = await desk.ledger.recent(limit=10)
    assert record.state is State.FILLED


async def test_an_answer_in_hand_counts_though_recovery_called_the_order_lost(
    tmp_path: Path, clock: ManualClock
) -> None:
    """Another gateway may have moved the row; what the bot said is still the truth."""
    bot = TradingBot(clock)
    async with open_desk(tmp_path, bot, clock) as desk:
        bot.faults.append("hang")
        answers: list[dict[str, Any]] = []

        async def call() -> None:
            answers.append((await desk.orders.create(admission(), order())).answer)

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await bot.posted()
            desk.reconciler.submission.running.clear()
            await desk.reconciler.recover()
            [record] = await desk.ledger.recent(limit=10)
            assert record.state is State.UNKNOWN
            bot.release.set()
        assert [told["outcome"] for told in answers] == ["placed"]


async def test_an_order_that_the_store_failed_is_taken_up_at_once(
    tmp_path: Path, clock: ManualClock
) -> None:
    """A store that is back finds what this process could not write down."""
    bot = TradingBot(clock)
    async with open_desk(tmp_path, bot, clock) as desk:
        bot.faults.append("hang")
        async with anyio.create_task_group() as group:

            async def call() -> None:
                with pytest.raises(GatewayError):
                    await desk.orders.create(admission(), order())

            group.start_soon(call)
            await bot.posted()
            await desk.store.close()
            bot.release.set()
        await desk.store.open()
        await desk.reconciler.recover()
        await desk.reconciler.resolve_all()
        [record] = await desk.ledger.recent(limit=10)
    assert record.state is State.FILLED


async def test_what_never_left_is_denied(tmp_path: Path, clock: ManualClock) -> None:
    """A row that was received and not sent was never sent: denied, interrupted (orders)."""
    bot = TradingBot(clock)
    async with open_desk(tmp_path, bot, clock) as desk:
        wanted = order()
        record = desk.orders._intake.record(admission(), wanted)
        event = audit_event(record, Origin("http", "c"))
        await desk.ledger.receive(record, event)
        await desk.reconciler.recover()
        with pytest.raises(GatewayError) as caught:
            await desk.orders.create(admission(), wanted)
    assert (caught.value.code, bot.posts) == ("interrupted", [])
