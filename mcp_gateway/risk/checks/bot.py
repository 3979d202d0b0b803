"""The bot's own state: its mode, its lists, its slots."""

import re

from mcp_gateway.risk.case import Case
from mcp_gateway.risk.checks.finding import Finding


def mode(case: Case) -> Finding:
    bot, declared = case.facts.bot, case.facts.declared_mode
    return Finding(bot.mode == declared, declared, bot.mode)


def live_needs_policy(case: Case) -> Finding | None:
    return Finding(case.asked.policy.written) if case.facts.declared_mode == "live" else None


def running(case: Case) -> Finding:
    allowed = ("running",) if case.order.side == "buy" else ("running", "paused")
    state = case.facts.bot.state
    return Finding(state in allowed, " or ".join(allowed), state)


def whitelisted(case: Case) -> Finding:
    return Finding(case.order.pair in case.facts.pairs, value=case.order.pair)


def blacklisted(case: Case) -> Finding:
    pair, listed = case.order.pair, case.facts.blacklisted
    banned = listed is None or any(_matches(pattern, pair) for pattern in listed)
    return Finding(not banned, value=pair)


def _matches(pattern: str, pair: str) -> bool:
    """Tell whether an entry of the bot's blacklist means a pair; it may be a pattern.

    The bot reads patterns so, and trades nothing at all where one of them can't be read.
    """
    try:
        return pattern == pair or re.fullmatch(pattern, pair, re.IGNORECASE) is not None
    except re.error:
        return True


def locked(case: Case) -> Finding:
    locked = case.facts.locked
    open_to = locked is not None and not {case.order.pair, "*"} & set(locked)
    return Finding(open_to, value=case.order.pair)


def slots(case: Case) -> Finding:
    taken, slots = (
        len(case.facts.open_trades) + case.standing.entries(),
        case.facts.bot.max_open_positions,
    )
    if slots is None:
        return Finding(True, value=str(taken))
    return Finding(taken < slots, str(slots), str(taken), str(max(0, slots - taken)))


def pair_is_free(case: Case) -> Finding:
    return Finding(not (case.facts.pair_is_held or case.standing.entries(pair=case.order.pair)))
