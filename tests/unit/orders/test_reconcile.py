"""Recovery: what an earlier process left behind is taken up, and never sent again."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from mcp_gateway.domain.orders import OrderRequest, State
from mcp_gateway.errors import GatewayError
from mcp_gateway.orders.reconcile import INTERVAL_S
from mcp_gateway.orders.steps import Origin, audit_event
from mcp_gateway.telemetry import metrics
from tests.support.clock import ManualClock
from tests.support.desk import Desk, admission, open_desk, order
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


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


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
        assert (record.state, record.code) == (State.PLACED, None)
    assert len(bot.posts) == 1


async def test_a_row_in_flight_is_left_to_its_own_process(
    tmp_path: Path, clock: ManualClock
) -> None:
    """On PostgreSQL another gateway may be at work on it: only an orphan is taken up."""
    bot = TradingBot(clock)
    await crashed_while_sending(tmp_path, bot, clock)
    async with open_desk(tmp_path, bot, clock, orphaned_after_s=150) as desk:
        await desk.reconciler.recover()
        [record] = await desk.ledger.recent(limit=10)
        assert record.state is State.SENT
        clock.advance(151)
        await desk.reconciler.recover()
        [record] = await desk.ledger.recent(limit=10)
        assert record.state is State.UNKNOWN


async def test_a_clock_that_jumps_does_not_take_an_order_from_its_own_process(
    tmp_path: Path, clock: ManualClock
) -> None:
    """What runs here is not an orphan, whatever time it is."""
    bot = TradingBot(clock)
    async with open_desk(tmp_path, bot, clock, orphaned_after_s=150) as desk:
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
    assert record.state is State.PLACED


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
    """A store that is back need not wait for the row to grow old (PostgreSQL)."""
    bot = TradingBot(clock)
    async with open_desk(tmp_path, bot, clock, orphaned_after_s=150) as desk:
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
    assert record.state is State.PLACED


async def test_what_never_left_is_denied(tmp_path: Path, clock: ManualClock) -> None:
    """A row that was received and not sent was never sent: denied, interrupted (orders)."""
    bot = TradingBot(clock)
    async with open_desk(tmp_path, bot, clock) as desk:
        wanted = order()
        record = desk.orders._new_record(admission(), wanted)
        event = audit_event(record, State.RECEIVED, Origin("http", "c"), clock)
        await desk.ledger.receive(record, event)
        await desk.reconciler.recover()
        with pytest.raises(GatewayError) as caught:
            await desk.orders.create(admission(), wanted)
    assert (caught.value.code, bot.posts) == ("interrupted", [])


async def test_a_bot_started_anew_is_quiescent_at_once(tmp_path: Path, clock: ManualClock) -> None:
    """It can't act any more on what its earlier process was told (orders)."""
    bot = TradingBot(clock)
    async with open_desk(tmp_path, bot, clock) as desk:
        bot.faults.append("lose")
        with pytest.raises(GatewayError):
            await desk.orders.create(admission(), order())
        bot.started_at = "2025-11-18T10:00:01Z"
        clock.advance(2)
        await desk.reconciler.resolve_all()
        clock.advance(7)
        await desk.reconciler.resolve_all()
        [record] = await desk.ledger.recent(limit=10)
    assert (record.state, record.code) == (State.REJECTED, "not_executed")


async def test_a_bot_that_is_down_concludes_nothing(tmp_path: Path, clock: ManualClock) -> None:
    """Absence counts only on clean reads."""
    bot = TradingBot(clock)
    async with open_desk(tmp_path, bot, clock) as desk:
        bot.faults.append("lose")
        with pytest.raises(GatewayError):
            await desk.orders.create(admission(), order())
        bot.fails = 500
        clock.advance(1000)
        with pytest.raises(GatewayError):
            await desk.reconciler.resolve_all()
        [record] = await desk.ledger.recent(limit=10)
    assert record.state is State.UNKNOWN


async def resting(desk: Desk, bot: TradingBot) -> tuple[OrderRequest, dict[str, Any]]:
    """Place a limit order that rests, and return it with the bot's own order."""
    wanted = order(order_type="limit", price="90")
    placed = await desk.orders.create(admission(), wanted)
    assert (placed.answer["status"], placed.answer["average_price"]) == ("submitted", None)
    return wanted, bot.status[0]["orders"][0]


async def test_a_resting_order_is_followed_when_asked_for(
    tmp_path: Path, clock: ManualClock
) -> None:
    """get_order tells the truth later too: every fill since is appended (orders)."""
    bot = TradingBot(clock)
    async with open_desk(tmp_path, bot, clock) as desk:
        wanted, bought = await resting(desk, bot)
        whole = bought["amount"]
        for share, status in ((0.25, "partially_filled"), (0.5, "partially_filled"), (1, "filled")):
            bought |= {"filled": whole * share, "average": 90.0, "is_open": share < 1}
            told = await desk.orders.get(admission(), wanted.request_id)
            assert (told["status"], told["filled_amount"]) == (status, pytest.approx(whole * share))
        replay = await desk.orders.create(admission(), wanted)
        assert replay.answer["status"] == "submitted"
        assert [step["state"] for step in told["history"]][-3:] == [
            "partially_filled", "partially_filled", "filled",
        ]  # fmt: skip


