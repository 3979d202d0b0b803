"""What a dry run tells: every check, the estimates, and how sure they are. Pure."""

from decimal import ROUND_FLOOR, Decimal
from typing import Final

from mcp_gateway.domain.orders import OrderRequest, Preview
from mcp_gateway.risk.checks.exits import is_full_exit
from mcp_gateway.risk.facts import NO_GRANTS, Facts, Grants, Previewed, Price
from mcp_gateway.risk.judge import Verdict
from mcp_gateway.risk.policy import Policy
from mcp_gateway.risk.rules import RULES

# What they ask of an order a dry run is about to give it.
ABOUT_PREVIEWS: Final = frozenset(rule.code for rule in RULES if rule.preview)


def seen_by(order: OrderRequest, facts: Facts, policy: Policy) -> Grants:
    """Return what an order is granted that brings this dry run along; nothing without a price."""
    price = _price(order, facts)
    return NO_GRANTS if price is None else Grants(previewed=Previewed(price, policy.hash))


def preview_of(order: OrderRequest, facts: Facts, verdict: Verdict) -> Preview:
    """Return the answer of a dry run, as yet without its id; amounts in base, money in quote."""
    checks = tuple(check for check in verdict.checks if check.rule not in ABOUT_PREVIEWS)
    failed = [check for check in checks if not check.passed]
    return Preview(
        valid=not failed,
        estimated_cost=verdict.cost,
        estimated_fee=verdict.fee,
        expected_amount=_expected(order, facts),
        price=_price(order, facts),
        price_age_s=facts.price.age_s if facts.price else None,
        worst_price=verdict.worst_price,
        worst_cost=verdict.worst_cost,
        mode=facts.bot.mode,
        policy=verdict.policy,
        needs_approval=verdict.needs_approval,
        checks=checks,
        warnings=tuple(_warnings(order, facts, verdict)),
        errors=tuple(f"{check.rule}: {check.message}" for check in failed),
    )


def _price(order: OrderRequest, facts: Facts) -> Decimal | None:
    return order.price or (facts.price.value if facts.price else None)


def _expected(order: OrderRequest, facts: Facts) -> Decimal | None:
    """Return what the bot makes of the amount: whole lot steps; None where no step is known.

    A sell of all but a part of a step is a sell of all.
    """
    held = facts.held
    if order.side == "sell" and held is not None and is_full_exit(order.amount, held):
        return held.amount
    step = facts.market.lot_step if order.side == "buy" else held and held.lot_step
    if not step:
        return None
    return (order.amount / step).to_integral_value(ROUND_FLOOR) * step


def _warnings(order: OrderRequest, facts: Facts, verdict: Verdict) -> list[str]:
    told = [_age_warning(facts.price)] if facts.price else []
    if facts.fee_rate is None:
        told.append("The fee rate is assumed (0.1 %): the bot has no trade to tell it from.")
    if order.order_type == "market":
        told.append("A market order may fill at another price and a smaller amount.")
    if verdict.needs_approval:
        told.append("A person will be asked: create_order answers pending_approval.")
    if any(check.rule == "preview_required" for check in verdict.checks):
        told.append("create_order takes this order with a preview_id alone.")
    return told


def _age_warning(price: Price) -> str:
    return f"An estimate at the bot's last price, {price.age_s:.0f} s old."
