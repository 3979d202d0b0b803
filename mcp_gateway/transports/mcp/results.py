"""Answers of the gateway as MCP results: one document, as text and as structured content."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from itertools import pairwise
from typing import Any

import orjson
from mcp import MCPError
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError, ToolError
from mcp.types import INTERNAL_ERROR, INVALID_PARAMS, CallToolResult, TextContent
from pydantic import ValidationError

from mcp_gateway.clock import from_unix, iso
from mcp_gateway.domain.invalid import invalid
from mcp_gateway.domain.market import Candle, CandleSeries, timeframe_seconds
from mcp_gateway.errors import GatewayError, InternalError, NotFound
from mcp_gateway.telemetry import logs
from mcp_gateway.transports import documents

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


@contextmanager
def in_our_words(operation: str) -> Iterator[None]:
    """Raise what a handler raised, out of the exception that the SDK has wrapped around it.

    Raises:
        GatewayError: a refusal, or InternalError for what nobody anticipated.
    """
    try:
        yield
    except ResourceNotFoundError:
        raise NotFound(
            "There is no such resource.",
            code="resource_unknown",
            hint="Use an address of resources/list; a pair's slash is written %2F.",
        ) from None
    except (ToolError, ResourceError) as error:
        raise as_gateway_error(error.__cause__, operation) from None


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
        "age_s": documents.age_s(series.as_of, now),
        "source": series.source,
        "truncated": False,
        # A full answer has older candles before it; a short one is all there is.
        "next_before": iso(_opened(rows[0])) if len(rows) == limit else None,
    }
    if series.resampled_from:
        document["resampled_from"] = series.resampled_from
    return document


def _opened(row: Candle) -> datetime:
    return from_unix(row.open_s)
