"""Money and slots are set aside before an order leaves, and given back when it came to nothing."""

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import anyio
import pytest

from mcp_gateway.domain.orders import OrderRequest
from mcp_gateway.errors import GatewayError
from mcp_gateway.orders.sending.submission import Submission
from mcp_gateway.orders.service import OrderService
from tests.support.clock import ManualClock
from tests.support.desk import BOT, PATIENCE, Desk, admission, order, refused, stored
from tests.support.tradebook import PRICE
from tests.support.tradingbot import TradingBot

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

PAIRS = ("BTC/USDT", "ETH/USDT")


@dataclass
class SpendingBot(TradingBot):
    """A bot whose wallet knows what its trades cost; it is worth 10,000 with what it holds."""

    def _balance(self) -> dict[str, Any]:
        spent = sum(
            order["amount"] * PRICE
            for trade in self.status
            for order in trade["orders"]
            if order["ft_order_side"] == "buy"
        )
        told = super()._balance()
        told["currencies"][0] |= dict.fromkeys(("free", "balance", "bot_owned"), self.free - spent)
        return told | {"total": 10_000.0}


@pytest.fixture
def bot(clock: ManualClock) -> SpendingBot:
    return SpendingBot(clock)


async def at_once(*calls: tuple[Desk, str, OrderRequest]) -> list[str]:
    """Send orders, all before any is answered; return what each was told, in their order."""
    told = [""] * len(calls)

    async def call(number: int, desk: Desk, subject: str, wanted: OrderRequest) -> None:
        try:
            created = await desk.orders.create(admission(subject), wanted)
            told[number] = created.answer["outcome"]
        except GatewayError as error:
            told[number] = error.code

    bot = calls[0][0].bot
    bot.faults.append("hang")
    async with anyio.create_task_group() as group:
        for number, (desk, subject, wanted) in enumerate(calls):
            group.start_soon(call, number, desk, subject, wanted)
        await bot.posted()  # one is on its way, and every other one waits behind it
        for desk, subject, wanted in calls:
            while await desk.ledger.find("tests", subject, wanted.request_id) is None:
                await anyio.lowlevel.checkpoint()
        bot.release.set()
    return told


def wanted_by_two(**changes: Any) -> list[tuple[str, OrderRequest]]:
    """Return an order of each of two agents, in two pairs."""
    return [
        (agent, order(pair=pair, **changes))
        for agent, pair in zip(("agent-a", "agent-b"), PAIRS, strict=True)
    ]


@pytest.mark.parametrize(
    ("free", "told"),
    [(150.0, ["balance_too_small", "placed"]), (201.0, ["placed", "placed"])],
    ids=["covers_one", "covers_two"],
)
async def test_a_wallet_serves_as_many_as_it_covers(
    desk: Desk, free: float, told: list[str]
) -> None:
    """Neither does one spend another's money, nor is money counted twice (docs/orders.md, 5 and 6)."""
    desk.bot.free = free
    calls = [(desk, *one) for one in wanted_by_two(amount="1")]
    assert sorted(await at_once(*calls)) == told


@pytest.mark.parametrize(
    ("slots", "told"),
    [(1, ["no_free_slot", "placed"]), (2, ["placed", "placed"])],
    ids=["one_slot", "two_slots"],
)
async def test_the_bots_slots_serve_as_many_as_there_are(
    desk: Desk, slots: int, told: list[str]
) -> None:
    """The bot checks its slots before it takes its lock: here they are counted (freqtrade)."""
    desk.bot.max_open_trades = slots
    calls = [(desk, *one) for one in wanted_by_two()]
    assert sorted(await at_once(*calls)) == told


async def test_two_agents_want_the_same_pair_and_one_gets_it(desk: Desk) -> None:
    """Eight concurrent entries of one pair opened eight trades at the bot (freqtrade)."""
    told = await at_once((desk, "agent-a", order()), (desk, "agent-b", order()))
    assert sorted(told) == ["placed", "position_exists"]
    assert len(desk.bot.posts) == 1


async def test_what_is_reserved_is_what_is_sent_and_its_fee(desk: Desk) -> None:
    """The bot may spend all of the stake, which is half a lot step more than the amount costs."""
    wanted = order(order_type="limit", price="99", amount="2")
    await desk.orders.create(admission(), wanted)
    record = await stored(desk, wanted)
    assert record.quote_sent == Decimal("2.000005") * 99
    assert record.reserved_quote == record.quote_sent * Decimal("1.001")
    assert desk.bot.posts[0]["stakeamount"] == float(record.quote_sent)


