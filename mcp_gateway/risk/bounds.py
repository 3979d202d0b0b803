"""For every field of a policy: which of two values is the stricter, and what the other adds. Pure."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from mcp_gateway.domain.orders import canonical
from mcp_gateway.risk import hours
from mcp_gateway.risk.policy import Hours, Limits, Totals, allows_pair

_CLOSES: Final = ("own", "gateway", "all")


@dataclass(frozen=True, slots=True)
class Bound:
    """How one field binds.

    Args:
        stricter: of two values, the one that lets nothing through but what both let through.
        looser: tells whether the second lets something through that the first does not.
        beyond: names it, where a field holds several things.
    """

    stricter: Callable[[Any, Any], Any]
    looser: Callable[[Any, Any], bool]
    beyond: Callable[[Any, Any], tuple[str, ...]] | None = None


def _least(one: Any, other: Any) -> Any:
    return min((value for value in (one, other) if value is not None), default=None)


def _most(one: Any, other: Any) -> Any:
    return max((value for value in (one, other) if value is not None), default=None)


def _at_most(old: Any, new: Any) -> bool:
    return old is not None and (new is None or new > old)


def _at_least(old: Any, new: Any) -> bool:
    return old is not None and (new is None or new < old)


def _fewer_pairs(one: frozenset[str] | None, other: frozenset[str] | None) -> Any:
    if one is None or other is None:
        return other if one is None else one
    return frozenset(pair for pair in one if allows_pair(other, pair)) | frozenset(
        pair for pair in other if allows_pair(one, pair)
    )


def _pairs_beyond(old: frozenset[str] | None, new: frozenset[str] | None) -> tuple[str, ...]:
    if new is None:
        return () if old is None else ("all",)
    return tuple(sorted(pair for pair in new if not allows_pair(old, pair)))


def _hours_beyond(old: Any, new: Any) -> tuple[str, ...]:
    if old is None:
        return ()
    return ("always",) if new is None else hours.written(hours.without(new, old))


def _in_both(one: Any, other: Any) -> Any:
    if one is None or other is None:
        return other if one is None else one
    return hours.common(one, other)


def _words(old: frozenset[str], new: frozenset[str]) -> tuple[str, ...]:
    return tuple(sorted(new - old))


def _several(
    stricter: Callable[[Any, Any], Any], beyond: Callable[[Any, Any], tuple[str, ...]]
) -> Bound:
    return Bound(stricter, lambda old, new: bool(beyond(old, new)), beyond)


AT_MOST: Final = Bound(_least, _at_most)
AT_LEAST: Final = Bound(_most, _at_least)
MAY: Final = Bound(lambda one, other: one and other, lambda old, new: new and not old)
MUST: Final = Bound(lambda one, other: one or other, lambda old, new: old and not new)
_WORDS: Final = _several(lambda one, other: one & other, _words)

OF_AN_AGENT: Final[Mapping[str, Bound]] = {
    "enabled": MAY,
    "pairs": _several(_fewer_pairs, _pairs_beyond),
    "sides": _WORDS,
    "order_types": _WORDS,
    "order_notional": AT_MOST,
    "wallet_share": AT_MOST,
    "pair_notional": AT_MOST,
    "agent_notional": AT_MOST,
    "agent_positions": AT_MOST,
    "orders_per_minute": AT_MOST,
    "orders_per_day": AT_MOST,
    "daily_notional": AT_MOST,
    "daily_loss": AT_MOST,
    "price_collar": AT_MOST,
    "price_age_s": AT_MOST,
    "duplicate_window_s": AT_LEAST,
    "repeats": AT_MOST,
    "repeat_window_s": AT_LEAST,
    "hours": _several(_in_both, _hours_beyond),
    "approval_above": AT_MOST,
    "preview_required": MUST,
    "price_tolerance": AT_MOST,
    "closes": Bound(
        lambda one, other: min(one, other, key=_CLOSES.index),
        lambda old, new: _CLOSES.index(new) > _CLOSES.index(old),
    ),
    "asks_client": MAY,
}
OF_ALL: Final[Mapping[str, Bound]] = dict.fromkeys(
    (
        "notional",
        "positions",
        "orders_per_minute",
        "orders_per_day",
        "daily_notional",
        "daily_loss",
    ),
    AT_MOST,
)


def stricter_limits(one: Limits, other: Limits) -> Limits:
    """Return limits that let nothing through but what both let through."""
    found = {name: _stricter(bound, name, one, other) for name, bound in OF_AN_AGENT.items()}
    if one.repeats is None or other.repeats is None:  # the other's window binds nothing
        found["repeat_window_s"] = (other if one.repeats is None else one).repeat_window_s
    return replace(one, **found)


def stricter_totals(one: Totals, other: Totals) -> Totals:
    """Return totals that let nothing through but what both let through."""
    return replace(
        one, **{name: _stricter(bound, name, one, other) for name, bound in OF_ALL.items()}
    )


def _stricter(bound: Bound, name: str, one: Any, other: Any) -> Any:
    value, another = getattr(one, name), getattr(other, name)
    # What is the same stays as it is written, whatever else would mean the same.
    return value if value == another else bound.stricter(value, another)


def shown(value: Any) -> str:
    """Return one value as a person reads it; None: ``no limit``."""
    if value is None:
        return "no limit"
    if isinstance(value, frozenset):
        spans = [one for one in value if isinstance(one, Hours)]
        return ", ".join(hours.written(spans) if spans else sorted(value)) or "none"
    if isinstance(value, bool):
        return str(value).lower()
    return canonical(value) if isinstance(value, Decimal) else str(value)


def told(place: str, bound: Bound, old: Any, new: Any) -> tuple[str | None, str | None]:
    """Say what the new value loosens, and what it tightens; None: nothing."""
    adds = lacks = f"{place}: {shown(new)} instead of {shown(old)}"
    if bound.beyond is not None and old is not None and new is not None:
        adds = f"{place}: adds {', '.join(bound.beyond(old, new))}"
        lacks = f"{place}: without {', '.join(bound.beyond(new, old))}"
    return adds if bound.looser(old, new) else None, lacks if bound.looser(new, old) else None
