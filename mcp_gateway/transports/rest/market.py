"""Candles and positions over REST."""

from datetime import datetime
from typing import Any

import orjson

from mcp_gateway.clock import iso
from mcp_gateway.domain.market import CandleSeries
from mcp_gateway.domain.principals import Admission
from mcp_gateway.gateway import Gateway
from mcp_gateway.transports import documents
from mcp_gateway.transports.requests import Answer, Request
from mcp_gateway.transports.rest.queries import CandlesQuery, PositionsQuery

_CANDLE = ("timestamp", "open", "high", "low", "close", "volume")


async def candles(
    gateway: Gateway, admission: Admission, _request: Request, query: CandlesQuery
) -> Answer:
    """Answer GET /api/v1/candles with the latest closed candles, oldest first."""
    series = await gateway.market.candles(
        admission, query.pair, query.timeframe, limit=query.limit, use_cache=query.use_cache
    )
    return Answer(200, orjson.dumps(candles_document(series, now=gateway.clock.now())))


def candles_document(series: CandleSeries, *, now: datetime) -> dict[str, Any]:
    """Return the shape ``Candles`` as a plain document.

    A thousand candles pass here unchecked, for a model of each would cost milliseconds; a
    test holds the document against the shape.
    """
    return {
        "pair": series.pair,
        "timeframe": series.timeframe,
        "count": len(series.candles),
        "candles": [dict(zip(_CANDLE, candle, strict=True)) for candle in series.candles],
        "as_of": iso(series.as_of),
        "age_s": documents.age_s(series.as_of, now),
        "source": series.source,
        "resampled_from": series.resampled_from,
    }


async def open_positions(
    gateway: Gateway, admission: Admission, _request: Request, query: PositionsQuery
) -> Answer:
    """Answer GET /api/v1/positions/open."""
    held = await gateway.market.positions(admission, query.pair)
    document = documents.positions(held, now=gateway.clock.now())
    return Answer(200, orjson.dumps(document))
