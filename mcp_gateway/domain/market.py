"""Pairs, timeframes, candles, and what a market takes."""

import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Final, Literal, NamedTuple

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
LONGEST_STEP_S = TIMEFRAMES["1d"]
# The form of a timeframe; which ones there are, and which the bot serves, is asked later.
TimeframeName = Annotated[str, Field(strict=True, pattern=r"^[0-9]{1,2}[mhd]$", examples=["1h"])]
CANDLE_LIMIT = 1000  # Freqtrade keeps about a thousand analysed candles

# The most by which the bot multiplies an exchange's minimum before it compares a stake with it:
# reserves for a later stop loss and for rounding. Its stop loss and its amount_reserve_percent
# decide how much of it is taken, and its API does not tell both.
# Source: Freqtrade's Exchange.get_min_pair_stake_amount; its schema ends the reserve at 0.5.
LARGEST_RESERVE: Final = Decimal("1.5")

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


@dataclass(frozen=True, slots=True)
class MarketRules:
    """What an exchange lets one order of a pair be, as its own page tells it; None: not known.

    Args:
        lot_step: amounts are whole multiples of it (base).
        minimum_stake: the smallest value of one order, without any reserve (quote).
        minimum_amount: the smallest amount of one order (base); None: one lot step.
    """

    lot_step: Decimal | None = None
    minimum_stake: Decimal | None = None
    minimum_amount: Decimal | None = None

    def filled_from(self, wider: "MarketRules") -> "MarketRules":
        """Return these rules, with those of a wider set where one is not known here."""
        return MarketRules(
            self.lot_step if self.lot_step is not None else wider.lot_step,
            self.minimum_stake if self.minimum_stake is not None else wider.minimum_stake,
            self.minimum_amount if self.minimum_amount is not None else wider.minimum_amount,
        )

    def smallest_safe_stake(self, price: Decimal) -> Decimal | None:
        """Return the stake from which on the bot buys what it was told to; None: not known.

        Below it the bot may raise a stake in silence, by up to 30 %, or refuse the entry.

        Args:
            price: what the bot may size the order by (quote per base): of a limit order its
                price, of a market order the highest that its order book may show.

        Returns:
            Quote units; exact, so a float of it may be off in its last digit.

        Source: Freqtrade's Wallets.validate_stake_amount.
        """
        amount = self.minimum_amount if self.minimum_amount is not None else self.lot_step
        if self.minimum_stake is None or amount is None:
            return None
        return LARGEST_RESERVE * max(self.minimum_stake, amount * price)


NOTHING_KNOWN = MarketRules()
