"""The bot's JSON, read into values of ours.

What cannot be read is nonsense, told apart from a bot that is down. The bot's floats become
the decimals that they print as.
"""

import math
from datetime import datetime
from typing import Any, TypeVar

from pydantic import BaseModel
from pydantic import ValidationError as Unreadable

from mcp_gateway.domain.market import Candle
from mcp_gateway.domain.positions import Balance, BotHealth, BotState, Position, Trade
from mcp_gateway.errors import BotUnavailable
from mcp_gateway.freqtrade import shapes
from mcp_gateway.freqtrade.figures import NOTHING
from mcp_gateway.freqtrade.trades import ForeignTrade, OpenTrades, Positions, Trades
from mcp_gateway.telemetry import logs

Shape = TypeVar("Shape", bound=BaseModel)
CANDLE_COLUMNS = ("__date_ts", "open", "high", "low", "close", "volume")

_log = logs.get(__name__)


def nonsense() -> BotUnavailable:
    """Make the error for an answer that is no answer of Freqtrade's."""
    return BotUnavailable(
        "The bot's answer makes no sense.",
        code="bot_nonsense",
        hint="Call again later; the operator should check that FREQTRADE_URL names Freqtrade.",
    )


def bot_state(body: bytes) -> BotState:
    """Read GET /show_config."""
    config = _read(shapes.Config, body)
    slots = config.max_open_trades
    return BotState(
        mode="dry-run" if config.dry_run else "live",
        state=config.state,
        spot=config.trading_mode == "spot",
        quote_currency=config.stake_currency,
        timeframe=config.timeframe,
        # -1 and infinity (null) are how the bot says unlimited.
        max_open_positions=None if slots is None or slots < 0 else int(slots),
        entries_enabled=bool(config.force_entry_enable),
        name=config.bot_name or "",
        version=config.version or "",
    )


def health(body: bytes, at: datetime | None) -> BotHealth:
    """Read GET /health; ``bot_startup`` is this process's start, ``bot_start`` the first ever."""
    told = _read(shapes.Health, body)
    return BotHealth(told.last_process, told.bot_startup, at)


def whitelist(body: bytes) -> tuple[str, ...]:
    """Read GET /whitelist."""
    return tuple(_read(shapes.Whitelist, body).whitelist)


def blacklist(body: bytes) -> tuple[str, ...]:
    """Read GET /blacklist: the patterns and the pairs that they stand for."""
    told = _read(shapes.Blacklist, body)
    return tuple(dict.fromkeys([*told.blacklist, *(told.blacklist_expanded or [])]))


def locked_pairs(body: bytes) -> tuple[str, ...]:
    """Read GET /locks: those that are active and do not bind short entries alone."""
    locks = _read(shapes.Locks, body).locks
    return tuple(
        dict.fromkeys(
            lock.pair for lock in locks if lock.active is not False and lock.side != "short"
        )
    )


def balance(body: bytes) -> Balance:
    """Read GET /balance; what other coins are worth counts in the total."""
    told = _read(shapes.Balance, body)
    held = next((coin for coin in told.currencies if coin.currency == told.stake), None)
    # The bot spends no more than its own share of a wallet, whatever else lies there.
    free = [part for part in (held.free, held.bot_owned) if part is not None] if held else []
    return Balance(
        currency=told.stake,
        total=told.total or NOTHING,
        free=max(NOTHING, min(free, default=NOTHING)),
        simulated="simulated" in (told.note or "").lower(),
    )


def unmanaged_coins(body: bytes) -> tuple[str, ...]:
    """Read GET /balance: the coins that the bot does not claim for one of its trades."""
    told = _read(shapes.Balance, body)
    return tuple(
        coin.currency
        for coin in told.currencies
        if coin.currency != told.stake and not coin.is_bot_managed and coin.is_held()
    )


def trades(body: bytes) -> tuple[Trade, ...]:
    """Read GET /status; one trade that can't be read does not hide the others."""
    return tuple(each.trade() for each in _read(OpenTrades, body).root)


def positions(body: bytes) -> tuple[Position, ...]:
    """Read GET /status; a resting entry owns nothing yet."""
    return tuple(each.position() for each in _read(Positions, body).root if each.amount)


def closed_trades(body: bytes) -> tuple[Trade, ...]:
    """Read GET /trades, as it is ordered; those that can't be read too."""
    return tuple(each.trade() for each in _read(Trades, body).trades if not each.is_open)


def trade(body: bytes) -> Trade:
    """Read GET /trade/ID."""
    return _read(ForeignTrade, body).trade()


def entered(body: bytes) -> Trade | None:
    """Read the 200 of POST /forceenter; None where it comes without a trade."""
    return None if "status" in _read(shapes.Entered, body).model_fields_set else trade(body)


def is_result(body: bytes) -> bool:
    """Tell whether this is the 200 of POST /forceexit, which names neither order nor fill."""
    return _fits(shapes.Result, body) is not None


def is_status(body: bytes) -> bool:
    """Tell whether this is the 200 of POST /stopbuy or /start, which says what it did."""
    told = _fits(shapes.Entered, body)
    return told is not None and told.status is not None


def reason(body: bytes) -> str | None:
    """Return why the bot refused; None where the body is not its own (a proxy's page)."""
    told = _fits(shapes.Error, body)
    if told is None or not told.error.startswith("Error querying "):
        return None
    return told.error.partition(": ")[2]


def is_turned_away(body: bytes) -> bool:
    """Tell whether the bot's own web server says why it took no request (FastAPI's form)."""
    return _fits(shapes.Turned, body) is not None


def is_wrong_state(body: bytes) -> bool:
    """Tell whether the bot says that its run mode does not answer this."""
    told = _fits(shapes.Detail, body)
    return told is not None and told.detail.startswith("Bot is not in the correct state")


def is_trade_missing(body: bytes) -> bool:
    """Tell whether the bot itself says that it has no such trade."""
    told = _fits(shapes.Detail, body)
    return told is not None and told.detail.startswith("Trade not found")


def candles(body: bytes) -> tuple[Candle, ...]:
    """Read GET /pair_candles by the columns' names, whose order may change; oldest first."""
    told = _read(shapes.Candles, body)
    if not told.data:
        return ()
    try:
        places = [told.columns.index(name) for name in CANDLE_COLUMNS]
        read = {candle.open_s: candle for candle in (_candle(row, places) for row in told.data)}
    except (ValueError, IndexError, TypeError, OverflowError):
        _log.info("bot nonsense", at="candles")
        raise nonsense() from None
    return tuple(read[open_s] for open_s in sorted(read))


def _candle(row: list[Any], places: list[int]) -> Candle:
    opened_ms, *numbers = (row[place] for place in places)
    return Candle(int(opened_ms) // 1000, *(_float(number) for number in numbers))


def _float(value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("a number or null")
    return float(value) if math.isfinite(value) else None


def _read(shape: type[Shape], body: bytes) -> Shape:
    try:
        return shape.model_validate_json(body)
    except Unreadable as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        _log.info("bot nonsense", at=first["loc"], kind=first["type"])
        raise nonsense() from None


def _fits(shape: type[Shape], body: bytes) -> Shape | None:
    try:
        return shape.model_validate_json(body)
    except Unreadable:
        return None
