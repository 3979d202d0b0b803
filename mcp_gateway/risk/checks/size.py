"""Price and size of one entry."""

from decimal import Decimal
from typing import Final

from mcp_gateway.domain.orders import canonical
from mcp_gateway.risk.case import PRICE_AGE_CANDLES, Case, largest_order
from mcp_gateway.risk.checks.exits import is_full_exit
from mcp_gateway.risk.checks.finding import Finding, at_most, money
from mcp_gateway.risk.facts import NOTHING

PRICE_MARGIN: Final = Decimal("0.05")  # by which the bot's order book may stand above it


def price_age(case: Case) -> Finding:
    price = case.facts.price
    if price is None:
        return Finding(False)
    longest = price.timeframe_s * PRICE_AGE_CANDLES
    if case.limits.price_age_s is not None:
        longest = min(longest, case.limits.price_age_s)
    return Finding(price.age_s <= longest, f"{longest} s", f"{price.age_s:.0f} s")


def collar(case: Case) -> Finding | None:
    limit, last = case.order.price, case.facts.price
    if limit is None:
        return None
    if last is None:
        return Finding(False)
    furthest = last.value * case.limits.price_collar
    between = f"{money(last.value - furthest)} to {money(last.value + furthest)}"
    return Finding(abs(limit - last.value) <= furthest, between, canonical(limit))


def market_known(case: Case) -> Finding:
    known = case.facts.market.lot_step is not None and _smallest_stake(case) is not None
    waits = case.asked.policy.waits(case.order.pair)
    return Finding(known and not waits, value=case.order.pair)


def step(case: Case) -> Finding | None:
    amount, held = case.order.amount, case.facts.held
    if case.order.side == "buy":
        return _whole_steps(amount, case.facts.market.lot_step)
    if held is None:
        return None
    if is_full_exit(amount, held):
        return Finding(True, value=canonical(amount))
    # Below a step the bot says yes to a sell and sells nothing.
    return _whole_steps(amount, held.lot_step)


def _whole_steps(amount: Decimal, step: Decimal | None) -> Finding:
    if step is None:
        return Finding(True, value=canonical(amount))
    return Finding(amount >= step, canonical(step), canonical(amount))


def _smallest_stake(case: Case) -> Decimal | None:
    """Return a stake that the bot buys as it is sent; None where none is known."""
    price = case.order.price
    if price is None and case.facts.price is not None:
        price = case.facts.price.value * (1 + PRICE_MARGIN)
    told = None if price is None else case.facts.market.smallest_safe_stake(price)
    return min((s for s in (told, case.facts.taken_stake) if s is not None), default=None)


def least_stake(case: Case) -> Finding:
    smallest = _smallest_stake(case)
    reached = smallest is None or (case.stake is not None and case.stake >= smallest)
    return Finding(reached, money(smallest), money(case.stake))


def amount(case: Case) -> Finding | None:
    return at_most(case.asked.policy.largest_amount(case.order.pair), case.bought)


def order_notional(case: Case) -> Finding | None:
    return at_most(largest_order(case.limits, case.facts.balance), case.spent)


def balance(case: Case) -> Finding:
    wallet = case.facts.balance
    if wallet is None or case.spent is None:
        return Finding(False, value=money(case.spent))
    free = wallet.free - case.standing.reserved()
    return Finding(
        case.spent <= free, money(free), money(case.spent), money(max(NOTHING, free - case.spent))
    )
