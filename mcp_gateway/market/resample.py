"""Larger candles out of smaller ones: exact, and only where every part is there."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from itertools import groupby

from mcp_gateway.domain.market import Candle


def is_made_of(larger_s: int, smaller_s: int) -> bool:
    """Tell whether candles of ``larger_s`` seconds are whole numbers of smaller ones."""
    return larger_s > smaller_s and larger_s % smaller_s == 0


def resample(candles: Sequence[Candle], smaller_s: int, larger_s: int) -> tuple[Candle, ...]:
    """Make candles of ``larger_s`` seconds, counted from midnight UTC as exchanges do.

    A candle is made only of all its parts: where one is missing, or has no prices, the
    larger candle is left out, since its high, low or close might be another. So the first
    and the last are never half done. A volume that one part lacks is null.

    Args:
        candles: oldest first, each open once, of ``smaller_s`` seconds.
        smaller_s: seconds; divides ``larger_s``.
        larger_s: seconds; divides a day.
    """
    return tuple(_made(candles, smaller_s, larger_s))


def _made(candles: Sequence[Candle], smaller_s: int, larger_s: int) -> Iterator[Candle]:
    needed = larger_s // smaller_s
    # Unix time has no leap seconds and began at midnight, so its multiples are the boundaries.
    for period, group in groupby(candles, key=lambda candle: candle.open_s // larger_s):
        parts = [part for part in group if part.open_s % smaller_s == 0]
        if len(parts) == needed and (merged := _merged(period * larger_s, parts)):
            yield merged


def _merged(open_s: int, parts: list[Candle]) -> Candle | None:
    highs = [part.high for part in parts if part.high is not None]
    lows = [part.low for part in parts if part.low is not None]
    priced = all(part.open is not None and part.close is not None for part in parts)
    if not priced or len(highs) < len(parts) or len(lows) < len(parts):
        return None
    return Candle(open_s, parts[0].open, max(highs), min(lows), parts[-1].close, _volume(parts))


def _volume(parts: list[Candle]) -> float | None:
    """Sum as decimals: floats would show 0.30000000000000004 where the exchange says 0.3."""
    volumes = [part.volume for part in parts if part.volume is not None]
    if len(volumes) < len(parts):
        return None
    return float(sum(Decimal(repr(volume)) for volume in volumes))
