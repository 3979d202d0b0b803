"""What a dry run tells: every check, the estimates, and how sure they are. Pure."""

from mcp_gateway.domain.orders import OrderRequest, Preview
from mcp_gateway.orders import risk


def preview_of(order: OrderRequest, facts: risk.Facts, verdict: risk.Verdict) -> Preview:
    """Return the answer of a dry run; amounts in base, money in quote."""
    warnings = [_age_warning(facts.price)] if facts.price else []
    if facts.fee_rate is None:
        warnings.append("The fee rate is assumed (0.1 %): the bot has no trade to tell it from.")
    if order.order_type == "market":
        warnings.append("A market order may fill at another price and a smaller amount.")
    return Preview(
        valid=not verdict.failed,
        estimated_cost=verdict.cost,
        estimated_fee=verdict.fee,
        price=order.price or (facts.price.value if facts.price else None),
        price_age_s=facts.price.age_s if facts.price else None,
        mode=facts.bot.mode,
        checks=verdict.checks,
        warnings=tuple(warnings),
        errors=tuple(f"{check.rule}: {check.message}" for check in verdict.failed),
    )


def _age_warning(price: risk.Price) -> str:
    return f"An estimate at the bot's last price, {price.age_s:.0f} s old."
