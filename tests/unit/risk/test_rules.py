"""What is checked before an order is sent: each rule alone, and what it must not bind."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from mcp_gateway.domain.market import MarketRules
from mcp_gateway.domain.orders import State
from mcp_gateway.domain.positions import Balance, BotState, Trade
from mcp_gateway.risk.case import largest_order
from mcp_gateway.risk.facts import NOTHING_STANDS, Facts, Halt, Holding, Price, Standing
from mcp_gateway.risk.policy import BUILT_IN
from tests.support.clock import START
from tests.support.desk import order
from tests.support.judged import judged

pytestmark = pytest.mark.unit

STATE = BotState(
    mode="dry-run", state="running", spot=True, quote_currency="USDT", timeframe="5m",
    max_open_positions=3, entries_enabled=True, name="bot", version="2026.9",
)  # fmt: skip
HELD = Trade(
    trade_id=1, pair="BTC/USDT", is_open=True, is_short=False, tag="gw:1", amount=Decimal(2),
    open_rate=Decimal(100), current_rate=None, fee_rate=Decimal("0.001"),
    lot_step=Decimal("0.1"), opened_at=None, orders=(),
)  # fmt: skip
FACTS = Facts(
    closed_today=(),
    declared_mode="dry-run", bot=STATE, open_trades=(), pair_is_held=False, bot_started_at=None,
    pairs=("BTC/USDT",), price=Price(Decimal(100), 10.0, 300),
    balance=Balance("USDT", Decimal(10_000), Decimal(9_000), True),
    market=MarketRules(Decimal("0.1"), Decimal(5)),
)  # fmt: skip


def failed(facts: Facts, standing: Standing = NOTHING_STANDS, **changes: Any) -> list[str]:
    return [check.rule for check in judged(order(**changes), facts, standing).failed]


def reserved(quote: str) -> Holding:
    """Return what another agent's entry in the same pair has set aside."""
    return Holding(State.SENT, "BTC/USDT", "agent-b", "tests", Decimal(quote))


def bot(**changes: Any) -> Facts:
    return replace(FACTS, bot=replace(STATE, **changes))


def test_an_ordinary_entry_passes() -> None:
    """Nothing is denied that no rule speaks against."""
    assert failed(FACTS) == []


@pytest.mark.parametrize(
    ("facts", "rule"),
    [
        (bot(mode="live"), "mode_mismatch"),
        (bot(spot=False), "futures_not_served"),
        (bot(state="stopped"), "bot_not_running"),
        (bot(state="paused"), "bot_not_running"),
        (bot(entries_enabled=False), "entries_disabled"),
        (bot(max_open_positions=0), "no_free_slot"),
        (replace(FACTS, pairs=("ETH/USDT",)), "pair_not_whitelisted"),
        (replace(FACTS, blacklisted=("ETH/.*", "BTC/USDT")), "pair_blacklisted"),
        (replace(FACTS, blacklisted=("BTC/.*",)), "pair_blacklisted"),
        (replace(FACTS, locked=("BTC/USDT",)), "pair_locked"),
        (replace(FACTS, locked=("*",)), "pair_locked"),
        (replace(FACTS, price=Price(Decimal(100), 601.0, 300)), "price_unavailable"),
        (replace(FACTS, open_trades=(HELD,) * 3), "no_free_slot"),
        (replace(FACTS, pair_is_held=True), "position_exists"),
        (replace(FACTS, market=MarketRules(None, Decimal(5), Decimal("0.1"))), "market_unknown"),
    ],
)
def test_each_rule_denies_an_entry(facts: Facts, rule: str) -> None:
    """Every rule, alone, is enough to deny."""
    assert failed(facts) == [rule]


def test_a_rule_that_can_not_be_evaluated_denies() -> None:
    """No price, no balance: denied, not waved through (orders)."""
    assert set(failed(replace(FACTS, price=None))) == {
        "price_unavailable", "market_unknown", "notional_too_large", "balance_too_small",
    }  # fmt: skip
    # Nobody knows what a share of an unknown wallet is.
    assert failed(replace(FACTS, balance=None)) == ["notional_too_large", "balance_too_small"]
    assert failed(replace(FACTS, blacklisted=None)) == ["pair_blacklisted"]
    assert failed(replace(FACTS, locked=None)) == ["pair_locked"]


@pytest.mark.parametrize(("price", "rules"), [("100", []), ("100.000001", ["notional_too_large"])])
def test_the_largest_notional_is_a_limit(price: str, rules: list[str]) -> None:
    """1,000 quote for one order, to the last digit: of stake and fee, which is all that is spent."""
    coarse = replace(FACTS, market=MarketRules(Decimal(4), Decimal(5)))  # 4 is sent as 6
    charged = replace(coarse, fee_rate=Decimal(2) / 3)
    assert failed(charged, amount="4", order_type="limit", price=price) == rules


