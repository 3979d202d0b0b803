"""A dry run and the order behind it never disagree: one function decides, on the same state."""

import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Final

import anyio
import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from mcp_gateway.domain.orders import OrderRecord, OrderRequest, Preview, State
from mcp_gateway.domain.positions import Mode
from mcp_gateway.errors import GatewayError, NotFound
from mcp_gateway.orders.book import protocol
from mcp_gateway.risk.policy import Hours, Limits, Policy, Totals
from mcp_gateway.risk.rules import RULES
from tests.support.clock import ManualClock
from tests.support.desk import Desk, admission, open_desk, order, stored
from tests.support.halting import halted, resumed
from tests.support.policy import POLICY
from tests.support.tradingbot import TradingBot

pytestmark = pytest.mark.unit

AGENTS: Final = ("agent-a", "agent-b")
PAIRS: Final = ("BTC/USDT", "ETH/USDT")
IN_ORDER: Final = [rule.code for rule in RULES]


@dataclass(frozen=True)
class Turn:
    """What happens next: the world changes, and then an agent asks, and orders.

    Args:
        brings: the order brings the preview_id along, where there is one.
        fault: what the bot does with the order; what it has said before is not changed by it.
    """

    change: tuple[str, Any]
    agent: str
    asks: dict[str, Any]
    brings: bool
    fault: str


FREE: Final = Limits(
    order_notional=None, wallet_share=None, orders_per_minute=None, orders_per_day=None,
    price_collar=Decimal("0.1"), price_tolerance=Decimal(0),
)  # fmt: skip
BOUND: Final[tuple[tuple[str, Any], ...]] = (
    ("enabled", False), ("pairs", frozenset({"ETH/USDT"})), ("pairs", frozenset({"*/USDT"})),
    ("sides", frozenset({"sell"})), ("order_types", frozenset({"limit"})),
    ("order_notional", Decimal(150)), ("wallet_share", Decimal("0.02")),
    ("pair_notional", Decimal(150)), ("agent_notional", Decimal(250)), ("agent_positions", 1),
    ("orders_per_minute", 1), ("orders_per_minute", 3), ("orders_per_day", 2),
    ("daily_notional", Decimal(250)), ("daily_loss", Decimal(1)), ("price_collar", Decimal("0.005")),
    ("price_age_s", 30), ("duplicate_window_s", 60), ("repeats", 1), ("repeats", 2),
    ("hours", frozenset({Hours(1, 600, 605)})), ("approval_above", Decimal(50)),
    ("approval_above", Decimal(99)), ("approval_above", Decimal(150)), ("preview_required", True), ("closes", "gateway"),
    ("closes", "all"),
)  # fmt: skip
ALL_BOUND: Final[tuple[tuple[str, Any], ...]] = (
    ("notional", Decimal(300)), ("positions", 1), ("positions", 2), ("orders_per_minute", 2),
    ("orders_per_day", 3), ("daily_notional", Decimal(300)), ("daily_loss", Decimal(1)),
)  # fmt: skip
limits = st.lists(st.sampled_from(BOUND), max_size=4).map(lambda few: replace(FREE, **dict(few)))
policies = st.builds(
    lambda defaults, own, totals, most, written: replace(
        POLICY, defaults=defaults, agents=own, totals=Totals(**dict(totals)), amounts=most,
        written=written,
    ),
    defaults=limits,
    own=st.dictionaries(st.just("agent-b"), limits),
    totals=st.lists(st.sampled_from(ALL_BOUND), max_size=2),
    most=st.dictionaries(st.just("*/USDT"), st.just(Decimal("1.5"))),
    written=st.sampled_from((True, True, False)),
)  # fmt: skip
# What a person, the strategy, the market or the bot's operator does meanwhile.
changes = st.sampled_from((
    *[("", None)] * 20, ("pass", 1), ("pass", 30), ("pass", 61), ("pass", 700), ("halt", {}),
    ("halt", {"agent": "agent-a"}), ("halt", {"pair": "BTC/USDT"}), *[("resume", None)] * 3,
    ("state", "paused"), *[("state", "running")] * 2, ("state", "stopped"),
    ("pairs", ("ETH/USDT",)), ("pairs", PAIRS), ("blacklist", ("BTC/.*",)), ("blacklist", ()),
    ("lock", "*"), ("lock", None), ("max_open_trades", 1), ("max_open_trades", 3),
    ("free", 120.0), ("free", 10_000.0), ("force_entry", False), ("force_entry", True),
    ("strategy", "BTC/USDT"), ("fill", None), ("dry_run", False), *[("dry_run", True)] * 2,
))  # fmt: skip
wishes = st.fixed_dictionaries({
    "pair": st.sampled_from(PAIRS),
    "side": st.sampled_from(("buy", "buy", "sell")),
    "amount": st.sampled_from(("1",) * 4 + ("0.5", "2", "20", "0.01", "0.000001", "1.0000001")),
}).flatmap(
    lambda plain: st.sampled_from((
        plain, plain, plain | {"order_type": "limit", "price": "99"},
        plain | {"order_type": "limit", "price": "101"}, plain | {"order_type": "limit", "price": "90"},
    ))
)  # fmt: skip
turns = st.builds(
    Turn, changes, st.sampled_from(AGENTS), wishes, st.booleans(),
    st.sampled_from(("", "", "", "", "lose_done", "refuse:no", "no_connection", "late")),
)  # fmt: skip


