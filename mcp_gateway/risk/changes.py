"""What a new policy loosens and what it tightens, and what holds until the first is agreed to. Pure."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from decimal import ROUND_DOWN, Context, Decimal
from types import MappingProxyType
from typing import Any, Final

from mcp_gateway.domain.market import NOTHING_KNOWN, MarketRules
from mcp_gateway.risk.bounds import (
    AT_MOST,
    OF_ALL,
    OF_AN_AGENT,
    Bound,
    shown,
    stricter_limits,
    stricter_totals,
    told,
)
from mcp_gateway.risk.policy import Limits, Policy, is_wide

# Fewer digits than any other sum has, so that what is rounded is rounded to the safe side.
_ROUNDED: Final = Context(prec=12, rounding=ROUND_DOWN)

Lines = tuple[str | None, str | None]  # what is looser, what is stricter


@dataclass(frozen=True, slots=True)
class Changes:
    """The differences of two policies, one line each, as a person reads them.

    A field may stand in both: hours that are moved, pairs of which some come and some go.
    """

    loosened: tuple[str, ...] = ()
    tightened: tuple[str, ...] = ()

    @classmethod
    def of(cls, pairs: Iterable[Lines]) -> "Changes":
        """Gather what fields say of themselves."""
        found = tuple(pairs)
        return cls(
            tuple(looser for looser, _ in found if looser is not None),
            tuple(stricter for _, stricter in found if stricter is not None),
        )


def compare(old: Policy, new: Policy) -> Changes:
    """Tell what ``new`` lets through that ``old`` does not, and the other way round."""
    return Changes.of(
        [
            *_fields("defaults", old.defaults, new.defaults, OF_AN_AGENT),
            *_agents(old, new),
            *_fields("total", old.totals, new.totals, OF_ALL),
            *_markets(old, new),
        ]
    )


def _fields(
    place: str, old: Any, new: Any, bounds: Mapping[str, Bound], known: frozenset[str] = frozenset()
) -> Iterable[Lines]:
    for field in fields(old):
        name = field.name
        idle = name == "repeat_window_s" and (old.repeats is None or new.repeats is None)
        if name not in known and not idle:
            before, after = getattr(old, name), getattr(new, name)
            yield told(f"{place}.{name}", bounds[name], before, after)


def _agents(old: Policy, new: Policy) -> Iterable[Lines]:
    """Tell of every agent with a section what its defaults' own line does not tell already."""
    for name in sorted({*old.agents, *new.agents}):
        before, after = old.limits(name), new.limits(name)
        known = frozenset(
            field.name
            for field in fields(Limits)
            if getattr(before, field.name) == getattr(old.defaults, field.name)
            and getattr(after, field.name) == getattr(new.defaults, field.name)
        )
        yield from _fields(f'agents."{name}"', before, after, OF_AN_AGENT, known)


def _markets(old: Policy, new: Policy) -> Iterable[Lines]:
    for name in _names(old, new):
        place = f'markets."{name}"'
        if _waits(old, name):  # whatever was told of it, nothing was bought
            goes_on = _rules(new, name) != NOTHING_KNOWN
            yield (f"{place}: its entries wait no more" if goes_on else None), None
        else:
            yield from _numbers(place, _rules(old, name), _rules(new, name))
        yield told(f"{place}.largest_amount", AT_MOST, _largest(old, name), _largest(new, name))


def _numbers(place: str, before: MarketRules, after: MarketRules) -> Iterable[Lines]:
    yield _lot_step(f"{place}.lot_step", before.lot_step, after.lot_step)
    yield _minimum(f"{place}.minimum_stake", before.minimum_stake, after.minimum_stake)
    if before.minimum_amount != after.minimum_amount:
        smallest = _smallest_amount(before), _smallest_amount(after)
        yield _minimum(f"{place}.minimum_amount", *smallest)


def _lot_step(place: str, before: Decimal | None, after: Decimal | None) -> Lines:
    """Tell of a lot step: another one is never just stricter; without one nothing is bought."""
    if before == after:
        return None, None
    line = f"{place}: {_given(after)} instead of {_given(before)}"
    return (None, line) if after is None else (line, None)