def test_the_notional_of_a_limit_order_is_taken_at_its_own_price() -> None:
    """A limit above the market costs more than the market says."""
    rules = failed(FACTS, amount="10", order_type="limit", price="101")
    assert rules == ["notional_too_large"]


def test_the_fee_counts_against_the_balance() -> None:
    """Stake and fee together must be free: 905 and 0.905 do not fit into 905.9."""

    def tight(free: str) -> Facts:
        return replace(FACTS, balance=Balance("USDT", Decimal(10_000), Decimal(free), True))

    assert failed(tight("905.904"), amount="9") == ["balance_too_small"]
    assert failed(tight("905.905"), amount="9") == []


def test_a_small_wallet_has_a_smaller_largest_notional() -> None:
    """A fifth of the wallet binds where the quote is worth more than a dollar."""
    limits = BUILT_IN.defaults
    coin = Balance("BTC", Decimal(1), Decimal(1), True)
    assert largest_order(limits, coin) == Decimal("0.2")
    assert largest_order(limits, replace(coin, total=Decimal(10**6))) == Decimal(1000)
    assert largest_order(limits, None) == Decimal(0)
    assert largest_order(replace(limits, wallet_share=None), None) == Decimal(1000)
    assert largest_order(replace(limits, wallet_share=None, order_notional=None), coin) is None


def test_exits_are_never_trapped_by_rules_for_entries() -> None:
    """A paused bot, a delisted pair, no price, no slot, no balance: a sell passes (orders)."""
    worst = replace(
        bot(state="paused", entries_enabled=False, max_open_positions=0),
        pairs=(), price=None, balance=None, open_trades=(HELD,) * 9, pair_is_held=True, held=HELD,
        market=MarketRules(), blacklisted=None, locked=("*",), closed_today=None,
    )  # fmt: skip
    halt = Halt("all", "", "operator", START)
    full = Standing((reserved("1e9"),) * 99, halts=(halt,), under_review=True)
    assert failed(worst, full, side="sell", amount="2") == []


@pytest.mark.parametrize(
    ("amount", "rules"), [("2", []), ("2.05", []), ("2.1", ["more_than_held"]), ("1", [])]
)
def test_a_sell_is_bounded_by_what_is_held_to_within_a_step(amount: str, rules: list[str]) -> None:
    """Within one lot step it is a full exit; beyond, it is refused (freqtrade)."""
    held = replace(FACTS, held=HELD, pair_is_held=True)
    assert failed(held, side="sell", amount=amount) == rules


@pytest.mark.parametrize(
    ("amount", "rules"),
    [("0.1", []), ("0.09", ["amount_below_step"]), ("0.000001", ["amount_below_step"])],
)
def test_a_sell_below_a_step_is_denied(amount: str, rules: list[str]) -> None:
    """The bot would say yes and sell nothing (freqtrade)."""
    held = replace(FACTS, held=HELD, pair_is_held=True)
    assert failed(held, side="sell", amount=amount) == rules


def test_dust_that_is_all_there_is_can_be_sold() -> None:
    """A full exit is within a step of what is held, however little that is: never trapped."""
    dust = replace(HELD, amount=Decimal("0.05"))
    held = replace(FACTS, held=dust, pair_is_held=True)
    assert failed(held, side="sell", amount="0.05") == []


@pytest.mark.parametrize(
    ("held", "pair_is_held", "rules"),
    [
        (None, False, ["nothing_to_sell"]),
        (None, True, ["position_not_yours"]),
        (replace(HELD, amount=Decimal(0)), True, ["nothing_to_sell", "more_than_held"]),
        (HELD, True, []),
    ],
    ids=["nobody_holds_it", "another_holds_it", "still_resting", "held"],
)
def test_a_sell_closes_what_the_agent_itself_holds(
    held: Trade | None, pair_is_held: bool, rules: list[str]
) -> None:
    """Another's position is not for sale, and that is told apart from no position (orders)."""
    facts = replace(FACTS, held=held, pair_is_held=pair_is_held)
    assert failed(facts, side="sell", amount="1") == rules


@pytest.mark.parametrize("state", ["stopped", "reload_config"])
def test_a_stopped_bot_is_asked_for_no_exit(state: str) -> None:
    """It refuses exits too; paused it serves them (freqtrade)."""
    held = replace(bot(state=state), held=HELD, pair_is_held=True)
    assert failed(held, side="sell", amount="1") == ["bot_not_running"]
