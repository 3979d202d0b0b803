"""The quote that is sent, and what the bot buys for it: in floats, as it divides."""

from dataclasses import dataclass
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as some

from mcp_gateway.domain.market import LARGEST_RESERVE, MarketRules
from mcp_gateway.freqtrade.orders import Entry, quote_for

pytestmark = pytest.mark.unit

# How long an example takes says how busy the machine is, nothing about the code.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

# Ticks of every size, and steps that are no power of ten: some exchanges have 0.5 or 0.25.
steps_of_ten = some.integers(-8, 3).map(Decimal(10).__pow__)
lot_steps = some.one_of(steps_of_ten, some.sampled_from(["0.5", "0.25", "0.05", "25"]).map(Decimal))
prices = some.one_of(
    some.decimals("0.00000001", 10, places=8), some.decimals("0.01", 10**6, places=2)
).filter(lambda number: number > 0)


@dataclass(frozen=True, slots=True)
class Size:
    """So many whole steps, and a part of one more."""

    lot_step: Decimal
    steps: int
    rest: Decimal

    @property
    def amount(self) -> Decimal:
        """What is asked for."""
        return (self.steps + self.rest) * self.lot_step

    @property
    def whole(self) -> Decimal:
        """What may be bought of it."""
        return self.steps * self.lot_step


sizes = some.builds(
    Size,
    lot_step=lot_steps,
    steps=some.integers(1, 10**9),
    rest=some.decimals("0", "0.999", places=3),
)


def bought(stake: float, price: float, lot_step: Decimal) -> Decimal:
    """Divide and truncate to whole steps of what prints, as the bot does.

    Source: Freqtrade 2026.9, FreqtradeBot.execute_entry and Exchange.amount_to_precision.
    """
    return Decimal(str(stake / price)) // lot_step * lot_step


def as_sent(size: Size, price: Decimal, *, limit: bool) -> float:
    """Return the stake in the body of the POST."""
    quote = quote_for(size.amount, price, size.lot_step)
    entry = Entry(
        "BTC/USDT", quote, "limit" if limit else "market", price if limit else None, "gw:1"
    )
    stake = entry.body()["stakeamount"]
    assert isinstance(stake, float)
    return stake


@unhurried
@given(sizes, prices)
@example(Size(Decimal("0.00001"), 1597, Decimal(0)), Decimal("44537.89"))
@example(Size(Decimal("0.1"), 3, Decimal(0)), Decimal("0.1"))
@example(Size(Decimal("0.00000001"), 10**9, Decimal("0.999")), Decimal("0.00000001"))
def test_a_limit_order_buys_exactly_the_whole_steps(size: Size, price: Decimal) -> None:
    """Never a step more than was asked for, and never one less (freqtrade)."""
    stake = as_sent(size, price, limit=True)
    assert bought(stake, float(price), size.lot_step) == size.whole


@unhurried
@given(sizes, prices)
def test_a_market_order_at_the_told_price_buys_the_same(size: Size, price: Decimal) -> None:
    """The order's type changes nothing about the stake, and names no price."""
    stake = as_sent(size, price, limit=False)
    assert stake == as_sent(size, price, limit=True)
    assert bought(stake, float(price), size.lot_step) == size.whole


@unhurried
@given(sizes, prices, some.floats(0.95, 1.05))
def test_a_market_order_follows_the_book_in_proportion(
    size: Size, price: Decimal, moved: float
) -> None:
    """Sized by the bot's own price: at a higher one never more, at a lower one only so much."""
    got = bought(as_sent(size, price, limit=False), float(price) * moved, size.lot_step)
    if moved >= 1:
        assert got <= size.whole
    expected = size.whole / Decimal(moved)
    assert abs(got - expected) <= size.lot_step * 2


@unhurried
@given(sizes, prices, some.floats(1.0, 1.5), some.decimals("0.1", 1, places=2))
def test_a_stake_that_passes_the_check_buys_no_more_even_if_the_bot_raises_it(
    size: Size, price: Decimal, reserve: float, share: Decimal
) -> None:
    """Whole steps may cost less than the checked amount: raised to its minimum, it still fits."""
    smallest = size.amount * price / LARGEST_RESERVE * share
    safe = MarketRules(size.lot_step, smallest).smallest_safe_stake(price)
    assert safe is not None
    if size.amount * price < safe:
        return  # denied
    minimum = max(float(smallest), float(size.lot_step) * float(price)) * reserve
    stake = max(as_sent(size, price, limit=True), minimum)
    assert bought(stake, float(price), size.lot_step) <= size.amount


@unhurried
@given(sizes, prices)
def test_the_stake_costs_no_more_than_the_amount_and_half_a_step(
    size: Size, price: Decimal
) -> None:
    """What is checked and reserved is the amount at the price; what is sent stays next to it."""
    quote = quote_for(size.amount, price, size.lot_step)
    assert size.whole * price < quote <= (size.amount + size.lot_step / 2) * price


@unhurried
@given(sizes, prices)
def test_where_no_step_is_known_the_stake_is_the_product(size: Size, price: Decimal) -> None:
    """Nothing is added to what can't be truncated."""
    assert quote_for(size.amount, price, None) == size.amount * price