def _minimum(place: str, before: Decimal | None, after: Decimal | None) -> Lines:
    """Tell of a minimum: without one nothing is bought."""
    if before == after:
        return None, None
    line = f"{place}: {_given(after)} instead of {_given(before)}"
    stricter = after is None or (before is not None and after > before)
    return (None, line) if stricter else (line, None)


def _smallest_amount(rules: MarketRules) -> Decimal | None:
    return rules.lot_step if rules.minimum_amount is None else rules.minimum_amount


def _given(value: Decimal | None) -> str:
    return "nothing" if value is None else shown(value)


def stricter(old: Policy, new: Policy) -> Policy:
    """Return the policy that lets through what both do, and nothing else.

    Entries in a market of which the two tell different things that can't be added up (another
    lot step, a minimum that one of them does not tell) wait: see ``Policy.waiting``.
    """
    if old == new:
        return old
    combined = Policy(
        defaults=stricter_limits(old.defaults, new.defaults),
        agents=MappingProxyType(
            {
                name: stricter_limits(old.limits(name), new.limits(name))
                for name in sorted({*old.agents, *new.agents})
            }
        ),
        totals=stricter_totals(old.totals, new.totals),
        written=old.written and new.written,
    )
    return _with_markets(combined, old, new)


def _with_markets(combined: Policy, old: Policy, new: Policy) -> Policy:
    markets: dict[str, MarketRules] = {}
    amounts: dict[str, Decimal] = {}
    waiting = set()
    old_share, new_share = (_bought_less(policy, combined) for policy in (old, new))
    for name in _names(old, new):
        rules = _stricter_rules(_rules(old, name), _rules(new, name))
        markets[name] = rules or NOTHING_KNOWN
        if rules is None or _waits(old, name) or _waits(new, name):
            waiting.add(name)
        limits = (_scaled(_largest(old, name), old_share), _scaled(_largest(new, name), new_share))
        known = [limit for limit in limits if limit is not None]
        if known:
            amounts[name] = min(known)
    return replace(
        combined,
        markets=MappingProxyType(markets),
        amounts=MappingProxyType(amounts),
        waiting=frozenset(waiting),
    )


def _stricter_rules(one: MarketRules, other: MarketRules) -> MarketRules | None:
    """Return what both let through; None where it can't be said of entries."""
    if one == other:
        return one
    if one.lot_step != other.lot_step or (one.minimum_amount is None) != (
        other.minimum_amount is None
    ):
        return None
    if one.minimum_stake is None or other.minimum_stake is None:
        return None
    known = (amount for amount in (one.minimum_amount, other.minimum_amount) if amount is not None)
    stake = max(one.minimum_stake, other.minimum_stake)
    return MarketRules(one.lot_step, stake, max(known, default=None))


def _bought_less(policy: Policy, combined: Policy) -> Decimal:
    """Return what a largest amount is worth where a narrower collar takes less of it.

    The collar widens what an order may buy, and that is what the largest amount binds.
    """
    names = {*combined.agents}
    limits = [(policy.defaults, combined.defaults)]
    limits += [(policy.limits(name), combined.limits(name)) for name in names]
    return min((1 - one.price_collar) / (1 - both.price_collar) for one, both in limits)


def _scaled(limit: Decimal | None, share: Decimal) -> Decimal | None:
    if limit is None or share == 1:
        return limit
    return _ROUNDED.multiply(limit, share)


def _names(old: Policy, new: Policy) -> list[str]:
    """Return every market of either, and every ``*/QUOTE``."""
    return sorted(
        {*old.markets, *new.markets, *old.amounts, *new.amounts, *old.waiting, *new.waiting}
    )


def _rules(policy: Policy, name: str) -> MarketRules:
    if _waits(policy, name):
        return NOTHING_KNOWN
    return policy.markets.get(name, NOTHING_KNOWN) if is_wide(name) else policy.market(name)


def _largest(policy: Policy, name: str) -> Decimal | None:
    return policy.amounts.get(name) if is_wide(name) else policy.largest_amount(name)


def _waits(policy: Policy, name: str) -> bool:
    return name in policy.waiting if is_wide(name) else policy.waits(name)
