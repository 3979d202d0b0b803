"""Threat: what goes on around an order makes it happen twice, or makes an answer false."""

from collections.abc import Awaitable, Callable
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import httpx2
import pytest

from mcp_gateway.domain.market import MarketRules
from mcp_gateway.domain.orders import OrderRecord, OrderRequest, State
from mcp_gateway.errors import (
    BotUnavailable,
    GatewayError,
    OrderDenied,
    OrderNotResting,
    StoreUnavailable,
)
from mcp_gateway.freqtrade.connections import Connections
from mcp_gateway.orders.book import moves
from mcp_gateway.orders.evidence.absence import Patience
from mcp_gateway.orders.settling.follow import CANCEL_ACTS, INTERVAL_S
from mcp_gateway.orders.settling.reconcile import ORIGIN
from mcp_gateway.risk.keeper import PolicyKeeper
from mcp_gateway.risk.policy import BUILT_IN, Policy
from mcp_gateway.storage import engines
from tests.support.clock import ManualClock
from tests.support.desk import (
    PAIR,
    PATIENCE,
    Desk,
    admission,
    lost,
    open_desk,
    order,
    refused,
    rested,
    stored,
)
from tests.support.tradingbot import TradingBot

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

OTHER = "ETH/USDT"
HOUR_S = 3600.0
PATIENT = (0.0, PATIENCE.quiet_s + 1, PATIENCE.cycle_s + 1)  # looks after which absence counts
Answering = Callable[[httpx2.Request], Awaitable[httpx2.Response]]


async def looked(desk: Desk, *pauses_s: float) -> None:
    """Let the reconciler look after each of these pauses."""
    for pause_s in pauses_s:
        desk.clock.advance(pause_s)
        await desk.reconciler.resolve_all()


async def followed(desk: Desk, *pauses_s: float) -> None:
    """Let the follower look after each of these pauses."""
    for pause_s in pauses_s:
        desk.clock.advance(pause_s)
        await desk.follower.look()


async def state(desk: Desk, wanted: OrderRequest) -> tuple[State, str | None]:
    record = await stored(desk, wanted)
    return record.state, record.code


async def bought(desk: Desk, subject: str = "agent-a", **changes: Any) -> OrderRequest:
    wanted = order(**changes)
    await desk.orders.create(admission(subject), wanted)
    return wanted


async def cancelled(desk: Desk, wanted: OrderRequest) -> dict[str, Any]:
    return await desk.orders.cancel(admission(operation="cancel_order"), wanted.request_id)


def answered_by(desk: Desk, answering: Answering) -> None:
    """Put something between the gateway and its bot."""
    connections: Connections = desk.reconciler.bot._connections
    for one in (connections._reads, connections._orders):
        one._transport = httpx2.MockTransport(answering)  # type: ignore[arg-type]  # it awaits them


# The wrong bot is asked: another one stands where the orders of the ledger are not.


