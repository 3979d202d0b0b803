"""Answers of the gateway as MCP results: one document, as text and as structured content."""

from datetime import datetime
from decimal import Decimal
from itertools import pairwise
from typing import Any

import orjson
from mcp import MCPError
from mcp.types import INTERNAL_ERROR, INVALID_PARAMS, CallToolResult, TextContent
from pydantic import ValidationError

from mcp_gateway.clock import from_unix, iso
from mcp_gateway.domain.market import Candle, CandleSeries, timeframe_seconds
from mcp_gateway.domain.orders import Preview
from mcp_gateway.domain.positions import Position, Positions
from mcp_gateway.errors import GatewayError, InternalError
from mcp_gateway.orders.account import Account
from mcp_gateway.telemetry import logs
from mcp_gateway.transports.invalid import invalid

REPLAYED = "mcp-gateway/replayed"
_COLUMNS = ("open", "high", "low", "close", "volume")
_log = logs.get(__name__)


def text(document: Any) -> str:
    """Write a document as compact JSON."""
    return orjson.dumps(document).decode()


def told(document: dict[str, Any], *, replayed: bool = False) -> CallToolResult:
    """Return a success: the same JSON as text and as structured content."""
    return CallToolResult(
        content=[TextContent(type="text", text=text(document))],
        structured_content=document,
        meta={REPLAYED: True} if replayed else None,
    )


def refused(error: GatewayError) -> CallToolResult:
    """Return a failure that an agent can act on: code, message, retryable, hint."""
    result = told(error.public(), replayed=error.replayed)
    return result.model_copy(update={"is_error": True})


def as_gateway_error(error: BaseException | None, operation: str) -> GatewayError:
    """Map whatever a handler raised; what nobody anticipated is logged and told in one word."""
    if isinstance(error, GatewayError):
        return error
    if isinstance(error, ValidationError):
        return invalid(error)
    _log.error("An operation crashed", operation=operation, exc_info=error)
    return InternalError("The gateway failed; the operator has the details.")


def protocol_error(error: GatewayError) -> MCPError:
    """Return a refusal as a JSON-RPC error, for what has no result that could carry it."""
    code = INTERNAL_ERROR if isinstance(error, InternalError) else INVALID_PARAMS
    return MCPError(code, error.message, error.public())


def candles(series: CandleSeries, *, now: datetime, limit: int) -> dict[str, Any]:
    """Return candles as columns and rows, oldest first.

    Row n opened at ``start`` + n * ``step_s``; where candles are missing in between, a
    ``timestamp`` column (Unix seconds) says when each one opened.
    """
    rows = series.candles
    step_s = timeframe_seconds(series.timeframe)
    gapless = all(late.open_s - early.open_s == step_s for early, late in pairwise(rows))
    columns = list(_COLUMNS) if gapless else ["timestamp", *_COLUMNS]
    document: dict[str, Any] = {
        "pair": series.pair,
        "timeframe": series.timeframe,
        "count": len(rows),
        "start": iso(_opened(rows[0])) if rows else None,
        "step_s": step_s,
        "columns": columns,
        "rows": [list(row[1:] if gapless else row) for row in rows],
        "as_of": iso(series.as_of),
        "age_s": round(max(0.0, (now - series.as_of).total_seconds()), 1),
        "source": series.source,
        "truncated": False,
        # A full answer has older candles before it; a short one is all there is.
        "next_before": iso(_opened(rows[0])) if len(rows) == limit else None,
    }
    if series.resampled_from:
        document["resampled_from"] = series.resampled_from
    return document


def positions(held: Positions) -> dict[str, Any]:
    """Return open positions in the predecessor's fields; amounts base, prices and PnL quote."""
    return {
        "total_count": len(held.positions),
        "positions": [position(one) for one in held.positions],
        "as_of": iso(held.as_of),
        "mode": held.mode,
    }


def position(one: Position) -> dict[str, Any]:
    """Return one position in the predecessor's fields."""
    return {
        "pair": one.pair,
        "side": one.side,
        "amount": number(one.amount),
        "entry_price": number(one.entry_price),
        "current_price": number(one.current_price),
        "unrealized_pnl": number(one.unrealized_pnl),
        "unrealized_pnl_pct": number(one.unrealized_pnl_pct),
        "stop_loss": number(one.stop_loss),
        "take_profit": number(one.take_profit),
        "open_date": None if one.open_at is None else iso(one.open_at),
    }


def preview(dry_run: Preview) -> dict[str, Any]:
    """Return a dry run: the predecessor's fields, then the price used and every check."""
    return {
        "valid": dry_run.valid,
        "estimated_cost": number(dry_run.estimated_cost),
        "estimated_fee": number(dry_run.estimated_fee),
        "warnings": list(dry_run.warnings),
        "errors": list(dry_run.errors),
        "mode": dry_run.mode,
        "price": number(dry_run.price),
        "price_age_s": None if dry_run.price_age_s is None else round(dry_run.price_age_s, 1),
        "checks": [
            {"rule": c.rule, "passed": c.passed, "limit": c.limit, "value": c.value}
            for c in dry_run.checks
        ],
    }


def account(state: Account) -> dict[str, Any]:
    """Return balance, mode, bot state and this caller's limits; amounts in quote."""
    balance = state.balance
    return {
        "mode": state.mode,
        "balance": None
        if balance is None
        else {
            "currency": balance.currency,
            "total": number(balance.total),
            "free": number(balance.free),
            "simulated": balance.simulated,
        },
        "bot": {
            "name": state.bot.name,
            "state": state.bot.state,
            "timeframe": state.bot.timeframe,
            "market": "spot" if state.bot.spot else "futures",
            "entries_enabled": state.bot.entries_enabled,
            "open_positions": state.open_positions,
            "max_open_positions": state.bot.max_open_positions,
        },
        "limits": {
            "largest_notional": number(state.largest_notional),
            "calls_per_minute": state.calls_per_minute,
        },
        "scopes": list(state.scopes),
        "halts": [],
    }


def number(value: Decimal | None) -> float | None:
    """Write a decimal as a JSON number."""
    return None if value is None else float(value)


def _opened(row: Candle) -> datetime:
    return from_unix(row.open_s)
