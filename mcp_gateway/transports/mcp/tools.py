"""The seven tools: what a model reads of them, and the calls behind them.

Nothing here checks who may call: the gated server has asked the gate before an argument
is even looked at, and every service wants the admission.
"""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Final
from uuid import UUID

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult, InputRequiredResult, ToolAnnotations
from pydantic import BeforeValidator, ConfigDict, Field, WithJsonSchema

from mcp_gateway.domain.market import CANDLE_LIMIT, TimeframeName
from mcp_gateway.domain.orders import (
    AgentName,
    OrderRequest,
    OrderType,
    PairName,
    PositiveDecimal,
    PreviewId,
    Side,
)
from mcp_gateway.gateway import Gateway
from mcp_gateway.transports import documents
from mcp_gateway.transports.admission import current_admission
from mcp_gateway.transports.mcp import results, schemas
from mcp_gateway.transports.mcp.elicitation import ClientApproval

DEFAULT_CANDLES: Final = 100
_READ: Final = ToolAnnotations(read_only_hint=True, open_world_hint=True)
_ORDER: Final = ToolAnnotations(
    read_only_hint=False, destructive_hint=True, idempotent_hint=True, open_world_hint=True
)
_EPOCH_YEAR, _FAR_YEAR = 2009, 2200


def _moment(value: Any) -> Any:
    """Read ISO 8601 or Unix seconds; a moment without a zone is UTC."""
    if isinstance(value, bool):
        raise ValueError("an ISO 8601 time or Unix seconds")
    if isinstance(value, str):
        try:
            at = datetime.fromisoformat(value)
        except ValueError:
            raise ValueError("an ISO 8601 time or Unix seconds") from None
        value = at if at.tzinfo else at.replace(tzinfo=UTC)
    elif isinstance(value, int | float):
        try:
            value = datetime.fromtimestamp(value, UTC)
        except (ValueError, OverflowError, OSError):
            raise ValueError("an ISO 8601 time or Unix seconds") from None
    if isinstance(value, datetime) and not _EPOCH_YEAR <= value.year <= _FAR_YEAR:
        raise ValueError("a time of this century")
    return value


Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "integer"}]}),
]
Limit = Annotated[int, Field(strict=True, ge=1, le=CANDLE_LIMIT)]
Flag = Annotated[bool, Field(strict=True)]


