"""The client of the message websocket against a real Freqtrade on the simulated exchange."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import httpx2
import pytest

from mcp_gateway.clock import Clock
from mcp_gateway.freqtrade.events import BotEvent, BotEvents
from mcp_gateway.sandbox.bot import Sandbox
from tests.support.bot import BotPower
from tests.support.clock import ManualClock

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

PATIENCE_S = 30.0
PAIR = "BTC/USDT"
LIMIT = {"ordertype": "limit", "price": 1000}


@asynccontextmanager
async def hearing(
    bot: Sandbox, *, token: str | None = None, clock: Clock | None = None
) -> AsyncIterator[BotEvents]:
    """Hear what a bot tells for as long as the block lasts."""
    events = BotEvents(bot.freqtrade_url, token or bot.ws_token, clock=clock or Clock())
    async with anyio.create_task_group() as group:
        group.start_soon(events.keep)
        try:
            yield events
        finally:
            group.cancel_scope.cancel()


async def heard(events: BotEvents, *kinds: str) -> list[BotEvent]:
    """Return the next events about trades; they must be of these kinds, in this order."""
    told: list[BotEvent] = []
    with anyio.fail_after(PATIENCE_S):
        while len(told) < len(kinds):
            event = await anext(events)
            if event.kind != "new_candle":
                told.append(event)
    assert [event.kind for event in told] == list(kinds)
    return told


def entered(bot_api: httpx2.Client, tag: str, **more: object) -> int:
    """Send an entry and return the number of its trade."""
    order = {"pair": PAIR, "ordertype": "market", "stakeamount": 50, "entry_tag": tag} | more
    return int(bot_api.post("forceenter", json=order).raise_for_status().json()["trade_id"])


async def test_a_market_entry_is_told_with_our_tag(
    clean_bot: Sandbox, bot_api: httpx2.Client
) -> None:
    """The bot's events wake whoever follows an order, by trade and tag."""
    async with hearing(clean_bot) as events:
        await heard(events, "reconnected")
        trade_id = entered(bot_api, "gw:market")
        told = await heard(events, "entry", "entry_fill")
    for event in told:
        assert (event.trade_id, event.pair, event.tag) == (trade_id, PAIR, "gw:market")
        assert (event.reason, event.vanished) == (None, False)


async def test_a_cancelled_entry_is_told_as_vanished_once_its_trade_is_gone(
    clean_bot: Sandbox, bot_api: httpx2.Client
) -> None:
    """/status and /trades tell nothing of it; the event comes after the deletion."""
    async with hearing(clean_bot) as events:
        await heard(events, "reconnected")
        trade_id = entered(bot_api, "gw:resting", **LIMIT)
        await heard(events, "entry")
        bot_api.delete(f"trades/{trade_id}/open-order")
        [told] = await heard(events, "entry_cancel")
        assert told == BotEvent(
            "entry_cancel", trade_id, PAIR, "gw:resting", reason="asked", vanished=True
        )
        assert bot_api.get(f"trade/{trade_id}").status_code == 404


async def test_exits_are_told_with_the_tag_of_their_entry(
    clean_bot: Sandbox, bot_api: httpx2.Client
) -> None:
    """An exit has no tag of its own: the trade's number finds it."""
    async with hearing(clean_bot) as events:
        await heard(events, "reconnected")
        trade_id = entered(bot_api, "gw:held")
        await heard(events, "entry", "entry_fill")
        resting = {"tradeid": trade_id, "ordertype": "limit", "price": 100_000}
        bot_api.post("forceexit", json=resting).raise_for_status()
        await heard(events, "exit")
        bot_api.delete(f"trades/{trade_id}/open-order").raise_for_status()
        [cancelled] = await heard(events, "exit_cancel")
        bot_api.post("forceexit", json={"tradeid": trade_id, "ordertype": "market"})
        told = await heard(events, "exit", "exit_fill")
    assert (cancelled.reason, cancelled.vanished) == ("asked", False)
    assert {(event.trade_id, event.tag) for event in [cancelled, *told]} == {(trade_id, "gw:held")}


async def test_a_bot_that_is_started_again_is_heard_again(
    clean_bot: Sandbox, bot_power: BotPower, bot_api: httpx2.Client
) -> None:
    """Killed and started: the connection comes back by itself and says so."""
    async with hearing(clean_bot) as events:
        await heard(events, "reconnected")
        await anyio.to_thread.run_sync(bot_power.kill)
        await anyio.to_thread.run_sync(bot_power.start)
        await heard(events, "reconnected")
        entered(bot_api, "gw:after")
        await heard(events, "entry", "entry_fill")


async def test_a_token_that_is_not_the_bots_is_refused(real_bot: Sandbox) -> None:
    """The stand-in's 403 is Freqtrade's: nothing is told, and it is no connection."""
    clock = ManualClock()
    async with hearing(real_bot, token="another", clock=clock) as events:
        await clock.sleeping()  # before the next try
        assert (events._trouble, events.connected) == ("token", False)
