"""Limits as values, and the arithmetic that decides them: GCRA in whole microseconds.

The generic cell rate algorithm (ITU-T I.371) keeps one number per bucket: the theoretical
arrival time, at which a caller who has spent ahead is even again. The Redis script in
``storage.redis`` does the same sums; integers keep both from ever rounding differently.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MINUTE_US = 60_000_000


@dataclass(frozen=True, slots=True)
class Bucket:
    """One limit: on average ``per_minute`` units, at once at most ``burst`` of them.

    Args:
        key: whose limit it is; differs from its neighbours' in one ``take``.
        cost: units that this call spends, at most ``burst``; 0 only looks.
    """

    key: str
    per_minute: int
    burst: int
    cost: int = 1

    def __post_init__(self) -> None:
        if self.per_minute < 1 or not 0 <= self.cost <= self.burst:
            raise ValueError("a bucket needs a rate, and a burst that covers its cost")

    @property
    def interval_us(self) -> int:
        """Microseconds that one unit takes to come back, rounded to the strict side."""
        return -(-MINUTE_US // self.per_minute)


@dataclass(frozen=True, slots=True)
class Taken:
    """The answer of a limiter.

    ``remaining`` is what the tightest bucket has left; ``exceeded`` the key of the bucket
    that said no, the one that takes longest to say yes where several did.
    """

    allowed: bool
    remaining: int
    retry_after_s: float
    exceeded: str | None


def ensure_distinct(buckets: Sequence[Bucket]) -> None:
    """Refuse a set of limits that no engine decides: none at all, or one key twice.

    Raises:
        ValueError: a fault of the caller's code, not of a caller.
    """
    if not buckets or len({bucket.key for bucket in buckets}) < len(buckets):
        raise ValueError("one bucket at least, and each key once")


def decide(
    buckets: Sequence[Bucket], arrivals: Mapping[str, int], now_us: int
) -> tuple[Taken, dict[str, int]]:
    """Decide several limits at once, all or nothing.

    Args:
        arrivals: theoretical arrival times (µs) of the buckets that were used before.
        now_us: the present, on the clock of ``arrivals``.

    Returns:
        The answer, and the arrival times to keep; none where the call was refused.
    """
    ahead = {bucket.key: _ahead_us(bucket, arrivals, now_us) for bucket in buckets}
    after = {bucket.key: ahead[bucket.key] + bucket.interval_us * bucket.cost for bucket in buckets}
    slowest = max(buckets, key=lambda bucket: after[bucket.key] - _most_us(bucket))
    wait_us = after[slowest.key] - _most_us(slowest)
    if wait_us > 0:
        return Taken(False, _left(buckets, ahead), wait_us / 1e6, slowest.key), {}
    kept = {one.key: now_us + after[one.key] for one in buckets if one.cost}
    return Taken(True, _left(buckets, after), 0.0, None), kept


def _most_us(bucket: Bucket) -> int:
    return bucket.interval_us * bucket.burst


def _ahead_us(bucket: Bucket, arrivals: Mapping[str, int], now_us: int) -> int:
    """How far a caller has spent ahead; never more than a burst, even if a clock was set back."""
    return min(max(arrivals.get(bucket.key, now_us) - now_us, 0), _most_us(bucket))


def _left(buckets: Sequence[Bucket], ahead: Mapping[str, int]) -> int:
    return min((_most_us(one) - ahead[one.key]) // one.interval_us for one in buckets)
