"""Looking for orders whose answer was lost: presence is proof, absence seldom."""

from pathlib import Path

import anyio
import httpx2
import pytest

from mcp_gateway.domain.orders import OrderRequest, State
from mcp_gateway.domain.positions import Trade
from mcp_gateway.errors import GatewayError
from mcp_gateway.orders.book import background, marks
from mcp_gateway.orders.evidence.absence import DOWN_S
from mcp_gateway.orders.settling.reconcile import INTERVAL_S
from mcp_gateway.telemetry import metrics
from tests.support.clock import ManualClock
from tests.support.desk import (
    PATIENCE,
    Desk,
    admission,
    claim_for_another,
    lost,
    open_desk,
    order,
    refused,
    stored,
)
from tests.support.heard import heard
from tests.support.tradingbot import TradingBot

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


async def looked(desk: Desk, wanted: OrderRequest, *after_s: float) -> tuple[State, str | None]:
    """Look once after each of these waits; return where the order stands."""
    for elapsed_s in after_s:
        desk.clock.advance(elapsed_s)
        await desk.reconciler.resolve_all()
    record = await stored(desk, wanted)
    return record.state, record.code


async def test_what_carries_our_tag_was_placed(desk: Desk) -> None:
    """One look suffices, and it brings the bot's numbers (orders, reconciler)."""
    wanted = await lost(desk, "lose_done")
    assert await looked(desk, wanted, 0) == (State.FILLED, None)
    assert (await stored(desk, wanted)).trade_id == 1


async def test_what_was_closed_meanwhile_was_placed_all_the_same(desk: Desk) -> None:
    """A trade that left /status is in /trades: both are read, in this order (freqtrade)."""
    wanted = await lost(desk, "lose_done")
    desk.bot._exit({"tradeid": 1})
    assert not desk.bot.status
    assert await looked(desk, wanted, 0) == (State.FILLED, None)


async def test_a_late_effect_is_found_while_the_bot_may_still_act(desk: Desk) -> None:
    """An order took effect 81 s after it was sent: until then nothing is concluded (measured)."""
    wanted = await lost(desk, "late")
    assert (await looked(desk, wanted, 0, PATIENCE.quiet_s - 1))[0] is State.UNKNOWN
    desk.bot.take_effect()
    assert await looked(desk, wanted, 1) == (State.FILLED, None)


async def test_an_absence_counts_at_rest_and_seen_twice(desk: Desk) -> None:
    """Two clean looks a cycle apart, both behind the bot's own time-outs (orders)."""
    wanted = await lost(desk)
    unknown = (State.UNKNOWN, "connection_lost")
    assert await looked(desk, wanted, 0, PATIENCE.quiet_s - 1, 1, PATIENCE.cycle_s - 1) == unknown
    assert await looked(desk, wanted, 1) == (State.REJECTED, "not_executed")
    again = await refused(desk, wanted)
    assert (again.code, len(desk.bot.posts)) == ("not_executed", 1)


async def away(
    desk: Desk, wanted: OrderRequest, *, down_s: float = DOWN_S, restarts: bool = True
) -> None:
    """Start the bot anew, or cut it off: for that long nobody listens at its address."""
    desk.bot.fails = httpx2.ConnectError("refused")
    for after_s in (0.0, down_s):
        with pytest.raises(GatewayError) as caught:
            await looked(desk, wanted, after_s)
        assert caught.value.code == "bot_unreachable"
    if restarts:
        desk.bot.restart()
    desk.bot.fails = None


async def test_a_bot_started_anew_is_at_rest_at_once(desk: Desk) -> None:
    """It can't act any more on what its earlier process was told (orders)."""
    wanted = await lost(desk, "late")
    assert (await looked(desk, wanted, 2))[0] is State.UNKNOWN
    await away(desk, wanted)
    assert (await looked(desk, wanted, 2))[0] is State.UNKNOWN
    assert await looked(desk, wanted, PATIENCE.cycle_s) == (State.REJECTED, "not_executed")


