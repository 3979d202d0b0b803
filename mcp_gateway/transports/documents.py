"""What both languages answer, as plain documents: the predecessor's fields first, then ours.

A document cannot differ between MCP and REST, for it is written here once; candles alone have
two forms, columns and rows for a model and the predecessor's list of objects.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from mcp_gateway.clock import iso
from mcp_gateway.domain.orders import Preview
from mcp_gateway.domain.positions import Position, Positions
from mcp_gateway.orders.account import Account


def positions(held: Positions, *, now: datetime) -> dict[str, Any]:
    """Return open positions; amounts in base, prices and PnL in quote, ``_pct`` in percent."""
    return {
        "total_count": len(held.positions),
        "positions": [position(one) for one in held.positions],
        "as_of": iso(held.as_of),
        "age_s": age_s(held.as_of, now),
        "mode": held.mode,
        "source": held.source,
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
        "price": number(dry_run.price),
        "price_age_s": None if dry_run.price_age_s is None else round(dry_run.price_age_s, 1),
        "mode": dry_run.mode,
        "checks": [
            {
                "rule": check.rule,
                "passed": check.passed,
                "message": check.message,
                "limit": check.limit,
                "value": check.value,
            }
            for check in dry_run.checks
        ],
    }


def account(state: Account, *, calls_left: Mapping[str, int]) -> dict[str, Any]:
    """Return balance, mode, bot state and this caller's limits; amounts in quote.

    Args:
        calls_left: what is left just now, by quota.
    """
    balance = state.balance
    return {
        "mode": state.mode,
        "as_of": iso(state.as_of),
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
            "calls_left": dict(calls_left),
        },
        "scopes": list(state.scopes),
        "halts": [],
    }


def age_s(as_of: datetime, now: datetime) -> float:
    """Return the seconds since the bot was asked; a clock that was set back is no future."""
    return round(max(0.0, (now - as_of).total_seconds()), 1)


def number(value: Decimal | None) -> float | None:
    """Return a decimal as the JSON number that callers read."""
    return None if value is None else float(value)
