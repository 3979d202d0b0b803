"""Candles and positions over REST."""

from decimal import Decimal
from typing import Any

import orjson

from mcp_gateway.clock import iso
from mcp_gateway.domain.market import CandleSeries
from mcp_gateway.domain.positions import Positions
from mcp_gateway.domain.principals import Admission
from mcp_gateway.gateway import Gateway
from mcp_gateway.transports.requests import Answer, Request
from mcp_gateway.transports.rest.queries import CandlesQuery, PositionsQuery
from mcp_gateway.transports.rest.shapes import OpenPositions, Position

_CANDLE = ("timestamp", "open", "high", "low", "close", "volume")


async def candles(
    gateway: Gateway, admission: Admission, _request: Request, query: CandlesQuery
) -> Answer:
    """Answer GET /api/v1/candles with the latest closed candles, oldest first."""
    series = await gateway.market.candles(
        admission, query.pair, query.timeframe, limit=query.limit, use_cache=query.use_cache
    )
    return Answer(200, orjson.dumps(candles_document(series)))


def candles_document(series: CandleSeries) -> dict[str, Any]:
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
        "source": series.source,
        "resampled_from": series.resampled_from,
    }


async def open_positions(
    gateway: Gateway, admission: Admission, _request: Request, query: PositionsQuery
) -> Answer:
    """Answer GET /api/v1/positions/open."""
    held = await gateway.market.positions(admission, query.pair)
    return Answer(200, _positions(held).model_dump_json().encode())


def _positions(held: Positions) -> OpenPositions:
    return OpenPositions(
        total_count=len(held.positions),
        positions=[
            Position(
                pair=position.pair,
                side=position.side,
                amount=float(position.amount),
                entry_price=number(position.entry_price),
                current_price=number(position.current_price),
                unrealized_pnl=number(position.unrealized_pnl),
                unrealized_pnl_pct=number(position.unrealized_pnl_pct),
                stop_loss=number(position.stop_loss),
                take_profit=number(position.take_profit),
                open_date=iso(position.open_at) if position.open_at else None,
            )
            for position in held.positions
        ],
        as_of=iso(held.as_of),
        mode=held.mode,
        source=held.source,
    )


def number(value: Decimal | None) -> float | None:
    """Return a decimal as the JSON number that the predecessor's callers read."""
    return None if value is None else float(value)
