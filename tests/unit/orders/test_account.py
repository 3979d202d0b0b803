"""What get_account tells of limits: what the rules say, so that nobody has to probe."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import anyio
import orjson
import pytest
from rs_bpe.bpe import openai

from mcp_gateway.domain.operations import OPERATIONS
from mcp_gateway.domain.positions import Mode
from mcp_gateway.domain.principals import Admission, Principal, admission_by_the_gate
from mcp_gateway.errors import BotUnavailable, StoreUnavailable
from mcp_gateway.orders.account import LEDGER_WAIT_S, Account, Accounts
from mcp_gateway.orders.sending.facts import FactFinder
from mcp_gateway.risk.allowance import Allowance
from mcp_gateway.risk.facts import Halt
from mcp_gateway.risk.hours import read
from mcp_gateway.risk.policy import Limits, Policy, Totals
from mcp_gateway.risk.rules import RULES
from mcp_gateway.transports import documents
from tests.support.clock import START, ManualClock
from tests.support.desk import Desk, admission, lost, open_desk, order
from tests.support.policy import POLICY
from tests.support.tradingbot import TradingBot

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

EVERY_LIMIT = Limits(
    pair_notional=Decimal(5000), agent_notional=Decimal(4000), agent_positions=2,
    orders_per_minute=10, orders_per_day=100, daily_notional=Decimal(6000),
    daily_loss=Decimal(70), repeats=3, approval_above=Decimal(900), preview_required=False,
    hours=frozenset(read("mon-sun 00:00-24:00")), pairs=frozenset({"*/USDT"}), closes="gateway",
)  # fmt: skip
TOTALS = Totals(
    notional=Decimal(9000), positions=3, orders_per_minute=20, orders_per_day=200,
    daily_notional=Decimal(8000), daily_loss=Decimal(150),
)  # fmt: skip
FULL = Policy(defaults=EVERY_LIMIT, totals=TOTALS, markets=POLICY.markets, written=True)
# What one more entry takes of a limit: its cost, a place, or nothing.
COSTS = {
    "notional_too_large", "agent_notional", "total_notional", "pair_notional", "daily_notional",
    "total_daily_notional", "balance_too_small",
}  # fmt: skip
COUNTS = {
    "agent_positions", "total_positions", "order_rate", "total_order_rate", "daily_orders",
    "total_daily_orders", "repeat_throttle",
}  # fmt: skip
NO_PLACE = {"no_free_slot", "daily_loss", "total_daily_loss"}
TOLD = {rule.code for rule in RULES if rule.leaves}


def full_floor(
    folder: Path, bot: TradingBot, clock: ManualClock
) -> AbstractAsyncContextManager[Desk]:
    return open_desk(folder, bot, clock, policy=FULL)


@pytest.fixture
async def limited(tmp_path: Path, bot: TradingBot, clock: ManualClock) -> AsyncIterator[Desk]:
    """A floor with every limit that there is."""
    async with full_floor(tmp_path, bot, clock) as opened:
        yield opened


def accounts(desk: Desk, *local: Halt, store: bool = True, mode: Mode = "dry-run") -> Accounts:
    """Return what tells of the account; ``store`` is False where it does not open."""

    async def finder() -> FactFinder:
        if not store:
            raise StoreUnavailable("down")
        return desk.reconciler.submission.finder

    submission = desk.reconciler.submission
    return Accounts(
        submission.bot, finder, submission.policies, desk.clock, lambda: local,
        declared_mode=mode, calls_per_minute=60,
    )  # fmt: skip


def caller(subject: str = "agent-a", *act_for: str) -> Admission:
    scopes = frozenset({"positions:read"})
    principal = Principal("tests", subject, scopes, act_for=frozenset(act_for))
    return admission_by_the_gate(principal, OPERATIONS["get_account"], "http", "call-1")


async def told(desk: Desk, subject: str = "agent-a") -> Account:
    """Ask anew: what the bot has said is kept for a second."""
    return await accounts(desk).of(caller(subject))


def left(state: Allowance, pair: str | None = None) -> dict[str, str | None]:
    return {one.rule: one.left for one in state.left if one.pair == pair}


def limits(state: Allowance) -> dict[str, str]:
    return {one.rule: one.limit for one in state.left if one.pair is None}


async def busy(desk: Desk) -> None:
    """Let two agents trade: one position each, a close, an entry that is lost."""
    await desk.orders.create(admission(), order(amount="2"))
    await desk.orders.create(admission(), order(side="sell", amount="2"))
    desk.clock.advance(20)
    await desk.orders.create(admission("agent-b"), order(pair="ETH/USDT", amount="3"))
    desk.clock.advance(1)
    await lost(desk, "lose", amount="4")


async def test_every_limit_is_told_with_what_is_left_of_it(limited: Desk) -> None:
    """At the beginning all of it."""
    state = (await told(limited)).allowance
    assert state.known
    assert limits(state).keys() == TOLD
    untouched = limits(state).keys() - {"no_free_slot"}
    assert {rule: left(state)[rule] for rule in untouched} == {
        rule: limits(state)[rule] for rule in untouched
    }
    assert (limits(state)["notional_too_large"], limits(state)["daily_loss"]) == ("1000", "70")
    assert (limits(state)["total_positions"], limits(state)["balance_too_small"]) == ("3", "10000")


def test_only_rules_of_entries_leave_something() -> None:
    """And of each it is known here what one more entry takes of it."""
    entries = {rule.code for rule in RULES if rule.binds == "entries"}
    assert entries >= TOLD
    assert COSTS | COUNTS | NO_PLACE == TOLD


async def test_every_rule_that_a_dry_run_tells_something_left_of_is_told(limited: Desk) -> None:
    """A rule that is added later must be told here too, or agents probe for it."""
    preview = await limited.orders.preview(admission(operation="dry_run_order"), order())
    telling = {check.rule for check in preview.checks if check.left is not None}
    assert telling == TOLD


@pytest.mark.parametrize("agent", ["agent-a", "agent-b", "agent-c"])
@pytest.mark.parametrize("pair", ["SOL/USDT", "BTC/USDT", "ETH/USDT"])
async def test_what_is_left_is_what_a_dry_run_leaves_and_the_order_itself(
    limited: Desk, agent: str, pair: str
) -> None:
    """The same rules over the same ledger: they cannot disagree, after whatever happened."""
    await busy(limited)
    limited.bot.pairs = (*limited.bot.pairs, "SOL/USDT")
    limited.bot.candles |= {("SOL/USDT", "5m"): limited.bot.candles["BTC/USDT", "5m"]}
    wanted = order(pair=pair, amount="0.5")
    preview = await limited.orders.preview(admission(agent, "dry_run_order"), wanted)
    state = (await told(limited, agent)).allowance
    checks = {check.rule: check for check in preview.checks}
    costs = Decimal(checks["notional_too_large"].value or "")
    here = left(state) | left(state, pair)
    compared = 0
    for rule, remains in here.items():
        if rule not in checks:
            continue
        takes = costs if rule in COSTS else Decimal(rule in COUNTS)
        expected = max(Decimal(0), Decimal(remains or "") - takes)
        assert Decimal(checks[rule].left or "") == expected, rule
        assert checks[rule].limit == limits(state)[rule]
        compared += 1
    assert compared >= len(TOLD) - 1


async def test_what_was_sent_is_counted_to_whom_it_belongs(limited: Desk) -> None:
    """Two entries by one agent, one by the other; the close costs nobody anything."""
    await busy(limited)
    mine, theirs = (await told(limited)).allowance, (await told(limited, "agent-b")).allowance
    assert (left(mine)["order_rate"], left(theirs)["order_rate"]) == ("8", "9")
    assert left(mine)["total_order_rate"] == left(theirs)["total_order_rate"] == "17"
    assert (left(mine)["agent_positions"], left(theirs)["agent_positions"]) == ("1", "1")
    assert left(mine)["total_positions"] == "1"
    assert (left(mine, "BTC/USDT")["repeat_throttle"]) == "1"


async def test_only_pairs_in_which_something_is_taken_are_told_apart(limited: Desk) -> None:
    """Every other pair has the whole limit, which is told once."""
    await busy(limited)
    state = (await told(limited, "agent-c")).allowance
    pairs = {one.pair for one in state.left}
    assert pairs == {None, "BTC/USDT", "ETH/USDT"}
    assert left(state)["pair_notional"] == "5000"
    assert Decimal(left(state, "ETH/USDT")["pair_notional"] or "") < 5000


async def test_a_minute_gives_the_rate_back_and_not_the_day(limited: Desk) -> None:
    """By the same windows as the rules."""
    await limited.orders.create(admission(), order())
    limited.clock.advance(61)
    state = (await told(limited)).allowance
    assert (left(state)["order_rate"], left(state)["daily_orders"]) == ("10", "99")


async def test_losses_are_told_against_their_limit(limited: Desk) -> None:
    """Closed ones of the day, of the caller's own."""
    await limited.orders.create(admission(), order())
    await limited.orders.create(admission(), order(side="sell"))
    limited.bot.closed[0] |= {"close_profit_abs": -12.5}
    limited.clock.advance(10)
    mine, theirs = (await told(limited)).allowance, (await told(limited, "agent-b")).allowance
    assert (left(mine)["daily_loss"], left(theirs)["daily_loss"]) == ("57.5", "70")
    assert left(theirs)["total_daily_loss"] == "137.5"


