"""What an agent's limits leave it, before it asks for anything: told by the rules themselves. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Final
from uuid import UUID

from mcp_gateway.domain.orders import OrderRequest
from mcp_gateway.risk.case import Asked, Idle
from mcp_gateway.risk.facts import Facts, Halt, Standing
from mcp_gateway.risk.policy import Limits, Policy
from mcp_gateway.risk.rules import RULES, Rule

LEAVING: Final = tuple(rule for rule in RULES if rule.leaves)
IN_PAIRS: Final = tuple(rule for rule in RULES if rule.leaves == "pair")
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
        amounts: the largest amount of one order in base, by pair or ``*/QUOTE``.
        known: whether what is left could be counted; without the ledger nobody knows it.
        halts: those in force that bind the agent, in some pair at least.
    """

    limits: Limits
    policy: str
    left: tuple[Left, ...]
    known: bool
    halts: tuple[Halt, ...]
    amounts: Mapping[str, Decimal] = field(default_factory=lambda: MappingProxyType({}))


def allowance_of(
    agent: str, policy: Policy, now: datetime, facts: Facts, standing: Standing, *, known: bool
) -> Allowance:
    """Return what an agent may do, by the rules that its next order will be held against.

    Args:
        facts: of the bot as a whole; of no pair.
        standing: what the ledger holds; of a ledger that does not tell, the halts alone.
        known: whether it tells; else no limit tells what is left.
    """
    asked = Asked(nothing_in(NO_PAIR), agent, agent, "", policy, now)
    idle = Idle(asked, facts, standing)
    pairs = _in_pairs(idle) if known else ()
    return Allowance(
        limits=idle.limits,
        policy=policy.hash,
        left=(*_left(idle, LEAVING, known=known), *pairs),
        known=known,
        halts=tuple(one for one in standing.halts if one.scope == "pair" or one.binds("", agent)),
        amounts=policy.amounts,
    )


def _in_pairs(idle: Idle) -> Iterator[Left]:
    """Yield the limits of the pairs in which something is taken of them."""
    standing = idle.standing
    pairs = {trade.pair for trade in idle.facts.open_trades}
    pairs |= {one.pair for one in standing.holdings} | {one.pair for one in standing.sent}
    for pair in sorted(pairs):
        there = Idle(replace(idle.asked, order=nothing_in(pair)), idle.facts, standing)
        for one in _left(there, IN_PAIRS, known=True):
            if one.left != one.limit:
                yield Left(one.rule, one.limit, one.left, pair)


def _left(idle: Idle, rules: Iterable[Rule], *, known: bool) -> Iterator[Left]:
    for rule in rules:
        check = rule.check(idle)
        if check is not None and check.limit is not None:
            yield Left(rule.code, check.limit, check.left if known else None)


def nothing_in(pair: str) -> OrderRequest:
    """Return an order for an idle case to name; its amount is never looked at."""
    return OrderRequest(
        request_id=UUID(int=0), pair=pair, side="buy", amount=Decimal(1), order_type="market"
    )