async def test_an_exit_reserves_nothing(desk: Desk) -> None:
    """Selling costs no money and needs no slot."""
    await desk.orders.create(admission(), order())
    wanted = order(side="sell")
    await desk.orders.create(admission(), wanted)
    assert (await stored(desk, wanted)).reserved_quote is None


@pytest.mark.parametrize(
    "fault",
    ["refuse:Maximum number of trades is reached.", "no_connection"],
    ids=["rejected", "not_sent"],
)
async def test_an_order_that_came_to_nothing_gives_back(desk: Desk, fault: str) -> None:
    """Its money and slot are free for the next one at once (orders)."""
    desk.bot.free, desk.bot.max_open_trades = 150.0, 1
    desk.bot.faults.append(fault)
    await refused(desk, order(amount="1"))
    [(_, first), (agent, wanted)] = wanted_by_two(amount="1")
    created = await desk.orders.create(admission(agent), wanted)
    assert created.answer["outcome"] == "placed"
    assert first.pair != wanted.pair


async def test_an_unknown_order_keeps_what_it_reserved_until_it_is_known(desk: Desk) -> None:
    """It may come true any moment; a dry run says so too."""
    desk.bot.free = 150.0
    desk.bot.faults.append("late")
    await refused(desk, order(amount="1"))
    _, (agent, wanted) = wanted_by_two(amount="1")
    preview = await desk.orders.preview(admission(agent, "dry_run_order"), wanted)
    [failed] = [check for check in preview.checks if not check.passed]
    assert (failed.rule, failed.limit) == ("balance_too_small", "49.8994995")
    desk.bot.restart()
    for after_s in (0, PATIENCE.quiet_s, PATIENCE.cycle_s):
        desk.clock.advance(after_s)
        await desk.reconciler.resolve_all()
    assert (await desk.orders.create(admission(agent), wanted)).answer["outcome"] == "placed"


async def test_one_that_was_placed_behind_the_bots_word_is_counted(desk: Desk) -> None:
    """What the bot said before another order was placed knows nothing of its money or slot."""
    before = await desk.ledger.mark()
    await desk.orders.create(admission(), order(amount="1"))
    fresh = desk.orders._intake.record(admission("agent-b"), order(pair="ETH/USDT"))
    old = await desk.ledger.standing(fresh, before)
    assert (old.reserved(), old.entries()) == (Decimal("100.1005005"), 1)
    now = await desk.ledger.standing(fresh, await desk.ledger.mark())
    assert (now.reserved(), now.entries()) == (Decimal(0), 0)


def beside(desk: Desk) -> Desk:
    """Return the desk of another gateway over the same store."""
    ours = desk.reconciler.submission
    theirs = Submission(ours.ledger, ours.finder, ours.bot, ours.clock, ours.policies)
    orders = OrderService(
        desk.ledger, theirs, desk.reconciler, desk.follower, desk.orders._work,
        bot_name=BOT, mode="dry-run", seals=desk.orders._intake.seals,
    )  # fmt: skip
    return replace(desk, orders=orders)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"free": 150.0}, "balance_too_small"),
        ({"max_open_trades": 1}, "no_free_slot"),
        ({}, "bot_busy"),
    ],
    ids=["money", "slot", "place"],
)
async def test_two_gateways_on_one_store_spend_nothing_twice(
    desk: Desk, changes: dict[str, float], told: str
) -> None:
    """The ledger holds the reservation, and not the process that made it (orders)."""
    for name, value in changes.items():
        setattr(desk.bot, name, value)
    [(first, mine), (second, theirs)] = wanted_by_two(amount="1")
    answers = await at_once((desk, first, mine), (beside(desk), second, theirs))
    assert sorted(answers) == sorted([told, "placed"])
    assert len(desk.bot.posts) == 1


async def test_two_gateways_on_one_store_buy_a_pair_once(desk: Desk) -> None:
    """The pair is taken from the moment at which an entry of it is reserved."""
    told = await at_once((desk, "agent-a", order()), (beside(desk), "agent-b", order()))
    assert sorted(told) == ["placed", "position_exists"]
    assert len(desk.bot.posts) == 1
