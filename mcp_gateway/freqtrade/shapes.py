"""What the bot sends beside its trades, as pydantic shapes: extras pass unnoticed."""

from typing import Any

from pydantic import AwareDatetime, BaseModel, ConfigDict

from mcp_gateway.freqtrade.figures import Number, Text


class _Wire(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Config(_Wire):
    dry_run: bool
    state: Text
    trading_mode: Text
    stake_currency: Text
    timeframe: Text
    max_open_trades: Number = None
    force_entry_enable: bool | None = None
    bot_name: Text | None = None
    version: Text | None = None


class Health(_Wire):
    last_process: AwareDatetime | None = None
    bot_startup: AwareDatetime | None = None


class Whitelist(_Wire):
    whitelist: list[Text]


class Blacklist(_Wire):
    blacklist: list[str]
    blacklist_expanded: list[str] | None = None


class Lock(_Wire):
    pair: Text
    side: Text | None = None
    active: bool | None = None


class Locks(_Wire):
    locks: list[Lock]


class Currency(_Wire):
    currency: Text
    free: Number = None
    used: Number = None
    balance: Number = None
    bot_owned: Number = None
    is_bot_managed: bool | None = None

    def is_held(self) -> bool:
        """Tell whether the wallet has any of it, on order or not."""
        return any(part is not None and part > 0 for part in (self.balance, self.free, self.used))


class Balance(_Wire):
    currencies: list[Currency]
    total: Number
    stake: Text
    note: Text | None = None


class Candles(_Wire):
    columns: list[str]
    data: list[list[Any]]


class Error(_Wire):
    error: str


class Turned(_Wire):
    detail: str | list[Any]


class Detail(_Wire):
    detail: str


class Result(_Wire):
    result: str


class Entered(_Wire):
    status: Text | None = None
