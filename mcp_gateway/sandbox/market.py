"""The simulated market: a pure function of symbol and minute.

Days are drawn first, then split: a day into parts of four hours, those into hours, and so
on down to minutes. Prices are whole ticks and volumes whole lots, so that a larger candle
is exactly the sum of its smaller ones, and a thousand daily candles cost a thousand draws.
"""

import math
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise
from random import Random
from typing import NamedTuple

from mcp_gateway.domain.market import TIMEFRAMES

DAY = 1440  # minutes
GRAINS = (DAY, 240, 60, 15, 5, 1)  # minutes; each splits into at least three of the next
INTERVALS = {name: seconds // 60 for name, seconds in TIMEFRAMES.items()} | {
    "3d": 3 * DAY,
    "1w": 7 * DAY,
}
FIRST_MONDAY = 4 * DAY  # weeks open on Monday; the epoch was a Thursday

# The shape of the market, as shares of the price or of a candle's range.
SLOW_SWING, FAST_SWING, DAILY_NOISE = 0.12, 0.04, 0.02
DAILY_REACH = 0.02
JITTER = 0.25
LIKELY = 0.5


@dataclass(frozen=True, slots=True)
class Listing:
    """A traded pair: sizes in base, prices in quote.

    ``depth`` is what lies on each level of the order book; ``turnover`` what a day trades.
    """

    base: str
    quote: str
    price: Decimal
    tick: Decimal
    lot: Decimal
    depth: Decimal
    turnover: Decimal
    min_notional: Decimal = Decimal(5)

    @property
    def symbol(self) -> str:
        """The exchange's name, ``BTCUSDT``."""
        return self.base + self.quote

    @property
    def pair(self) -> str:
        """The bot's name, ``BTC/USDT``."""
        return f"{self.base}/{self.quote}"


def _listed(base: str, *sizes: str) -> Listing:
    price, tick, lot, depth, turnover = map(Decimal, sizes)
    return Listing(base, "USDT", price, tick, lot, depth, turnover)


LISTINGS = {
    listing.symbol: listing
    for listing in (
        _listed("BTC", "50000", "0.01", "0.00001", "0.5", "4000"),
        _listed("ETH", "2500", "0.01", "0.0001", "10", "60000"),
        _listed("SOL", "150", "0.01", "0.001", "100", "900000"),
        _listed("XRP", "0.5", "0.0001", "0.1", "20000", "200000000"),
        _listed("ADA", "0.4", "0.0001", "0.1", "20000", "90000000"),
        _listed("THIN", "10", "0.01", "0.01", "0.02", "200"),  # an almost empty book
    )
}
PAIRS = tuple(listing.pair for listing in LISTINGS.values())


class Bar(NamedTuple):
    """What a span of minutes did: prices in ticks, volume in lots."""

    open: int
    high: int
    low: int
    close: int
    volume: int


def merged(bars: Iterable[Bar]) -> Bar:
    """Return the one bar that consecutive bars make."""
    parts = list(bars)
    return Bar(
        parts[0].open,
        max(part.high for part in parts),
        min(part.low for part in parts),
        parts[-1].close,
        sum(part.volume for part in parts),
    )


class Market:
    """The drawn market and the shocks that a test put on top of it."""

    def __init__(self) -> None:
        self._shocks: dict[str, list[tuple[int, float]]] = {}

    def shock(self, symbol: str, factor: float, minute: int) -> None:
        """Multiply every price of the symbol from that minute on."""
        self._shocks.setdefault(symbol, []).append((minute, factor))

    def reset(self) -> None:
        """Forget every shock."""
        self._shocks.clear()

    def price(self, symbol: str, now: float) -> int:
        """Return the last traded price in ticks; ``now`` in minutes since the epoch."""
        return self.bar(symbol, int(now), 1, now).close

    def bar(self, symbol: str, first: int, minutes: int, now: float) -> Bar:
        """Return what happened from minute ``first`` on, as far as ``now`` has come.

        Args:
            first: a multiple of ``minutes`` since the epoch (weeks: since a Monday).
            minutes: one of INTERVALS.
            now: minutes since the epoch, not before ``first``.
        """
        factor = self._factor(symbol, first, minutes)
        if factor is not None and first + minutes <= now:
            return _scaled(_whole(symbol, first, minutes), factor)
        if minutes == 1:
            return _begun(_scaled(_whole(symbol, first, 1), factor or 1.0), now - first)
        step = _grain(minutes - 1, minutes)
        starts = range(first, first + minutes, step)
        return merged(self.bar(symbol, at, step, now) for at in starts if at <= now)

    def candles(
        self, symbol: str, interval: str, now: float, *, first: float, last: float, limit: int
    ) -> list[tuple[int, Bar]]:
        """Return candles that opened from ``first`` to ``last``, oldest first, the running too.

        ``first`` may be minus infinity: then the newest ``limit`` are told, else the oldest.
        All moments are minutes since the epoch; the open minute stands before each bar.
        """
        minutes = INTERVALS[interval]
        offset = FIRST_MONDAY if interval == "1w" else 0
        end = _aligned(min(last, now), minutes, offset)
        if math.isinf(first):
            start = end - (limit - 1) * minutes
        else:
            start = -_aligned(-first, minutes, -offset)
            end = min(end, start + (limit - 1) * minutes)
        opens = range(max(start, offset), end + 1, minutes)
        return [(at, self.bar(symbol, at, minutes, now)) for at in opens]

    def _factor(self, symbol: str, first: int, minutes: int) -> float | None:
        """Return the one factor over a span, None where a shock falls inside it."""
        factor = 1.0
        for minute, strength in self._shocks.get(symbol, ()):
            if first < minute < first + minutes:
                return None
            if minute <= first:
                factor *= strength
        return factor


