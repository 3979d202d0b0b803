"""What an agent's limits leave it, before it asks for anything: told by the rules themselves. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Final
from uuid import UUID

from mcp_gateway.domain.orders import OrderRequest
from mcp_gateway.risk.case import Asked, Idle
from mcp_gateway.risk.facts import Facts, Halt, Standing
from mcp_gateway.risk.policy import Limits, Policy
from mcp_gateway.risk.rules import RULES

# Rules that leave something, whatever the next order is.
OF_AGENT: Final = frozenset({
    "notional_too_large", "agent_notional", "total_notional", "agent_positions",
    "total_positions", "order_rate", "total_order_rate", "daily_orders", "total_daily_orders",
    "daily_notional", "total_daily_notional", "daily_loss", "total_daily_loss",
    "balance_too_small", "no_free_slot",
})  # fmt: skip
# And those that leave something in each pair.
OF_PAIR: Final = frozenset({"pair_notional", "repeat_throttle"})
NO_PAIR: Final = "NONE/NONE"  # what the rules of an agent do not look at


@dataclass(frozen=True, slots=True)
class Left:
    """One limit by its rule's code, and what is left of it; None: not known.

    Args:
        pair: of a limit that holds in each pair; None where nothing is taken of it yet.
    """

    rule: str
    limit: str
    left: str | None
    pair: str | None = None


@dataclass(frozen=True, slots=True)
class Allowance:
    """What one agent may do now.

    Args:
        policy: its hash.
        known: whether what is left could be counted; without the ledger nobody knows it.
        halts: those in force that bind the agent, in some pair at least.
    """

    limits: Limits
    policy: str
    left: tuple[Left, ...]
    known: bool
    halts: tuple[Halt, ...]


def allowance_of(
    agent: str, policy: Policy, now: datetime, facts: Facts, standing: Standing, *, known: bool
) -> Allowance:
    """Return what an agent may do, by the rules that its next order will be held against.

    Args:
        facts: of the bot as a whole; of no pair.
        standing: what the ledger holds; of a ledger that does not tell, the halts alone.
        known: whether it tells; else no limit tells what is left.
    """
    asked = Asked(nothing_in(NO_PAIR), agent, "", policy, now)
    idle = Idle(asked, facts, standing)
    pairs = _in_pairs(idle) if known else ()
    return Allowance(
        limits=idle.limits,
        policy=policy.hash,
        left=(*_left(idle, OF_AGENT | OF_PAIR, known=known), *pairs),
        known=known,
        halts=tuple(one for one in standing.halts if one.scope == "pair" or one.binds(agent, "")),
    )


def _in_pairs(idle: Idle) -> Iterator[Left]:
    """Yield the limits of the pairs in which something is taken of them."""
    standing = idle.standing
    pairs = {trade.pair for trade in idle.facts.open_trades}
    pairs |= {one.pair for one in standing.holdings} | {one.pair for one in standing.sent}
    for pair in sorted(pairs):
        there = Idle(replace(idle.asked, order=nothing_in(pair)), idle.facts, standing)
        for one in _left(there, OF_PAIR, known=True):
            if one.left != one.limit:
                yield Left(one.rule, one.limit, one.left, pair)


def _left(idle: Idle, rules: frozenset[str], *, known: bool) -> Iterator[Left]:
    for rule in RULES:
        check = rule.check(idle) if rule.code in rules else None
        if check is not None and check.limit is not None:
            yield Left(rule.code, check.limit, check.left if known else None)


def nothing_in(pair: str) -> OrderRequest:
    """Return an order for an idle case to name; its amount is never looked at."""
    return OrderRequest(
        request_id=UUID(int=0), pair=pair, side="buy", amount=Decimal(1), order_type="market"
    )