async def test_another_bot_is_not_asked_about_an_order_that_it_never_got(
    tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> None:
    """It has no such order: absence there would be told as "never executed"."""
    async with open_desk(tmp_path, bot, clock) as desk:
        wanted = await lost(desk, "lose_done")
    async with open_desk(tmp_path, TradingBot(clock), clock, bot_name="second") as desk:
        for pause_s in PATIENT:
            clock.advance(pause_s)
            told = await desk.orders.get(admission(), wanted.request_id)
            assert (told["outcome"], told["final"]) == ("unknown", False)
    async with open_desk(tmp_path, bot, clock) as desk:
        told = await desk.orders.get(admission(), wanted.request_id)
        assert (told["status"], told["final"]) == ("filled", True)


async def test_another_bot_is_not_asked_what_became_of_a_resting_order(
    tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> None:
    """It would be told as vanished while it rests, and is filled later."""
    async with open_desk(tmp_path, bot, clock) as desk:
        wanted = await rested(desk)
    async with open_desk(tmp_path, TradingBot(clock), clock, bot_name="second") as desk:
        for _ in range(3):
            told = await desk.orders.get(admission(), wanted.request_id)
            assert told["status"] == "submitted"
            await followed(desk, INTERVAL_S)
    bot.fill(1)
    async with open_desk(tmp_path, bot, clock) as desk:
        await followed(desk, INTERVAL_S)
        assert (await stored(desk, wanted)).state is State.FILLED


async def test_another_bot_is_not_told_to_cancel(
    tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> None:
    """A trade there may have the same number."""
    async with open_desk(tmp_path, bot, clock) as desk:
        wanted = await rested(desk)
    second = TradingBot(clock)
    async with open_desk(tmp_path, second, clock, bot_name="second") as desk:
        await rested(desk, "agent-b")
        with pytest.raises(OrderNotResting) as error:
            await cancelled(desk, wanted)
        assert error.value.code == "other_bot"
    assert (bot.cancels, second.cancels) == ([], [])
    assert bot.status[0]["orders"][0]["is_open"]


# Time that passes for nobody, or for one side alone.


async def test_time_in_which_gateway_and_bot_stood_still_proves_nothing(desk: Desk) -> None:
    """One machine for both, suspended for an hour: the bot still has the order before it."""
    desk.reconciler.patience = Patience(PATIENCE.quiet_s, PATIENCE.cycle_s)
    wanted = await lost(desk, "late")
    await looked(desk, 0, HOUR_S, PATIENCE.cycle_s + 1)
    assert (await stored(desk, wanted)).state is State.UNKNOWN
    desk.bot.take_effect()
    await looked(desk, 2)
    assert (await stored(desk, wanted)).state is State.FILLED


async def test_a_bot_that_was_frozen_is_given_its_time_again(desk: Desk) -> None:
    """It answered nothing, so nobody knows how much of that time it had."""
    wanted = await lost(desk, "late")
    await looked(desk, 0)
    desk.bot.fails = httpx2.ReadTimeout("frozen")
    for _ in range(3):
        with pytest.raises(BotUnavailable):
            await looked(desk, PATIENCE.quiet_s)
    desk.bot.fails = None
    await looked(desk, 2, PATIENCE.cycle_s + 1)
    assert (await stored(desk, wanted)).state is State.UNKNOWN
    desk.bot.take_effect()
    await looked(desk, 2)
    assert (await stored(desk, wanted)).state is State.FILLED


async def test_a_trader_that_is_stopped_and_started_is_no_restart(desk: Desk) -> None:
    """Its /stop and /start give it a new time of start, and drop nothing that is under way."""
    wanted = await lost(desk, "late")
    await looked(desk, 0, 2)
    desk.bot.started_at = desk.clock.now().isoformat()
    await looked(desk, 2, PATIENCE.cycle_s + 1, PATIENCE.cycle_s + 1)
    assert (await stored(desk, wanted)).state is State.UNKNOWN
    desk.bot.take_effect()
    await looked(desk, 2)
    assert (await stored(desk, wanted)).state is State.FILLED


def paused_behind_sent(desk: Desk, way: str, go: anyio.Event) -> None:
    """Let the process stand still once it has committed ``sent``."""
    commits: Callable[..., Awaitable[OrderRecord]] = getattr(desk.ledger, way)

    async def committed(*words: Any) -> OrderRecord:
        record = await commits(*words)
        if record.state is State.SENT:
            await go.wait()
        return record

    setattr(desk.ledger, way, committed)


@pytest.mark.parametrize("side", ["buy", "sell"])
async def test_a_process_that_was_paused_behind_sent_sends_nothing_any_more(
    tmp_path: Path, bot: TradingBot, clock: ManualClock, side: str
) -> None:
    """Meanwhile another one has taken it for dead, and told the order as never executed."""
    go, ends = anyio.Event(), []
    async with open_desk(tmp_path, bot, clock) as desk:
        if side == "sell":
            await bought(desk)
        wanted, before = order(side=side), len(bot.posts)
        paused_behind_sent(desk, "weigh" if side == "buy" else "move", go)

        async def send() -> None:
            ends.append((await refused(desk, wanted)).code)

        async with anyio.create_task_group() as group:
            group.start_soon(send)
            record = await sent(desk, wanted)
            # What another gateway on the same database does once the session is gone.
            await desk.ledger.move(record, [moves.interrupted(record)], ORIGIN)
            await looked(desk, *PATIENT)
            assert await state(desk, wanted) == (State.REJECTED, "not_executed")
            go.set()
        assert (ends, bot.posts[before:]) == (["not_executed"], [])
        assert await state(desk, wanted) == (State.REJECTED, "not_executed")


async def sent(desk: Desk, wanted: OrderRequest) -> OrderRecord:
    """Wait until an order is committed as sent."""
    with anyio.fail_after(5):
        while True:
            record = await desk.ledger.find("tests", "agent-a", wanted.request_id)
            if record is not None and record.state is State.SENT:
                return record
            await anyio.sleep(0.001)


# Money and places.


@pytest.mark.parametrize("amount", ["9", "9.5", "5"])
async def test_no_more_is_sent_than_was_checked_and_set_aside(desk: Desk, amount: str) -> None:
    """Half a lot step is added to what is sent: of a coarse one that is real money."""
    coarse = MarketRules(Decimal(9), Decimal(5), Decimal("0.1"))
    policies = PolicyKeeper(Policy(markets={PAIR: coarse}))
    desk.orders._finder.policies = policies
    wanted = order(amount=amount)
    try:
        await desk.orders.create(admission(), wanted)
    except OrderDenied:
        assert desk.bot.posts == []
        return
    record = await stored(desk, wanted)
    assert record.reserved_quote is not None
    stake = Decimal(str(desk.bot.posts[-1]["stakeamount"]))
    largest = BUILT_IN.defaults.order_notional
    assert largest is not None
    assert stake <= min(record.reserved_quote, largest)
    assert record.actual_amount is not None
    assert record.actual_amount <= record.amount


async def test_an_exchange_that_counts_its_orders_anew_blocks_nobody(desk: Desk) -> None:
    """A testnet is reset: the new order has the number of an old one, of the same pair."""
    first = await bought(desk)
    desk.bot.status.clear()
    desk.bot._order_ids = iter([1, 2, 3])
    second = await bought(desk)
    numbers = [(await stored(desk, one)).bot_order_id for one in (first, second)]
    assert numbers == ["order-1", "order-1"]
    assert (await stored(desk, second)).state is State.FILLED
    await bought(desk, "agent-b", pair=OTHER)


@pytest.mark.parametrize("timeframe", ["3d", "7m", "1w", "nonsense"])
async def test_an_exit_goes_whatever_timeframe_the_bot_has(desk: Desk, timeframe: str) -> None:
    """Candles are no business of an exit's."""
    await bought(desk)
    desk.bot.timeframe = timeframe
    sold = await desk.orders.create(admission(), order(side="sell"))
    assert sold.answer["status"] == "filled"


async def test_the_sells_of_others_do_not_hold_up_an_agents_own(desk: Desk) -> None:
    """They sell what they do not have, again and again, while every answer takes its time."""
    await bought(desk)
    asked, go = anyio.Event(), anyio.Event()
    theirs = True

    async def answer(request: httpx2.Request) -> httpx2.Response:
        if theirs:
            asked.set()
            await go.wait()
        return await desk.bot._answer(request)

    answered_by(desk, answer)
    codes: list[str] = []

    async def attack() -> None:
        codes.append((await refused(desk, order(side="sell"), "agent-z")).code)

    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(attack)
        await asked.wait()
        theirs = False
        with anyio.fail_after(5):
            sold = await desk.orders.create(admission(), order(side="sell"))
        assert (sold.answer["status"], codes) == ("filled", [])
        go.set()


# What the bot shows, hides and forgets.


async def test_a_trade_that_can_not_be_read_stops_nobody_elses_orders(desk: Desk) -> None:
    """Each order is followed for itself, open or closed."""
    odd, sound = await rested(desk), await rested(desk, pair=OTHER)
    trade, other = desk.bot.status
    trade["orders"][0]["order_id"] = None
    desk.bot.fill(other["trade_id"], 0.5)
    await followed(desk, INTERVAL_S)
    assert (await stored(desk, sound)).filled_amount == Decimal("0.5")
    desk.bot.status.remove(trade)
    desk.bot.closed.append(trade | {"is_open": False})
    desk.bot.fill(other["trade_id"])
    await followed(desk, HOUR_S)
    assert (await stored(desk, sound)).state is State.FILLED
    assert (await stored(desk, odd)).state is State.PLACED


async def test_a_cancel_that_worked_is_never_told_as_refused(desk: Desk) -> None:
    """The bot answers nothing behind it: what was done is not known, and found out later."""
    wanted = await rested(desk)
    is_away = False

    async def answer(request: httpx2.Request) -> httpx2.Response:
        nonlocal is_away
        if is_away:
            raise httpx2.ReadTimeout("too slow")
        is_away = request.method == "DELETE"
        return await desk.bot._answer(request)

    answered_by(desk, answer)
    with pytest.raises(BotUnavailable) as error:
        await cancelled(desk, wanted)
    assert (error.value.code, desk.bot.status) == ("cancel_unanswered", [])
    answered_by(desk, desk.bot._answer)
    await followed(desk, 0, INTERVAL_S)
    assert await state(desk, wanted) == (State.CANCELLED, "cancel_asked")


async def test_a_cancel_that_worked_is_not_told_as_refused_where_the_ledger_fails(
    desk: Desk,
) -> None:
    """The same, where it is our own store that can't take it down."""
    wanted = await rested(desk)
    move, moved = desk.ledger.move, 0

    async def fails(*words: Any) -> OrderRecord:
        nonlocal moved
        moved += 1
        if moved > 1:
            raise StoreUnavailable("full")
        return await move(*words)

    desk.ledger.move = fails  # type: ignore[method-assign,assignment]  # a disk that fills up
    with pytest.raises(GatewayError) as error:
        await cancelled(desk, wanted)
    assert (error.value.code, desk.bot.status) == ("cancel_unanswered", [])
    desk.ledger.move = move  # type: ignore[method-assign]  # and is emptied
    await followed(desk, 0, INTERVAL_S)
    assert await state(desk, wanted) == (State.CANCELLED, "cancel_asked")


async def test_an_order_that_was_replaced_is_cancelled_as_what_it_is_now(desk: Desk) -> None:
    """A strategy had it placed again at another price: our mark stays, the number does not."""
    wanted = await rested(desk)
    desk.bot.status[0]["orders"][0]["order_id"] = "order-replaced"
    assert (await cancelled(desk, wanted))["status"] == "cancelled"
    assert (desk.bot.cancels, desk.bot.status) == ([1], [])


async def test_an_order_is_vanished_only_when_two_looks_apart_miss_it(desk: Desk) -> None:
    """A bot that is being set up shows another's books for a moment."""
    wanted = await rested(desk)
    books = desk.bot.status
    desk.bot.status = []
    await followed(desk, 0, INTERVAL_S - 1)
    assert (await stored(desk, wanted)).state is State.PLACED
    desk.bot.status = books
    await followed(desk, 1)
    desk.bot.status = []
    await followed(desk, INTERVAL_S)  # the first that misses it again
    assert (await stored(desk, wanted)).state is State.PLACED
    desk.bot.status = books
    desk.bot.fill(1)
    await followed(desk, INTERVAL_S)
    assert (await stored(desk, wanted)).state is State.FILLED


async def test_an_order_that_is_gone_for_good_is_told_as_vanished(desk: Desk) -> None:
    """Two looks, the bot's own cycle apart."""
    wanted = await rested(desk)
    desk.bot.status = []
    await followed(desk, 0, INTERVAL_S)
    assert (await stored(desk, wanted)).state is State.VANISHED


async def test_a_cancel_that_was_refused_explains_nothing_later(desk: Desk) -> None:
    """It fills after all, and a person deletes the trade: nobody cancelled it."""
    wanted = await rested(desk)
    desk.bot.faults.append("refuse:Order not found.")
    with pytest.raises(GatewayError):
        await cancelled(desk, wanted)
    desk.bot.fill(1)
    desk.bot.status.clear()
    await followed(desk, CANCEL_ACTS.total_seconds() + 1, INTERVAL_S)
    assert await state(desk, wanted) == (State.VANISHED, None)


# The ledger's own file.


def deleted(folder: Path) -> None:
    for file in folder.glob("gateway.sqlite*"):
        file.unlink()


@pytest.mark.parametrize("mode", ["TRUNCATE", "WAL"])
async def test_nothing_is_sent_on_a_ledger_that_is_not_there_any_more(
    tmp_path: Path,
    bot: TradingBot,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
    mode: str,
) -> None:
    """In WAL mode SQLite goes on in a deleted file: the next start would send the order again."""
    pragmas = (f"journal_mode={mode}", *engines._PRAGMAS[1:])
    monkeypatch.setattr(engines, "_PRAGMAS", pragmas)
    wanted = order(request_id=uuid4())
    async with open_desk(tmp_path, bot, clock) as desk:
        deleted(tmp_path)
        assert (await refused(desk, wanted)).code == "store_unavailable"
    assert bot.posts == []
    async with open_desk(tmp_path, bot, clock) as desk:
        assert not (await desk.orders.create(admission(), wanted)).replayed
    assert len(bot.posts) == 1
