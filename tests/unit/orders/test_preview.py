"""What a dry run tells: estimates, how sure they are, and the same verdict as the order's."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mcp_gateway.domain.market import MarketRules
from mcp_gateway.domain.orders import Preview
from mcp_gateway.domain.positions import Balance, BotState
from mcp_gateway.errors import BotUnavailable, NotPermitted
from mcp_gateway.orders.sending.preview import ABOUT_PREVIEWS, preview_of
from mcp_gateway.orders.sending.seals import LASTS_S
from mcp_gateway.risk.facts import Facts, Price
from mcp_gateway.risk.policy import Limits
from tests.support.clock import ManualClock
from tests.support.desk import Desk, admission, open_desk, order, refused
from tests.support.judged import judged
from tests.support.policy import POLICY
from tests.support.tradingbot import TradingBot

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

DRY_RUN = admission(operation="dry_run_order")
FACTS = Facts(
    declared_mode="dry-run",
    bot=BotState(
        mode="dry-run", state="running", spot=True, quote_currency="USDT", timeframe="5m",
        max_open_positions=3, entries_enabled=True, name="bot", version="2026.9",
    ),
    open_trades=(), pair_is_held=False, bot_started_at=None, pairs=("BTC/USDT",),
    price=Price(Decimal(100), 12.4, 300),
    balance=Balance("USDT", Decimal(10_000), Decimal(9_000), True),
    market=MarketRules(Decimal("0.1"), Decimal(5)), fee_rate=Decimal("0.002"),
)  # fmt: skip


def previewed(facts: Facts = FACTS, **changes: Any) -> Preview:
    wanted = order(**changes)
    return preview_of(wanted, facts, judged(wanted, facts))


def warned(preview: Preview, word: str) -> bool:
    return any(word in warning for warning in preview.warnings)


def test_a_market_order_is_estimated_at_the_last_price() -> None:
    """Cost and fee in quote, the price and its age; and that it may fill otherwise."""
    told = previewed(amount="2")
    assert (told.estimated_cost, told.estimated_fee) == (Decimal(200), Decimal("0.4"))
    assert (told.price, told.price_age_s, told.mode) == (Decimal(100), 12.4, "dry-run")
    assert warned(told, "12 s old")
    assert warned(told, "another price")


def test_a_limit_order_is_estimated_at_its_own_price() -> None:
    """The last price still tells its age."""
    told = previewed(amount="2", order_type="limit", price="90")
    assert (told.estimated_cost, told.price, told.price_age_s) == (Decimal(180), Decimal(90), 12.4)
    assert not warned(told, "another price")


def test_an_assumed_fee_is_called_assumed() -> None:
    """Where the bot has no trade to tell it from, a tenth of a per cent."""
    assert not warned(previewed(), "assumed")
    told = previewed(replace(FACTS, fee_rate=None))
    assert told.estimated_fee == Decimal("0.1")
    assert warned(told, "assumed")


def test_without_a_price_nothing_is_estimated() -> None:
    """Not zero, and not a guess: null, and not valid."""
    told = previewed(replace(FACTS, price=None))
    assert (told.estimated_cost, told.estimated_fee, told.price) == (None, None, None)
    assert (told.price_age_s, told.valid) == (None, False)


def test_every_check_is_told_and_each_failed_one_is_an_error() -> None:
    """The agent sees the limit and its own value, whether it passed or not."""
    told = previewed(amount="50")
    assert [error.split(":")[0] for error in told.errors] == ["notional_too_large"]
    [check] = [check for check in told.checks if not check.passed]
    assert (check.limit, check.value) == ("1000", "5015.01")
    assert len(told.checks) > 10
    assert not told.valid


@pytest.mark.parametrize(
    "changes",
    [
        {"amount": "1000"},
        {"amount": "0.05"},
        {"amount": "0.000001", "order_type": "limit", "price": "100"},
        {"pair": "SOL/USDT"},
        {"side": "sell"},
    ],
    ids=["too_large", "too_small", "below_a_step", "not_traded", "nothing_held"],
)
async def test_a_dry_run_fails_by_the_checks_by_which_the_order_fails(
    desk: Desk, changes: dict[str, Any]
) -> None:
    """One function decides for both; its first failed check is the denial (architecture)."""
    wanted = order(**changes)
    told = await desk.orders.preview(DRY_RUN, wanted)
    error = await refused(desk, wanted)
    failed = [check for check in told.checks if not check.passed]
    assert failed[0].rule == error.code
    assert (error.public()["limit"], error.public()["value"]) == (failed[0].limit, failed[0].value)
    assert desk.bot.posts == []


async def test_a_dry_run_of_a_pair_that_is_held_says_so(desk: Desk) -> None:
    """It sees what the order would see: the trade that was opened a moment ago."""
    await desk.orders.create(admission(), order())
    told = await desk.orders.preview(DRY_RUN, order())
    assert [check.rule for check in told.checks if not check.passed] == ["position_exists"]
    sell = await desk.orders.preview(DRY_RUN, order(side="sell"))
    assert sell.valid


async def test_a_dry_run_without_the_bot_is_no_answer(desk: Desk) -> None:
    """`valid: false` would say that the order is bad, and nobody knows that."""
    desk.bot.fails = 500
    with pytest.raises(BotUnavailable):
        await desk.orders.preview(DRY_RUN, order())


async def test_a_dry_run_for_another_agent_is_refused(desk: Desk) -> None:
    """What it tells of a wallet and of positions is that agent's."""
    with pytest.raises(NotPermitted):
        await desk.orders.preview(DRY_RUN, order(agent="somebody-else"))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"amount": "2"}, "2"),
        ({"amount": "2.19"}, "2.1"),
        ({"amount": "0.3"}, "0.3"),
        ({"amount": "0.09"}, "0"),
    ],
    ids=["whole", "rounded_down", "no_float", "below_a_step"],
)
def test_a_buy_tells_what_the_bot_will_buy_of_it(changes: dict[str, Any], expected: str) -> None:
    """Whole lot steps, rounded down: the bot buys no part of one."""
    assert previewed(**changes).expected_amount == Decimal(expected)


