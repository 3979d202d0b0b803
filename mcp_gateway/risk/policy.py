"""The policy: what the person who is liable allows, as values. Pure.

Amounts are in base where a name says so, money is in the bot's quote currency, times are UTC.
None means: no such limit.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from datetime import datetime
from decimal import Decimal
from functools import cached_property
from types import MappingProxyType
from typing import Any, Final, Literal

from mcp_gateway.domain.market import NOTHING_KNOWN, MarketRules, base_and_quote
from mcp_gateway.domain.orders import OrderType, Side, canonical

Closes = Literal["own", "gateway", "all"]
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
HASH_LENGTH: Final = 12


@dataclass(frozen=True, slots=True)
class Hours:
    """A span of one weekday (0 is Monday), in minutes since midnight UTC, its end exclusive."""

    day: int
    begins: int
    ends: int

    def covers(self, at: datetime) -> bool:
        """Tell whether a moment lies within."""
        return at.weekday() == self.day and self.begins <= at.hour * 60 + at.minute < self.ends


@dataclass(frozen=True, slots=True)
class Limits:
    """What one agent may do.

    Args:
        enabled: False denies every entry.
        pairs: exact names, or ``*/QUOTE``; all that the bot trades where None.
        sides: ``sell`` alone lets an agent only close; exits are never trapped.
        order_notional: what one entry may cost, its fee included.
        wallet_share: of the wallet, for the same.
        pair_notional: what the account may hold in one pair.
        agent_notional: what the agent's own open positions and orders may have cost.
        agent_positions: how many of them there may be.
        orders_per_minute: entries sent in the last 60 s.
        orders_per_day: entries sent since midnight.
        daily_notional: what the entries since midnight may cost together.
        daily_loss: what may be lost since midnight: closed, and what open positions stand at.
        price_collar: how far a limit price may lie from the last one, as a share of it.
        price_age_s: how old the last price may be; never more than two of the bot's candles.
        duplicate_window_s: no second order of the same content within.
        repeats: entries of one agent in one pair, within ``repeat_window_s``; one more disables
            the agent until a person enables it.
        hours: when entries may be sent; at any time where None.
        approval_above: entries that cost more wait for a person.
        preview_required: entries need the ``preview_id`` of a dry run.
        price_tolerance: how far the price may have moved since the preview, as a share.
        closes: whose positions the agent may sell.
        asks_client: the person at the agent's own client may approve (elicitation).
    """

    enabled: bool = True
    pairs: frozenset[str] | None = None
    sides: frozenset[Side] = frozenset({"buy", "sell"})
    order_types: frozenset[OrderType] = frozenset({"market", "limit"})
    order_notional: Decimal | None = Decimal(1000)
    wallet_share: Decimal | None = Decimal("0.2")
    pair_notional: Decimal | None = None
    agent_notional: Decimal | None = None
    agent_positions: int | None = None
    orders_per_minute: int | None = 60
    orders_per_day: int | None = 1000
    daily_notional: Decimal | None = None
    daily_loss: Decimal | None = None
    price_collar: Decimal = Decimal("0.05")
    price_age_s: int | None = None
    duplicate_window_s: int | None = None
    repeats: int | None = None
    repeat_window_s: int = 60
    hours: frozenset[Hours] | None = None
    approval_above: Decimal | None = None
    preview_required: bool = False
    price_tolerance: Decimal = Decimal("0.01")
    closes: Closes = "own"
    asks_client: bool = False


@dataclass(frozen=True, slots=True)
class Totals:
    """What all agents together may do; the same words as in ``Limits``."""

    notional: Decimal | None = None
    positions: int | None = None
    orders_per_minute: int | None = None
    orders_per_day: int | None = None
    daily_notional: Decimal | None = None
    daily_loss: Decimal | None = None


@dataclass(frozen=True)  # no slots: what is worked out once is kept
class Policy:
    """The operator's rules.

    Args:
        defaults: of every agent.
        agents: of those who have a section of their own, whole.
        markets: by pair, or by ``*/QUOTE`` for all of a quote.
        amounts: the largest amount of one order in base, by pair.
        waiting: markets whose new numbers wait for a person to agree, and their entries with
            them; no file tells any.
        written: False for the built-in policy, which lets nobody trade real money.
    """

    defaults: Limits = Limits()
    agents: Mapping[str, Limits] = field(default_factory=lambda: MappingProxyType({}))
    totals: Totals = Totals()
    markets: Mapping[str, MarketRules] = field(default_factory=lambda: MappingProxyType({}))
    amounts: Mapping[str, Decimal] = field(default_factory=lambda: MappingProxyType({}))
    waiting: frozenset[str] = frozenset()
    written: bool = False

    def limits(self, agent: str) -> Limits:
        """Return what holds for an agent."""
        return self.agents.get(agent, self.defaults)

    def market(self, pair: str) -> MarketRules:
        """Return what is known of a pair: the exact pair first, then ``*/QUOTE``."""
        _, quote = base_and_quote(pair)
        wider = self.markets.get(f"*/{quote}", NOTHING_KNOWN)
        return self.markets.get(pair, NOTHING_KNOWN).filled_from(wider)

    def largest_amount(self, pair: str) -> Decimal | None:
        """Return the largest amount of one order (base): the exact pair first, then ``*/QUOTE``."""
        _, quote = base_and_quote(pair)
        return self.amounts.get(pair, self.amounts.get(f"*/{quote}"))

    def waits(self, pair: str) -> bool:
        """Tell whether entries in a pair wait; the exact pair first, then ``*/QUOTE``."""
        if pair in self.markets or pair in self.amounts or pair in self.waiting:
            return pair in self.waiting
        return f"*/{base_and_quote(pair)[1]}" in self.waiting

    @cached_property
    def hash(self) -> str:
        """Twelve hex digits that change with any rule, and with nothing else."""
        text = json.dumps(as_json(self), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()[:HASH_LENGTH]


def allows_pair(pairs: frozenset[str] | None, pair: str) -> bool:
    """Tell whether a set of pairs and ``*/QUOTE`` has ``pair`` in it."""
    return pairs is None or pair in pairs or f"*/{base_and_quote(pair)[1]}" in pairs


def is_wide(name: str) -> bool:
    """Tell whether a market's name stands for every pair of a quote."""
    return name.startswith("*/")


def as_json(value: Any) -> Any:
    """Return a policy, or a part of one, as JSON values that are equal when it is."""
    if is_dataclass(value) and not isinstance(value, type):
        return {part.name: as_json(getattr(value, part.name)) for part in fields(value)}
    if isinstance(value, Decimal):
        return canonical(value)
    if isinstance(value, Mapping):
        return {name: as_json(one) for name, one in value.items()}
    if isinstance(value, frozenset):
        return sorted((as_json(one) for one in value), key=repr)
    return value


BUILT_IN: Final = Policy()