@pytest.mark.parametrize("down_s", [None, DOWN_S / 2], ids=["never_away", "away_for_a_moment"])
async def test_a_bot_that_was_hardly_away_was_not_started_anew(
    desk: Desk, down_s: float | None
) -> None:
    """A reload of its configuration looks like a start, and what was under way goes on."""
    wanted = await lost(desk, "late")
    [late] = desk.bot.pending
    assert (await looked(desk, wanted, 2))[0] is State.UNKNOWN
    if down_s is None:
        desk.bot.restart()
    else:
        await away(desk, wanted, down_s=down_s)
    assert (await looked(desk, wanted, 2, PATIENCE.cycle_s))[0] is State.UNKNOWN
    late()
    assert (await looked(desk, wanted, PATIENCE.cycle_s))[0] is State.FILLED


async def test_a_run_that_may_have_the_order_is_not_taken_for_a_later_one(desk: Desk) -> None:
    """The bot was started between the gateway's last look at it and the order: it acts late."""
    await desk.orders.create(admission(), order(pair="ETH/USDT"))  # notes the run before
    desk.bot.restart()
    wanted = await lost(desk, "late")
    assert (await looked(desk, wanted, 2))[0] is State.UNKNOWN
    await away(desk, wanted, restarts=False)
    assert (await looked(desk, wanted, 2, PATIENCE.cycle_s))[0] is State.UNKNOWN
    desk.bot.take_effect()
    assert (await looked(desk, wanted, PATIENCE.cycle_s))[0] is State.FILLED


async def test_a_bot_whose_clock_was_set_back_is_not_taken_for_restarted(desk: Desk) -> None:
    """It looks young then; but it is the run that was noted before the order (freqtrade)."""
    wanted = await lost(desk, "late")
    assert (await looked(desk, wanted, 100))[0] is State.UNKNOWN
    await away(desk, wanted, restarts=False)
    desk.bot.clock_behind_s = 7_305  # a few seconds after its start
    assert (await looked(desk, wanted, 10, PATIENCE.cycle_s))[0] is State.UNKNOWN


async def test_a_bot_whose_start_lies_ahead_is_not_taken_for_restarted(desk: Desk) -> None:
    """It was started by a clock that was set back since: how old it is can't be told."""
    await desk.orders.create(admission(), order(pair="ETH/USDT"))  # notes the run before
    desk.bot.started_at = "2025-11-18T11:00:00Z"
    wanted = await lost(desk)
    assert (await looked(desk, wanted, 10))[0] is State.UNKNOWN
    await away(desk, wanted, restarts=False)
    assert (await looked(desk, wanted, 10, 10))[0] is State.UNKNOWN


async def test_a_look_that_failed_concludes_nothing(desk: Desk) -> None:
    """What the bot did not tell is not missing, and the quiet time starts anew behind it."""
    wanted = await lost(desk)
    desk.bot.fails = 500
    for _ in range(3):
        with pytest.raises(GatewayError) as caught:
            await looked(desk, wanted, 1000)
        assert caught.value.code == "bot_failed"
    desk.bot.fails = None
    unknown = (State.UNKNOWN, "connection_lost")
    assert await looked(desk, wanted, 0, PATIENCE.cycle_s, PATIENCE.quiet_s - 7, 1) == unknown
    assert (await looked(desk, wanted, PATIENCE.cycle_s))[0] is State.REJECTED


async def test_the_time_of_a_frozen_bot_does_not_count(desk: Desk) -> None:
    """It takes up what it was handed where it stopped, however long ago that was."""
    wanted = await lost(desk, "late")
    await looked(desk, wanted, 0, PATIENCE.quiet_s - 1)
    desk.bot.fails = 500
    with pytest.raises(GatewayError):
        await looked(desk, wanted, PATIENCE.quiet_s)
    desk.bot.fails = None
    assert (await looked(desk, wanted, 0, PATIENCE.cycle_s))[0] is State.UNKNOWN
    desk.bot.take_effect()
    assert (await looked(desk, wanted, PATIENCE.cycle_s))[0] is State.FILLED


async def test_a_bot_at_rest_that_fails_once_is_at_rest_still(desk: Desk) -> None:
    """Its time-outs have passed: of what it was handed it can carry out nothing any more."""
    wanted = await lost(desk)
    await looked(desk, wanted, 0, PATIENCE.quiet_s)
    desk.bot.fails = 500
    with pytest.raises(GatewayError):
        await looked(desk, wanted, 1)
    desk.bot.fails = None
    assert (await looked(desk, wanted, PATIENCE.cycle_s))[0] is State.REJECTED


