"""How small an entry may be, and what others have set aside: the bot adjusts in silence."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some

from mcp_gateway.domain.market import LARGEST_RESERVE, MarketRules
from mcp_gateway.domain.orders import Check, OrderRecord, State, canonical
from mcp_gateway.domain.positions import Balance, BotState
from mcp_gateway.freqtrade.orders import quote_for
from mcp_gateway.risk.checks.size import PRICE_MARGIN
from mcp_gateway.risk.facts import NOTHING_STANDS, Facts, Holding, Price, Standing
from mcp_gateway.risk.policy import Limits, Policy, Totals
from tests.support.clock import START
from tests.support.desk import order
from tests.support.judged import judged

pytestmark = pytest.mark.unit

unhurried = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
STEP, STAKE = Decimal("0.01"), Decimal(10)
FACTS = Facts(
    closed_today=(),
    declared_mode="dry-run",
    bot=BotState(
        mode="dry-run", state="running", spot=True, quote_currency="USDT", timeframe="5m",
        max_open_positions=3, entries_enabled=True, name="bot", version="2026.9",
    ),
    open_trades=(), pair_is_held=False, bot_started_at=None, pairs=("BTC/USDT",),
    price=Price(Decimal(100), 10.0, 300),
    balance=Balance("USDT", Decimal(100_000), Decimal(1_000), True),
    market=MarketRules(STEP, STAKE),
)  # fmt: skip


def rules(
    facts: Facts, amount: str, price: str | None = None, standing: Standing = NOTHING_STANDS
) -> dict[str, Check]:
    """Return the checks that fail, by rule."""
    wanted = order(amount=amount, price=price, order_type="limit" if price else "market")
    return {check.rule: check for check in judged(wanted, facts, standing).failed}


def reserved(quote: str, pair: str = "ETH/USDT") -> Holding:
    """Return what another agent's entry has set aside."""
    return Holding(State.SENT, pair, "agent-b", "i", Decimal(quote))


def unmet(price: str | None, amount: str, market: MarketRules) -> set[str]:
    return set(rules(replace(FACTS, market=market), amount, price))


@pytest.mark.parametrize(
    ("amount", "price", "passes"),
    [("0.15", "100", True), ("0.14", "100", False), ("0.15", None, True), ("0.14", None, False)],
)
def test_a_stake_below_the_smallest_is_denied(amount: str, price: str | None, passes: bool) -> None:
    """The bot would raise it by up to 30 %: its minimum with the largest reserve binds (freqtrade)."""
    found = rules(FACTS, amount, price)
    assert set(found) == (set() if passes else {"stake_below_minimum"})
    if not passes:
        told = found["stake_below_minimum"]
        assert (told.limit, told.value) == ("15", "14.5")


def test_the_smallest_amount_binds_as_a_stake_too() -> None:
    """An exchange has a smallest amount beside a smallest value; the larger one counts."""
    market = MarketRules(STEP, STAKE, Decimal("0.5"))
    assert unmet("100", "0.74", market) == {"stake_below_minimum"}
    assert unmet("100", "0.75", market) == set()


def test_a_market_order_allows_for_an_order_book_above_the_last_price() -> None:
    """The bot sizes it by its book: a smallest amount may cost more than the last price says."""
    market = MarketRules(STEP, STAKE, Decimal("0.5"))
    assert unmet(None, "0.75", market) == {"stake_below_minimum"}
    assert unmet(None, canonical(Decimal("0.75") * (1 + PRICE_MARGIN) + STEP), market) == set()


def test_a_market_of_which_nothing_is_known_is_denied() -> None:
    """Neither lot step nor minimum: the operator has to write them down (orders)."""
    assert unmet("100", "1", MarketRules()) == {"market_unknown"}
    assert unmet("100", "1", MarketRules(minimum_stake=STAKE)) == {"market_unknown"}
    assert unmet("100", "1", MarketRules(lot_step=STEP)) == {"market_unknown"}


def test_a_stake_that_the_bot_took_before_stands_for_an_unknown_minimum() -> None:
    """What was not raised once is no less than the minimum; below it nothing is known."""
    known = replace(FACTS, market=MarketRules(lot_step=STEP), taken_stake=Decimal(50))
    assert rules(known, "0.5", "100") == {}
    assert set(rules(known, "0.49", "100")) == {"stake_below_minimum"}


def test_an_entry_below_a_step_is_denied() -> None:
    """Of less than one step the bot buys nothing."""
    market = MarketRules(Decimal(1), Decimal(1), Decimal("0.01"))
    assert unmet("100", "0.99", market) == {"amount_below_step"}
    assert unmet("100", "1", market) == set()


