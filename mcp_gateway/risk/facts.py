"""What a decision stands on: what the bot says, what the ledger holds, what was granted. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType
from typing import Final, Literal, NamedTuple

from mcp_gateway.domain.market import NOTHING_KNOWN, MarketRules
from mcp_gateway.domain.orders import OrderRecord, State
from mcp_gateway.domain.positions import Balance, BotState, Mode, Trade

NOTHING: Final = Decimal(0)
HaltScope = Literal["all", "agent", "pair"]


@dataclass(frozen=True, slots=True)
class Price:
    """The last price that the bot has told, in quote per base, and its age in seconds."""

    value: Decimal
    age_s: float
    timeframe_s: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What the bot said just now; None where it could not tell, or was not asked.

    ``held`` is the open trade in the order's pair that this agent may close; ``pair_is_held``
    says that somebody holds the pair. ``owners`` names the agent of every trade of ours, by
    its tag. ``market`` is what is known of the pair's market, ``taken_stake`` the smallest
    stake of an earlier entry that the bot did not raise. ``closed_today`` are the trades that
    were closed since midnight UTC.
    """

    declared_mode: Mode
    bot: BotState
    open_trades: tuple[Trade, ...]
    pair_is_held: bool
    bot_started_at: datetime | None
    pairs: tuple[str, ...] = ()
    blacklisted: tuple[str, ...] | None = ()
    locked: tuple[str, ...] | None = ()
    price: Price | None = None
    balance: Balance | None = None
    held: Trade | None = None
    fee_rate: Decimal | None = None
    market: MarketRules = NOTHING_KNOWN
    taken_stake: Decimal | None = None
    owners: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    closed_today: tuple[Trade, ...] | None = None

    def owner(self, trade: Trade) -> str | None:
        """Return the agent whose order opened a trade; None for the strategy's, or a person's."""
        return None if trade.tag is None else self.owners.get(trade.tag)


class Holding(NamedTuple):
    """What one other order of the same bot holds."""

    state: State
    pair: str
    agent: str
    issuer: str
    reserved_quote: Decimal | None


class Sent(NamedTuple):
    """One entry that left within the last day, whoever's."""

    state: State
    pair: str
    agent: str
    subject: str
    fingerprint: str
    at: datetime
    quote: Decimal | None

    @property
    def costs(self) -> Decimal:
        """What it has cost, or may: nothing where it is known that nothing was done."""
        undone = self.state in {State.DENIED, State.REJECTED}
        return NOTHING if undone else self.quote or NOTHING


@dataclass(frozen=True, slots=True)
class Halt:
    """A stop of entries that a person, or a watch, has put in force.

    Args:
        scope: ``all``, or one agent or one pair, which ``name`` names.
        code: ``operator``, or the watch that put it in force.
    """

    scope: HaltScope
    name: str
    code: str
    at: datetime

    def binds(self, pair: str, *names: str) -> bool:
        """Tell whether it stops an entry.

        Args:
            names: the agent that the entry is for, and the caller that sends it: a halted
                process must not go on under the name of another that it may act for.
        """
        if self.scope == "agent":
            return self.name in names
        return self.scope == "all" or self.name == pair


@dataclass(frozen=True, slots=True)
class Standing:
    """What the ledger holds against an entry.

    Args:
        holdings: what others have set aside and the bot may not know yet.
        sent: the entries of the last day.
        halts: what is in force.
        doubtful: entries that a person has to look at: they may have been carried out without
            the bot's knowing.
        under_review: an order of the same agent in this pair is one of those that wait.
    """

    holdings: tuple[Holding, ...] = ()
    sent: tuple[Sent, ...] = ()
    halts: tuple[Halt, ...] = ()
    doubtful: tuple[Holding, ...] = ()
    under_review: bool = False

    @classmethod
    def of(
        cls,
        order: OrderRecord,
        others: Sequence[Holding],
        sent: Sequence[Sent] = (),
        halts: Sequence[Halt] = (),
    ) -> "Standing":
        """Tell apart what reserves from what waits for a person."""
        waiting = tuple(one for one in others if one.state is State.NEEDS_REVIEW)
        return cls(
            holdings=tuple(one for one in others if one.state is not State.NEEDS_REVIEW),
            sent=tuple(sent),
            halts=tuple(halts),
            doubtful=tuple(one for one in waiting if one.reserved_quote),
            under_review=any(
                (one.pair, one.agent, one.issuer) == (order.pair, order.agent, order.issuer)
                for one in waiting
            ),
        )

    def reserved(self, *, pair: str | None = None, agent: str | None = None) -> Decimal:
        """Return the money that others have set aside, all or one pair's or agent's."""
        return _sum(_of(self.holdings, pair, agent))

    def exposed(self, *, pair: str | None = None, agent: str | None = None) -> Decimal:
        """Return the same, and what may have been spent without the bot's knowing."""
        return _sum(_of((*self.holdings, *self.doubtful), pair, agent))

    def entries(self, *, pair: str | None = None, agent: str | None = None) -> int:
        """Return how many slots others have set aside."""
        return len(_of(self.holdings, pair, agent))

    def positions(self, *, agent: str | None = None) -> int:
        """Return the same, and those that may have been taken without the bot's knowing."""
        return len(_of((*self.holdings, *self.doubtful), None, agent))

    def sent_since(self, since: datetime, *, agent: str | None = None) -> list[Sent]:
        """Return the entries that left from a moment on, all or one agent's."""
        return [one for one in self.sent if one.at >= since and agent in {None, one.agent}]


def _of(held: Sequence[Holding], pair: str | None, agent: str | None) -> list[Holding]:
    return [one for one in held if pair in {None, one.pair} and agent in {None, one.agent}]


def _sum(held: Sequence[Holding]) -> Decimal:
    return sum((one.reserved_quote or NOTHING for one in held), NOTHING)


NOTHING_STANDS: Final = Standing()


@dataclass(frozen=True, slots=True)
class Previewed:
    """What a dry run saw, as its sealed ``preview_id`` tells it."""

    price: Decimal
    policy: str


@dataclass(frozen=True, slots=True)
class Grants:
    """What an order brings along: a preview, and a person's word on what it may cost."""

    previewed: Previewed | None = None
    approved: Decimal | None = None


NO_GRANTS: Final = Grants()


def midnight(now: datetime) -> datetime:
    """Return when the day of a moment began; limits of a day count from there."""
    return now.replace(hour=0, minute=0, second=0, microsecond=0)