@pytest.mark.parametrize(
    ("restarts", "coin", "ends"),
    [
        (True, None, (State.REJECTED, "not_executed")),
        (False, None, (State.NEEDS_REVIEW, "absence_unproven")),
        (True, "BTC", (State.NEEDS_REVIEW, "unmanaged_coin")),
        (False, "BTC", (State.NEEDS_REVIEW, "unmanaged_coin")),
        (True, "DOGE", (State.REJECTED, "not_executed")),
    ],
    ids=["restarted", "running", "coin_restarted", "coin_running", "another_coin"],
)
async def test_with_real_money_absence_needs_a_wallet_that_was_read_since(
    tmp_path: Path, bot: TradingBot, clock: ManualClock, restarts: bool, coin: str | None,
    ends: tuple[State, str],
) -> None:  # fmt: skip
    """The exchange may have executed what the bot has no trade for (orders, live)."""
    bot.dry_run = False
    async with open_desk(tmp_path, bot, clock, mode="live") as desk:
        wanted = await lost(desk)
        await looked(desk, wanted, 0)
        clock.advance(2)
        if restarts:
            await away(desk, wanted)
        if coin is not None:
            bot.coins[coin] = 0.5
        assert await looked(desk, wanted, 2, PATIENCE.quiet_s, PATIENCE.cycle_s) == ends


async def test_an_exit_that_is_absent_was_never_executed(desk: Desk) -> None:
    """Its trade is there and tells every sell: no wallet has to be asked."""
    await desk.orders.create(admission(), order(amount="2"))
    wanted = await lost(desk, side="sell", amount="0.5")
    ends = await looked(desk, wanted, 0, PATIENCE.quiet_s, PATIENCE.cycle_s)
    assert ends == (State.REJECTED, "not_executed")


@pytest.mark.parametrize("reused", [False, True])
async def test_an_exit_whose_trade_is_gone_is_for_a_person(desk: Desk, reused: bool) -> None:
    """Trade ids are given away again: another trade under the id proves nothing (freqtrade)."""
    await desk.orders.create(admission(), order(amount="2"))
    wanted = await lost(desk, "lose_done", side="sell", amount="2")
    [trade] = desk.bot.closed
    desk.bot.closed.clear()
    if reused:
        desk.bot.status.append(trade | {"enter_tag": "strategy", "is_open": True})
    assert await looked(desk, wanted, 0) == (State.NEEDS_REVIEW, "trade_gone")
    told = await desk.orders.get(admission(), wanted.request_id)
    assert (told["outcome"], told["final"]) == ("unknown", False)


async def test_a_sell_that_stands_for_another_request_is_for_a_person(desk: Desk) -> None:
    """One order at the bot is one request's; whose it is can't be told from here (ledger)."""
    bought = order(amount="2")
    await desk.orders.create(admission(), bought)
    wanted = await lost(desk, "lose_done", side="sell", amount="0.5")
    await claim_for_another(desk, bought, "order-2")
    assert await looked(desk, wanted, 0) == (State.NEEDS_REVIEW, "mark_claimed")
    assert (await stored(desk, wanted)).bot_order_id is None


async def test_one_order_that_cannot_be_understood_holds_up_no_other(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bug that one order brings out is loud, and leaves no other one unknown."""
    await desk.orders.create(admission(), order(amount="2"))
    first = await lost(desk, "lose_done", pair="ETH/USDT")
    second = await lost(desk, "lose_done", side="sell", amount="0.5")

    def stumbles(trades: tuple[Trade, ...], tag: str) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(marks, "find_entry", stumbles)
    with heard(background) as logged:
        assert (await looked(desk, first, 0))[0] is State.UNKNOWN
    assert (await stored(desk, second)).state is State.FILLED
    assert [line["event"] for line in logged] == ["An order could not be taken on"]


async def test_the_reconciler_works_on_through_trouble(desk: Desk) -> None:
    """A bot that is down is asked again, until nothing is unknown (orders)."""
    wanted = await lost(desk, "lose_done")
    desk.bot.fails = 500
    async with anyio.create_task_group() as group:
        group.start_soon(desk.reconciler.run)
        await desk.clock.sleeping()
        assert metrics.orders_unresolved._value.get() == 1
        desk.bot.fails = None
        for _ in range(2):
            desk.clock.advance(INTERVAL_S)
            await desk.clock.sleeping()
        assert metrics.orders_unresolved._value.get() == 0
        group.cancel_scope.cancel()
    assert (await stored(desk, wanted)).state is State.FILLED
