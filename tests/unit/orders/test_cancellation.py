"""Taking back what still rests: once, only what is ours, and answered from what is seen."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx2
import pytest

from mcp_gateway.domain.orders import OrderRequest, State
from mcp_gateway.errors import GatewayError, NotFound
from mcp_gateway.orders.settling.follow import INTERVAL_S
from tests.support.clock import ManualClock
from tests.support.desk import Desk, admission, order, refused, rested, stored
from tests.support.tradingbot import TradingBot

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

CANCEL = admission(operation="cancel_order")


@dataclass
class RestlessBot(TradingBot):
    """Something happens at it between two questions about a trade.

    ``meanwhile`` is taken one for each look at a single trade, after it was answered.
    """

    meanwhile: deque[Callable[[], Any]] = field(default_factory=deque)

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        told = await super()._answer(request)
        if "/trade/" in request.url.path and self.meanwhile:
            self.meanwhile.popleft()()
        return told


@pytest.fixture
def bot(clock: ManualClock) -> RestlessBot:
    return RestlessBot(clock)


async def cancelled(desk: Desk, wanted: OrderRequest) -> dict[str, Any]:
    return await desk.orders.cancel(CANCEL, wanted.request_id)


async def not_cancelled(desk: Desk, wanted: OrderRequest) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await cancelled(desk, wanted)
    return caught.value


async def resting_exit(desk: Desk) -> OrderRequest:
    """Buy two and let a limit exit of them rest."""
    await desk.orders.create(admission(), order(amount="2"))
    return await rested(desk, side="sell", amount="2", price="110")


async def test_a_resting_entry_is_taken_back(desk: Desk) -> None:
    """The bot deletes it, trade and all; it stays `placed` for good, and cancelled (orders)."""
    wanted = await rested(desk)
    told = await cancelled(desk, wanted)
    assert (told["status"], told["outcome"], told["final"]) == ("cancelled", "placed", True)
    assert (told["code"], told["filled_amount"]) == ("cancel_asked", 0.0)
    assert "success" not in told["message"]
    assert "cancelled" in told["message"]
    assert (desk.bot.cancels, desk.bot.status) == ([1], [])


async def test_a_part_filled_entry_keeps_what_was_filled(desk: Desk) -> None:
    """Only the rest is off."""
    wanted = await rested(desk)
    desk.bot.fill(1, 0.25)
    told = await cancelled(desk, wanted)
    assert (told["status"], told["filled_amount"]) == ("cancelled", 0.25)
    assert desk.bot.status[0]["amount"] == 0.25


async def test_a_resting_exit_is_taken_back(desk: Desk) -> None:
    """Its trade stays, and what is held can be sold anew."""
    wanted = await resting_exit(desk)
    told = await cancelled(desk, wanted)
    assert (told["status"], told["filled_amount"]) == ("cancelled", 0.0)
    sold = await desk.orders.create(admission(), order(side="sell", amount="2"))
    assert sold.answer["status"] == "filled"


async def test_the_asking_is_written_down_before_the_bot_is_asked(desk: Desk) -> None:
    """No audit row, no effect: who cancelled what stands in the log whatever follows."""
    wanted = await rested(desk)
    desk.bot.faults.append("lose")
    assert (await not_cancelled(desk, wanted)).code == "cancel_unanswered"
    [row] = [row.event for row in await desk.audit_log.tail(50) if row.event.code == "cancel_asked"]
    assert (row.event, row.operation, row.subject) == ("order.placed", "cancel_order", "agent-a")
    assert row.request_id == str(wanted.request_id)


async def test_a_cancel_that_is_repeated_gets_the_same_answer(desk: Desk) -> None:
    """It can do nothing twice, and asks the bot once."""
    wanted = await rested(desk)
    first = await cancelled(desk, wanted)
    assert await cancelled(desk, wanted) == first
    assert desk.bot.cancels == [1]


@pytest.mark.parametrize("fault", ["lose", "fail"])
async def test_a_cancel_without_an_answer_is_not_called_done(desk: Desk, fault: str) -> None:
    """The order still rests and says so; cancelling again is safe."""
    wanted = await rested(desk)
    desk.bot.faults.append(fault)
    error = await not_cancelled(desk, wanted)
    assert error.code == "cancel_unanswered"
    assert (await stored(desk, wanted)).state is State.PLACED
    assert (await cancelled(desk, wanted))["status"] == "cancelled"


@pytest.mark.parametrize("fault", ["lose_done", "fail_done"])
async def test_a_cancel_whose_answer_is_lost_is_seen_to_be_done(desk: Desk, fault: str) -> None:
    """The books tell what the answer did not: an exit left its trade."""
    wanted = await resting_exit(desk)
    desk.bot.faults.append(fault)
    told = await cancelled(desk, wanted)
    assert (told["status"], told["code"]) == ("cancelled", "cancel_asked")
    assert (await cancelled(desk, wanted))["status"] == "cancelled"
    assert len(desk.bot.cancels) == 1


async def test_an_entry_whose_cancel_was_not_answered_is_gone_all_the_same(desk: Desk) -> None:
    """Asked for, and missing in two looks: cancelled with nothing filled, and the answer stays."""
    wanted = await rested(desk)
    desk.bot.faults.append("lose_done")
    assert (await not_cancelled(desk, wanted)).code == "cancel_unanswered"
    desk.clock.advance(INTERVAL_S)
    told = await cancelled(desk, wanted)
    assert (told["outcome"], told["final"], told["filled_amount"]) == ("placed", True, 0.0)
    assert (told["status"], told["code"]) == ("cancelled", "cancel_asked")
    assert (await cancelled(desk, wanted))["status"] == "cancelled"
    assert len(desk.bot.cancels) == 1


async def test_a_bot_that_shows_other_books_for_a_moment_ends_no_order(desk: Desk) -> None:
    """What is not shown once may rest on: nothing was asked of the bot, nothing is concluded."""
    wanted = await rested(desk)
    books, desk.bot.status = desk.bot.status, []
    assert (await not_cancelled(desk, wanted)).code == "order_not_shown"
    assert desk.bot.cancels == []
    desk.bot.status = books
    desk.bot.fill(1)
    told = await desk.orders.get(admission(), wanted.request_id)
    assert told["status"] == "filled"


async def test_a_bot_that_is_down_cancels_nothing(desk: Desk) -> None:
    """Nothing is concluded, and nothing is written but the order's own past."""
    wanted = await rested(desk)
    desk.bot.fails = 500
    assert (await not_cancelled(desk, wanted)).code == "bot_failed"
    desk.bot.fails = None
    desk.bot.faults.append("no_connection")
    error = await not_cancelled(desk, wanted)
    assert (error.code, error.retryable) == ("bot_unavailable", True)
    assert (await stored(desk, wanted)).state is State.PLACED