def test_without_a_lot_step_nothing_is_expected() -> None:
    """Not the amount as it was asked for: nobody knows what the bot makes of it."""
    assert previewed(replace(FACTS, market=MarketRules())).expected_amount is None


async def test_a_sell_of_a_part_is_cut_to_whole_steps(desk: Desk) -> None:
    """As the real bot does with an amount before it goes to its exchange."""
    await desk.orders.create(admission(), order())
    told = await desk.orders.preview(DRY_RUN, order(side="sell", amount="0.5000004"))
    assert told.expected_amount == Decimal("0.5")


@pytest.mark.parametrize("amount", ["1", "0.999999", "0.5"])
async def test_a_sell_tells_what_the_bot_will_sell(desk: Desk, amount: str) -> None:
    """All but a part of a step is all of it."""
    await desk.orders.create(admission(), order())
    sell = order(side="sell", amount=amount)
    told = await desk.orders.preview(DRY_RUN, sell)
    assert told.expected_amount is not None
    sold = await desk.orders.create(admission(), sell)
    assert float(told.expected_amount) == sold.answer["amount"]


@pytest.mark.parametrize("amount", ["1", "0.9999999", "0.3", "0.123456789"])
async def test_a_buy_expects_what_its_receipt_tells_then(desk: Desk, amount: str) -> None:
    """At the price that was seen, the bot buys just that."""
    buy = order(amount=amount)
    told = await desk.orders.preview(DRY_RUN, buy)
    assert told.expected_amount is not None
    bought = await desk.orders.create(admission(), buy)
    assert float(told.expected_amount) == bought.answer["amount"]


def test_a_market_order_tells_its_worst_price_and_cost() -> None:
    """The collar's edge, which nobody can promise; cost is stake and fee at that price."""
    told = previewed(amount="2")
    assert told.worst_price == Decimal(105)
    assert told.worst_cost == Decimal(205) * Decimal("1.002") * Decimal("1.05")


def test_a_limit_order_is_carried_out_at_its_price_at_worst() -> None:
    """The bot may only do better."""
    told = previewed(amount="2", order_type="limit", price="99")
    assert told.worst_price == Decimal(99)
    assert told.worst_cost == Decimal("2.05") * 99 * Decimal("1.002")


def test_a_sell_has_a_worst_price_and_costs_nothing() -> None:
    """Its collar lies below."""
    told = previewed(side="sell")
    assert (told.worst_price, told.worst_cost) == (Decimal(95), None)


async def test_the_policy_is_named_by_its_hash(desk: Desk) -> None:
    """Two answers that differ in it were made by different rules."""
    told = await desk.orders.preview(DRY_RUN, order())
    assert told.policy == desk.reconciler.submission.policies.current.hash


async def test_a_valid_order_gets_an_id_and_its_end(desk: Desk) -> None:
    """For create_order, within a minute."""
    told = await desk.orders.preview(DRY_RUN, order())
    assert told.preview_id is not None
    assert told.expires_at == desk.clock.now() + timedelta(seconds=LASTS_S)


async def test_an_order_that_would_be_denied_gets_no_id(desk: Desk) -> None:
    """There is nothing to let through."""
    told = await desk.orders.preview(DRY_RUN, order(amount="1000"))
    assert (told.valid, told.preview_id, told.expires_at) == (False, None, None)


async def test_an_order_above_the_line_is_valid_and_says_that_a_person_is_asked(
    tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> None:
    """To ask a person is no fault of the order's."""
    line = Limits(approval_above=Decimal(50), preview_required=True)
    async with open_desk(tmp_path, bot, clock, policy=replace(POLICY, defaults=line)) as desk:
        above = await desk.orders.preview(DRY_RUN, order())
        below = await desk.orders.preview(DRY_RUN, order(amount="0.4"))
    assert (above.valid, above.needs_approval, below.needs_approval) == (True, True, False)
    assert above.preview_id
    assert warned(above, "person")
    assert not warned(below, "person")


async def test_a_dry_run_is_not_asked_for_a_dry_run(
    tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> None:
    """The rules about previews look at what it is about to give; they say nothing in it."""
    wants = replace(POLICY, defaults=Limits(preview_required=True))
    async with open_desk(tmp_path, bot, clock, policy=wants) as desk:
        told = await desk.orders.preview(DRY_RUN, order())
    assert told.valid
    assert ABOUT_PREVIEWS.isdisjoint(check.rule for check in told.checks)
    assert warned(told, "preview_id")


async def test_without_a_price_only_the_price_is_at_fault(
    tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> None:
    """Not the preview that could not be given for want of it."""
    wants = replace(POLICY, defaults=Limits(preview_required=True))
    async with open_desk(tmp_path, bot, clock, policy=wants) as desk:
        bot.candles = {}
        told = await desk.orders.preview(DRY_RUN, order())
    assert not told.valid
    assert told.price is None
    assert not any("preview" in error for error in told.errors)
