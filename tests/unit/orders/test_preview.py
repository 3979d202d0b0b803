"""What a dry run tells: estimates, how sure they are, and the same verdict as the order's."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from mcp_gateway.domain.market import MarketRules
from mcp_gateway.domain.orders import Preview
from mcp_gateway.domain.positions import Balance, BotState
from mcp_gateway.errors import BotUnavailable, NotPermitted
from mcp_gateway.orders.preview import preview_of
from mcp_gateway.orders.risk import NOTHING_STANDS, Facts, Price, judge
from tests.support.desk import Desk, admission, order, refused

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
    return preview_of(wanted, facts, judge(wanted, facts, NOTHING_STANDS))


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
    assert (check.limit, check.value) == ("1000", "5005")
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