def _aligned(moment: float, minutes: int, offset: int) -> int:
    """Return the last opening minute at or before a moment."""
    return math.floor((moment - offset) / minutes) * minutes + offset


def _grain(longest: int, minutes: int) -> int:
    """Return the coarsest grain that divides a span and is no longer than ``longest``."""
    return next(grain for grain in GRAINS if grain <= longest and minutes % grain == 0)


def _scaled(bar: Bar, factor: float) -> Bar:
    if factor == 1.0:
        return bar
    # Rounding keeps the order of prices, so a scaled sum is the sum of the scaled.
    opening, high, low, closing = (max(1, round(price * factor)) for price in bar[:4])
    return Bar(opening, high, low, closing, bar.volume)


def _begun(minute: Bar, share: float) -> Bar:
    """Return a minute that has run only for a share of itself: straight from open to close."""
    price = round(minute.open + (minute.close - minute.open) * share)
    high, low = max(minute.open, price), min(minute.open, price)
    return Bar(minute.open, high, low, price, int(minute.volume * share))


def _whole(symbol: str, first: int, minutes: int) -> Bar:
    grain = _grain(minutes, minutes)
    drawn = [
        _drawn(symbol, GRAINS.index(grain), index)
        for index in range(first // grain, (first + minutes) // grain)
    ]
    return merged(drawn) if len(drawn) > 1 else drawn[0]


def _drawn(symbol: str, depth: int, index: int) -> Bar:
    if depth == 0:
        return _day(symbol, index)
    parent, place = divmod(index, GRAINS[depth - 1] // GRAINS[depth])
    return _parts(symbol, depth - 1, parent)[place]


@lru_cache(maxsize=16_384)
def _day(symbol: str, day: int) -> Bar:
    listing = LISTINGS[symbol]
    draw = _dice(symbol, DAY, day)
    opening, closing = _level(listing, day), _level(listing, day + 1)
    high = max(opening, closing) * (1 + DAILY_REACH * draw.random())
    low = min(opening, closing) * (1 - DAILY_REACH * draw.random())
    lots = int(listing.turnover / listing.lot) * (0.5 + draw.random())
    return Bar(opening, round(high), round(low), closing, round(lots))


@lru_cache(maxsize=16_384)
def _parts(symbol: str, depth: int, index: int) -> tuple[Bar, ...]:
    """Split a bar into those of the next grain, which make exactly it."""
    whole = _drawn(symbol, depth, index)
    count = GRAINS[depth] // GRAINS[depth + 1]
    draw = _dice(symbol, GRAINS[depth + 1], index)
    borders = pairwise(_path(whole, count, draw))
    reach = (whole.high - whole.low) / count
    volumes = _shares(whole.volume, count, draw)
    return tuple(
        Bar(
            opening,
            min(whole.high, max(opening, closing) + int(reach * draw.random())),
            max(whole.low, min(opening, closing) - int(reach * draw.random())),
            closing,
            volume,
        )
        for (opening, closing), volume in zip(borders, volumes, strict=True)
    )


def _path(whole: Bar, count: int, draw: Random) -> list[int]:
    """Return the prices at the parts' borders; the high and the low are reached on the way."""
    extremes = [
        price for price in (whole.high, whole.low) if price not in {whole.open, whole.close}
    ]
    if draw.random() < LIKELY:
        extremes.reverse()
    early = 1 + int(draw.random() * (count - 2))
    late = early + 1 + int(draw.random() * (count - 1 - early))
    turns = zip((early, late), extremes, strict=False)
    knots = [(0, whole.open), *turns, (count, whole.close)]
    path = [whole.open]
    for (left, start), (right, stop) in pairwise(knots):
        for place in range(left + 1, right):
            straight = start + (stop - start) * (place - left) / (right - left)
            off = JITTER * (draw.random() - 0.5) * (whole.high - whole.low)
            path.append(min(whole.high, max(whole.low, round(straight + off))))
        path.append(stop)
    return path


def _shares(total: int, count: int, draw: Random) -> list[int]:
    """Divide a volume at random without losing a lot."""
    weights = [0.2 + draw.random() for _ in range(count)]
    sums = [0.0]
    for weight in weights:
        sums.append(sums[-1] + weight)
    marks = [int(total * part / sums[-1]) for part in sums[:-1]] + [total]
    return [after - before for before, after in pairwise(marks)]


@lru_cache(maxsize=16_384)
def _level(listing: Listing, day: int) -> int:
    """Return the price in ticks at the start of a day: two swings and some noise."""
    phase = zlib.crc32(listing.symbol.encode()) % 360
    swing = SLOW_SWING * math.sin(day / 29 + phase) + FAST_SWING * math.sin(day / 4.7 + phase)
    noise = DAILY_NOISE * (_dice(listing.symbol, 0, day).random() - 0.5)
    return round(float(listing.price / listing.tick) * math.exp(swing + noise))


def _dice(symbol: str, grain: int, index: int) -> Random:
    # Only random() is drawn from it: its sequence is promised to stay over Python versions.
    return Random(f"{symbol} {grain} {index}")  # noqa: S311 - a market, no secret
