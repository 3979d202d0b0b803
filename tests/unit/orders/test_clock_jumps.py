"""A wall clock that is set back: nothing lasts longer for it, and no old price looks new."""

from datetime import datetime, timedelta

import pytest

from mcp_gateway.clock import CLOCKS_APART
from mcp_gateway.domain.orders import State
from mcp_gateway.risk.policy import Policy
from tests.support.asking import CONSOLE, asking, id_of, waiting
from tests.support.clock import START
from tests.support.desk import Desk, admission, order, refused, stored
from tests.support.previews import preview_id, refused_with

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

BACK = timedelta(hours=1)
A_LITTLE = timedelta(seconds=1)
STEP = timedelta(minutes=5)


@pytest.fixture
def rules() -> Policy:
    """Every order of a hundred needs a person; one of half of that does not."""
    return asking()


def candles_until(desk: Desk, at: datetime) -> None:
    """Let the bot's newest candle be the one that closed at that moment."""
    opened = int((at - STEP).timestamp())
    desk.bot.candles = {(pair, "5m"): opened for pair in desk.bot.pairs}


@pytest.mark.parametrize(
    ("back", "state"),
    [(BACK, State.DENIED), (CLOCKS_APART, State.PLACED)],
    ids=["an-hour", "as-clocks-lie-apart"],
)
async def test_a_yes_ends_where_the_clock_is_set_back(
    desk: Desk, back: timedelta, state: State
) -> None:
    """Its process ended right behind it; it would hold for an hour longer than was said."""
    wanted = await waiting(desk)
    await desk.orders.approvals.approve(await id_of(desk, wanted), CONSOLE)
    desk.clock.set_wall(desk.clock.now() - back)
    if state is State.DENIED:
        await desk.orders.dispatch.look()
    else:
        record = await stored(desk, wanted)
        await desk.orders.dispatch.send(record, CONSOLE.origin)
    found = await stored(desk, wanted)
    assert found.state in {state, State.FILLED}
    assert found.code == ("approval_expired" if state is State.DENIED else None)


async def test_a_question_ends_where_the_clock_is_set_back(desk: Desk) -> None:
    """Whoever answers it would answer for a market of long ago."""
    wanted = await waiting(desk)
    desk.clock.set_wall(START - BACK)
    await desk.orders.dispatch.look()
    assert (await stored(desk, wanted)).code == "approval_expired"


@pytest.mark.parametrize(
    ("ahead", "code"),
    [
        (CLOCKS_APART + A_LITTLE, "price_unavailable"),
        (CLOCKS_APART, None),
        (timedelta(0), None),
    ],
    ids=["beyond", "at-the-bound", "now"],
)
async def test_a_candle_that_closes_later_than_now_is_no_price(
    desk: Desk, ahead: timedelta, code: str | None
) -> None:
    """By a clock that is two hours behind a price of an hour ago would be new."""
    candles_until(desk, START)
    desk.clock.set_wall(START - ahead)
    told = await desk.orders.preview(admission(operation="dry_run_order"), order(amount="0.4"))
    failed = [check.rule for check in told.checks if not check.passed]
    assert (code in failed) if code else (failed == [])


async def test_a_preview_of_the_future_is_refused(desk: Desk) -> None:
    """It would last for an hour and a minute."""
    wanted = order(amount="0.4")
    preview = await preview_id(desk, wanted)
    desk.clock.set_wall(START - BACK)
    candles_until(desk, START - BACK)
    assert (await refused_with(desk, wanted, preview)).code == "preview_expired"
    assert desk.bot.posts == []


async def test_what_was_sent_later_than_now_counts_among_the_orders_of_the_day(desk: Desk) -> None:
    """A limit is not spent twice by setting the clock back."""
    desk.policies._current = asking(orders_per_day=1)
    desk.clock.set_wall(START + BACK)
    candles_until(desk, START + BACK)
    await desk.orders.create(admission(), order(amount="0.4"))
    desk.clock.set_wall(START)
    candles_until(desk, START)
    assert (await refused(desk, order(pair="ETH/USDT", amount="0.4"))).code == "daily_orders"
