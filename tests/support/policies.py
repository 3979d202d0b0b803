"""Policies and orders to hold them against, drawn by whatever picks: hypothesis, or a seed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Any, Final, Literal

from mcp_gateway.domain.market import MarketRules
from mcp_gateway.domain.orders import OrderRequest, State, fingerprint
from mcp_gateway.domain.positions import Balance, BotState, Trade
from mcp_gateway.risk.bounds import OF_AN_AGENT
from mcp_gateway.risk.facts import Facts, Grants, Previewed, Price, Sent, Standing
from mcp_gateway.risk.judge import Verdict
from mcp_gateway.risk.policy import Hours, Limits, Policy, Totals
from tests.support.clock import START
from tests.support.desk import order
from tests.support.judged import AGENT, judged

Pick = Callable[[Sequence[Any]], Any]

PAIR: Final = "BTC/USDT"
OPEN: Final = Limits(
    order_notional=None, wallet_share=None, orders_per_minute=None, orders_per_day=None,
    price_collar=Decimal("0.1"), price_tolerance=Decimal("0.3"), closes="all",
)  # fmt: skip
NO_TOTALS: Final = Totals()
KNOWN: Final = MarketRules(Decimal("0.1"), Decimal(5))
STATE: Final = BotState(
    mode="dry-run", state="running", spot=True, quote_currency="USDT", timeframe="5m",
    max_open_positions=None, entries_enabled=True, name="bot", version="2026.9",
)  # fmt: skip
TRADE: Final = Trade(
    trade_id=1, pair=PAIR, is_open=True, is_short=False, tag="gw:1", amount=Decimal(1),
    open_rate=Decimal(100), current_rate=None, fee_rate=Decimal("0.001"),
    lot_step=Decimal("0.1"), opened_at=None, orders=(), profit=Decimal(-120),
)  # fmt: skip
ELSEWHERE: Final = replace(TRADE, pair="ETH/USDT")

_MONEY: Final = (None, Decimal(90), Decimal(250), Decimal("1000.5"), Decimal(5000))
_COUNTS: Final = (None, 1, 2, 3)
_SHARES: Final = (Decimal("0.01"), Decimal("0.05"), Decimal("0.3"))
_TUESDAY: Final = (Hours(1, 540, 660), Hours(1, 590, 601), Hours(1, 601, 700), Hours(2, 0, 9))
OF_LIMITS: Final[Mapping[str, tuple[Any, ...]]] = {
    **{name: _MONEY for name in OF_AN_AGENT if name.endswith(("notional", "loss", "above"))},
    "enabled": (True, False),
    "pairs": (None, *map(frozenset, ([PAIR], ["*/USDT"], ["ETH/USDT", "*/EUR"]))),
    "sides": tuple(map(frozenset, (["buy", "sell"], ["buy"], ["sell"]))),
    "order_types": tuple(map(frozenset, (["limit", "market"], ["limit"], ["market"]))),
    "wallet_share": (None, *_SHARES),
    "agent_positions": _COUNTS,
    "orders_per_minute": _COUNTS,
    "orders_per_day": _COUNTS,
    "price_collar": _SHARES,
    "price_age_s": (None, 5, 60),
    "duplicate_window_s": (None, 30, 90),
    "repeats": _COUNTS,
    "repeat_window_s": (30, 90),
    "hours": (None, *(frozenset([span]) for span in _TUESDAY), frozenset(_TUESDAY[2:])),
    "preview_required": (False, True),
    "price_tolerance": _SHARES,
    "closes": ("own", "gateway", "all"),
    "asks_client": (False, True),
}
OF_TOTALS: Final[Mapping[str, tuple[Any, ...]]] = {
    "notional": _MONEY, "positions": _COUNTS, "orders_per_minute": _COUNTS,
    "orders_per_day": _COUNTS, "daily_notional": _MONEY, "daily_loss": _MONEY,
}  # fmt: skip
OF_MARKETS: Final = (
    KNOWN, MarketRules(), MarketRules(Decimal("0.5"), Decimal(5)),
    MarketRules(Decimal("0.1"), Decimal(60)), MarketRules(Decimal("0.1")),
    MarketRules(Decimal("0.1"), Decimal(5), Decimal(1)), MarketRules(Decimal("0.1"), None, Decimal(1)),
)  # fmt: skip
OF_AMOUNTS: Final = (None, Decimal(1), Decimal("2.1"), Decimal("9.7"))


def policy(
    markets: Mapping[str, MarketRules] | None = None,
    amounts: Mapping[str, Decimal] | None = None,
    agents: Mapping[str, Limits] | None = None,
    totals: Totals = NO_TOTALS,
    **changes: Any,
) -> Policy:
    """Return a written policy that allows everything, but for what a test says."""
    return Policy(
        defaults=replace(OPEN, **changes),
        agents=MappingProxyType(agents or {}),
        totals=totals,
        markets=MappingProxyType({PAIR: KNOWN} if markets is None else markets),
        amounts=MappingProxyType(amounts or {}),
        written=True,
    )


def some_policy(pick: Pick) -> Policy:
    """Return a policy that differs from the open one in a few things, so that orders pass at all."""
    amounts = {name: pick((None, None, *OF_AMOUNTS)) for name in (PAIR, "*/USDT")}
    markets = {name: pick((None, KNOWN, *OF_MARKETS)) for name in (PAIR, "*/USDT")}
    told = {name: pick(values) for name, values in OF_TOTALS.items() if pick((True, False, False))}
    return Policy(
        defaults=_some_limits(pick),
        agents=MappingProxyType({AGENT: _some_limits(pick)} if pick((True, False)) else {}),
        totals=Totals(**told),
        markets=MappingProxyType({name: one for name, one in markets.items() if one is not None}),
        amounts=MappingProxyType({name: one for name, one in amounts.items() if one is not None}),
        written=pick((True, True, False)),
    )


def _some_limits(pick: Pick) -> Limits:
    names = {pick(sorted(OF_LIMITS)) for _ in range(pick((0, 1, 2, 3)))}
    return replace(OPEN, **{name: pick(OF_LIMITS[name]) for name in sorted(names)})


def aspects() -> dict[str, tuple[Policy, ...]]:
    """Return for each thing that a policy tells open policies that differ in it alone."""
    found: dict[str, tuple[Policy, ...]] = {}
    for name, values in OF_LIMITS.items():
        other: dict[str, Any] = {"repeats": 1} if name == "repeat_window_s" else {}
        found[name] = tuple(policy(**{name: value}, **other) for value in values)
        own = (replace(OPEN, **{name: value}, **other) for value in values)
        found[f"agents.{name}"] = (policy(**other), *(policy(agents={AGENT: one}) for one in own))
    for name, values in OF_TOTALS.items():
        found[f"total.{name}"] = tuple(policy(totals=Totals(**{name: one})) for one in values)
    for pair in (PAIR, "*/USDT"):
        found[f"markets.{pair}"] = tuple(policy({pair: one}) for one in OF_MARKETS)
        found[f"largest_amount.{pair}"] = tuple(
            policy(amounts={} if one is None else {pair: one}, price_collar=collar)
            for one in OF_AMOUNTS
            for collar in (Decimal("0.1"), Decimal("0.3"))
        )
    found["markets, both"] = tuple(
        policy({PAIR: one, "*/USDT": other}) for one in OF_MARKETS[:3] for other in OF_MARKETS[:2]
    )
    found["written"] = (policy(), replace(policy(), written=False))
    return found


@dataclass(frozen=True)
class World:
    """An order and everything that it is judged on, but for the policy."""

    wanted: OrderRequest
    live: bool
    age_s: float
    owner: Literal["own", "gateway", "all"]
    held: tuple[Trade, ...]
    taken: Decimal | None
    previewed: Decimal | None
    sent: tuple[Sent, ...]

    def verdict(self, policy: Policy) -> Verdict:
        """Judge as a gateway with this policy would: with the facts that it would gather."""
        standing = Standing(sent=self.sent)
        seen = None if self.previewed is None else Previewed(self.previewed, policy.hash)
        return judged(
            self.wanted, self._facts(policy), standing, policy=policy, grants=Grants(seen)
        )

    def denied(self, policy: Policy) -> bool:
        """Tell whether a rule speaks against it."""
        return bool(self.verdict(policy).failed)

    def _facts(self, policy: Policy) -> Facts:
        here = next((trade for trade in self.held if trade.pair == self.wanted.pair), None)
        order_of = ("own", "gateway", "all")
        closes = order_of.index(policy.limits(AGENT).closes)
        may_close = self.wanted.side == "sell" and closes >= order_of.index(self.owner)
        owners = {"own": {"gw:1": AGENT}, "gateway": {"gw:1": "agent-b"}, "all": {}}[self.owner]
        market = policy.market(PAIR)
        mode: Literal["live", "dry-run"] = "live" if self.live else "dry-run"
        return Facts(
            declared_mode=mode,
            bot=replace(STATE, mode=mode),
            open_trades=self.held,
            pair_is_held=here is not None,
            bot_started_at=None,
            pairs=(PAIR,),
            price=Price(Decimal(100), self.age_s, 300),
            balance=Balance("USDT", Decimal(10_000), Decimal(9_000), True),
            held=here if may_close else None,
            market=market,
            taken_stake=self.taken if market.minimum_stake is None else None,
            owners=MappingProxyType(owners),
        )


def some_world(pick: Pick) -> World:
    """Return an order and a state of things."""
    limit = pick((None, None, "95", "100", "104", "120"))
    kind = {} if limit is None else {"order_type": "limit", "price": limit}
    side = pick(("buy", "buy", "buy", "sell"))
    amount = pick(("0.3", "0.8", "1")) if side == "sell" else pick(("0.3", "0.8", "2", "9.6"))
    wanted = order(side=side, amount=amount, **kind)
    prints = (fingerprint(wanted, AGENT), "other", "other")
    return World(
        wanted=wanted,
        live=pick((False, False, False, True)),
        age_s=pick((1.0, 30.0)),
        owner=pick(("own", "gateway", "all")),
        held=(TRADE,) if side == "sell" else pick(((), (), (ELSEWHERE,), (TRADE,))),
        taken=pick((None, Decimal(20), Decimal(80))),
        previewed=pick((None, Decimal(100), Decimal(104))),
        sent=tuple(
            Sent(State.FILLED, PAIR, *(pick((AGENT, AGENT, "agent-b")),) * 2, one,
                 START - timedelta(seconds=pick((1, 31, 61, 9000))), Decimal(100))
            for one in prints[: pick((0, 1, 2, 3))]
        ),
    )  # fmt: skip
