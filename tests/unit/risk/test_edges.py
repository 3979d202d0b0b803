"""Each rule just inside its limit, on it and just outside; and none that traps an exit.

A step is the smallest that matters: 1e-8 of quote or base, one second, one order.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_gateway.domain.market import MarketRules
from mcp_gateway.domain.orders import State
from mcp_gateway.domain.positions import Balance, Trade, TradeOrder
from mcp_gateway.risk.facts import (
    NO_GRANTS,
    Facts,
    Grants,
    Halt,
    Holding,
    Previewed,
    Price,
    Standing,
    midnight,
)
from mcp_gateway.risk.policy import Hours, Totals
from mcp_gateway.risk.rules import RULES
from tests.support.clock import START
from tests.support.judged import AGENT
from tests.support.situations import (
    ELSEWHERE,
    FACTS,
    NO_LIMITS,
    OTHER,
    PAIR,
    SPENT,
    STAKE,
    STATE,
    TRADE,
    Situation,
    asked,
    bot,
    holding,
    in_all,
    limited,
    selling,
    sent,
    told,
)

pytestmark = pytest.mark.unit

E: Final = Decimal("1e-8")
SECOND: Final = timedelta(seconds=1)
TODAY: Final = midnight(START)
HALT: Final = Halt("all", "", "operator", START)
BEFORE: Final = START - timedelta(minutes=30)
RESTING: Final = TradeOrder(
    order_id="b1", tag="gw:1", side="buy", order_type="limit", status="open", is_open=True,
    amount=Decimal(5), filled=Decimal(2), average_price=None, price=Decimal(100), at=None,
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """What a rule lets pass, at its limit or just inside, and what it denies just outside."""

    passes: tuple[Situation, ...]
    denies: tuple[Situation, ...]


def halted(*halts: Halt) -> Situation:
    return Situation(standing=Standing(halts=halts))


def at(now: datetime, *hours: Hours) -> Situation:
    return replace(limited(hours=frozenset(hours)), now=now)


def aged(age_s: float, **limits: Any) -> Situation:
    return limited(facts=replace(FACTS, price=Price(Decimal(100), age_s, 300)), **limits)


def at_price(price: str, situation: Situation | None = None) -> Situation:
    return asked(situation, order_type="limit", price=price)


def of_market(situation: Situation, *rules: str | Decimal) -> Situation:
    market = MarketRules(*map(Decimal, rules))
    return replace(situation, facts=replace(situation.facts, market=market))


def bound(**amounts: Decimal) -> Situation:
    """Bind what one order may buy; with the collar it is a quarter more than its stake says."""
    named = {name.replace("_", "/"): most for name, most in amounts.items()}
    return replace(limited(price_collar=Decimal("0.2")), amounts=named)


def wallet(total: Decimal) -> Situation:
    balance = Balance("USDT", total, Decimal(50_000), True)
    return limited(facts=replace(FACTS, balance=balance), wallet_share=Decimal("0.2"))


def free(quote: Decimal, *holdings: Holding) -> Situation:
    balance = Balance("USDT", Decimal(100_000), quote, True)
    return replace(told(balance=balance), standing=Standing(holdings))


def open_now(*trades: Trade) -> Facts:
    return replace(FACTS, open_trades=trades)


def lately(*at: datetime, agent: str = AGENT, **of: Any) -> Standing:
    return Standing(sent=tuple(sent(one, agent=agent, **of) for one in at))


def costing(quote: str, at: datetime = BEFORE, **of: Any) -> Standing:
    return Standing(sent=(sent(at, quote, **of),))


def slots(count: int | None, trades: int, holdings: int) -> Situation:
    facts = replace(open_now(*(TRADE,) * trades), bot=replace(STATE, max_open_positions=count))
    return Situation(facts, Standing((holding(),) * holdings))


def previewed(situation: Situation, price: str = "100", policy: str | None = None) -> Situation:
    seen = Previewed(Decimal(price), policy or situation.policy.hash)
    return replace(situation, grants=Grants(previewed=seen))


def last(price: str) -> Situation:
    """Let the price be another than the hundred that was previewed."""
    return previewed(told(price=Price(Decimal(price), 10.0, 300)))


def approved(quote: Decimal) -> Situation:
    return Situation(grants=Grants(approved=quote))


# What is held at ETH/USDT by the agent's own trade: two base, at the hundred that they cost.
OWN, THEIRS = TRADE, replace(TRADE, tag="gw:2")
HELD_QUOTE, SET_ASIDE = Decimal(200), Decimal(50)
SUM: Final = HELD_QUOTE + SET_ASIDE + SPENT
RESERVED = Standing((holding(),))
UNSURE = Standing(doubtful=(holding(state=State.NEEDS_REVIEW),))
HERE = Standing(doubtful=(holding(pair=PAIR, agent=OTHER, state=State.NEEDS_REVIEW),))
NOON: Final = Hours(1, 600, 660)  # START is a Tuesday, ten o'clock
EVENING: Final = Hours(1, 1380, 1440)
LOSSES: Final = open_now(OWN)  # which stands twenty below what it has cost
CLOSED: Final = replace(OWN, is_open=False, closed_at=START, profit=Decimal(-30))
LOST_MORE: Final = replace(LOSSES, closed_today=(CLOSED,))

EDGES: Final[dict[str, Row]] = {
    "trading_halted": Row(
        (halted(Halt("agent", OTHER, "x", START), Halt("pair", ELSEWHERE, "x", START)), halted()),
        (halted(HALT), halted(Halt("agent", AGENT, "x", START)), halted(Halt("pair", PAIR, "x", START))),
    ),
    "mode_mismatch": Row(
        (bot(mode="dry-run"), told(declared_mode="live", bot=replace(STATE, mode="live"))),
        (bot(mode="live"), told(declared_mode="live")),
    ),
    "live_needs_policy": Row(
        (told(declared_mode="live", bot=replace(STATE, mode="live")), replace(told(), written=False)),
        (replace(told(declared_mode="live", bot=replace(STATE, mode="live")), written=False),),
    ),
    "futures_not_served": Row((bot(spot=True),), (bot(spot=False),)),
    "bot_not_running": Row(
        (bot(state="running"), selling(bot=replace(STATE, state="paused"))),
        (bot(state="paused"), bot(state="stopped"), bot(state=""),
         selling(bot=replace(STATE, state="stopped")), selling(bot=replace(STATE, state="reload_config"))),
    ),
    "entries_disabled": Row((bot(entries_enabled=True),), (bot(entries_enabled=False),)),
    "agent_disabled": Row((limited(enabled=True),), (limited(enabled=False),)),
    "outside_hours": Row(
        (at(START, NOON), at(START + 3599 * SECOND, NOON), at(START, EVENING, NOON),
         at(TODAY + timedelta(days=1) - SECOND, EVENING)),
        (at(START - SECOND, NOON), at(START + 3600 * SECOND, NOON), at(START),
         at(TODAY + timedelta(days=1), EVENING), at(START, replace(NOON, day=2)),
         at(START + timedelta(days=7, hours=1), NOON)),
    ),
    "pair_not_allowed": Row(
        (limited(pairs=None), limited(pairs=frozenset({PAIR})), limited(pairs=frozenset({"*/USDT"}))),
        (limited(pairs=frozenset({ELSEWHERE, "*/EUR"})), limited(pairs=frozenset())),
    ),
    "side_not_allowed": Row(
        (limited(sides=frozenset({"buy"})), replace(selling(), limits=replace(NO_LIMITS, sides=frozenset({"buy"})))),
        (limited(sides=frozenset({"sell"})), limited(sides=frozenset())),
    ),
    "order_type_not_allowed": Row(
        (limited(order_types=frozenset({"market"})),
         at_price("100", limited(order_types=frozenset({"limit"})))),
        (limited(order_types=frozenset({"limit"})),
         at_price("100", limited(order_types=frozenset({"market"})))),
    ),
    "pair_not_whitelisted": Row((told(pairs=(ELSEWHERE, PAIR)),), (told(pairs=(ELSEWHERE,)), told(pairs=()))),
    "pair_blacklisted": Row(
        (told(blacklisted=(ELSEWHERE, "BTC")),),
        (told(blacklisted=(PAIR,)), told(blacklisted=("btc/.*",)), told(blacklisted=("BTC/USDT(",))),
    ),
    "pair_locked": Row((told(locked=(ELSEWHERE,)),), (told(locked=(PAIR,)), told(locked=("*",)))),
    "order_under_review": Row((Situation(),), (Situation(standing=Standing(under_review=True)),)),
    "price_unavailable": Row(
        (aged(599), aged(600), aged(59, price_age_s=60), aged(60, price_age_s=60), aged(600, price_age_s=601)),
        (aged(601), aged(61, price_age_s=60), aged(601, price_age_s=602)),
    ),
    "price_collar": Row(
        (at_price("105"), at_price("104.99999999"), at_price("95"), at_price("95.00000001")),
        (at_price("105.00000001"), at_price("94.99999999")),
    ),
    "market_unknown": Row(
        (of_market(Situation(), "0.00001", "5"), told(market=MarketRules(E), taken_stake=Decimal(5))),
        (told(market=MarketRules()), told(market=MarketRules(lot_step=E)),
         told(market=MarketRules(minimum_stake=Decimal(5))),
         replace(Situation(), waiting=frozenset({PAIR}))),
    ),
    "amount_below_step": Row(
        (of_market(asked(amount="1.00000001"), "1", "1", "0.01"), of_market(asked(amount="1"), "1", "1", "0.01"),
         selling("0.1"), selling("0.10000001"),
         selling("0.00000001", replace(TRADE, pair=PAIR, amount=E))),
        (of_market(asked(amount="0.99999999"), "1", "1", "0.01"), selling("0.09999999")),
    ),
    "stake_below_minimum": Row(
        (of_market(at_price("100"), "0.00001", "66.66699999"), of_market(at_price("100"), "0.00001", "66.667"),
         told(market=MarketRules(Decimal("0.00001")), taken_stake=STAKE)),
        (of_market(at_price("100"), "0.00001", "66.66700001"),
         told(market=MarketRules(Decimal("0.00001")), taken_stake=STAKE + E)),
    ),
    "amount_too_large": Row(
        (bound(BTC_USDT=Decimal("1.25000626")), bound(BTC_USDT=Decimal("1.25000625")), bound(ETH_USDT=E)),
        (bound(BTC_USDT=Decimal("1.25000624")),),
    ),
    "notional_too_large": Row(
        (limited(order_notional=SPENT + E), limited(order_notional=SPENT), wallet(SPENT * 5), wallet(SPENT * 5 + E)),
        (limited(order_notional=SPENT - E), wallet(SPENT * 5 - E)),
    ),
    "pair_notional": Row(
        (limited(pair_notional=SPENT + E), limited(pair_notional=SPENT), limited(RESERVED, open_now(OWN), pair_notional=SPENT),
         limited(HERE, pair_notional=SPENT + SET_ASIDE)),
        (limited(pair_notional=SPENT - E), limited(HERE, pair_notional=SPENT + SET_ASIDE - E)),
    ),
    "agent_notional": Row(
        (limited(RESERVED, open_now(OWN), agent_notional=SUM + E), limited(RESERVED, open_now(OWN), agent_notional=SUM),
         limited(UNSURE, open_now(OWN), agent_notional=SUM),
         limited(Standing((holding(agent=OTHER),)), open_now(THEIRS), agent_notional=SPENT)),
        (limited(RESERVED, open_now(OWN), agent_notional=SUM - E), limited(UNSURE, open_now(OWN), agent_notional=SUM - E),
         limited(RESERVED, open_now(replace(OWN, orders=(RESTING,))), agent_notional=SUM + 300 - E),
         limited(RESERVED, open_now(replace(OWN, current_rate=100 + E)), agent_notional=SUM)),
    ),
    "total_notional": Row(
        (in_all(RESERVED, open_now(THEIRS), notional=SUM + E), in_all(RESERVED, open_now(THEIRS), notional=SUM)),
        (in_all(RESERVED, open_now(THEIRS), notional=SUM - E), in_all(UNSURE, open_now(replace(OWN, tag=None)), notional=SUM - E)),
    ),
    "agent_positions": Row(
        (limited(RESERVED, open_now(OWN), agent_positions=4), limited(RESERVED, open_now(OWN), agent_positions=3),
         limited(Standing((holding(agent=OTHER),)), open_now(THEIRS), agent_positions=1)),
        (limited(RESERVED, open_now(OWN), agent_positions=2), limited(agent_positions=0)),
    ),
    "total_positions": Row(
        (in_all(RESERVED, open_now(THEIRS), positions=4), in_all(RESERVED, open_now(THEIRS), positions=3)),
        (in_all(RESERVED, open_now(THEIRS), positions=2), in_all(positions=0)),
    ),
    "order_rate": Row(
        (limited(lately(START), orders_per_minute=3), limited(lately(START), orders_per_minute=2),
         limited(lately(START - 61 * SECOND), orders_per_minute=1), limited(lately(START, agent=OTHER), orders_per_minute=1)),
        (limited(lately(START), orders_per_minute=1), limited(lately(START - 60 * SECOND), orders_per_minute=1),
         limited(lately(START, state=State.REJECTED), orders_per_minute=1), limited(orders_per_minute=0)),
    ),
    "total_order_rate": Row(
        (in_all(lately(START, agent=OTHER), orders_per_minute=3), in_all(lately(START, agent=OTHER), orders_per_minute=2),
         in_all(lately(START - 61 * SECOND), orders_per_minute=1)),
        (in_all(lately(START, agent=OTHER), orders_per_minute=1), in_all(lately(START - 60 * SECOND), orders_per_minute=1)),
    ),
    "daily_orders": Row(
        (limited(lately(TODAY), orders_per_day=3), limited(lately(TODAY), orders_per_day=2),
         limited(lately(TODAY - SECOND), orders_per_day=1), limited(lately(TODAY, agent=OTHER), orders_per_day=1)),
        (limited(lately(TODAY), orders_per_day=1), limited(lately(TODAY, state=State.DENIED), orders_per_day=1)),
    ),
    "total_daily_orders": Row(
        (in_all(lately(TODAY, agent=OTHER), orders_per_day=3), in_all(lately(TODAY, agent=OTHER), orders_per_day=2),
         in_all(lately(TODAY - SECOND), orders_per_day=1)),
        (in_all(lately(TODAY, agent=OTHER), orders_per_day=1),),
    ),
    "daily_notional": Row(
        (limited(costing("50"), daily_notional=SPENT + 50 + E), limited(costing("50"), daily_notional=SPENT + 50),
         limited(costing("50", state=State.REJECTED), daily_notional=SPENT), limited(costing("50", state=State.DENIED), daily_notional=SPENT),
         limited(costing("50", agent=OTHER), daily_notional=SPENT), limited(costing("50", TODAY - SECOND), daily_notional=SPENT)),
        (limited(costing("50"), daily_notional=SPENT + 50 - E), limited(costing("50", TODAY), daily_notional=SPENT + 50 - E),
         limited(costing("50", state=State.UNKNOWN), daily_notional=SPENT + 50 - E),
         limited(costing("50", state=State.CANCELLED), daily_notional=SPENT + 50 - E)),
    ),
    "total_daily_notional": Row(
        (in_all(costing("50", agent=OTHER), daily_notional=SPENT + 50 + E), in_all(costing("50", agent=OTHER), daily_notional=SPENT + 50),
         in_all(costing("50", TODAY - SECOND), daily_notional=SPENT)),
        (in_all(costing("50", agent=OTHER), daily_notional=SPENT + 50 - E),),
    ),
    "daily_loss": Row(
        (limited(facts=LOSSES, daily_loss=20 + E), limited(facts=LOST_MORE, daily_loss=50 + E),
         limited(facts=open_now(THEIRS, replace(TRADE, tag=None)), daily_loss=E)),
        (limited(facts=LOSSES, daily_loss=Decimal(20)), limited(facts=LOSSES, daily_loss=20 - E),
         limited(facts=LOST_MORE, daily_loss=Decimal(50)), limited(facts=LOST_MORE, daily_loss=50 - E)),
    ),
    "total_daily_loss": Row(
        (in_all(facts=open_now(THEIRS), daily_loss=20 + E), in_all(facts=open_now(replace(TRADE, tag=None)), daily_loss=E)),
        (in_all(facts=open_now(THEIRS), daily_loss=Decimal(20)), in_all(facts=open_now(THEIRS), daily_loss=20 - E)),
    ),
    "duplicate_order": Row(
        (limited(lately(START - 31 * SECOND, same=True), duplicate_window_s=30), limited(lately(START), duplicate_window_s=30),
         limited(lately(START, same=True, state=State.REJECTED), duplicate_window_s=30)),
        (limited(lately(START - 29 * SECOND, same=True), duplicate_window_s=30),
         limited(lately(START - 30 * SECOND, same=True), duplicate_window_s=30)),
    ),
    "repeat_throttle": Row(
        (limited(lately(START, pair=PAIR), repeats=3), limited(lately(START, pair=PAIR), repeats=2), limited(lately(START), repeats=1),
         limited(lately(START - 31 * SECOND, pair=PAIR), repeats=1, repeat_window_s=30),
         limited(lately(START, pair=PAIR, agent=OTHER), repeats=1)),
        (limited(lately(START, pair=PAIR), repeats=1), limited(lately(START - 30 * SECOND, pair=PAIR), repeats=1, repeat_window_s=30)),
    ),
    "balance_too_small": Row(
        (free(SPENT + E), free(SPENT), free(SPENT + 50, holding())),
        (free(SPENT - E), free(SPENT + 50 - E, holding()), free(Decimal(0))),
    ),
    "no_free_slot": Row((slots(4, 1, 1), slots(3, 1, 1), slots(None, 9, 9)), (slots(2, 1, 1), slots(0, 0, 0))),
    "position_exists": Row(
        (Situation(standing=RESERVED),), (told(pair_is_held=True), Situation(standing=Standing((holding(pair=PAIR, agent=OTHER),)))),
    ),
    "preview_required": Row(
        (limited(preview_required=False), previewed(limited(preview_required=True)),
         replace(limited(preview_required=True), grants=Grants(approved=SPENT))),
        (limited(preview_required=True),),
    ),
    "policy_changed": Row((previewed(Situation()),), (previewed(Situation(), policy="0123456789ab"),)),
    "price_moved": Row(
        (last("101"), last("100.99999999"), last("99"), last("99.00000001"), replace(last("104"), wanted=at_price("104").wanted)),
        (last("101.00000001"), last("98.99999999")),
    ),
    "approval_exceeded": Row((approved(SPENT + E), approved(SPENT)), (approved(SPENT - E),)),
    "position_not_yours": Row((selling(),), (replace(selling(), facts=replace(selling().facts, held=None)),)),
    "nothing_to_sell": Row((selling(),), (asked(side="sell"),)),
    "more_than_held": Row((selling("1.99999999"), selling("2"), selling("2.09999999")), (selling("2.1"), selling("2.10000001"))),
}  # fmt: skip


def named(rows: dict[str, tuple[Situation, ...]]) -> list[Any]:
    return [
        pytest.param(code, one, id=f"{code}-{number}")
        for code, situations in rows.items()
        for number, one in enumerate(situations)
    ]


def test_every_rule_has_its_edges_here() -> None:
    """A rule without a row here is a rule that nobody has tried."""
    assert list(EDGES) == [rule.code for rule in RULES]
    assert all(row.passes and row.denies for row in EDGES.values())


@pytest.mark.parametrize(
    ("code", "situation"), named({code: row.passes for code, row in EDGES.items()})
)
def test_up_to_its_limit_a_rule_lets_pass(code: str, situation: Situation) -> None:
    """What is allowed is allowed to the last digit, and no other rule speaks of it."""
    assert situation.failed == [], code


@pytest.mark.parametrize(
    ("code", "situation"), named({code: row.denies for code, row in EDGES.items()})
)
def test_beyond_its_limit_each_rule_alone_denies(code: str, situation: Situation) -> None:
    """One step too far is too far, whatever the other rules say."""
    assert situation.failed == [code]
    assert not situation.verdict.needs_approval


@pytest.mark.parametrize(
    ("line", "waits"), [(SPENT - E, True), (SPENT, False), (SPENT + E, False), (None, False)]
)
def test_what_costs_more_than_the_line_waits_for_a_person(
    line: Decimal | None, waits: bool
) -> None:
    """It is no denial; and what was approved does not wait again."""
    situation = limited(approval_above=line)
    assert (situation.failed, situation.verdict.needs_approval) == ([], waits)
    again = replace(situation, grants=Grants(approved=SPENT))
    assert (again.failed, again.verdict.needs_approval) == ([], False)


EVERY_LIMIT: Final = replace(
    NO_LIMITS, order_notional=SPENT, wallet_share=Decimal(1), pair_notional=SPENT,
    agent_notional=SPENT, agent_positions=9, daily_notional=SPENT, daily_loss=Decimal(1),
)  # fmt: skip
EVERY_TOTAL: Final = Totals(
    notional=SPENT, positions=9, daily_notional=SPENT, daily_loss=Decimal(1)
)
MONEY: Final = {
    "market_unknown", "amount_too_large", "notional_too_large", "pair_notional", "agent_notional",
    "total_notional", "daily_notional", "total_daily_notional", "balance_too_small",
}  # fmt: skip
FILLED: Final = replace(OWN, amount=E, profit=None)
MISSING: Final[dict[str, tuple[dict[str, Any], set[str]]]] = {
    "price": ({"price": None}, MONEY | {"price_unavailable"}),
    "wallet": ({"balance": None}, {"notional_too_large", "balance_too_small"}),
    "blacklist": ({"blacklisted": None}, {"pair_blacklisted"}),
    "locks": ({"locked": None}, {"pair_locked"}),
    "whitelist": ({"pairs": ()}, {"pair_not_whitelisted"}),
    "market": ({"market": MarketRules()}, {"market_unknown"}),
    "results": ({"closed_today": None}, {"daily_loss", "total_daily_loss"}),
    "a result": ({"open_trades": (FILLED,)}, {"daily_loss", "total_daily_loss"}),
    "a rate": ({"open_trades": (replace(OWN, open_rate=None),)}, {"agent_notional", "total_notional"}),
    "a trade": ({"open_trades": (replace(OWN, readable=False),)}, {"agent_notional", "total_notional"}),
}  # fmt: skip


@pytest.mark.parametrize("missing", MISSING)
def test_a_rule_whose_facts_are_missing_denies(missing: str) -> None:
    """What the bot could not tell is not waved through: every rule that needs it says no."""
    changes, rules = MISSING[missing]
    bound = Situation(
        replace(FACTS, **changes), limits=EVERY_LIMIT, totals=EVERY_TOTAL, amounts={PAIR: E * 10**9}
    )
    assert replace(bound, facts=FACTS).failed == []
    assert rules <= set(bound.failed)


def test_a_limit_price_without_a_last_price_is_outside_every_collar() -> None:
    """Nobody knows how far it lies from one."""
    assert "price_collar" in at_price("100", told(price=None)).failed


def test_a_preview_s_price_can_not_have_stayed_where_there_is_none() -> None:
    """Nobody knows how far it has moved."""
    assert "price_moved" in previewed(told(price=None)).failed


ENTRIES: Final = {rule.code for rule in RULES if rule.binds == "entries"}
# Everything is wrong that an entry may be denied for.
WORST: Final = Situation(
    facts=replace(
        FACTS, declared_mode="live", price=Price(Decimal(200), 9999.0, 300), pairs=(),
        bot=replace(STATE, entries_enabled=False, max_open_positions=1, mode="live"),
        blacklisted=(PAIR,), locked=("*",), market=MarketRules(minimum_amount=Decimal(999)),
        balance=Balance("USDT", Decimal(1), Decimal(0), True), pair_is_held=True,
        open_trades=(OWN, replace(OWN, pair=PAIR)), held=replace(OWN, pair=PAIR),
    ),
    standing=Standing(
        (holding(pair=PAIR),), (sent(START, pair=PAIR, same=True),), (HALT,), under_review=True
    ),
    limits=replace(
        EVERY_LIMIT, enabled=False, pairs=frozenset(), sides=frozenset(), order_types=frozenset(),
        agent_positions=0, orders_per_minute=0, orders_per_day=0, duplicate_window_s=60, repeats=0,
        hours=frozenset(), preview_required=True, order_notional=E, pair_notional=E,
        agent_notional=E, daily_notional=E, daily_loss=E,
    ),
    totals=Totals(E, 0, 0, 0, E, E), amounts={PAIR: E}, written=False,
    grants=Grants(approved=E),
)  # fmt: skip
SEEN: Final = Grants(Previewed(Decimal(1), "0123456789ab"), E)
WRONGS: Final = ("facts", "standing", "limits", "totals", "amounts", "written", "grants")


def test_what_is_wrong_with_the_worst_entry_is_everything() -> None:
    """Or else the next test would show less than it says."""
    entries = [
        WORST, at_price("100", WORST), replace(WORST, grants=SEEN), replace(WORST, grants=NO_GRANTS),
        replace(WORST, facts=replace(WORST.facts, market=MarketRules(Decimal(5), Decimal(10**6)))),
    ]  # fmt: skip
    assert {code for entry in entries for code in entry.failed} >= ENTRIES


@given(
    parts=st.sets(st.sampled_from(WRONGS)),
    facts=st.sets(st.sampled_from(sorted(Facts.__slots__))),
    seen=st.booleans(),
    limit=st.booleans(),
)
def test_no_rule_about_entries_denies_an_exit(
    parts: set[str], facts: set[str], seen: bool, limit: bool
) -> None:
    """Whatever is wrong, and however much of it at once: who holds may sell."""
    worst = replace(WORST, grants=SEEN) if seen else WORST
    wrong = replace(Situation(), **{part: getattr(worst, part) for part in parts})
    some = {name: getattr(WORST.facts, name) for name in facts}
    held = {"held": WORST.facts.held, "pair_is_held": True}
    mode = {"declared_mode": "live", "bot": WORST.facts.bot}
    wrong = replace(wrong, facts=replace(wrong.facts, **some | held | mode))
    order = {"side": "sell", "amount": "1"} | (
        {"order_type": "limit", "price": "1"} if limit else {}
    )
    exiting = asked(wrong, **order)
    assert exiting.failed == []
    assert not exiting.verdict.needs_approval
    assert {check.rule for check in exiting.verdict.checks} <= {
        rule.code for rule in RULES if rule.binds != "entries"
    }
