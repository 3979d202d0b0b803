"""The account over REST: balance, mode, and the caller's limits with what is left of them."""

from typing import Any, Literal

import orjson
from pydantic import Field

from mcp_gateway.domain.positions import Mode
from mcp_gateway.domain.principals import Admission
from mcp_gateway.gateway import Gateway
from mcp_gateway.transports import documents
from mcp_gateway.transports.requests import Answer, Request
from mcp_gateway.transports.rest.queries import NoQuery
from mcp_gateway.transports.rest.shapes import Shape


class Balance(Shape):
    """The bot's wallet in its quote currency; ``simulated`` where no real money is in it."""

    currency: str
    total: float
    free: float
    simulated: bool


class Bot(Shape):
    """The bot as it says it is."""

    name: str
    state: str
    timeframe: str
    market: Literal["spot", "futures"]
    entries_enabled: bool
    open_positions: int
    max_open_positions: int | None


class Left(Shape):
    """One limit of the policy under its rule's name, and what is left of it just now."""

    rule: str
    pair: str | None = None
    limit: str | None = None
    left: str | None = None


class Limits(Shape):
    """What the caller may do, and how much of it is left; notional in quote."""

    largest_notional: float | None
    calls_per_minute: int
    calls_left: dict[str, int]
    policy: str
    allowed: dict[str, Any] = Field(description="What the policy allows; no limit, no entry.")
    rules: list[Left]
    left_unknown: str | None = None


class HaltInForce(Shape):
    """A halt that binds the caller's entries."""

    scope: str
    name: str
    code: str
    at: str


class AccountState(Shape):
    """Balance, mode and limits at one moment."""

    mode: Mode
    declared_mode: Mode
    as_of: str
    balance: Balance | None
    bot: Bot
    limits: Limits
    scopes: list[str]
    halts: list[HaltInForce]


async def present(
    gateway: Gateway, admission: Admission, _request: Request, _query: NoQuery
) -> Answer:
    """Answer GET /api/v1/account, as the tool get_account does."""
    state = await gateway.account(admission)
    calls_left = await gateway.gate.calls_left(admission.principal)
    return Answer(200, orjson.dumps(documents.account(state, calls_left=calls_left)))
