"""An order, and all that its judge looks at, from which a test changes what it is about."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from mcp_gateway.domain.market import MarketRules
from mcp_gateway.domain.orders import OrderRequest, State, fingerprint
from mcp_gateway.domain.positions import Balance, BotState, Trade
from mcp_gateway.risk.facts import (
    NO_GRANTS,
    NOTHING_STANDS,
    Facts,
    Grants,
    Holding,
    Price,
    Sent,
    Standing,
)
from mcp_gateway.risk.judge import Verdict
from mcp_gateway.risk.policy import Limits, Policy, Totals
from tests.support.clock import START
from tests.support.desk import order
from tests.support.judged import AGENT, judged

PAIR, ELSEWHERE = "BTC/USDT", "ETH/USDT"
OTHER: Final = "agent-b"
NO_LIMITS: Final = Limits(
    order_notional=None, wallet_share=None, orders_per_minute=None, orders_per_day=None
)
NO_TOTALS: Final = Totals()
STATE: Final = BotState(
    mode="dry-run", state="running", spot=True, quote_currency="USDT", timeframe="5m",
    max_open_positions=100, entries_enabled=True, name="bot", version="2026.9",
)  # fmt: skip
TRADE: Final = Trade(
    trade_id=1, pair=ELSEWHERE, is_open=True, is_short=False, tag="gw:1", amount=Decimal(2),
    open_rate=Decimal(100), current_rate=Decimal(90), fee_rate=None, lot_step=Decimal("0.1"),
    opened_at=None, orders=(), profit=Decimal(-20),
)  # fmt: skip
FACTS: Final = Facts(
    closed_today=(),
    declared_mode="dry-run", bot=STATE, open_trades=(), pair_is_held=False, bot_started_at=None,
    pairs=(PAIR,), price=Price(Decimal(100), 10.0, 300),
    balance=Balance("USDT", Decimal(100_000), Decimal(50_000), True),
    fee_rate=Decimal("0.001"), market=MarketRules(Decimal("0.00001"), Decimal(5)),
    owners={"gw:1": AGENT, "gw:2": OTHER},
)  # fmt: skip
# An order of one base at 100: half a step on top of it, and the fee.
STAKE: Final = Decimal("100.0005")
SPENT: Final = Decimal("100.1005005")


@dataclass(frozen=True)
class Situation:
    """An ordinary entry of one base, but for what a test changes."""

    facts: Facts = FACTS
    standing: Standing = NOTHING_STANDS
    limits: Limits = NO_LIMITS
    totals: Totals = NO_TOTALS
    amounts: dict[str, Decimal] = field(default_factory=dict)
    waiting: frozenset[str] = frozenset()
    written: bool = True
    grants: Grants = NO_GRANTS
    now: datetime = START
    wanted: OrderRequest = field(default_factory=order)

    @property
    def policy(self) -> Policy:
        """What the operator wrote."""
        return Policy(
            self.limits, totals=self.totals, amounts=self.amounts, waiting=self.waiting,
            written=self.written,
        )  # fmt: skip

    @property
    def verdict(self) -> Verdict:
        """What the judge says."""
        return judged(
            self.wanted, self.facts, self.standing, policy=self.policy, now=self.now,
            grants=self.grants,
        )  # fmt: skip

    @property
    def failed(self) -> list[str]:
        """The rules that deny it."""
        return [check.rule for check in self.verdict.failed]


def told(**changes: Any) -> Situation:
    """Let the bot have told something else."""
    return Situation(replace(FACTS, **changes))


def bot(**changes: Any) -> Situation:
    """Let the bot be in another state."""
    return told(bot=replace(STATE, **changes))


def limited(standing: Standing = NOTHING_STANDS, facts: Facts = FACTS, **limits: Any) -> Situation:
    """Let the policy bind the agent."""
    return Situation(facts, standing, replace(NO_LIMITS, **limits))


def in_all(standing: Standing = NOTHING_STANDS, facts: Facts = FACTS, **limits: Any) -> Situation:
    """Let the policy bind all agents together."""
    return Situation(facts, standing, totals=Totals(**limits))


def asked(situation: Situation | None = None, **changes: Any) -> Situation:
    """Let the agent ask for another order."""
    return replace(situation or Situation(), wanted=order(**changes))


def selling(amount: str = "1", held: Trade | None = None, **changes: Any) -> Situation:
    """Let the agent sell of what it holds in the pair: two base."""
    here = held or replace(TRADE, pair=PAIR)
    facts: dict[str, Any] = {"open_trades": (here,), "pair_is_held": True, "held": here} | changes
    return asked(told(**facts), side="sell", amount=amount)


def holding(
    quote: str = "50", pair: str = ELSEWHERE, agent: str = AGENT, state: State = State.SENT
) -> Holding:
    """Return what another order holds."""
    return Holding(state, pair, agent, "tests", Decimal(quote))


def sent(
    at: datetime, quote: str = "50", *, agent: str = AGENT, pair: str = ELSEWHERE,
    state: State = State.PLACED, same: bool = False,
) -> Sent:  # fmt: skip
    """Return an entry that left at a moment; ``same`` as the one that is judged."""
    content = fingerprint(order(), agent) if same else "f"
    return Sent(state, pair, agent, agent, content, at, Decimal(quote))
