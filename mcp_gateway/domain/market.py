"""Pairs, timeframes and candles."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal, NamedTuple

from pydantic import Field

from mcp_gateway.errors import NotFound

# BASE/QUOTE, futures with :SETTLE; upper case as every exchange behind ccxt lists them.
PAIR_PATTERN = r"^[A-Z0-9]{1,20}/[A-Z0-9]{1,20}(:[A-Z0-9]{1,20})?$"
_PAIR = re.compile(PAIR_PATTERN.replace("$", r"\Z"))

# Seconds a candle lasts, by name: the timeframes that Freqtrade takes from ccxt, less the
# month, which has no fixed length.
TIMEFRAMES: dict[str, int] = {
    "1m": 60,
    "3m": 180,
    "5m": 300,
    "15m": 900,
    "30m": 1800,
    "1h": 3600,
    "2h": 7200,
    "4h": 14400,
    "6h": 21600,
    "8h": 28800,
    "12h": 43200,
    "1d": 86400,
}
# The form of a timeframe; which ones there are, and which the bot serves, is asked later.
TimeframeName = Annotated[str, Field(strict=True, pattern=r"^[0-9]{1,2}[mhd]$", examples=["1h"])]
CANDLE_LIMIT = 1000  # Freqtrade keeps about a thousand analysed candles

Source = Literal["live", "cache", "stale"]


def is_pair(text: str) -> bool:
    """Tell whether ``text`` has the form of a pair; says nothing about the exchange."""
    return _PAIR.match(text) is not None


def base_and_quote(pair: str) -> tuple[str, str]:
    """Split ``BTC/USDT`` or ``BTC/USDT:USDT`` into base and quote."""
    base, rest = pair.split("/", 1)
    return base, rest.split(":", 1)[0]


def timeframe_seconds(name: str) -> int:
    """Return how many seconds one candle lasts.

    Raises:
        NotFound: no such timeframe.
    """
    try:
        return TIMEFRAMES[name]
    except KeyError:
        raise NotFound(
            "There is no such timeframe.",
            code="timeframe_unknown",
            hint=f"Use one of {' '.join(TIMEFRAMES)}.",
            detail={"field": "timeframe"},
        ) from None


class Candle(NamedTuple):
    """One closed candle: Unix seconds of its open, prices in quote, volume in base.

    The numbers are the bot's own JSON numbers; None where the bot sent none.
    """

    open_s: int
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float | None


@dataclass(frozen=True, slots=True)
class CandleSeries:
    """Closed candles of one pair and timeframe, oldest first.

    ``as_of`` is when the bot was asked; ``resampled_from`` names the smaller timeframe
    that they were made of, None where they are the bot's own.
    """

    pair: str
    timeframe: str
    candles: tuple[Candle, ...]
    as_of: datetime
    source: Source
    resampled_from: str | None = None


@dataclass(frozen=True, slots=True)
class Pairs:
    """The pairs that the bot trades, with the moment at which it was asked."""

    names: tuple[str, ...]
    as_of: datetime
    source: Literal["live", "cache"]