class TradingTools:
    """The tools' handlers over one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._at_client = ClientApproval(gateway)

    async def get_candles(
        self,
        pair: PairName,
        timeframe: TimeframeName,
        limit: Limit = DEFAULT_CANDLES,
        before: Moment | None = None,
        use_cache: Flag = True,
    ) -> CallToolResult:
        series = await self._gateway.market.candles(
            current_admission(), pair, timeframe, limit=limit, before=before, use_cache=use_cache
        )
        return results.told(results.candles(series, now=self._gateway.clock.now(), limit=limit))

    async def get_open_positions(self, pair: PairName | None = None) -> CallToolResult:
        held = await self._gateway.market.positions(current_admission(), pair)
        return results.told(documents.positions(held, now=self._gateway.clock.now()))

    async def dry_run_order(
        self,
        request_id: UUID,
        pair: PairName,
        side: Side,
        amount: PositiveDecimal,
        order_type: OrderType,
        price: PositiveDecimal | None = None,
        agent: AgentName | None = None,
    ) -> CallToolResult:
        order = OrderRequest(
            request_id=request_id, pair=pair, side=side, amount=amount,
            order_type=order_type, price=price, agent=agent,
        )  # fmt: skip
        orders = await self._gateway.orders()
        return results.told(documents.preview(await orders.preview(current_admission(), order)))

    async def create_order(
        self,
        request_id: UUID,
        pair: PairName,
        side: Side,
        amount: PositiveDecimal,
        order_type: OrderType,
        price: PositiveDecimal | None = None,
        agent: AgentName | None = None,
        preview_id: PreviewId | None = None,
        *,
        context: Context[Any, Any],
    ) -> CallToolResult | InputRequiredResult:
        order = OrderRequest(
            request_id=request_id, pair=pair, side=side, amount=amount,
            order_type=order_type, price=price, agent=agent,
        )  # fmt: skip
        orders, admission = await self._gateway.orders(), current_admission()
        created = await orders.create(admission, order, preview_id)
        if created.answer["outcome"] == "pending_approval":
            decided = await self._at_client.asked(context, admission, request_id)
            if isinstance(decided, InputRequiredResult):
                return decided
            if decided:
                created = await orders.create(admission, order, preview_id)
        return results.told(created.answer, replayed=created.replayed)

    async def get_order(self, request_id: UUID) -> CallToolResult:
        orders = await self._gateway.orders()
        return results.told(await orders.get(current_admission(), request_id))

    async def cancel_order(self, request_id: UUID) -> CallToolResult:
        orders = await self._gateway.orders()
        return results.told(await orders.cancel(current_admission(), request_id))

    async def get_account(self) -> CallToolResult:
        return results.told(await account(self._gateway))


async def account(gateway: Gateway) -> dict[str, Any]:
    """Return what the bot and the gate tell the present caller of its account."""
    admission = current_admission()
    state = await gateway.account(admission)
    calls_left = await gateway.gate.calls_left(admission.principal)
    return documents.account(state, calls_left=calls_left)


def build_tools(gateway: Gateway) -> list[Tool]:
    """Return the tools as the SDK registers them, unknown arguments refused."""
    call = TradingTools(gateway)
    return [
        _tool(
            call.get_candles, "Candles", _READ, schemas.CANDLES,
            "Closed OHLCV candles of a pair, oldest first; prices in quote, volume in base. "
            "Row n opened at start + n*step_s (UTC). Page back with before = next_before. "
            "source 'stale' means the bot is down: do not trade on it. "
            "timeframe: 5m 15m 1h 4h 1d.",
        ),
        _tool(
            call.get_open_positions, "Open positions", _READ, schemas.POSITIONS,
            "Open positions of the bot: amount in base, prices and unrealized_pnl in quote, "
            "_pct in percent. For balance and limits use get_account.",
        ),
        _tool(
            call.dry_run_order, "Check an order", _READ, schemas.PREVIEW,
            "Tells whether create_order would be let through now, with cost and fee in quote "
            "and each check. Sends nothing and uses up no request_id. preview_id: give it to "
            "create_order within a minute; once, for this very order.",
        ),
        _tool(
            call.create_order, "Place an order", _ORDER, schemas.RECEIPT,
            "Places an order; amount in base, price in quote per base (limit only). buy opens; "
            "sell closes what you bought here, wholly or partly. request_id: a new UUID for "
            "each order; the same one again never trades twice. On outcome_unknown ask "
            "get_order, do not resend under another id. pending_approval: a person is asked; "
            "get_order tells.",
        ),
        _tool(
            call.get_order, "Order state", _READ, schemas.ORDER,
            "Where your order stands now, by request_id, and its history.",
        ),
        _tool(
            call.cancel_order, "Cancel an order", _ORDER, schemas.ORDER,
            "Cancels your limit order that still rests, by request_id; answers like get_order. "
            "What is filled already stays. order_not_resting: it had ended before. On "
            "outcome_unknown ask get_order.",
        ),
        _tool(
            call.get_account, "Account and limits", _READ, schemas.ACCOUNT,
            "Balance in quote, mode (dry-run or live), bot state, scopes, halts, and your limits "
            "with what is left of each: no need to probe.",
        ),
    ]  # fmt: skip


def _tool(
    handler: Callable[..., Awaitable[CallToolResult | InputRequiredResult]],
    title: str,
    annotations: ToolAnnotations,
    output: dict[str, Any],
    description: str,
) -> Tool:
    """Return a tool that takes its arguments as they are sent, and no unknown ones."""
    tool = Tool.from_function(
        handler, title=title, description=description, annotations=annotations
    )
    base = tool.fn_metadata.arg_model
    strict: Any = type(
        base.__name__,
        (base,),
        {
            "model_config": ConfigDict(extra="forbid", arbitrary_types_allowed=True),
            "__module__": base.__module__,
        },
    )
    metadata = schemas.AsSent(
        **dict(tool.fn_metadata) | {"arg_model": strict, "output_schema": output}
    )
    schema = _short(strict.model_json_schema(by_alias=True))
    return tool.model_copy(update={"fn_metadata": metadata, "parameters": schema})


def _short(schema: Any) -> Any:
    """Leave out what says nothing to a model: generated titles, and null for optional ones."""
    if isinstance(schema, list):
        return [_short(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {k: _short(v) for k, v in schema.items() if k != "title" or not isinstance(v, str)}
    if kept.get("default", ...) is None:
        del kept["default"]
        kept["anyOf"] = [part for part in kept["anyOf"] if part != {"type": "null"}]
        if len(kept["anyOf"]) == 1:
            kept |= kept.pop("anyOf")[0]
    return kept
