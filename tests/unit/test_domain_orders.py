"""Orders: numbers that are let in, the one way they are written, what makes two orders one."""

import math
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from mcp_gateway.domain.orders import (
    LARGEST_NUMBER,
    MOST_DECIMALS,
    OrderRequest,
    PositiveDecimal,
    canonical,
    fingerprint,
)

pytestmark = pytest.mark.unit
NUMBER: TypeAdapter[Decimal] = TypeAdapter(PositiveDecimal)
amounts = st.decimals(
    min_value=Decimal("1e-18"), max_value=LARGEST_NUMBER, places=MOST_DECIMALS, allow_nan=False
).filter(lambda number: number > 0)
PLAIN: dict[str, Any] = {
    "request_id": uuid4(), "pair": "BTC/USDT", "side": "buy", "amount": "1",
    "order_type": "limit", "price": "100",
}  # fmt: skip


def order(**changes: Any) -> OrderRequest:
    return OrderRequest.model_validate(PLAIN | changes)


@given(amounts)
def test_a_canonical_number_reads_back_as_the_same(number: Decimal) -> None:
    """Fingerprints and the ledger lose not one digit."""
    text = canonical(number)
    assert Decimal(text) == number
    assert NUMBER.validate_python(text) == number
    assert canonical(Decimal(text)) == text


@given(amounts, st.integers(min_value=0, max_value=30))
def test_equal_numbers_are_written_alike(number: Decimal, zeros: int) -> None:
    """However many zeros hang on it, and in plain or in scientific notation."""
    padded = Decimal(f"{number:f}" + ("" if "." in f"{number:f}" else ".") + "0" * zeros)
    assert canonical(padded) == canonical(number) == canonical(Decimal(f"{number:E}"))
    text = canonical(number)
    assert "E" not in text.upper()
    assert not text.endswith(".")
    assert "." not in text or not text.endswith("0")


@given(amounts, amounts)
def test_different_numbers_are_written_differently(one: Decimal, other: Decimal) -> None:
    """Else two orders would share a fingerprint."""
    assert (canonical(one) == canonical(other)) is (one == other)


@given(st.decimals(allow_nan=True, allow_infinity=True) | st.floats() | st.integers())
def test_what_is_let_in_is_within_bounds(value: Decimal | float) -> None:
    """Positive, at most 10^15, at most 18 decimals; or refused, never rounded."""
    try:
        number = NUMBER.validate_python(value)
    except ValidationError:
        return
    assert 0 < number <= LARGEST_NUMBER
    assert number == Decimal(str(value))
    assert "." not in canonical(number) or len(canonical(number).split(".")[1]) <= MOST_DECIMALS


@pytest.mark.parametrize(
    "value",
    [
        0, -1, "0", "-0.0", "1e999", "-1e999", "1e-19", 1e-19, "1000000000000000.1",
        10**16, math.nan, math.inf, "NaN", "sNaN", "Infinity", True, False, None, "", " ", " 1",
        "1\n", "1,000", "0x10", "one", [], {}, b"\xff",
    ],
    ids=repr,
)  # fmt: skip
def test_what_is_no_amount_is_refused(value: Any) -> None:
    """1e999 is a finite decimal: the bot would take it for the whole wallet."""
    with pytest.raises(ValidationError):
        NUMBER.validate_python(value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (LARGEST_NUMBER, "1000000000000000"),
        ("1e-18", "0.000000000000000001"),
        ("1e15", "1000000000000000"),
        (0.1, "0.1"),
        (50000.0, "50000"),
        ("1.10", "1.1"),
        ("00100", "100"),
        ("123456789012345.123456789012345678", "123456789012345.123456789012345678"),
    ],
)
def test_the_bounds_themselves_are_let_in(value: Any, text: str) -> None:
    """Written plainly, without an exponent, every digit kept."""
    assert canonical(NUMBER.validate_python(value)) == text


@given(amounts, amounts)
def test_how_a_number_is_written_does_not_change_the_fingerprint(
    amount: Decimal, price: Decimal
) -> None:
    """Zeros and exponents; only the value counts."""
    plain = order(amount=f"{amount:f}", price=f"{price:f}")
    other = order(amount=f"{amount:E}", price=f"{price:f}" + "0")
    assert fingerprint(plain, "a") == fingerprint(other, "a")


def test_numbers_and_strings_make_one_order() -> None:
    """1, 1.0, "1.00" and 1e0 are one amount."""
    prints = {fingerprint(order(amount=amount), "a") for amount in (1, 1.0, "1.00", "1e0", 1e0)}
    assert len(prints) == 1


def test_the_request_id_is_no_part_of_the_fingerprint() -> None:
    """It is the key that the fingerprint is compared under."""
    assert fingerprint(order(), "a") == fingerprint(order(request_id=uuid4()), "a")


def test_everything_else_is_part_of_the_fingerprint() -> None:
    """Whatever differs, it is another order; market and limit, price and none, agent and agent."""
    changes: list[dict[str, Any]] = [
        {}, {"pair": "ETH/USDT"}, {"side": "sell"}, {"amount": "1.01"}, {"price": "100.5"},
        {"order_type": "market", "price": None},
    ]  # fmt: skip
    prints = [fingerprint(order(**change), agent) for change in changes for agent in ("a", "b")]
    assert len(set(prints)) == len(prints)


@given(st.text(max_size=20), st.text(max_size=20))
def test_no_agent_can_be_named_so_that_it_is_another(one: str, other: str) -> None:
    """Quotes and commas in a name do not move the borders of the parts."""
    assert (fingerprint(order(), one) == fingerprint(order(), other)) is (one == other)


@pytest.mark.parametrize(
    "changes",
    [
        {"order_type": "market"},
        {"price": None},
        {"leverage": 5},
        {"pair": "btc/usdt"},
        {"pair": "BTC/USDT\n"},
        {"pair": "BTC"},
        {"pair": "B" * 21 + "/USDT"},
        {"side": "long"},
        {"request_id": "1"},
        {"agent": ""},
        {"agent": "a" * 129},
    ],
    ids=str,
)
def test_what_is_no_order_is_refused(changes: dict[str, Any]) -> None:
    """A price belongs to a limit order, a pair has its form, and nothing else is known."""
    with pytest.raises(ValidationError):
        order(**changes)


def test_an_order_does_not_change() -> None:
    """What was checked is what is sent."""
    with pytest.raises(ValidationError):
        order().amount = Decimal(2)  # type: ignore[misc]  # this is what is tried
