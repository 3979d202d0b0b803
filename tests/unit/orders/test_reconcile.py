"""Recovery: what an earlier process left behind is taken up, and never sent again."""

from pathlib import Path

import anyio
import pytest

from mcp_gateway.domain.orders import State
from mcp_gateway.errors import GatewayError
from mcp_gateway.orders.submission import Origin, audit_event
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
            while not bot.posts:
                await anyio.lowlevel.checkpoint()
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
        await desk.reconciler.recover(0.0)
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
    async with open_desk(tmp_path, bot, clock) as desk:
        await desk.reconciler.recover()
        [record] = await desk.ledger.recent(limit=10)
        assert record.state is State.SENT
        clock.advance(151)
        await desk.reconciler.recover()
        [record] = await desk.ledger.recent(limit=10)
        assert record.state is State.UNKNOWN


async def test_what_never_left_is_denied(tmp_path: Path, clock: ManualClock) -> None:
    """A row that was received and not sent was never sent: denied, interrupted (orders)."""
    bot = TradingBot(clock)
    async with open_desk(tmp_path, bot, clock) as desk:
        wanted = order()
        record = desk.orders._new_record(admission(), wanted)
        event = audit_event(record, State.RECEIVED, Origin("http", "c"), clock)
        await desk.ledger.receive(record, event)
        await desk.reconciler.recover(0.0)
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


async def test_a_resting_order_is_followed_when_asked_for(
    tmp_path: Path, clock: ManualClock
) -> None:
    """get_order tells the truth later too: what filled since is appended (orders)."""
    bot = TradingBot(clock)
    async with open_desk(tmp_path, bot, clock) as desk:
        wanted = order(order_type="limit", price="90")
        placed = await desk.orders.create(admission(), wanted)
        assert placed.answer["status"] == "submitted"
        [bought] = bot.status[0]["orders"]
        bought |= {"filled": bought["amount"], "average": 90.0, "is_open": False}
        told = await desk.orders.get(admission(), wanted.request_id)
        assert (told["status"], told["average_price"]) == ("filled", 90.0)
        replay = await desk.orders.create(admission(), wanted)
        assert replay.answer == placed.answer