@unhurried
@given(
    amount=some.decimals("0.0001", 20, places=4),
    price=some.decimals("0.01", 2000, places=2),
    step=some.integers(-4, 0).map(Decimal(10).__pow__),
    stake=some.decimals("0.1", 50, places=1),
    smallest=some.none() | some.decimals("0.0001", 5, places=4),
)
def test_no_entry_passes_that_the_bot_might_raise(
    amount: Decimal, price: Decimal, step: Decimal, stake: Decimal, smallest: Decimal | None
) -> None:
    """What is sent reaches every minimum with its reserve, and what is bought of it without."""
    market = MarketRules(step, stake, smallest)
    minimum = max(stake, (smallest or step) * price)
    sent = quote_for(amount, price, step)
    if unmet(canonical(price), canonical(amount), market) & {
        "stake_below_minimum", "amount_below_step",
    }:  # fmt: skip
        assert amount < step or sent < LARGEST_RESERVE * minimum
    else:
        assert sent >= LARGEST_RESERVE * minimum
        assert (sent / price // step) * step * price >= minimum


@pytest.mark.parametrize(("price", "at"), [(None, Decimal(100)), ("90", Decimal(90))])
def test_what_is_weighed_is_what_is_sent(price: str | None, at: Decimal) -> None:
    """Whole steps and a half, at the order's price; with its fee that is all it may cost."""
    wanted = order(amount="1.009", price=price, order_type="limit" if price else "market")
    told = judged(wanted, replace(FACTS, fee_rate=Decimal("0.002")))
    assert told.stake == Decimal("1.005") * at
    assert told.reserved == told.stake * Decimal("1.002")


def test_an_exit_or_an_order_without_a_price_has_no_stake() -> None:
    """Nothing is spent by a sale; and of what has no price nobody knows."""
    unpriced = judged(order(), replace(FACTS, price=None))
    sale = judged(order(side="sell"), FACTS)
    assert [(told.stake, told.reserved) for told in (unpriced, sale)] == [(None, None)] * 2


@pytest.mark.parametrize(
    ("standing", "rule"),
    [
        (Standing((reserved("950"),)), "balance_too_small"),
        (Standing((reserved("1"),) * 3), "no_free_slot"),
        (Standing((reserved("1", "BTC/USDT"),)), "position_exists"),
        (Standing(under_review=True), "order_under_review"),
    ],
    ids=["money", "slots", "pair", "review"],
)
def test_what_others_have_set_aside_denies(standing: Standing, rule: str) -> None:
    """Between the bot's word and the send there is no gap in which two pass (orders)."""
    assert set(rules(FACTS, "0.5", "100", standing)) == {rule}


def test_a_bot_without_a_slot_limit_has_always_a_free_slot() -> None:
    """-1 is how Freqtrade says unlimited; here it is None."""
    unlimited = replace(FACTS, bot=replace(FACTS.bot, max_open_positions=None))
    assert rules(unlimited, "0.5", "100", Standing((reserved("1"),) * 99)) == {}


HELD = Holding(State.SENT, "BTC/USDT", "alice", "i", Decimal(100))


@pytest.fixture
def record() -> OrderRecord:
    """An entry of alice's in BTC/USDT."""
    wanted = order()
    return OrderRecord(
        order_id="1", issuer="i", subject="alice", request_id=wanted.request_id, agent="alice",
        fingerprint="", tag="gw:1", carrier="g", bot="b", pair="BTC/USDT", side="buy", amount=Decimal(1),
        order_type="market", price=None, mode="dry-run", state=State.RECEIVED, created_at=START,
        updated_at=START,
    )  # fmt: skip


def test_the_standing_adds_up_what_others_hold(record: OrderRecord) -> None:
    """Money and slots of every entry, of one pair's, of one agent's."""
    others = [HELD, HELD._replace(pair="ETH/USDT", agent="bob", reserved_quote=Decimal("0.5"))]
    standing = Standing.of(record, others)
    assert (standing.reserved(), standing.entries()) == (Decimal("100.5"), 2)
    assert (standing.reserved(pair="BTC/USDT"), standing.entries(pair="BTC/USDT")) == (
        Decimal(100),
        1,
    )
    assert (standing.reserved(agent="bob"), standing.entries(agent="bob")) == (Decimal("0.5"), 1)
    assert (standing.reserved(pair="SOL/USDT"), standing.entries(pair="SOL/USDT")) == (
        Decimal(0),
        0,
    )
    assert Standing.of(record, []) == NOTHING_STANDS


@pytest.mark.parametrize(
    ("theirs", "held"),
    [
        ({}, True),
        ({"agent": "bob"}, False),
        ({"issuer": "x"}, False),
        ({"pair": "ETH/USDT"}, False),
    ],
    ids=["same", "another_agent", "another_issuer", "another_pair"],
)
def test_a_review_holds_only_its_agent_and_pair(
    record: OrderRecord, theirs: dict[str, Any], held: bool
) -> None:
    """As `needs_review` an order keeps neither money nor a slot of anybody's (orders).

    But it may have been carried out: limits on what is held count it.
    """
    waiting = HELD._replace(state=State.NEEDS_REVIEW, **theirs)
    standing = Standing.of(record, [waiting])
    assert standing == Standing(doubtful=(waiting,), under_review=held)
    assert (standing.reserved(), standing.entries()) == (Decimal(0), 0)
    assert standing.exposed(pair=waiting.pair, agent=waiting.agent) == Decimal(100)


def test_the_largest_numbers_that_are_let_in_are_denied_and_no_more() -> None:
    """An amount and a price at their bounds multiply to more digits than decimals keep."""
    asked = order(amount="1e15", price="1e15", order_type="limit")
    verdict = judged(asked, FACTS)
    assert "notional_too_large" in [check.rule for check in verdict.failed]


def test_a_rebate_makes_no_order_cheaper_than_its_stake() -> None:
    """A fee rate below zero, or nonsense, must not shrink what the limits see."""
    for rate in ("-0.00025", "-0.9", "-1"):
        told = judged(order(amount="1"), replace(FACTS, fee_rate=Decimal(rate)))
        assert told.reserved == told.stake


def test_what_waits_for_a_person_takes_its_place_among_the_positions() -> None:
    """It may have been carried out without the bot's knowing."""
    doubtful = Holding(State.NEEDS_REVIEW, "ETH/USDT", "agent-a", "i", Decimal(50))
    standing = Standing(doubtful=(doubtful,))
    for one in (Policy(defaults=Limits(agent_positions=1)), Policy(totals=Totals(positions=1))):
        free, taken = (
            {check.rule for check in judged(order(amount="1"), FACTS, held, policy=one).failed}
            for held in (NOTHING_STANDS, standing)
        )
        assert taken - free in ({"agent_positions"}, {"total_positions"})
