"""What the simulated market looks like in Binance's words.

Source: https://developers.binance.com/docs/binance-spot-api-docs/rest-api
"""

import json
import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from mcp_gateway.sandbox.market import DAY, INTERVALS, LISTINGS, Bar, Listing, Market

MINUTE_MS = 60_000
MOST_CANDLES = 1000
MOST_LEVELS = 5000
INVALID_SYMBOL, INVALID_INTERVAL, ILLEGAL_CHARACTERS = -1121, -1120, -1100

Query = Mapping[str, str]


class Refused(Exception):
    """A refusal with a code of Binance's table; its HTTP status is 400."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Binance:
    """Answers of the public market data calls at one moment.

    Args:
        now_ms: Unix time in milliseconds.
    """

    def __init__(self, market: Market, now_ms: int) -> None:
        self._market = market
        self._now_ms = now_ms
        self._now = now_ms / MINUTE_MS
        self._calls: dict[str, Callable[[Query], Any]] = {
            "ping": lambda _: {},
            "time": lambda _: {"serverTime": now_ms},
            "exchangeInfo": self._exchange_info,
            "klines": self._klines,
            "depth": self._depth,
            "ticker/24hr": self._tickers,
            "ticker/price": self._tickers,
            "ticker/bookTicker": self._tickers,
        }

    def answer(self, path: str, query: Query) -> Any:
        """Return the JSON-ready answer of one call.

        Raises:
            Refused: unknown symbol or interval, or a malformed number.
            KeyError: this call is not simulated.
        """
        return self._calls[path](query)

    def price(self, listing: Listing) -> Decimal:
        """Return the last traded price in quote."""
        return self._market.price(listing.symbol, self._now) * listing.tick

    def _exchange_info(self, _: Query) -> dict[str, Any]:
        return {
            "timezone": "UTC",
            "serverTime": self._now_ms,
            "rateLimits": [],
            "exchangeFilters": [],
            "symbols": [_specification(listing) for listing in LISTINGS.values()],
        }

    def _klines(self, query: Query) -> list[list[Any]]:
        listing = listed(query.get("symbol"))
        interval = query.get("interval", "")
        if interval not in INTERVALS:
            raise Refused(INVALID_INTERVAL, "Invalid interval.")
        first = _number(query, "startTime", -math.inf) / MINUTE_MS
        last = _number(query, "endTime", math.inf) / MINUTE_MS
        limit = int(min(max(_number(query, "limit", 500), 1), MOST_CANDLES))
        candles = self._market.candles(
            listing.symbol, interval, self._now, first=first, last=last, limit=limit
        )
        return [_kline(listing, minute, INTERVALS[interval], bar) for minute, bar in candles]

    def _depth(self, query: Query) -> dict[str, Any]:
        listing = listed(query.get("symbol"))
        levels = int(min(max(_number(query, "limit", 100), 1), MOST_LEVELS))
        price, amount = self.price(listing), f"{listing.depth:f}"
        steps = [listing.tick * step for step in range(1, levels + 1)]
        return {
            "lastUpdateId": self._now_ms,
            "bids": [[f"{price - step:f}", amount] for step in steps if price > step],
            "asks": [[f"{price + step:f}", amount] for step in steps],
        }

    def _tickers(self, query: Query) -> Any:
        if "symbol" in query:
            return self._ticker(listed(query["symbol"]))
        try:
            symbols = json.loads(query.get("symbols", json.dumps(list(LISTINGS))))
        except json.JSONDecodeError:
            symbols = None
        if not isinstance(symbols, list):
            raise Refused(ILLEGAL_CHARACTERS, "Illegal characters found in parameter 'symbols'.")
        return [self._ticker(listed(symbol)) for symbol in symbols]

    def _ticker(self, listing: Listing) -> dict[str, Any]:
        """Return the last 24 hours, rich enough for each of the three ticker calls."""
        hours = self._market.candles(
            listing.symbol, "1h", self._now, first=-math.inf, last=math.inf, limit=DAY // 60
        )
        bars = [bar for _, bar in hours]
        last, first = bars[-1].close, bars[0].open
        tick, volume = listing.tick, sum(bar.volume for bar in bars) * listing.lot
        return {
            "symbol": listing.symbol,
            "price": f"{last * tick:f}",
            "lastPrice": f"{last * tick:f}",
            "openPrice": f"{first * tick:f}",
            "prevClosePrice": f"{first * tick:f}",
            "weightedAvgPrice": f"{(first + last) / 2 * float(tick):.8f}",
            "priceChange": f"{(last - first) * tick:f}",
            "priceChangePercent": f"{(last / first - 1) * 100:.3f}",
            "highPrice": f"{max(bar.high for bar in bars) * tick:f}",
            "lowPrice": f"{min(bar.low for bar in bars) * tick:f}",
            "bidPrice": f"{(last - 1) * tick:f}",
            "bidQty": f"{listing.depth:f}",
            "askPrice": f"{(last + 1) * tick:f}",
            "askQty": f"{listing.depth:f}",
            "volume": f"{volume:f}",
            "quoteVolume": f"{volume * last * tick:f}",
            "openTime": hours[0][0] * MINUTE_MS,
            "closeTime": self._now_ms,
        }


def listed(symbol: object) -> Listing:
    """Return the listing of a symbol.

    Raises:
        Refused: there is none.
    """
    listing = LISTINGS.get(symbol) if isinstance(symbol, str) else None
    if listing is None:
        raise Refused(INVALID_SYMBOL, "Invalid symbol.")
    return listing


def _number(query: Query, name: str, default: float) -> float:
    try:
        return int(query[name]) if name in query else default
    except ValueError:
        message = f"Illegal characters found in parameter '{name}'."
        raise Refused(ILLEGAL_CHARACTERS, message) from None


def _kline(listing: Listing, minute: int, minutes: int, bar: Bar) -> list[Any]:
    opened_ms = minute * MINUTE_MS
    prices = [f"{ticks * listing.tick:f}" for ticks in bar[:4]]
    volume = bar.volume * listing.lot
    turnover = f"{volume * bar.close * listing.tick:f}"
    taken = f"{volume / 2:f}"
    closed_ms = opened_ms + minutes * MINUTE_MS - 1
    return [opened_ms, *prices, f"{volume:f}", closed_ms, turnover, 100, taken, turnover, "0"]


def _specification(listing: Listing) -> dict[str, Any]:
    tick, lot = f"{listing.tick:f}", f"{listing.lot:f}"
    return {
        "symbol": listing.symbol,
        "status": "TRADING",
        "baseAsset": listing.base,
        "quoteAsset": listing.quote,
        "baseAssetPrecision": 8,
        "quoteAssetPrecision": 8,
        "quotePrecision": 8,
        "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS_LIMIT"],
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "permissions": ["SPOT"],
        "filters": [
            {
                "filterType": "PRICE_FILTER",
                "minPrice": tick,
                "maxPrice": "1000000",
                "tickSize": tick,
            },
            {"filterType": "LOT_SIZE", "minQty": lot, "maxQty": "90000000", "stepSize": lot},
            {
                "filterType": "NOTIONAL",
                "minNotional": f"{listing.min_notional:f}",
                "maxNotional": "9000000",
            },
        ],
    }