async def test_an_agent_with_a_section_of_its_own_is_told_that(
    tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> None:
    """Limits are those of the caller's subject, whomever it may act for."""
    own = replace(FULL, agents={"agent-b": Limits(order_notional=Decimal(50))})
    async with open_desk(tmp_path, bot, clock, policy=own) as desk:
        state = (await accounts(desk).of(caller("agent-b", "agent-a"))).allowance
        other = (await accounts(desk).of(caller("agent-a", "agent-b"))).allowance
    assert limits(state)["notional_too_large"] == "50"
    assert limits(other)["notional_too_large"] == "1000"
    assert state.limits.order_notional == 50


async def test_without_limits_none_is_told(
    tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> None:
    """But the wallet and the bot's slots, which nobody has to write."""
    none = Limits(
        order_notional=None, wallet_share=None, orders_per_minute=None, orders_per_day=None
    )
    wide = Policy(defaults=none, markets=POLICY.markets)
    async with open_desk(tmp_path, bot, clock, policy=wide) as desk:
        state = (await told(desk)).allowance
    assert limits(state).keys() == {"balance_too_small", "no_free_slot"}


async def test_without_the_store_the_limits_are_told_and_not_what_is_left(limited: Desk) -> None:
    """No number is better than a wrong one; the rest of the account is told as ever."""
    state = await accounts(limited, store=False).of(caller())
    assert not state.allowance.known
    assert limits(state.allowance).keys() == TOLD
    assert set(left(state.allowance).values()) == {None}
    document = documents.account(state, calls_left={})
    assert "left" not in document["limits"]["rules"][0]
    assert "ledger" in document["limits"]["left_unknown"]
    assert document["balance"]["total"] == 10_000


async def test_a_store_that_fails_in_the_middle_is_one_that_is_down(limited: Desk) -> None:
    """It was open a moment ago: before the bot was asked, or behind it."""
    asked = accounts(limited)
    assert (await asked.of(caller())).allowance.known
    await limited.store.close()
    assert not (await asked.of(caller())).allowance.known  # what the bot said is kept
    assert not (await told(limited)).allowance.known


async def test_a_store_that_takes_long_to_open_is_not_waited_for(
    limited: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads go on without it."""
    monkeypatch.setattr("mcp_gateway.orders.account.LEDGER_WAIT_S", 0.01)

    async def never() -> FactFinder:
        await anyio.sleep_forever()
        raise AssertionError("forever is over")

    asked = accounts(limited)
    monkeypatch.setattr(asked, "_finder", never)
    assert not (await asked.of(caller())).allowance.known
    assert LEDGER_WAIT_S <= 2.0


async def test_without_the_bot_there_is_no_account(limited: Desk) -> None:
    """Neither balance nor state: that is what was asked for."""
    limited.bot.fails = 500
    with pytest.raises(BotUnavailable):
        await told(limited)


async def test_halts_that_bind_the_caller_are_told(limited: Desk) -> None:
    """Of all, of the agent, of a pair; with and without the store. Another agent's are not."""
    every, mine = Halt("all", "", "file", START), Halt("agent", "agent-a", "operator", START)
    theirs, pair = Halt("agent", "agent-b", "operator", START), Halt("pair", "BTC/USDT", "x", START)
    for store in (True, False):
        state = await accounts(limited, every, mine, theirs, pair, store=store).of(caller())
        assert state.allowance.halts == (every, mine, pair)
    [first, *_] = documents.account(state, calls_left={})["halts"]
    assert first == {"scope": "all", "name": "", "code": "file", "at": "2025-11-18T10:00:00Z"}


async def test_the_mode_that_orders_want_is_told_beside_the_bots(limited: Desk) -> None:
    """Where they differ, every order is denied: the agent sees why."""
    limited.bot.dry_run = False
    state = await told(limited)
    assert (state.mode, state.declared_mode) == ("live", "dry-run")


async def test_what_the_policy_allows_is_told_as_a_person_reads_it(limited: Desk) -> None:
    """Pairs, sides, hours, the line above which a person is asked; nothing that is not set."""
    document = documents.account(await told(limited), calls_left={"get_account": 59})
    allowed = document["limits"]["allowed"]
    assert allowed == {
        "enabled": True, "pairs": ["*/USDT"], "sides": ["buy", "sell"],
        "order_types": ["limit", "market"], "hours": ["mon-sun 00:00-24:00"],
        "price_collar": "0.05", "price_tolerance": "0.01", "approval_above": "900",
        "preview_required": False, "closes": "gateway", "repeat_window_s": 60,
    }  # fmt: skip
    assert document["limits"]["policy"] == FULL.hash
    assert document["limits"]["largest_notional"] == 1000.0
    assert document["limits"]["calls_left"] == {"get_account": 59}


async def test_what_a_policy_may_limit_beside_its_rules_is_told_too(
    tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> None:
    """An agent need not be denied to learn of it; a window is told where something counts in it."""
    amounts = {"BTC/USDT": Decimal("0.50"), "*/USDT": Decimal(10)}
    limits = replace(EVERY_LIMIT, price_age_s=90, duplicate_window_s=30, repeat_window_s=45)
    policy = replace(FULL, defaults=limits, amounts=amounts)
    async with open_desk(tmp_path, bot, clock, policy=policy) as desk:
        document = documents.account(await told(desk), calls_left={})
    allowed = document["limits"]["allowed"]
    assert allowed["largest_amount"] == {"BTC/USDT": "0.5", "*/USDT": "10"}
    assert (allowed["price_age_s"], allowed["duplicate_window_s"]) == (90, 30)
    assert allowed["repeat_window_s"] == 45


async def test_the_account_is_cheap_to_read(limited: Desk) -> None:
    """With every limit there is, and pairs in use: what one dry run costs, not more."""
    await busy(limited)
    text = orjson.dumps(documents.account(await told(limited), calls_left={})).decode()
    assert openai.o200k_base().count(text) < 900
