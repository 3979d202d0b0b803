"""What a rule finds, and how limits are written."""

from decimal import Decimal
from typing import NamedTuple

from mcp_gateway.domain.orders import canonical
from mcp_gateway.risk.case import WIDE
from mcp_gateway.risk.facts import NOTHING


class Finding(NamedTuple):
    """What a rule found: what it allows, what the order has, what is left behind the order."""

    passed: bool
    limit: str | None = None
    value: str | None = None
    left: str | None = None


def money(amount: Decimal | None) -> str | None:
    """Write quote units with eight decimals at most."""
    return None if amount is None else canonical(amount.quantize(Decimal("1e-8"), context=WIDE))


def at_most(limit: Decimal | None, value: Decimal | None) -> Finding | None:
    """Hold a sum of money against its limit."""
    if limit is None:
        return None
    if value is None:
        return Finding(False, money(limit))
    return Finding(value <= limit, money(limit), money(value), money(max(NOTHING, limit - value)))


def counted(limit: int | None, value: int) -> Finding | None:
    """Hold a number of things, this order among them, against its limit."""
    if limit is None:
        return None
    return Finding(value <= limit, str(limit), str(value), str(max(0, limit - value)))
