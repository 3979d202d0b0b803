"""The shapes of the REST answers: the predecessor's fields first, in its order, then ours."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mcp_gateway.domain.market import Source
from mcp_gateway.domain.orders import OrderRequest, PreviewId
from mcp_gateway.domain.positions import Mode
from mcp_gateway.orders.book.actor import LONGEST_REASON

LONGEST_NAME = 128  # of a client


class Shape(BaseModel):
    """Base of every answer; nothing undocumented gets out."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Candle(Shape):
    """One closed candle; ``timestamp`` is the Unix second at which it opened."""

    timestamp: int
    open: float | None
    high: float | None
    low: float | None
    close: float | None
    volume: float | None


class Candles(Shape):
    """Closed candles, oldest first; ``as_of`` is when the bot was asked, ``age_s`` ago."""

    pair: str
    timeframe: str
    count: int
    candles: list[Candle]
    as_of: str
    age_s: float
    source: Source
    resampled_from: str | None


class Position(Shape):
    """One open position; amounts in base, prices and PnL in quote, ``_pct`` in percent."""

    pair: str
    side: Literal["buy", "sell"]
    amount: float
    entry_price: float | None
    current_price: float | None
    unrealized_pnl: float | None
    unrealized_pnl_pct: float | None
    stop_loss: float | None
    take_profit: float | None
    open_date: str | None


class OpenPositions(Shape):
    """All open positions at one moment."""

    total_count: int
    positions: list[Position]
    as_of: str
    age_s: float
    mode: Mode
    source: Literal["live", "cache"]


class NewOrder(OrderRequest):
    """An order to be placed, and the dry run that it was seen in."""

    preview_id: PreviewId | None = None


class Check(Shape):
    """One pre-trade rule as it came out; limit, value and what is left then, as texts.

    ``message`` is told of a failed one; what a rule has none of is left out.
    """

    rule: str
    passed: bool
    message: str | None = None
    limit: str | None = None
    value: str | None = None
    left: str | None = None


class DryRun(Shape):
    """What the order would cost (quote), and whether it would be taken now.

    ``also_passed`` names the checks that have no limit. ``preview_id`` comes with a valid one.
    """

    valid: bool
    estimated_cost: float | None
    estimated_fee: float | None
    warnings: list[str]
    errors: list[str]
    mode: Mode
    price: float | None
    price_age_s: float | None
    expected_amount: float | None = None
    worst_price: float | None = None
    worst_cost: float | None = None
    needs_approval: bool
    policy: str
    preview_id: str | None = None
    expires_at: str | None = None
    checks: list[Check]
    also_passed: list[str]


class Order(Shape):
    """The receipt of a placed order; amounts in base, prices and fee in quote."""

    order_id: str
    request_id: str
    status: str
    pair: str
    side: Literal["buy", "sell"]
    amount: float
    filled_amount: float
    timestamp: str
    message: str
    outcome: str
    mode: Mode
    agent: str
    requested_amount: float
    average_price: float | None
    fee: float | None
    trade_id: int | None
    bot_order_id: str | None
    expires_at: str | None = Field(None, description="Of one that waits: until when.")
    question: str | None = Field(None, description="Of one that waits: what a person is asked.")
    hint: str | None = None


class Step(Shape):
    """One step of an order's life; where it tells a fill, how much of the base and at what."""

    state: str
    at: str
    code: str | None
    filled_amount: float | None = None
    average_price: float | None = None


class OrderState(Order):
    """Where an order stands now, and how it came there."""

    order_type: Literal["market", "limit"]
    price: float | None
    code: str | None
    final: bool
    history: list[Step]


class Waiting(Shape):
    """An order that waits for a person; amount in base, money in quote, ``text`` as is shown."""

    order_id: str
    request_id: str
    state: str
    issuer: str
    subject: str
    agent: str
    pair: str
    side: Literal["buy", "sell"]
    amount: float
    order_type: Literal["market", "limit"]
    price: float | None
    worst_price: float | None
    worst_cost: float | None
    mode: Mode
    created_at: str
    expires_at: str | None
    text: str


class Pending(Shape):
    """What waits for a person, oldest first."""

    total_count: int
    approvals: list[Waiting]


class Approval(Shape):
    """A person's yes; the reason is for the records."""

    reason: str | None = Field(None, max_length=LONGEST_REASON)


class Decline(Shape):
    """A person's no; the reason is for the records, the agent is not told it."""

    reason: str = Field(min_length=1, max_length=LONGEST_REASON)


class Login(Shape):
    """A client's name and password."""

    username: str = Field(max_length=LONGEST_NAME)
    password: str


class Token(Shape):
    """A bearer token (RFC 6749 section 5.1)."""

    access_token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the protocol's word, no secret
    expires_in: int
    scope: str


class Health(Shape):
    """The whole and its parts; a part inside the process says ``embedded``."""

    status: Literal["healthy", "degraded", "unhealthy"]
    timestamp: str
    version: str
    services: dict[str, str]


class Probe(Shape):
    """What an orchestrator wants to know."""

    status: str


class ResourceMetadata(Shape):
    """Where tokens for this server come from (RFC 9728 section 2)."""

    resource: str
    authorization_servers: list[str] | None = None
    scopes_supported: list[str]
    bearer_methods_supported: list[str]
    resource_name: str


class ServerMetadata(Shape):
    """What the gateway can do as an authorization server (RFC 8414 section 2).

    There is no authorization grant: the endpoint is told because clients insist on one.
    """

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    scopes_supported: list[str]
    response_types_supported: list[str]
    grant_types_supported: list[str]
    token_endpoint_auth_methods_supported: list[str]


class Problem(BaseModel):
    """A refusal (RFC 9457); ``code`` is stable, ``hint`` is the next safe step."""

    # A refusal may tell more: field, rule, limit, value, scope, outcome, order_id, …
    model_config = ConfigDict(extra="allow")

    type: str
    title: str
    status: int
    detail: str
    code: str
    retryable: bool
    hint: str
    retry_after_s: float | None = Field(None, description="Seconds to wait before trying again.")
    call_id: str


class Document(BaseModel):
    """This document (OpenAPI 3.1)."""

    model_config = ConfigDict(extra="allow")

    openapi: str
    info: dict[str, Any]
    paths: dict[str, Any]