def open_by_strategy(bot: TradingBot, pair: str) -> None:
    if all(trade["pair"] != pair for trade in bot.status):
        bot.enter(pair, "strategy")


def fill(bot: TradingBot, _how: None) -> None:
    for trade in list(bot.status):
        if any(one["is_open"] for one in trade["orders"]):
            bot.fill(trade["trade_id"])


def lock(bot: TradingBot, pair: str | None) -> None:
    bot.locks = [] if pair is None else [{"pair": pair, "active": True, "side": "*"}]


ACTS: Final[dict[str, Callable[[TradingBot, Any], None]]] = {
    "strategy": open_by_strategy,
    "fill": fill,
    "lock": lock,
}


async def change(desk: Desk, what: str, how: Any) -> None:
    """Let the world be another than before."""
    if what == "pass":
        desk.clock.advance(how)
    elif what == "halt":
        await halted(desk, **how)
    elif what == "resume":
        with suppress(NotFound):
            await resumed(desk)
    elif what in ACTS:
        ACTS[what](desk.bot, how)
    elif what:
        setattr(desk.bot, what, how)


async def happened(desk: Desk, record: OrderRecord) -> tuple[str, list[dict[str, Any]]]:
    """Return what became of an order: sent, held for a person, or denied, and by which checks."""
    steps = await desk.ledger.history(record.order_id)
    states = [step.state for step in steps]
    if State.SENT in states:
        return "sent", []
    if record.state is State.PENDING_APPROVAL:
        return "held", []
    assert record.state is State.DENIED
    failed: list[dict[str, Any]] = steps[-1].detail.get("failed", [])
    return ("denied" if failed else str(record.code)), failed


async def is_in_the_way(desk: Desk, wanted: OrderRequest, agent: str) -> bool:
    """Tell whether an order of which nobody knows holds the place of this one."""
    unknown = await desk.ledger.in_states("freqtrade", protocol.IN_FLIGHT)
    if wanted.side == "buy":
        return any(one.side == "buy" for one in unknown)
    record = desk.orders._intake.record(admission(agent), wanted)
    held = (await desk.orders._finder.facts(record)).held
    return any(one.side == "sell" and held and one.trade_id == held.trade_id for one in unknown)


def expected(told: Preview, limits: Limits, side: str, *, brings: bool) -> list[str]:
    """Return the rules that deny what a dry run has told of; it had no preview to be held to."""
    failed = {check.rule for check in told.checks if not check.passed}
    if side == "buy" and limits.preview_required and not brings:
        failed.add("preview_required")
    return [code for code in IN_ORDER if code in failed]


async def agree(desk: Desk, policy: Policy, turn: Turn) -> str:
    """Ask, order, and hold the one against the other; the clock stands still between them."""
    wanted = order(**turn.asks)
    told = await desk.orders.preview(admission(turn.agent, "dry_run_order"), wanted)
    failed = [check.rule for check in told.checks if not check.passed]
    assert told.valid == (not failed)
    assert (told.preview_id is not None) <= told.valid
    brings = turn.brings and told.preview_id is not None
    busy = await is_in_the_way(desk, wanted, turn.agent)
    desk.bot.faults.append(turn.fault)
    preview_id = told.preview_id if brings else None
    with suppress(GatewayError):  # the ledger tells
        await desk.orders.create(admission(turn.agent), wanted, preview_id)
    desk.bot.faults.clear()
    came, checks = await happened(desk, await stored(desk, wanted, turn.agent))
    denied_by = expected(told, policy.limits(turn.agent), wanted.side, brings=brings)
    assert [one["rule"] for one in checks] == denied_by
    numbers = {check.rule: (check.limit, check.value) for check in told.checks}
    for one in checks:
        assert one["rule"] == "preview_required" or numbers[one["rule"]] == (
            one["limit"],
            one["value"],
        )
    if denied_by:
        assert came == "denied"
    elif told.needs_approval:
        assert came == "held"
    else:
        assert came == ("bot_busy" if busy else "sent")
    return came


async def live(policy: Policy, turns: list[Turn], mode: Mode) -> None:
    """Run one world over a store of its own."""
    clock = ManualClock()
    bot = TradingBot(clock, dry_run=mode != "live")
    with tempfile.TemporaryDirectory() as folder:
        async with open_desk(Path(folder), bot, clock, policy=policy, mode=mode) as desk:
            for turn in turns:
                await change(desk, *turn.change)
                event(await agree(desk, policy, turn))


@settings(deadline=None, max_examples=120, suppress_health_check=[HealthCheck.too_slow])
@given(
    policy=policies,
    turns=st.lists(turns, min_size=1, max_size=8),
    mode=st.sampled_from(("dry-run",) * 5 + ("live",)),
)
def test_a_dry_run_and_the_order_behind_it_agree(
    policy: Policy, turns: list[Turn], mode: Mode
) -> None:
    """Valid is sent, what needs approval is held, and each failed check denies, number by number.

    The one thing that no dry run tells: the place of an order that nobody knows the end of.
    """
    anyio.run(partial(live, policy, turns, mode))
