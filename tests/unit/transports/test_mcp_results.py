"""Answers as MCP documents: candles in columns and rows, numbers, refusals."""

from datetime import datetime, timedelta, timezone

import orjson
import pytest
from mcp.types import INTERNAL_ERROR, INVALID_PARAMS, TextContent
from pydantic import TypeAdapter, ValidationError

from mcp_gateway.domain.market import Candle, CandleSeries
from mcp_gateway.errors import InternalError, NotFound, OrderDenied, QuotaExceeded
from mcp_gateway.transports.mcp import results
from tests.support.clock import START

pytestmark = pytest.mark.unit
FIRST = 1_763_456_400  # 2025-11-18T09:00:00Z


def series(*opens: int, resampled_from: str | None = None) -> CandleSeries:
    rows = tuple(Candle(FIRST + n * 900, 1.0, 2.0, 0.5, 1.5, None) for n in opens)
    return CandleSeries("BTC/USDT", "15m", rows, START, "live", resampled_from)


def test_candles_without_a_gap_need_no_timestamps() -> None:
    """Row n opened at start + n * step_s; a missing number stays null."""
    told = results.candles(series(0, 1, 2), now=START, limit=10)
    assert told["columns"] == ["open", "high", "low", "close", "volume"]
    assert told["rows"] == [[1.0, 2.0, 0.5, 1.5, None]] * 3
    assert (told["start"], told["step_s"], told["count"]) == ("2025-11-18T09:00:00Z", 900, 3)


def test_a_gap_brings_a_timestamp_column() -> None:
    """Without it every row behind the gap would be dated wrongly."""
    told = results.candles(series(0, 1, 3), now=START, limit=10)
    assert told["columns"] == ["timestamp", "open", "high", "low", "close", "volume"]
    assert [row[0] for row in told["rows"]] == [FIRST, FIRST + 900, FIRST + 2700]
    assert all(len(row) == len(told["columns"]) for row in told["rows"])


def test_a_single_candle_has_no_gap() -> None:
    """Nothing stands between one candle."""
    told = results.candles(series(5), now=START, limit=10)
    assert (told["columns"][0], told["count"]) == ("open", 1)


def test_no_candles_are_an_empty_page_with_no_page_before_it() -> None:
    """Past the beginning of what the bot has: nothing to start from, nothing further back."""
    told = results.candles(series(), now=START, limit=10)
    assert (told["count"], told["rows"], told["start"], told["next_before"]) == (0, [], None, None)


@pytest.mark.parametrize(("limit", "before"), [(3, "2025-11-18T09:00:00Z"), (4, None)])
def test_a_full_page_says_where_the_one_before_it_ends(limit: int, before: str | None) -> None:
    """A short page is the last one."""
    assert results.candles(series(0, 1, 2), now=START, limit=limit)["next_before"] == before


def test_resampled_candles_say_what_they_are_made_of() -> None:
    """And candles of the bot's own say nothing of the kind."""
    made = results.candles(series(0, resampled_from="5m"), now=START, limit=1)
    assert made["resampled_from"] == "5m"
    assert "resampled_from" not in results.candles(series(0), now=START, limit=1)


@pytest.mark.parametrize(("later_s", "age_s"), [(0, 0.0), (61.26, 61.3), (-5, 0.0)])
def test_the_age_is_told_and_never_negative(later_s: float, age_s: float) -> None:
    """Seconds since the bot was asked; a clock that was set back is no future."""
    now = START + timedelta(seconds=later_s)
    assert results.candles(series(0), now=now, limit=1)["age_s"] == age_s


def test_a_success_is_the_same_document_twice() -> None:
    """As compact text and as structured content."""
    result = results.told({"a": 1, "b": [None, "ü"]})
    [block] = result.content
    assert isinstance(block, TextContent)
    assert block.text == '{"a":1,"b":[null,"ü"]}'
    assert orjson.loads(block.text) == result.structured_content
    assert not result.is_error
    assert result.meta is None


def test_a_refusal_carries_what_an_agent_needs_to_act() -> None:
    """Code, message, retryable, hint, and when to come again."""
    refused = results.refused(QuotaExceeded("Slower.", retry_after_s=2.5, detail={"quota": "x"}))
    assert refused.is_error is True
    assert refused.structured_content == {
        "code": "quota_exceeded", "message": "Slower.", "retryable": True,
        "hint": "Wait retry_after_s seconds, then call again.", "retry_after_s": 2.5, "quota": "x",
    }  # fmt: skip


def test_a_replayed_refusal_is_marked_beside_the_document() -> None:
    """The mark stands in _meta, so that the document is the same one."""
    error = OrderDenied("No.")
    plain = results.refused(error)
    error.replayed = True
    again = results.refused(error)
    assert again.structured_content == plain.structured_content
    assert again.meta == {results.REPLAYED: True}


def test_what_a_handler_raised_is_mapped_by_its_kind() -> None:
    """Ours stays, pydantic's is a wrong request, anything else is a bug told in one word."""
    ours = NotFound("None.")
    assert results.as_gateway_error(ours, "x") is ours
    with pytest.raises(ValidationError) as wrong:
        TypeAdapter(int).validate_python("canary")
    assert results.as_gateway_error(wrong.value, "x").code == "request_invalid"
    for bug in (KeyError("canary"), None):
        told = results.as_gateway_error(bug, "x")
        assert told.code == "internal_error"
        assert "canary" not in str(told.public())


@pytest.mark.parametrize(
    ("error", "number"), [(NotFound("No."), INVALID_PARAMS), (InternalError("No."), INTERNAL_ERROR)]
)
def test_a_protocol_error_carries_the_refusal_as_data(error: NotFound, number: int) -> None:
    """For what has no result: JSON-RPC's own number, our object."""
    told = results.protocol_error(error)
    assert (told.code, told.message, told.data) == (number, "No.", error.public())


def test_moments_are_told_in_utc() -> None:
    """Whatever zone a value came with."""
    east = datetime(2025, 11, 18, 14, tzinfo=timezone(timedelta(hours=2)))
    one = CandleSeries("BTC/USDT", "15m", (), east, "cache")
    assert results.candles(one, now=START, limit=1)["as_of"] == "2025-11-18T12:00:00Z"
