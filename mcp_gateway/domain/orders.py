"""Orders: what an agent asks for, what became of it, and the words for both."""

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime
from decimal import Context, Decimal
from enum import StrEnum
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    WithJsonSchema,
    model_validator,
)

from mcp_gateway.domain.market import PAIR_PATTERN
from mcp_gateway.domain.positions import Mode

Side = Literal["buy", "sell"]
OrderType = Literal["market", "limit"]

# 1e999 is a finite decimal: without a bound Freqtrade would be asked for the whole wallet.
LARGEST_NUMBER = Decimal(10) ** 15
# A float such as 0.1 + 0.2 prints seventeen decimals; no exchange has a finer step.
MOST_DECIMALS = 18
SMALLEST_NUMBER = Decimal(1).scaleb(-MOST_DECIMALS)
# Plainer than what Decimal reads: no 1_000, no digits of other scripts, no Infinity. It lets
# NaN and 1e999 through to the bounds, which refuse them in their own words.
_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?|[nN][aA][nN]", re.ASCII)


def _plain_number(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("a number or a decimal string, not a boolean")
    if isinstance(value, str) and not _DECIMAL.fullmatch(value):
        raise ValueError("a number or a decimal string such as 0.001")
    return value


def _normal(number: Decimal) -> Decimal:
    """Strip trailing zeros, exactly: the default context would round at 28 digits."""
    return number.normalize(Context(prec=max(1, len(number.as_tuple().digits))))


def _bounded(value: Decimal) -> Decimal:
    if not value.is_finite() or value <= 0 or value > LARGEST_NUMBER:
        raise ValueError(f"a number above 0 and at most {LARGEST_NUMBER:f}")
    if value < SMALLEST_NUMBER:  # said first: to write out 1e-99999999 takes a hundred megabytes
        raise ValueError(f"a number with at most {MOST_DECIMALS} decimals")
    exponent = _normal(value).as_tuple().exponent
    if isinstance(exponent, int) and -exponent > MOST_DECIMALS:
        raise ValueError(f"a number with at most {MOST_DECIMALS} decimals")
    return value


PositiveDecimal = Annotated[
    Decimal,
    BeforeValidator(_plain_number),
    AfterValidator(_bounded),
    WithJsonSchema({"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "string"}]}),
]
PairName = Annotated[str, Field(strict=True, pattern=PAIR_PATTERN)]
AgentName = Annotated[str, Field(strict=True, min_length=1, max_length=128)]
PreviewId = Annotated[str, Field(strict=True, min_length=1, max_length=512)]


def canonical(number: Decimal) -> str:
    """Write a decimal the one way that fingerprints and the ledger know: ``0.001``, ``50000``."""
    text = format(_normal(number), "f")
    return "0" if text in {"-0", "0"} else text


class OrderRequest(BaseModel):
    """What an agent asks for: amount in base, price in quote per base (limit orders only).

    ``request_id`` is the idempotency key; ``agent`` is the token's subject where absent.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    request_id: UUID
    agent: AgentName | None = None
    pair: PairName
    side: Side
    amount: PositiveDecimal
    order_type: OrderType
    price: PositiveDecimal | None = None

    @model_validator(mode="after")
    def _price_belongs_to_limit_orders(self) -> Self:
        # Freqtrade sizes a market order wrongly when a price comes with it.
        if (self.order_type == "limit") != (self.price is not None):
            raise ValueError("price: required for a limit order, not allowed for a market order")
        return self


def fingerprint(order: OrderRequest, agent: str) -> str:
    """Digest what makes two orders the same order; the request_id is no part of it."""
    price = None if order.price is None else canonical(order.price)
    parts = [agent, order.pair, order.side, canonical(order.amount), order.order_type, price]
    return hashlib.sha256(json.dumps(parts, separators=(",", ":")).encode()).hexdigest()


class State(StrEnum):
    """Where an order stands; ``orders.protocol`` alone says how it moves on."""

    RECEIVED = "received"
    PENDING_APPROVAL = "pending_approval"
    APPROVED = "approved"
    DENIED = "denied"
    RESERVED = "reserved"
    SENT = "sent"
    PLACED = "placed"
    REJECTED = "rejected"
    UNKNOWN = "unknown"
    NEEDS_REVIEW = "needs_review"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELLED = "cancelled"
    VANISHED = "vanished"


Outcome = Literal["placed", "denied", "rejected", "unknown", "pending_approval"]


@dataclass(frozen=True, slots=True)
class OrderRecord:
    """One row of the ledger: the order, where it stands and what the bot told of it.

    ``carrier`` is the process that took it. ``amount`` is what was asked for (base);
    ``actual_amount`` what the bot made of it and ``filled_amount`` what has been executed. ``reserved_quote`` is what an entry may cost, set
    aside while it may be on its way. ``answer`` is the receipt of a placed order, word
    for word, which every repetition of the request gets again; of a denied one it is the rule
    with its limit and the order's value. ``preview_id`` names the dry run that it was seen in.
    ``approved_quote`` is what it may cost by a person's word (as long as it is pending: what that
    person is asked for), and ``expires_at`` how long that word may be waited for and acted on.
    """

    order_id: str
    issuer: str
    subject: str
    request_id: UUID
    agent: str
    fingerprint: str
    tag: str
    carrier: str
    bot: str
    pair: str
    side: Side
    amount: Decimal
    order_type: OrderType
    price: Decimal | None
    mode: Mode
    state: State
    created_at: datetime
    updated_at: datetime
    sent_at: datetime | None = None
    reserved_quote: Decimal | None = None
    quote_sent: Decimal | None = None
    trade_id: int | None = None
    bot_order_id: str | None = None
    actual_amount: Decimal | None = None
    filled_amount: Decimal = Decimal(0)
    average_price: Decimal | None = None
    fee: Decimal | None = None
    code: str | None = None
    message: str | None = None
    answer: dict[str, Any] | None = None
    preview_id: str | None = None
    approved_quote: Decimal | None = None
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One step of an order's life: the state it entered, when, and why."""

    state: State
    at: datetime
    code: str | None
    detail: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Check:
    """One pre-trade rule, evaluated: what it allows, what the order has, what is left then."""

    rule: str
    passed: bool
    message: str
    limit: str | None = None
    value: str | None = None
    left: str | None = None


@dataclass(frozen=True, slots=True)
class Preview:
    """What a dry run tells: estimates in quote, the price used and how old it is.

    Args:
        expected_amount: what the bot makes of the amount, in whole lot steps (base).
        worst_price: the price that it may be carried out at, at worst; of a market order an
            estimate by the collar, which nobody can promise.
        worst_cost: stake and fee of an entry at that price.
        policy: the hash of the policy that it was checked by.
        needs_approval: the order is valid, and a person will be asked.
        preview_id: lets ``create_order`` be held to what was seen here, once; of a valid one.
    """

    valid: bool
    estimated_cost: Decimal | None
    estimated_fee: Decimal | None
    price: Decimal | None
    price_age_s: float | None
    mode: Mode
    checks: tuple[Check, ...]
    warnings: tuple[str, ...]
    errors: tuple[str, ...]
    expected_amount: Decimal | None = None
    worst_price: Decimal | None = None
    worst_cost: Decimal | None = None
    policy: str = ""
    needs_approval: bool = False
    preview_id: str | None = None
    expires_at: datetime | None = None
