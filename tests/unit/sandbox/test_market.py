"""The simulated market is one market, whatever timeframe it is looked at in."""

import math
import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_gateway.sandbox import market
from mcp_gateway.sandbox.market import DAY, FIRST_MONDAY, INTERVALS, LISTINGS, Bar, Market, merged

pytestmark = pytest.mark.unit

NOW = 29_391_000 + 0.5  # minutes: in November 2025
LATER = math.inf

symbols = st.sampled_from(sorted(LISTINGS))
NESTED = [
    (coarse, fine)
    for coarse, minutes in INTERVALS.items()
    for fine, part in INTERVALS.items()
    if part < minutes and minutes % part == 0 and not (coarse == "1w" and fine == "3d")
]


def opening(interval: str, index: int) -> int:
    offset = FIRST_MONDAY if interval == "1w" else 0
    minutes = INTERVALS[interval]
    return (int(NOW) - offset) // minutes * minutes + offset - index * minutes


@given(symbols, st.sampled_from(NESTED), st.integers(-500, 5000))
def test_smaller_candles_make_exactly_the_larger_one(
    symbol: str, nested: tuple[str, str], index: int
) -> None:
    """Resampling any timeframe gives the exchange's own candle: prices, extremes and volume."""
    coarse, fine = nested
    first, part = opening(coarse, index), INTERVALS[fine]
    whole = Market().bar(symbol, first, INTERVALS[coarse], LATER)
    starts = range(first, first + INTERVALS[coarse], part)
    assert merged(Market().bar(symbol, at, part, LATER) for at in starts) == whole


@given(symbols, st.sampled_from(sorted(INTERVALS)), st.integers(-500, 5000))
def test_a_candle_is_possible(symbol: str, interval: str, index: int) -> None:
    """Low and high enclose open and close, prices and volumes are never below what exists."""
    bar = Market().bar(symbol, opening(interval, index), INTERVALS[interval], LATER)
    assert 0 < bar.low <= min(bar.open, bar.close)
    assert max(bar.open, bar.close) <= bar.high
    assert bar.volume >= 0


@given(symbols, st.integers(0, 1_000_000))
def test_a_candle_opens_where_the_last_one_closed(symbol: str, back: int) -> None:
    """Trading never stops, so there is no gap between minutes, across days either."""
    drawn = Market()
    minute = int(NOW) - back
    assert drawn.bar(symbol, minute, 1, LATER).close == drawn.bar(symbol, minute + 1, 1, LATER).open


def test_the_market_moves() -> None:
    """A flat market would hide faults: most hours and most minutes change the price."""
    candles = Market().candles("BTCUSDT", "1h", NOW, first=-math.inf, last=math.inf, limit=500)
    assert sum(bar.open != bar.close for _, bar in candles) > 450
    assert sum(bar.high > max(bar.open, bar.close) for _, bar in candles) > 250


def test_another_process_sees_the_same_market() -> None:
    """The market depends on nothing that differs between runs, such as the hash seed."""
    program = (
        "from mcp_gateway.sandbox.market import Market\n"
        f"print(tuple(Market().bar('ETHUSDT', {opening('1h', 3)}, 60, float('inf'))))"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program],
        env={"PYTHONHASHSEED": "7", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert ran.stdout.strip() == str(tuple(Market().bar("ETHUSDT", opening("1h", 3), 60, LATER)))


def test_a_thousand_days_cost_a_thousand_draws() -> None:
    """Large candles are not summed up from minutes, so a long history answers quickly."""
    market._day.cache_clear()
    market._parts.cache_clear()
    Market().candles("XRPUSDT", "1d", NOW, first=-math.inf, last=math.inf, limit=1000)
    assert market._day.cache_info().misses <= 1001
    assert market._parts.cache_info().misses <= len(market.GRAINS)


def test_a_running_candle_knows_only_what_has_happened() -> None:
    """As time goes by a candle grows, and ends as the one that is told for ever."""
    drawn, first = Market(), opening("4h", 1)
    seen = [drawn.bar("SOLUSDT", first, 240, first + at) for at in (0, 0.4, 7, 99.9, 239, 240)]
    for before, after in pairwise(seen):
        assert before.open == after.open
        assert before.high <= after.high
        assert before.low >= after.low
        assert before.volume <= after.volume
    start = seen[0].open
    assert seen[0] == Bar(start, start, start, start, 0)
    assert seen[-1] == drawn.bar("SOLUSDT", first, 240, LATER)
    assert seen[-2] != seen[-1]


def test_the_price_is_the_close_of_the_running_minute() -> None:
    """The book, the ticker and the candles speak of one price."""
    drawn = Market()
    assert drawn.price("BTCUSDT", NOW) == drawn.bar("BTCUSDT", int(NOW), 1, NOW).close


def test_a_shock_moves_prices_from_its_minute_on_and_none_before() -> None:
    """What has been told stays true; what follows is scaled, volumes are not."""
    calm, shaken = Market(), Market()
    shock_at = opening("1h", 2) + 17
    shaken.shock("BTCUSDT", 0.9, shock_at)
    before, after = (shock_at - 1, shock_at)
    assert shaken.bar("BTCUSDT", before, 1, LATER) == calm.bar("BTCUSDT", before, 1, LATER)
    fell = shaken.bar("BTCUSDT", after, 1, LATER)
    was = calm.bar("BTCUSDT", after, 1, LATER)
    assert fell.close == pytest.approx(was.close * 0.9, abs=1)
    assert fell.volume == was.volume
    assert shaken.bar("ETHUSDT", after, 1, LATER) == calm.bar("ETHUSDT", after, 1, LATER)


@given(st.integers(0, 2 * DAY), st.floats(0.5, 2), st.sampled_from(NESTED))
def test_timeframes_agree_over_a_shock(back: int, factor: float, nested: tuple[str, str]) -> None:
    """A shock inside a candle leaves it the exact sum of its parts."""
    coarse, fine = nested
    shaken = Market()
    shaken.shock("ADAUSDT", factor, int(NOW) - back)
    offset = FIRST_MONDAY if coarse == "1w" else 0
    minutes, part = INTERVALS[coarse], INTERVALS[fine]
    first = (int(NOW) - back - offset) // minutes * minutes + offset
    starts = range(first, first + minutes, part)
    parts = [shaken.bar("ADAUSDT", at, part, LATER) for at in starts]
    assert merged(parts) == shaken.bar("ADAUSDT", first, minutes, LATER)


def test_a_reset_forgets_the_shock() -> None:
    """After a reset the market is the drawn one again."""
    shaken = Market()
    shaken.shock("BTCUSDT", 3, 0)
    shaken.reset()
    assert shaken.price("BTCUSDT", NOW) == Market().price("BTCUSDT", NOW)
