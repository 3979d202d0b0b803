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

    @property
    def most_us(self) -> int:
        """How far a caller can spend ahead: the whole burst, in microseconds."""
        return self.interval_us * self.burst


@dataclass(frozen=True, slots=True)
class Taken:
    """The answer of a limiter.

    Args:
        buckets: the limits that were asked.
        ahead_us: how far each of them is spent ahead now (µs), in their order.
        wait_us: after so long the same would be allowed; 0 where it was.
        exceeded: key of the bucket that said no, the one that takes longest to say yes where
            several did.
    """

    buckets: tuple[Bucket, ...]
    ahead_us: tuple[int, ...]
    wait_us: int
    exceeded: str | None

    @property
    def allowed(self) -> bool:
        """Whether the units were spent."""
        return self.exceeded is None

    @property
    def retry_after_s(self) -> float:
        """Seconds after which the same would be allowed; 0 where it was."""
        return self.wait_us / 1e6

    @property
    def left(self) -> tuple[int, ...]:
        """Units that each bucket has left."""
        pairs = zip(self.buckets, self.ahead_us, strict=True)
        return tuple((one.most_us - ahead) // one.interval_us for one, ahead in pairs)

    @property
    def remaining(self) -> int:
        """What the tightest bucket has left."""
        return min(self.left)

    def next_in_s(self, place: int) -> float:
        """Return the seconds until one unit more is in the bucket at a place; 0 where it is full."""
        interval_us, ahead = self.buckets[place].interval_us, self.ahead_us[place]
        return (ahead % interval_us or min(ahead, interval_us)) / 1e6


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
        The answer, and the arrival times to keep. Of a refused call only those are kept that
        lie further ahead than a burst: a clock that was set back must not lock a caller out
        until it has caught up with itself.
    """
    owed = [max(arrivals.get(one.key, now_us) - now_us, 0) for one in buckets]
    ahead = [min(each, one.most_us) for one, each in zip(buckets, owed, strict=True)]
    after = [each + one.interval_us * one.cost for one, each in zip(buckets, ahead, strict=True)]
    wait_us, exceeded = 0, None
    for one, each in zip(buckets, after, strict=True):
        if each - one.most_us > wait_us:
            wait_us, exceeded = each - one.most_us, one.key
    spent = after if exceeded is None else ahead
    kept = {
        one.key: now_us + spent[place]
        for place, one in enumerate(buckets)
        if one.cost and (exceeded is None or owed[place] > one.most_us)
    }
    return Taken(tuple(buckets), tuple(spent), wait_us, exceeded), kept
