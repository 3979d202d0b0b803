"""What a market takes: rules that fill each other's gaps, and the stake that is never raised."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_gateway.domain.market import MarketRules

pytestmark = pytest.mark.unit

PRICE = Decimal(50_000)
SIZES = st.decimals("0.00000001", "100000", places=8)
PRICES = st.decimals("0.0001", "1000000", places=4)


def rules(**given: str) -> MarketRules:
    return MarketRules(**{name: Decimal(value) for name, value in given.items()})


def test_rules_are_filled_from_wider_ones_field_by_field() -> None:
    """What is known of the pair itself stays, and only its gaps are filled."""
    own = rules(lot_step="0.1", minimum_amount="0.2")
    wider = rules(lot_step="1", minimum_stake="5", minimum_amount="3")
    assert own.filled_from(wider) == rules(lot_step="0.1", minimum_stake="5", minimum_amount="0.2")
    assert MarketRules().filled_from(wider) == wider


@pytest.mark.parametrize(
    ("known", "stake"),
    [
        (rules(lot_step="0.00001", minimum_stake="5"), "7.5"),
        (rules(lot_step="0.01", minimum_stake="5"), "750"),
        (rules(lot_step="0.00001", minimum_stake="5", minimum_amount="0.001"), "75"),
        (rules(minimum_stake="5", minimum_amount="0.00001"), "7.5"),
    ],
    ids=["value binds", "step binds", "amount binds", "amount without step"],
)
def test_the_larger_minimum_with_the_largest_reserve_is_never_raised(
    known: MarketRules, stake: str
) -> None:
    """Half as much again as the exchange's minimum value, or its minimum amount at the price."""
    assert known.smallest_safe_stake(PRICE) == Decimal(stake)


@pytest.mark.parametrize(
    "known",
    [MarketRules(), rules(lot_step="0.1"), rules(minimum_stake="5"), rules(minimum_amount="1")],
    ids=["nothing", "no value", "no amount", "no value but an amount"],
)
def test_where_a_minimum_is_not_known_no_stake_is_safe(known: MarketRules) -> None:
    """Both the value and the amount of an order have a minimum at the exchange."""
    assert known.smallest_safe_stake(PRICE) is None


@given(
    value=SIZES, amount=SIZES, price=PRICES,
    stop_loss=st.decimals("0.01", "1", places=2), reserve=st.decimals("0", "0.5", places=2),
)  # fmt: skip
def test_no_setting_of_the_bot_asks_for_a_larger_stake(
    value: Decimal, amount: Decimal, price: Decimal, stop_loss: Decimal, reserve: Decimal
) -> None:
    """The bot's own minimum, for every stop loss and every reserve that its schema lets in."""
    margin, left = 1 + Fraction(reserve), 1 - Fraction(stop_loss)
    reserved = max(min(margin / left, Fraction(3, 2)), Fraction(1)) if left else Fraction(3, 2)
    asked = max(Fraction(value) * reserved, Fraction(amount) * Fraction(price) * margin)
    safe = MarketRules(amount, value).smallest_safe_stake(price)
    assert safe is not None
    assert asked <= Fraction(safe)