async def test_a_filled_order_is_not_asked_for_again(tmp_path: Path, clock: ManualClock) -> None:
    """What is final is told from the record; a trade that was deleted later changes nothing."""
    bot = TradingBot(clock)
    async with open_desk(tmp_path, bot, clock) as desk:
        wanted = order()
        await desk.orders.create(admission(), wanted)
        bot.status.clear()
        told = await desk.orders.get(admission(), wanted.request_id)
    assert (told["status"], told["outcome"]) == ("filled", "placed")


async def test_a_cancelled_order_says_so_and_what_it_filled_can_be_sold(
    tmp_path: Path, clock: ManualClock
) -> None:
    """A time-out at the bot cancels the rest; the filled part is held all the same."""
    bot = TradingBot(clock)
    async with open_desk(tmp_path, bot, clock) as desk:
        wanted, bought = await resting(desk, bot)
        bought |= {"filled": 0.25, "average": 90.0, "is_open": False, "status": "canceled"}
        bot.status[0]["amount"] = 0.25
        told = await desk.orders.get(admission(), wanted.request_id)
        assert (told["status"], told["filled_amount"]) == ("cancelled", 0.25)
        sold = await desk.orders.create(admission(), order(side="sell", amount="0.25"))
    assert sold.answer["outcome"] == "placed"


async def test_an_entry_that_the_bot_forgot_has_vanished(
    tmp_path: Path, clock: ManualClock
) -> None:
    """An unfilled entry that is cancelled is deleted by the bot (freqtrade)."""
    bot = TradingBot(clock)
    async with open_desk(tmp_path, bot, clock) as desk:
        wanted, _ = await resting(desk, bot)
        bot.status.clear()
        told = await desk.orders.get(admission(), wanted.request_id)
    assert (told["status"], told["outcome"]) == ("vanished", "placed")


@pytest.mark.parametrize("reused", [False, True])
async def test_an_exit_whose_trade_is_gone_is_for_a_person(
    tmp_path: Path, clock: ManualClock, reused: bool
) -> None:
    """Trade ids are given away again: another trade under the id proves nothing (freqtrade)."""
    bot = TradingBot(clock)
    async with open_desk(tmp_path, bot, clock) as desk:
        await desk.orders.create(admission(), order(amount="2"))
        bot.faults.append("lose_done")
        wanted = order(side="sell", amount="2")
        with pytest.raises(GatewayError):
            await desk.orders.create(admission(), wanted)
        [trade] = bot.closed
        bot.closed.clear()
        if reused:
            bot.status.append(trade | {"enter_tag": "strategy", "is_open": True})
        told = await desk.orders.get(admission(), wanted.request_id)
        record = await desk.ledger.find("tests", "agent-a", wanted.request_id)
    assert record is not None
    assert (record.state, told["outcome"], told["final"]) == (State.NEEDS_REVIEW, "unknown", False)


async def test_a_bot_whose_clock_is_ahead_is_not_taken_for_restarted(
    tmp_path: Path, clock: ManualClock
) -> None:
    """Its start is compared with its own earlier word, never with our clock."""
    bot = TradingBot(clock, started_at="2025-11-18T11:00:00Z")
    async with open_desk(tmp_path, bot, clock) as desk:
        bot.faults.append("lose")
        with pytest.raises(GatewayError):
            await desk.orders.create(admission(), order())
        for _ in range(3):
            clock.advance(10)
            await desk.reconciler.resolve_all()
        [record] = await desk.ledger.recent(limit=10)
    assert record.state is State.UNKNOWN


async def test_the_reconciler_works_on_through_trouble(tmp_path: Path, clock: ManualClock) -> None:
    """A bot that is down is asked again, until nothing is unknown (orders)."""
    bot = TradingBot(clock)
    async with open_desk(tmp_path, bot, clock) as desk:
        bot.faults.append("lose_done")
        with pytest.raises(GatewayError):
            await desk.orders.create(admission(), order())
        bot.fails = 500
        async with anyio.create_task_group() as group:
            group.start_soon(desk.reconciler.run)
            await clock.sleeping()
            assert metrics.orders_unresolved._value.get() == 1
            bot.fails = None
            clock.advance(INTERVAL_S)
            await clock.sleeping()
            clock.advance(INTERVAL_S)
            await clock.sleeping()
            assert metrics.orders_unresolved._value.get() == 0
            group.cancel_scope.cancel()
        [record] = await desk.ledger.recent(limit=10)
    assert record.state is State.PLACED
