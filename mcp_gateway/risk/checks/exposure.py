"""What is open already, and this order on top."""

from decimal import Decimal

from mcp_gateway.domain.positions import Trade
from mcp_gateway.risk.case import Case, worth
from mcp_gateway.risk.checks.finding import Finding, at_most, counted


def _exposure(case: Case, trades: tuple[Trade, ...], reserved: Decimal) -> Decimal | None:
    open_now = worth(trades)
    return None if open_now is None or case.spent is None else open_now + reserved + case.spent


def pair_notional(case: Case) -> Finding | None:
    pair = case.order.pair
    here = tuple(trade for trade in case.facts.open_trades if trade.pair == pair)
    return at_most(
        case.limits.pair_notional, _exposure(case, here, case.standing.exposed(pair=pair))
    )


def agent_notional(case: Case) -> Finding | None:
    reserved = case.standing.exposed(agent=case.asked.agent)
    return at_most(case.limits.agent_notional, _exposure(case, case.own_trades, reserved))


def total_notional(case: Case) -> Finding | None:
    held = _exposure(case, case.facts.open_trades, case.standing.exposed())
    return at_most(case.asked.policy.totals.notional, held)


def agent_positions(case: Case) -> Finding | None:
    held = len(case.own_trades) + case.standing.positions(agent=case.asked.agent)
    return counted(case.limits.agent_positions, held + case.counts)


def total_positions(case: Case) -> Finding | None:
    held = len(case.facts.open_trades) + case.standing.positions()
    return counted(case.asked.policy.totals.positions, held + case.counts)
