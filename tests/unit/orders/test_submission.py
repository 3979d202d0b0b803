"""A refusal of what was done a moment ago, and an answer that describes another's trade."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx2
import pytest

from mcp_gateway.domain.orders import State
from tests.support.clock import ManualClock
from tests.support.desk import (
    PATIENCE,
    Desk,
    admission,
    claim_for_another,
    order,
    refused,
    stored,
)
from tests.support.tradingbot import TradingBot, _refused

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

SLOTS = "Maximum number of trades is reached."


@dataclass
class RepeatedBot(TradingBot):
    """A bot behind a proxy that sends POSTs twice and hands on the second answer.

    ``repeats`` counts how many are; ``second`` is what the bot says then, where it is not what
    its books say. ``fails_then`` is how it answers everything after that.
    """

    repeats: int = 0
    second: str = ""
    fails_then: int | None = None

    def _carried_out(
        self, endpoint: str, act: Callable[[], dict[str, Any]], fault: str
    ) -> httpx2.Response:
        if not self.repeats:
            return super()._carried_out(endpoint, act, fault)
        self.repeats -= 1
        act()
        self.fails = self.fails_then
        if self.second:
            return _refused(endpoint, self.second)
        return super()._carried_out(endpoint, act, fault)


@pytest.fixture
def bot(clock: ManualClock) -> RepeatedBot:
    return RepeatedBot(clock)


@pytest.mark.parametrize("second", ["", SLOTS], ids=["already_open", "no_free_slot"])
async def test_an_entry_that_is_refused_because_it_was_done_was_placed(
    desk: Desk, bot: RepeatedBot, second: str
) -> None:
    """That the pair is open already may speak of the trade that our own first request opened."""
    bot.repeats, bot.second = 1, second
    told = (await desk.orders.create(admission(), order())).answer
    assert (told["outcome"], told["status"], told["trade_id"]) == ("placed", "filled", 1)


async def test_an_exit_that_is_refused_because_it_was_done_was_placed(
    desk: Desk, bot: RepeatedBot
) -> None:
    """Its trade is closed already: by us."""
    await desk.orders.create(admission(), order(amount="2"))
    bot.repeats = 1
    told = (await desk.orders.create(admission(), order(side="sell", amount="2"))).answer
    assert (told["outcome"], told["filled_amount"]) == ("placed", 2.0)


async def test_a_pair_that_another_took_is_a_refusal(desk: Desk, bot: RepeatedBot) -> None:
    """The trade that is open carries another's tag: nothing of ours happened."""
    desk.bot.faults.append("refuse:position for BTC/USDT already open - id: 7")
    wanted = order()
    error = await refused(desk, wanted)
    assert (error.code, error.public()["outcome"]) == ("position_exists", "rejected")
    assert bot.asked("status") == 2  # the checks', and one look behind the refusal


async def test_a_position_that_another_closed_is_a_refusal(desk: Desk) -> None:
    """A stop loss was quicker: its sell is not this order."""
    await desk.orders.create(admission(), order(amount="2"))
    desk.bot.faults.append("refuse:invalid argument")
    wanted = order(side="sell", amount="2")
    [trade] = desk.bot.status
    trade["orders"].append(desk.bot._order("sell", 2.0, True, "stop_loss"))
    assert (await refused(desk, wanted)).code == "trade_not_open"


async def test_a_doubtful_refusal_that_cannot_be_looked_into_is_unknown(
    desk: Desk, bot: RepeatedBot
) -> None:
    """Without the look it proves nothing: the look's own trouble is told, not the refusal."""
    bot.repeats, bot.fails_then = 1, 500
    wanted = order()
    assert (await refused(desk, wanted)).code == "outcome_unknown"
    assert (await stored(desk, wanted)).code == "bot_failed"
    bot.fails = None
    await desk.reconciler.resolve_all()
    assert (await stored(desk, wanted)).state is State.FILLED


async def test_a_plain_refusal_is_believed_without_a_look(desk: Desk) -> None:
    """A bot that says what can't be ours is asked nothing more."""
    desk.bot.faults.append("refuse:Failed to enter position for BTC/USDT.")
    assert (await refused(desk, order())).code == "entry_refused"
    assert desk.bot.asked("status") == 1


async def test_an_answer_that_describes_another_trade_proves_nothing(desk: Desk) -> None:
    """The bot answers a racing entry with another's trade: our tag alone counts (freqtrade)."""
    desk.bot.faults.append("other")
    wanted = order()
    assert (await refused(desk, wanted)).code == "outcome_unknown"
    assert (await stored(desk, wanted)).code == "mark_missing"
    assert (await desk.orders.get(admission(), wanted.request_id))["outcome"] == "placed"


async def test_one_order_of_the_bots_is_one_requests(desk: Desk) -> None:
    """What stands for another request already is not taken for this one as well (ledger)."""
    bought = order(amount="2")
    await desk.orders.create(admission(), bought)
    await claim_for_another(desk, bought, "order-2")
    sold = order(side="sell", amount="0.5")
    assert (await refused(desk, sold)).code == "outcome_unknown"
    assert [one["order_id"] for one in desk.bot.status[0]["orders"]] == ["order-1", "order-2"]
    record = await stored(desk, sold)
    assert (record.state, record.code) == (State.UNKNOWN, "mark_claimed")
    assert record.bot_order_id is None


async def test_an_order_is_posted_once_whatever_comes_of_it(desk: Desk) -> None:
    """No outcome leads back to a second POST: not a look, not recovery, not a repetition."""
    desk.bot.faults.append("lose")
    wanted = order()
    await refused(desk, wanted)
    for after_s in (0, PATIENCE.quiet_s, PATIENCE.cycle_s):
        desk.clock.advance(after_s)
        await desk.reconciler.recover()
        await desk.reconciler.resolve_all()
        await refused(desk, wanted)
    assert len(desk.bot.posts) == 1
