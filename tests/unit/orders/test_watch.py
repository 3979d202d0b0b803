"""What halts trading by itself; and that nobody's release is overruled while its cause lasts."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import httpx2
import pytest

from mcp_gateway.orders.watch import LOOK_S, STALLED_S
from mcp_gateway.risk.policy import Limits, Policy, Totals
from tests.support.clock import ManualClock
from tests.support.desk import LONGEST_UNKNOWN, Desk, admission, lost, open_desk, order, refused
from tests.support.halting import codes, resumed
from tests.support.policy import POLICY
from tests.support.tradingbot import TradingBot

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

UNKNOWN_S = LONGEST_UNKNOWN.total_seconds()
PAIRS = {"agent-a": "BTC/USDT", "agent-b": "ETH/USDT"}


def policy(
    *, loss: str | None = None, total: str | None = None, repeats: int | None = None
) -> Policy:
    """Return the tests' policy with these limits."""
    limits = replace(
        POLICY.defaults, daily_loss=None if loss is None else Decimal(loss), repeats=repeats
    )
    totals = Totals(daily_loss=None if total is None else Decimal(total))
    return replace(POLICY, defaults=limits, totals=totals)


@asynccontextmanager
async def desk_with(
    folder: Path, bot: TradingBot, clock: ManualClock, wanted: Policy
) -> AsyncIterator[Desk]:
    """Open a desk under a policy."""
    async with open_desk(folder, bot, clock, policy=wanted) as desk:
        yield desk


async def later(desk: Desk, seconds: float = LOOK_S) -> list[str]:
    """Let time pass, let the watch look, and return the codes in force."""
    desk.clock.advance(seconds)
    await desk.watch.look()
    return await codes(desk)


def runs(desk: Desk) -> None:
    """Let the bot have run its loop just now."""
    desk.bot.ran_at = desk.clock.now().isoformat()


async def test_an_order_that_is_unknown_for_too_long_halts_everything(desk: Desk) -> None:
    """Nobody knows what is held: no more is bought until a person has looked."""
    await lost(desk)
    assert await later(desk) == []
    runs(desk)
    assert await later(desk, UNKNOWN_S - LOOK_S) == []
    runs(desk)
    assert await later(desk, 1) == ["unknown_too_long"]
    [record] = await desk.halts.in_force()
    assert (record.scope, record.by) == ("all", "gateway (watch)")
    assert (await desk.audit_log.tail(1))[0].event.code == "unknown_too_long"


async def test_a_released_halt_is_not_set_again_while_its_cause_lasts(desk: Desk) -> None:
    """A person has looked and said yes: the watch does not overrule that."""
    await lost(desk)
    desk.clock.advance(UNKNOWN_S + 1)
    assert await later(desk) == ["unknown_too_long"]
    await resumed(desk)
    runs(desk)
    assert await later(desk) == []
    assert await later(desk, 0.0) == []


