"""The arithmetic of limits: what it promises whatever the order and time of calls."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_gateway.storage.buckets import Bucket, decide

pytestmark = pytest.mark.unit

CALLS = st.lists(st.integers(0, 3_000_000), min_size=1, max_size=60)


@given(gaps=CALLS, per_minute=st.integers(1, 5_000), burst=st.integers(1, 20))
def test_no_stretch_of_time_admits_more_than_its_burst_and_rate(
    gaps: list[int], per_minute: int, burst: int
) -> None:
    """Between any two calls at most a burst and what time gave back are allowed (GCRA)."""
    bucket = Bucket("caller", per_minute, burst)
    arrivals: dict[str, int] = {}
    now = 0
    allowed: list[int] = []
    for gap in gaps:
        now += gap
        taken, kept = decide([bucket], arrivals, now)
        arrivals |= kept
        if taken.allowed:
            allowed.append(now)
    for first, begin in enumerate(allowed):
        for last, end in enumerate(allowed[first:], start=1):
            assert last <= burst + (end - begin) * per_minute / 60_000_000


@given(gaps=CALLS, burst=st.integers(1, 5))
def test_waiting_as_told_is_always_enough(gaps: list[int], burst: int) -> None:
    """``retry_after_s`` is exact: then the call passes, a microsecond earlier it does not."""
    bucket = Bucket("caller", 60, burst)
    arrivals: dict[str, int] = {}
    now = 0
    for gap in gaps:
        now += gap
        taken, kept = decide([bucket], arrivals, now)
        arrivals |= kept
        if not taken.allowed:
            due = now + round(taken.retry_after_s * 1_000_000)
            assert decide([bucket], arrivals, due)[0].allowed
            assert not decide([bucket], arrivals, due - 1)[0].allowed


def test_a_clock_that_was_set_back_locks_nobody_out() -> None:
    """An arrival in the far future is no debt: whoever waits as told passes, an hour or not."""
    bucket = Bucket("caller", 60, 2)
    arrivals = {"caller": 3_600_000_000}
    taken, kept = decide([bucket], arrivals, 0)
    assert (taken.allowed, taken.retry_after_s) == (False, 1.0)
    arrivals |= kept
    assert decide([bucket], arrivals, 1_000_000)[0].allowed


@given(gaps=CALLS, back=st.integers(1, 10**12))
def test_a_clock_that_was_set_back_gives_no_more_than_a_burst_away(
    gaps: list[int], back: int
) -> None:
    """Behind the step the rate holds from what was left before it: nothing is given anew."""
    bucket = Bucket("caller", 60, 3)
    arrivals: dict[str, int] = {}
    now, allowed = 10**13, 0
    for gap in gaps:
        arrivals |= decide([bucket], arrivals, now + gap)[1]
        now += gap
    left = decide([Bucket("caller", 60, 3, cost=0)], arrivals, now)[0].remaining
    now -= back
    stepped_at = now
    for gap in gaps:
        now += gap
        taken, kept = decide([bucket], arrivals, now)
        arrivals |= kept
        allowed += taken.allowed
    assert allowed <= left + 1 + (now - stepped_at) / 1_000_000


@given(
    spent=st.lists(st.tuples(st.integers(0, 90_000_000), st.integers(0, 4)), max_size=20),
    per_minute=st.integers(1, 5_000),
)
def test_what_is_left_and_when_there_is_more_are_told_truly(
    spent: list[tuple[int, int]], per_minute: int
) -> None:
    """So many pass and not one more; a microsecond before the time told, nothing has changed."""
    arrivals: dict[str, int] = {}
    now = 0
    for gap, cost in spent:
        now += gap
        arrivals |= decide([Bucket("caller", per_minute, 4, cost)], arrivals, now)[1]

    def left(at: int) -> int:
        return decide([Bucket("caller", per_minute, 4, 0)], arrivals, at)[0].remaining

    look, _ = decide([Bucket("caller", per_minute, 4, 0)], arrivals, now)
    most = decide([Bucket("caller", per_minute, 4, max(look.remaining, 0))], arrivals, now)
    assert most[0].allowed
    if look.remaining < 4:
        over = decide([Bucket("caller", per_minute, 4, look.remaining + 1)], arrivals, now)
        assert not over[0].allowed
        due = round(look.next_in_s(0) * 1e6)
        assert left(now + due) == look.remaining + 1
        assert left(now + due - 1) == look.remaining
    else:
        assert look.next_in_s(0) < per_minute  # a full bucket is full, or within its last unit


def test_a_rate_that_does_not_divide_a_minute_is_rounded_to_the_strict_side() -> None:
    """Seven a minute never becomes seven and a bit."""
    assert Bucket("caller", 7, 1).interval_us * 7 >= 60_000_000


@pytest.mark.parametrize(
    ("per_minute", "burst", "cost"), [(0, 1, 1), (1, 0, 1), (1, 1, -1), (1, 1, 2)]
)
def test_a_bucket_that_could_never_be_taken_is_a_fault_of_the_code(
    per_minute: int, burst: int, cost: int
) -> None:
    """A limit without rate, or below the cost of one call, would refuse for ever."""
    with pytest.raises(ValueError, match="bucket"):
        Bucket("caller", per_minute, burst, cost)
