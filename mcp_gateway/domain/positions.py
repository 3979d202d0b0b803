"""What is held, what is owned, and the state of the bot that holds it."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

Mode = Literal["dry-run", "live"]


@dataclass(frozen=True, slots=True)
class Position:
    """One open position; amounts in base, prices in quote, PnL in quote and percent."""

    trade_id: int
    pair: str
    side: Literal["buy", "sell"]
    amount: Decimal
    entry_price: Decimal | None
    current_price: Decimal | None
    unrealized_pnl: Decimal | None
    unrealized_pnl_pct: Decimal | None
    stop_loss: Decimal | None
    take_profit: Decimal | None
    open_at: datetime | None
    tag: str | None


@dataclass(frozen=True, slots=True)
class Positions:
    """All open positions at one moment, with the mode of the bot that holds them."""

    positions: tuple[Position, ...]
    as_of: datetime
    mode: Mode
    source: Literal["live", "cache"]


@dataclass(frozen=True, slots=True)
class BotState:
    """What the bot says of itself (Freqtrade: GET /show_config).

    ``running`` is the bot's own word; ``spot`` is false on a futures bot, which is served
    reads only.
    """

    mode: Mode
    state: str
    spot: bool
    quote_currency: str
    timeframe: str
    max_open_positions: int | None
    entries_enabled: bool
    name: str
    version: str


@dataclass(frozen=True, slots=True)
class Balance:
    """The wallet in the bot's quote currency: all of it, and what is free to spend."""

    currency: str
    total: Decimal
    free: Decimal
    simulated: bool


@dataclass(frozen=True, slots=True)
class TradeOrder:
    """One exchange order inside a trade, as the bot records it.

    ``tag`` is the order's own tag (the trade's may be another's); amounts in base.
    """

    order_id: str
    tag: str | None
    side: Literal["buy", "sell"]
    order_type: str
    status: str
    is_open: bool
    amount: Decimal
    filled: Decimal
    average_price: Decimal | None
    price: Decimal | None
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Fee:
    """What the exchange took for one order, in the currency in which it took it."""

    cost: Decimal
    currency: str


@dataclass(frozen=True, slots=True)
class Trade:
    """The bot's record of one position from its first order to its last.

    ``fee_rate`` is the share of the notional that an entry cost (0.001 = 0.1 %), an estimate
    until ``entry_fee`` is there; ``exit_fee_rate`` is the same of an exit. The two fees are
    those of the first filled order of each side, and of no later one; None until then, and
    where the exchange told none. ``lot_step`` is the smallest amount the market knows, None
    where the bot told none. ``profit`` (quote) is what the trade has brought in all, fees
    included: its open part at the current rate. Of a trade that is not ``readable`` the bot tells nonsense: it is
    there, and neither numbers nor orders are known.
    """

    trade_id: int
    pair: str
    is_open: bool
    is_short: bool
    tag: str | None
    amount: Decimal
    open_rate: Decimal | None
    current_rate: Decimal | None
    fee_rate: Decimal | None
    lot_step: Decimal | None
    opened_at: datetime | None
    orders: tuple[TradeOrder, ...]
    entry_fee: Fee | None = None
    exit_fee_rate: Decimal | None = None
    exit_fee: Fee | None = None
    profit: Decimal | None = None
    closed_at: datetime | None = None
    readable: bool = True


@dataclass(frozen=True, slots=True)
class BotHealth:
    """When the bot last ran its loop, when it was started, and when it said so: by its own clock.

    Source: Freqtrade GET /health.
    """

    last_process_at: datetime | None
    started_at: datetime | None
    told_at: datetime | None = None

    @property
    def longest_uptime_s(self) -> float | None:
        """How long the bot's process runs at most, in seconds; None where it can't be told."""
        if self.started_at is None or self.told_at is None:
            return None
        # What it says of the time is cut to the second.
        return (self.told_at - self.started_at).total_seconds() + 1
