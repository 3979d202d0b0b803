"""What an agent reads: candles, positions, its account, and what an order would do."""

from datetime import datetime
from decimal import Decimal
from typing import Literal

from pydantic import Field

from mcp_gateway.client.orders import Answer, Mode, Side


class Candle(Answer):
    """One closed candle: prices in quote, volume in base; None where the bot does not know."""

    opened_at: datetime = Field(validation_alias="timestamp")
    open: Decimal | None
    high: Decimal | None
    low: Decimal | None
    close: Decimal | None
    volume: Decimal | None


class Candles(Answer):
    """Closed candles, oldest first; place no order on what is ``stale``."""

    pair: str
    timeframe: str
    candles: tuple[Candle, ...]
    as_of: datetime
    age_s: float
    source: Literal["live", "cache", "stale"]
    resampled_from: str | None

    @property
    def stale(self) -> bool:
        """Whether the bot does not answer and these are old."""
        return self.source == "stale"


class Position(Answer):
    """One open position: amount in base, prices and PnL in quote, ``_pct`` in percent."""

    pair: str
    side: Side
    amount: Decimal
    entry_price: Decimal | None
    current_price: Decimal | None
    unrealized_pnl: Decimal | None
    unrealized_pnl_pct: Decimal | None
    stop_loss: Decimal | None
    take_profit: Decimal | None
    open_date: datetime | None


class Positions(Answer):
    """All open positions of the bot at one moment."""

    positions: tuple[Position, ...]
    as_of: datetime
    age_s: float
    mode: Mode
    source: Literal["live", "cache"]


class Balance(Answer):
    """The bot's wallet in its quote currency."""

    currency: str
    total: Decimal
    free: Decimal
    simulated: bool


class Bot(Answer):
    """The bot as it says it is."""

    name: str
    state: str
    timeframe: str
    market: Literal["spot", "futures"]
    entries_enabled: bool
    open_positions: int
    max_open_positions: int | None


class Left(Answer):
    """One limit under its rule's name, and what is left of it, as texts."""

    rule: str
    pair: str | None = None
    limit: str | None = None
    left: str | None = None


class Limits(Answer):
    """What this caller may do; notional in quote."""

    largest_notional: Decimal | None
    calls_per_minute: int
    calls_left: dict[str, int]
    policy: str
    rules: tuple[Left, ...]


class HaltInForce(Answer):
    """A halt that binds this caller's entries; sells and cancels work."""

    scope: str
    name: str
    code: str
    at: datetime


class Account(Answer):
    """Balance, mode and limits at one moment."""

    mode: Mode
    declared_mode: Mode
    as_of: datetime
    balance: Balance | None
    bot: Bot
    limits: Limits
    scopes: tuple[str, ...]
    halts: tuple[HaltInForce, ...]


class Check(Answer):
    """One rule that failed, or has a limit; the numbers as texts."""

    rule: str
    passed: bool
    message: str | None = None
    limit: str | None = None
    value: str | None = None
    left: str | None = None


class DryRun(Answer):
    """What an order would do now; ``preview_id`` holds create_order to it, once, for a minute."""

    valid: bool
    estimated_cost: Decimal | None
    estimated_fee: Decimal | None
    warnings: tuple[str, ...]
    errors: tuple[str, ...]
    mode: Mode
    price: Decimal | None
    price_age_s: float | None
    expected_amount: Decimal | None = None
    worst_price: Decimal | None = None
    worst_cost: Decimal | None = None
    needs_approval: bool
    policy: str
    preview_id: str | None = None
    expires_at: datetime | None = None
    checks: tuple[Check, ...]
