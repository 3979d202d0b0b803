"""What both languages answer, as plain documents: the predecessor's fields first, then ours.

A document cannot differ between MCP and REST, for it is written here once; candles alone have
two forms, columns and rows for a model and the predecessor's list of objects.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from mcp_gateway.clock import iso
from mcp_gateway.domain.orders import Check, Preview, canonical
from mcp_gateway.domain.positions import Position, Positions
from mcp_gateway.orders.account import Account
from mcp_gateway.risk import hours
from mcp_gateway.risk.allowance import Allowance
from mcp_gateway.risk.case import largest_order


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
    """Return a dry run: the predecessor's fields, then what they stand on and every check.

    A check that failed, or has a limit, is told in full; of the others only the names are, for
    a model pays by the token: forty checks in full are 1,400 of them, like this half. Behind
    the predecessor's fields, what there is none of is left out.
    """
    told = {
        "valid": dry_run.valid,
        "estimated_cost": number(dry_run.estimated_cost),
        "estimated_fee": number(dry_run.estimated_fee),
        "warnings": list(dry_run.warnings),
        "errors": list(dry_run.errors),
        "mode": dry_run.mode,
        "price": number(dry_run.price),
        "price_age_s": None if dry_run.price_age_s is None else round(dry_run.price_age_s, 1),
    }
    further = {
        "expected_amount": number(dry_run.expected_amount),
        "worst_price": number(dry_run.worst_price),
        "worst_cost": number(dry_run.worst_cost),
        "needs_approval": dry_run.needs_approval,
        "policy": dry_run.policy,
        "preview_id": dry_run.preview_id,
        "expires_at": None if dry_run.expires_at is None else iso(dry_run.expires_at),
        "checks": [check(one) for one in dry_run.checks if _worth_telling(one)],
        "also_passed": [one.rule for one in dry_run.checks if not _worth_telling(one)],
    }
    return told | present(further)


def check(one: Check) -> dict[str, Any]:
    """Return one check; its sentence only where it failed, and nothing that there is not."""
    told = {
        "rule": one.rule,
        "passed": one.passed,
        "message": None if one.passed else one.message,
        "limit": one.limit,
        "value": one.value,
        "left": one.left,
    }
    return present(told)


def _worth_telling(one: Check) -> bool:
    return not one.passed or one.limit is not None


def account(state: Account, *, calls_left: Mapping[str, int]) -> dict[str, Any]:
    """Return balance, mode, bot state and this caller's limits; amounts in quote.

    Args:
        calls_left: what is left just now, by quota.
    """
    balance = state.balance
    return {
        "mode": state.mode,
        "declared_mode": state.declared_mode,
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
            "largest_notional": number(largest_order(state.allowance.limits, balance)),
            "calls_per_minute": state.calls_per_minute,
            "calls_left": dict(calls_left),
            **allowance(state.allowance),
        },
        "scopes": list(state.scopes),
        "halts": [
            {"scope": one.scope, "name": one.name, "code": one.code, "at": iso(one.at)}
            for one in state.allowance.halts
        ],
    }


def allowance(state: Allowance) -> dict[str, Any]:
    """Return what the policy allows a caller, and what is left of each limit.

    Rules have the names that they have in a dry run. What is not limited is left out; where
    what is left is not known, that is said.
    """
    limits = state.limits
    allowed = {
        "enabled": limits.enabled,
        "pairs": None if limits.pairs is None else sorted(limits.pairs),
        "sides": sorted(limits.sides),
        "order_types": sorted(limits.order_types),
        "hours": None if limits.hours is None else list(hours.written(limits.hours)),
        "price_collar": canonical(limits.price_collar),
        "price_tolerance": canonical(limits.price_tolerance),
        "price_age_s": limits.price_age_s,
        "largest_amount": {name: canonical(one) for name, one in state.amounts.items()} or None,
        "duplicate_window_s": limits.duplicate_window_s,
        "repeat_window_s": None if limits.repeats is None else limits.repeat_window_s,
        "approval_above": None
        if limits.approval_above is None
        else canonical(limits.approval_above),
        "preview_required": limits.preview_required,
        "closes": limits.closes,
    }
    told = {
        "policy": state.policy,
        "allowed": present(allowed),
        "rules": [
            present({"rule": one.rule, "pair": one.pair, "limit": one.limit, "left": one.left})
            for one in state.left
        ],
    }
    if not state.known:
        told["left_unknown"] = (
            "The ledger does not answer: what is left of the limits is not known."
        )
    return told


def present(told: dict[str, Any]) -> dict[str, Any]:
    """Leave out what there is none of."""
    return {name: value for name, value in told.items() if value is not None}


def age_s(as_of: datetime, now: datetime) -> float:
    """Return the seconds since the bot was asked; a clock that was set back is no future."""
    return round(max(0.0, (now - as_of).total_seconds()), 1)


def number(value: Decimal | None) -> float | None:
    """Return a decimal as the JSON number that callers read."""
    return None if value is None else float(value)