async def test_a_restart_does_not_overrule_a_release_either(
    tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> None:
    """What was released today for the same cause stays released."""
    async with open_desk(tmp_path, bot, clock) as before:
        await lost(before)
        clock.advance(UNKNOWN_S + 1)
        assert await later(before) == ["unknown_too_long"]
        await resumed(before)
    async with open_desk(tmp_path, bot, clock) as desk:
        assert await later(desk) == []


async def test_another_order_that_is_unknown_for_too_long_is_another_cause(desk: Desk) -> None:
    """A release is for what was seen, not for all that may come."""
    for subject in ("agent-a", "agent-b"):
        await desk.orders.create(admission(subject), order(pair=PAIRS[subject]))
    await lost(desk, side="sell")
    assert await later(desk, UNKNOWN_S + 1) == ["unknown_too_long"]
    await resumed(desk)
    desk.bot.faults.append("lose")
    other = order(side="sell", pair="ETH/USDT")
    assert (await refused(desk, other, "agent-b")).code == "outcome_unknown"
    runs(desk)
    assert await later(desk) == []
    runs(desk)
    assert await later(desk, UNKNOWN_S + 1) == ["unknown_too_long"]


async def stalled(desk: Desk) -> list[str]:
    """Let the bot answer for as long as it takes, and not run its loop."""
    runs(desk)
    for _ in range(int(STALLED_S / LOOK_S)):
        assert await later(desk) == []
    return await later(desk)


async def test_a_bot_that_answers_and_has_stopped_working_halts_everything(desk: Desk) -> None:
    """Its stop losses do not run: nothing more is to be bought."""
    assert await stalled(desk) == ["bot_stalled"]
    assert (await refused(desk, order())).code == "trading_halted"


async def test_a_bot_that_works_halts_nothing(desk: Desk) -> None:
    """Whatever its clock says: two words of its own are compared."""
    for _ in range(50):
        runs(desk)
        assert await later(desk) == []


async def test_a_bot_that_is_down_is_not_stalled(desk: Desk) -> None:
    """Nothing can be sent to it anyway, and it comes back with what it said before."""
    runs(desk)
    await later(desk)
    desk.bot.fails = httpx2.ConnectError("refused")
    assert await later(desk, STALLED_S * 2) == []
    desk.bot.fails = None
    assert await later(desk) == []


@pytest.mark.parametrize("state", ["stopped", "paused", "reload_config"])
async def test_a_bot_that_does_not_run_is_not_stalled(desk: Desk, state: str) -> None:
    """A stopped bot runs no loop, and one that is just started has an old word of it."""
    runs(desk)
    desk.bot.state = state
    assert await later(desk) == []
    assert await later(desk, STALLED_S * 2) == []
    desk.bot.state = "running"
    assert await later(desk) == []


async def test_a_cause_that_has_gone_and_comes_back_halts_again(desk: Desk) -> None:
    """Released, well again, and then ill once more."""
    assert await stalled(desk) == ["bot_stalled"]
    await resumed(desk)
    assert await later(desk) == []
    runs(desk)
    assert await later(desk) == []
    assert await stalled(desk) == ["bot_stalled"]


async def lose(desk: Desk, subject: str = "agent-a", by: float = -60.0) -> None:
    """Let an agent hold what has lost as much (quote)."""
    await desk.orders.create(admission(subject), order())
    desk.bot.status[-1]["profit_abs"] = by
    desk.bot.status[-1]["realized_profit"] = 0.0


async def test_an_agent_that_loses_too_much_in_a_day_is_halted(
    tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> None:
    """At the limit, and that agent alone."""
    async with desk_with(tmp_path, bot, clock, policy(loss="50")) as desk:
        await lose(desk, by=-49.99)
        assert await later(desk) == []
        desk.bot.status[-1] |= {"profit_abs": -50.0, "realized_profit": 0.0}
        assert await later(desk) == ["loss_stop"]
        [record] = await desk.halts.in_force()
        assert (record.scope, record.name) == ("agent", "agent-a")
        created = await desk.orders.create(admission("agent-b"), order(pair="ETH/USDT"))
        assert created.answer["outcome"] == "placed"


async def test_all_agents_that_lose_too_much_together_are_halted(
    tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> None:
    """The limit of all."""
    async with desk_with(tmp_path, bot, clock, policy(total="50")) as desk:
        await lose(desk)
        assert await later(desk) == ["loss_stop"]
        assert [one.scope for one in await desk.halts.in_force()] == ["all"]


async def test_what_the_strategy_loses_halts_no_agent(
    tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> None:
    """It is none of ours."""
    async with desk_with(tmp_path, bot, clock, policy(loss="50", total="50")) as desk:
        bot.enter("BTC/USDT", "its own")
        bot.status[-1] |= {"profit_abs": -500.0, "realized_profit": 0.0}
        assert await later(desk) == []


async def test_without_a_limit_the_bot_is_not_asked_for_results(desk: Desk) -> None:
    """The watch costs two small reads a look."""
    await later(desk)
    assert sorted(set(desk.bot.calls)) == ["health", "show_config"]


async def test_a_repeating_agent_is_halted(
    tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> None:
    """Until a person enables it; and a release holds for the window of the repeats."""
    async with desk_with(tmp_path, bot, clock, policy(repeats=1)) as desk:
        await desk.orders.create(admission(), order())
        await desk.orders.create(admission(), order(side="sell"))
        assert (await refused(desk, order())).code == "repeat_throttle"
        assert await codes(desk) == ["repeat_throttle"]
        assert (await refused(desk, order(pair="ETH/USDT"))).code == "trading_halted"
        assert (await desk.orders.preview(admission("agent-b"), order(pair="ETH/USDT"))).valid
        await resumed(desk)
        assert (await refused(desk, order())).code == "repeat_throttle"
        assert await codes(desk) == []
        clock.advance(61)
        await desk.orders.create(admission(), order())
        await desk.orders.create(admission(), order(side="sell"))
        assert (await refused(desk, order())).code == "repeat_throttle"
        assert await codes(desk) == ["repeat_throttle"]


async def test_a_dry_run_halts_nobody(tmp_path: Path, bot: TradingBot, clock: ManualClock) -> None:
    """Only what was asked in earnest counts."""
    async with desk_with(tmp_path, bot, clock, policy(repeats=1)) as desk:
        await desk.orders.create(admission(), order())
        await desk.orders.create(admission(), order(side="sell"))
        assert not (await desk.orders.preview(admission(), order())).valid
        assert await codes(desk) == []


async def test_one_cause_that_can_not_be_told_does_not_hide_another(desk: Desk) -> None:
    """The bot is down, and an order is unknown for too long."""
    await lost(desk)
    desk.bot.fails = httpx2.ConnectError("refused")
    assert await later(desk, UNKNOWN_S + 1) == ["unknown_too_long"]


def test_the_policy_of_these_tests_limits_nothing_else() -> None:
    """A loss limit in the file would make the tests above pass for another reason."""
    assert POLICY.defaults.daily_loss == Limits().daily_loss is None
