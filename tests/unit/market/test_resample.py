"""Larger candles are exact, whole, and begin where exchanges let them begin."""

from fractions import Fraction

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from mcp_gateway.domain.market import TIMEFRAMES, Candle
from mcp_gateway.market.resample import is_made_of, resample

pytestmark = pytest.mark.unit

# How long an example takes says how busy the machine is, nothing about the code.
unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

MIDNIGHT = 1763424000  # 2025-11-18T00:00:00Z


def candle(open_s: int, price: float = 10.0, volume: float | None = 1.0) -> Candle:
    return Candle(open_s, price, price + 1, price - 1, price + 0.5, volume)


def run_of(count: int, start: int = MIDNIGHT, step_s: int = 300) -> list[Candle]:
    return [candle(start + i * step_s, 10.0 + i) for i in range(count)]


def test_twelve_fives_make_an_hour() -> None:
    """Open of the first, close of the last, the highest, the lowest, the sum."""
    [hour] = resample(run_of(12), 300, 3600)
    assert hour == Candle(MIDNIGHT, 10.0, 22.0, 9.0, 21.5, 12.0)


def test_a_half_done_candle_is_not_made() -> None:
    """The first and the last period are seldom whole; only closed candles are told."""
    parts = run_of(30, start=MIDNIGHT + 1500)
    assert [each.open_s for each in resample(parts, 300, 3600)] == [MIDNIGHT + 3600]


def test_a_missing_part_leaves_its_candle_out() -> None:
    """The high or the low may have been in the part that is missing."""
    parts = run_of(36)
    del parts[17]
    assert [each.open_s for each in resample(parts, 300, 3600)] == [MIDNIGHT, MIDNIGHT + 7200]


@pytest.mark.parametrize("place", [1, 2, 3, 4])
def test_a_part_without_a_price_counts_as_missing(place: int) -> None:
    """A null is not a price, and none is made up for it."""
    parts = run_of(24)
    prices = [None if at == place else price for at, price in enumerate(parts[3][1:5], 1)]
    parts[3] = Candle._make([parts[3].open_s, *prices, parts[3].volume])
    assert [each.open_s for each in resample(parts, 300, 3600)] == [MIDNIGHT + 3600]


def test_a_part_without_volume_makes_the_volume_null() -> None:
    """The prices are all there; a sum of some would be a wrong sum."""
    parts = run_of(12)
    parts[5] = parts[5]._replace(volume=None)
    [hour] = resample(parts, 300, 3600)
    assert (hour.high, hour.volume) == (22.0, None)


def test_volumes_are_summed_as_they_are_printed() -> None:
    """Fifteen times 0.1 is 1.5; added up as floats it is 1.5000000000000002."""
    parts = [candle(MIDNIGHT + i * 60, volume=0.1) for i in range(15)]
    [quarter] = resample(parts, 60, 900)
    assert quarter.volume == 1.5


def test_a_day_begins_at_midnight_utc() -> None:
    """Exchanges count days so, whatever the machine's time zone."""
    parts = run_of(600, start=MIDNIGHT - 3600 * 13)
    assert [each.open_s for each in resample(parts, 300, 86400)] == [MIDNIGHT]


def test_eight_hours_begin_at_nought_eight_and_sixteen() -> None:
    """All larger timeframes divide the day."""
    parts = run_of(400)
    opens = [each.open_s - MIDNIGHT for each in resample(parts, 300, 28800)]
    assert opens == [0, 28800, 57600, 86400]


def test_a_part_off_its_beat_is_no_part() -> None:
    """A candle at a time where none can open is a fault of the source, not a part."""
    parts = run_of(12)
    parts[4] = parts[4]._replace(open_s=parts[4].open_s + 7)
    assert resample(parts, 300, 3600) == ()


def test_nothing_is_made_of_nothing() -> None:
    """No candles, no candles."""
    assert resample([], 300, 3600) == ()


@pytest.mark.parametrize(
    ("larger", "smaller", "possible"),
    [(3600, 300, True), (300, 300, False), (300, 3600, False), (900, 600, False)],
)
def test_only_whole_multiples_can_be_made(larger: int, smaller: int, possible: bool) -> None:
    """A quarter of an hour is no number of ten minutes."""
    assert is_made_of(larger, smaller) is possible


prices = some.floats(0.0001, 1e6, allow_nan=False)
volumes = some.integers(0, 10**9).map(lambda units: units / 1000)


@unhurried
@given(data=some.data(), larger_s=some.sampled_from([600, 900, 1800, 3600, 7200]))
def test_every_candle_agrees_with_its_parts(data: some.DataObject, larger_s: int) -> None:
    """A model of one line each: made iff all parts are there; then first, max, min, last, sum."""
    slots = data.draw(some.lists(some.integers(0, 80), unique=True, max_size=80).map(sorted))
    parts = [
        Candle(MIDNIGHT + slot * 300, *data.draw(some.tuples(*[prices] * 4, volumes)))
        for slot in slots
    ]
    needed = larger_s // 300
    groups: dict[int, list[Candle]] = {}
    for part in parts:
        groups.setdefault(part.open_s // larger_s * larger_s, []).append(part)
    whole = {open_s: group for open_s, group in groups.items() if len(group) == needed}
    made = resample(parts, 300, larger_s)
    assert [each.open_s for each in made] == sorted(whole)
    for each in made:
        group = whole[each.open_s]
        assert (each.open, each.close) == (group[0].open, group[-1].close)
        assert each.high == max(part.high or 0 for part in group)
        assert each.low == min(part.low or 0 for part in group)
        assert each.volume == float(sum(Fraction(repr(part.volume)) for part in group))


@unhurried
@given(count=some.integers(0, 700), steps=some.sampled_from([("15m", "1h"), ("1h", "4h")]))
def test_by_way_of_a_middle_timeframe_is_the_same(count: int, steps: tuple[str, str]) -> None:
    """5m to 4h is 5m to 1h to 4h: exactness does not depend on the way."""
    middle_s, larger_s = TIMEFRAMES[steps[0]], TIMEFRAMES[steps[1]]
    parts = run_of(count)
    by_way = resample(resample(parts, 300, middle_s), middle_s, larger_s)
    assert by_way == resample(parts, 300, larger_s)
