"""How values become columns: exactly, or not at all."""

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects.sqlite import dialect

from mcp_gateway.storage.schema import Document, Moment, Money

pytestmark = pytest.mark.unit

ENGINE = dialect()
AWARE = st.datetimes(timezones=st.just(UTC) | st.just(timezone(timedelta(hours=3, minutes=30))))


@given(st.decimals(-(10**15), 10**15, places=18))
def test_money_keeps_every_digit(value: Decimal) -> None:
    """More digits than the default decimal context has: none is rounded away."""
    text = Money().process_bind_param(value, ENGINE)
    assert text is not None
    assert Money().process_result_value(text, ENGINE) == value
    assert "E" not in text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1.50", "1.5"),
        ("5E+4", "50000"),
        ("1000", "1000"),
        ("0.00", "0"),
        ("1E-18", "0." + "0" * 17 + "1"),
    ],
)
def test_money_is_written_the_one_way(value: str, text: str) -> None:
    """Equal amounts are equal texts."""
    assert Money().process_bind_param(Decimal(value), ENGINE) == text


@given(AWARE)
def test_a_moment_is_exact_to_the_microsecond(at: datetime) -> None:
    """Times are compared and ordered as integers, whatever zone they came in."""
    count = Moment().process_bind_param(at, ENGINE)
    back = Moment().process_result_value(count, ENGINE)
    assert back == at
    assert back is not None
    assert back.utcoffset() == timedelta()


def test_a_time_without_a_zone_is_refused() -> None:
    """Nobody knows what it means."""
    with pytest.raises(TypeError):
        Moment().process_bind_param(datetime(2025, 1, 1), ENGINE)  # noqa: DTZ001 - what is refused


def test_a_document_keeps_the_order_of_its_keys() -> None:
    """A recorded answer is repeated word for word."""
    text = Document().process_bind_param({"z": 1, "a": "ü\0"}, ENGINE)
    assert text == '{"z":1,"a":"\\u00fc\\u0000"}'
    assert list(Document().process_result_value(text, ENGINE)) == ["z", "a"]


def test_a_document_that_is_no_json_is_refused() -> None:
    """NaN is no JSON, and the reader at the other end may be strict."""
    with pytest.raises(ValueError, match="JSON"):
        Document().process_bind_param({"a": float("nan")}, ENGINE)


def test_nothing_stays_nothing() -> None:
    """NULL is None in both directions."""
    for column in (Money(), Moment(), Document()):
        assert column.process_bind_param(None, ENGINE) is None
        assert column.process_result_value(None, ENGINE) is None
