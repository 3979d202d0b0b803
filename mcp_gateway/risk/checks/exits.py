"""What may be sold."""

from decimal import Decimal

from mcp_gateway.domain.orders import canonical
from mcp_gateway.domain.positions import Trade
from mcp_gateway.risk.case import Case
from mcp_gateway.risk.checks.finding import Finding
from mcp_gateway.risk.facts import NOTHING


def is_full_exit(amount: Decimal, held: Trade) -> bool:
    """Tell whether ``amount`` is all that is held, to within one lot step."""
    return abs(held.amount - amount) < (held.lot_step or NOTHING) or held.amount == amount


def yours(case: Case) -> Finding:
    held = case.facts.held is not None or not case.facts.pair_is_held
    return Finding(held, case.limits.closes, case.order.pair)


def something_held(case: Case) -> Finding:
    held = case.facts.held
    another_s = held is None and case.facts.pair_is_held
    return Finding(another_s or (held is not None and held.amount > 0), value=case.order.pair)


def not_more_than_held(case: Case) -> Finding | None:
    held, amount = case.facts.held, case.order.amount
    if held is None:
        return None
    left = max(NOTHING, held.amount - amount)
    passed = amount <= held.amount or is_full_exit(amount, held)
    return Finding(passed, canonical(held.amount), canonical(amount), canonical(left))
