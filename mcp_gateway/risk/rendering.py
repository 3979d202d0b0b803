"""A policy as the file would have it: what is in force, to be read by the person who wrote it. Pure."""

import json
from collections.abc import Iterator
from dataclasses import fields
from decimal import Decimal
from typing import Any

from mcp_gateway.domain.orders import canonical
from mcp_gateway.risk import hours
from mcp_gateway.risk.policy import Limits, Policy, Totals
from mcp_gateway.risk.sections import EVERY_HOUR, EVERY_PAIR, NO_LIMIT

_WORDS = {"pairs": EVERY_PAIR, "hours": EVERY_HOUR}


def as_toml(policy: Policy) -> str:
    """Return a file that tells the same policy, every key of ``[defaults]`` and ``[total]`` in it."""
    return "\n".join(_lines(policy)) + "\n"


def _lines(policy: Policy) -> Iterator[str]:
    yield "[defaults]"
    yield from _section(policy.defaults)
    for name, limits in sorted(policy.agents.items()):
        yield f"\n[agents.{_text(name)}]"
        yield from _section(limits, policy.defaults)
    yield "\n[total]"
    yield from _section(policy.totals)
    for name in sorted({*policy.markets, *policy.amounts, *policy.waiting}):
        waits = "  # its entries wait for `policy accept`" if name in policy.waiting else ""
        yield f"\n[markets.{_text(name)}]{waits}"
        if (rules := policy.markets.get(name)) is not None:
            told = {one.name: getattr(rules, one.name) for one in fields(rules)}
            yield from (f"{key} = {_value(key, one)}" for key, one in told.items() if one)
        if (largest := policy.amounts.get(name)) is not None:
            yield f"largest_amount = {_value('largest_amount', largest)}"


def _section(one: Limits | Totals, beside: Limits | None = None) -> Iterator[str]:
    for field in fields(one):
        value = getattr(one, field.name)
        if beside is None or value != getattr(beside, field.name):
            yield f"{field.name} = {_value(field.name, value)}"


def _value(name: str, value: Any) -> str:
    if value is None:
        return _text(_WORDS.get(name, NO_LIMIT))
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, frozenset):
        listed = hours.written(value) if name == "hours" else sorted(value)
        return f"[{', '.join(map(_text, listed))}]"
    return _text(canonical(value)) if isinstance(value, Decimal) else _as_it_is(value)


def _as_it_is(value: Any) -> str:
    return str(value) if isinstance(value, int) else _text(value)


def _text(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
