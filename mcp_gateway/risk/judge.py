"""The one function that decides, for dry run and create alike. Pure."""

from dataclasses import dataclass
from decimal import Decimal

from mcp_gateway.domain.orders import Check
from mcp_gateway.risk.case import Asked, Case
from mcp_gateway.risk.facts import Facts, Standing
from mcp_gateway.risk.rules import RULES


@dataclass(frozen=True, slots=True)
class Verdict:
    """Every check, and the estimates they were made with (quote units).

    Args:
        stake: what an entry would be sent with; None for an exit or without a price.
        reserved: that and the fee on it.
        needs_approval: nothing speaks against it but that a person has to agree.
        policy: the hash of the policy that it was judged by.
    """

    checks: tuple[Check, ...]
    cost: Decimal | None
    fee: Decimal | None
    stake: Decimal | None
    reserved: Decimal | None
    price: Decimal | None
    worst_price: Decimal | None
    worst_cost: Decimal | None
    needs_approval: bool
    policy: str

    @property
    def failed(self) -> tuple[Check, ...]:
        """The checks that deny the order."""
        return tuple(check for check in self.checks if not check.passed)


def judge(asked: Asked, facts: Facts, standing: Standing) -> Verdict:
    """Hold an order against every rule that binds it."""
    case = Case(asked, facts, standing)
    found = (rule.check(case) for rule in RULES if rule.binding(case.order.side))
    checks = tuple(check for check in found if check is not None)
    return Verdict(
        checks=checks,
        cost=case.cost,
        fee=None if case.cost is None else case.cost * case.fee_rate,
        stake=case.stake,
        reserved=case.spent,
        price=case.price,
        worst_price=case.worst_price,
        worst_cost=case.worst_cost,
        needs_approval=all(check.passed for check in checks) and _above_the_line(case),
        policy=asked.policy.hash,
    )


def _above_the_line(case: Case) -> bool:
    line = case.limits.approval_above
    if line is None or case.spent is None or case.asked.grants.approved is not None:
        return False
    return case.spent > line
