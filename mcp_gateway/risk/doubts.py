"""What a policy says that its author may not have meant; nothing is refused for it. Pure."""

from collections.abc import Iterator
from decimal import Decimal

from mcp_gateway.risk.policy import Limits, Policy, Totals, is_wide

_ABOVE_AN_ORDER = ("pair_notional", "agent_notional", "daily_notional")
_OF_ALL = (
    ("order_notional", "notional"),
    ("agent_notional", "notional"),
    ("agent_positions", "positions"),
    ("orders_per_minute", "orders_per_minute"),
    ("orders_per_day", "orders_per_day"),
    ("daily_notional", "daily_notional"),
    ("daily_loss", "daily_loss"),
)


def doubts(policy: Policy) -> tuple[str, ...]:
    """Return one sentence for each thing that never binds, or binds more than it seems to."""
    return tuple(
        f"{place}: {says}"
        for place, limits in _sections(policy)
        for says in _of_limits(limits, policy)
    )


def _sections(policy: Policy) -> Iterator[tuple[str, Limits]]:
    yield "defaults", policy.defaults
    for name, limits in policy.agents.items():
        if limits != policy.defaults:
            yield f'agents."{name}"', limits


def _of_limits(limits: Limits, policy: Policy) -> Iterator[str]:
    yield from _never_reached(limits, policy.totals)
    if limits.approval_above is not None and _reaches(limits.approval_above, limits.order_notional):
        yield "approval_above is not below order_notional, so nobody is ever asked"
    if limits.asks_client and limits.approval_above is None:
        yield "asks_client without approval_above: there is nothing to ask about"
    elif limits.asks_client:
        yield "asks_client: a client that the agent itself owns says yes to itself"
    if "sell" not in limits.sides:
        yield "sides without sell: sells close what is open and are never held back"
    if limits.hours == frozenset():
        yield "hours: there are none, so nothing is ever bought"
    if (unknown := _unknown(limits, policy)) and policy.markets:
        named = ", ".join(unknown)
        yield f"pairs: [markets] says nothing of {named}; a first order there is denied"


def _never_reached(limits: Limits, totals: Totals) -> Iterator[str]:
    for name in _ABOVE_AN_ORDER:
        wider: Decimal | None = getattr(limits, name)
        order = limits.order_notional
        if order is not None and wider is not None and order > wider:
            yield f"order_notional is above {name}, which no single order can reach"
    for name, of_all in _OF_ALL:
        own, all_have = getattr(limits, name), getattr(totals, of_all)
        if own is not None and all_have is not None and own > all_have:
            yield f"{name} is above {of_all} of [total], which binds first"


def _reaches(line: Decimal, limit: Decimal | None) -> bool:
    return limit is not None and line >= limit


def _unknown(limits: Limits, policy: Policy) -> list[str]:
    """Return the pairs that an agent may buy and of which no market is told."""
    told = (pair for pair in limits.pairs or () if not is_wide(pair))
    return sorted(
        pair
        for pair in told
        if policy.market(pair).lot_step is None or policy.market(pair).minimum_stake is None
    )