async def test_a_refusal_of_the_bots_is_told(desk: Desk) -> None:
    """It still rests: the caller must not believe otherwise."""
    wanted = await rested(desk)
    desk.bot.faults.append("refuse:trader is not running")
    error = await not_cancelled(desk, wanted)
    assert (error.code, error.public()["order_status"]) == ("cancel_refused", "submitted")


async def test_what_was_filled_is_not_cancelled(desk: Desk) -> None:
    """A filled order, a denied one, a rejected one: nothing of it is left."""
    wanted = order()
    await desk.orders.create(admission(), wanted)
    error = await not_cancelled(desk, wanted)
    assert (error.code, error.public()["order_status"]) == ("order_not_resting", "filled")
    denied = order(amount="1000")
    await refused(desk, denied)
    assert (await not_cancelled(desk, denied)).public()["order_status"] == "denied"
    desk.bot.faults.append("refuse:Maximum number of trades is reached.")
    rejected = order(pair="ETH/USDT")
    await refused(desk, rejected)
    assert (await not_cancelled(desk, rejected)).public()["order_status"] == "rejected"
    assert desk.bot.cancels == []


async def test_what_is_filled_at_the_last_moment_is_told_as_filled(
    desk: Desk, bot: RestlessBot
) -> None:
    """The bot has nothing to cancel any more: the fill is the answer, not an error."""
    wanted = await rested(desk)
    bot.meanwhile.extend([lambda: None, lambda: bot.fill(1)])
    told = await cancelled(desk, wanted)
    assert (told["status"], told["filled_amount"]) == ("filled", 1.0)


async def test_what_is_filled_between_two_looks_has_nothing_left(
    desk: Desk, bot: RestlessBot
) -> None:
    """Then the bot is not asked at all."""
    wanted = await rested(desk)
    bot.meanwhile.append(lambda: bot.fill(1))
    error = await not_cancelled(desk, wanted)
    assert (error.code, error.public()["order_status"]) == ("order_not_resting", "filled")
    assert bot.cancels == []


async def test_an_order_whose_outcome_is_unknown_is_not_cancelled(desk: Desk) -> None:
    """Nobody knows yet what there is to cancel (orders)."""
    desk.bot.faults.append("lose_done")
    wanted = order(order_type="limit", price="96")
    await refused(desk, wanted)
    assert (await not_cancelled(desk, wanted)).code == "outcome_unknown"
    await desk.reconciler.resolve_all()
    assert (await cancelled(desk, wanted))["status"] == "cancelled"


async def test_another_open_order_of_the_trade_is_not_taken_back_with_ours(desk: Desk) -> None:
    """The bot cancels whatever is open in a trade: then it is not asked (freqtrade)."""
    wanted = await rested(desk)
    desk.bot.fill(1, 0.5)
    stop = desk.bot._order("sell", 0.5, False, "stop_loss")
    desk.bot.status[0]["orders"].append(stop)
    assert (await not_cancelled(desk, wanted)).code == "trade_is_shared"
    assert (desk.bot.cancels, stop["is_open"]) == ([], True)


def given_to_another(bot: RestlessBot) -> None:
    """Let the bot's time-out delete trade 1 and its id go to a resting entry of another's."""
    bot.status.clear()
    bot.enter("BTC/USDT", "gw:another", filled=False)


@pytest.mark.parametrize("looks", [0, 1])
async def test_a_trade_id_that_was_given_to_another_is_not_touched(
    desk: Desk, bot: RestlessBot, looks: int
) -> None:
    """Whether the bot forgets our entry before the first look at it or behind it (freqtrade)."""
    wanted = await rested(desk)
    if looks:
        bot.meanwhile.append(lambda: given_to_another(bot))
    else:
        given_to_another(bot)
    assert (await not_cancelled(desk, wanted)).code == "order_not_shown"
    desk.clock.advance(INTERVAL_S)
    told = await cancelled(desk, wanted)
    assert (told["status"], told["outcome"]) == ("cancelled", "placed")
    [theirs] = bot.status
    assert (theirs["trade_id"], theirs["orders"][0]["is_open"]) == (1, True)
    assert bot.cancels == []


async def test_a_stranger_cancels_nothing(desk: Desk) -> None:
    """The key is (principal, request_id): another's order is not even there."""
    wanted = await rested(desk)
    with pytest.raises(NotFound):
        await desk.orders.cancel(admission("agent-b", "cancel_order"), wanted.request_id)
    assert desk.bot.cancels == []
