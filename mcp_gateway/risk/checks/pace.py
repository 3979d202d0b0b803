"""How much was sent, spent and lost lately."""

from datetime import timedelta
from decimal import Decimal
from typing import Final

from mcp_gateway.risk.case import Case, lost
from mcp_gateway.risk.checks.finding import Finding, at_most, counted, money
from mcp_gateway.risk.facts import NOTHING

MINUTE: Final = timedelta(minutes=1)


def per_minute(limit: int | None, case: Case, agent: str | None) -> Finding | None:
    sent = case.standing.sent_since(case.asked.now - MINUTE, agent=agent)
    return counted(limit, len(sent) + case.counts)


def per_day(limit: int | None, case: Case, agent: str | None) -> Finding | None:
    today = case.standing.sent_since(case.midnight, agent=agent)
    return counted(limit, len(today) + case.counts)


def daily_notional(limit: Decimal | None, case: Case, agent: str | None) -> Finding | None:
    today = case.standing.sent_since(case.midnight, agent=agent)
    cost = sum((one.costs for one in today), NOTHING)
    return at_most(limit, None if case.spent is None else cost + case.spent)


def daily_loss(limit: Decimal | None, case: Case, agent: str | None) -> Finding | None:
    """Reaching the limit stops: there is nothing left to lose."""
    if limit is None:
        return None
    gone = lost(case.facts, agent)
    if gone is None:
        return Finding(False, money(limit))
    return Finding(gone < limit, money(limit), money(gone), money(max(NOTHING, limit - gone)))


def not_again(case: Case) -> Finding | None:
    window = case.limits.duplicate_window_s
    if window is None:
        return None
    since = case.asked.now - timedelta(seconds=window)
    same = [
        one
        for one in case.standing.sent_since(since, agent=case.asked.agent)
        if one.fingerprint == case.asked.fingerprint and one.costs
    ]
    return Finding(not same, f"{window} s", str(len(same)))


def repeats(case: Case) -> Finding | None:
    """Count the entries of the agent, and those of the caller, whoever they were for."""
    asked = case.asked
    found = [_repeats(case, name) for name in dict.fromkeys((asked.agent, asked.subject))]
    told = [one for one in found if one is not None]
    return next((one for one in told if not one.passed), next(iter(told), None))


def _repeats(case: Case, name: str) -> Finding | None:
    limits = case.asked.policy.limits(name)
    since = case.asked.now - timedelta(seconds=limits.repeat_window_s)
    again = [
        one
        for one in case.standing.sent_since(since)
        if one.pair == case.order.pair and name in {one.agent, one.subject}
    ]
    return counted(limits.repeats, len(again) + case.counts)
