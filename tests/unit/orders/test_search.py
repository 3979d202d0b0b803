"""Looking for an order at the bot: all of its books before an absence counts, and only ours."""

import pytest

from mcp_gateway.domain.orders import OrderRecord, OrderRequest, State
from mcp_gateway.errors import BotUnavailable
from mcp_gateway.orders.book.moves import Noted
from mcp_gateway.orders.evidence.search import RECENT_TRADES, Search, TradeGone
from tests.support.busybot import BusyBot
from tests.support.clock import ManualClock
from tests.support.desk import (
    PATIENCE,
    Desk,
    admission,
    lost,
    order,
    stored,
)

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


@pytest.fixture
def bot(clock: ManualClock) -> BusyBot:
    return BusyBot(clock)


async def sought(desk: Desk, wanted: OrderRequest) -> tuple[Search, OrderRecord, Noted]:
    """Return a search, and what it takes to look for an order."""
    record = await stored(desk, wanted)
    noted = Noted.of(await desk.ledger.history(record.order_id))
    return Search(desk.reconciler.bot), record, noted


@pytest.mark.parametrize(
    ("newer", "seen"), [(RECENT_TRADES - 1, True), (RECENT_TRADES, False)], ids=["just", "too_far"]
)
async def test_one_look_reads_the_last_trades_alone(
    desk: Desk, bot: BusyBot, newer: int, seen: bool
) -> None:
    """It is taken every two seconds; the whole book is read by ``look_everywhere``."""
    wanted = await lost(desk, "lose_done")
    bot._exit({"tradeid": 1})
    bot.trade_for_a_day(newer)
    search, record, noted = await sought(desk, wanted)
    assert (await search.look(record, noted) is not None) is seen
    found = await search.look_everywhere(record, noted)
    assert found is not None
    assert (found.trade_id, found.bot_order_id) == (1, "order-1")


async def test_what_a_busy_bot_closed_long_ago_is_found_before_its_absence_counts(
    desk: Desk, bot: BusyBot
) -> None:
    """Filled and closed again while the answer was lost, and a hundred newer trades since."""
    wanted = await lost(desk, "lose_done")
    bot._exit({"tradeid": 1})
    bot.trade_for_a_day(RECENT_TRADES + 1)
    for after_s in (0.0, PATIENCE.quiet_s):
        desk.clock.advance(after_s)
        await desk.reconciler.resolve_all()
        assert (await stored(desk, wanted)).state is State.UNKNOWN
    desk.clock.advance(PATIENCE.cycle_s)
    await desk.reconciler.resolve_all()
    record = await stored(desk, wanted)
    assert (record.state, record.trade_id) == (State.FILLED, 1)


async def test_books_that_cannot_be_read_to_the_end_prove_no_absence(
    desk: Desk, bot: BusyBot
) -> None:
    """The last look fails: the order stays unknown, and the next one that reads it all counts."""
    wanted = await lost(desk, "lose")
    for after_s in (0.0, PATIENCE.quiet_s):
        desk.clock.advance(after_s)
        await desk.reconciler.resolve_all()

    async def fall_silent() -> None:
        bot.fails = 500

    bot.between.append(fall_silent)
    desk.clock.advance(PATIENCE.cycle_s)
    with pytest.raises(BotUnavailable):
        await desk.reconciler.resolve_all()
    assert (await stored(desk, wanted)).state is State.UNKNOWN
    bot.fails = None
    await desk.reconciler.resolve_all()
    assert (await stored(desk, wanted)).state is State.REJECTED


@pytest.mark.parametrize("everywhere", [False, True], ids=["look", "look_everywhere"])
@pytest.mark.parametrize("reused", [False, True], ids=["deleted", "id_given_away_again"])
async def test_an_exit_whose_trade_is_gone_cannot_be_looked_for(
    desk: Desk, bot: BusyBot, reused: bool, everywhere: bool
) -> None:
    """What happened can't be read; that is no absence (freqtrade: ids are given away again)."""
    await desk.orders.create(admission(), order(amount="2"))
    wanted = await lost(desk, "lose_done", side="sell", amount="2")
    bot.closed.clear()
    if reused:
        bot.enter("BTC/USDT", "strategy")
        assert bot.status[0]["trade_id"] == 1
    search, record, noted = await sought(desk, wanted)
    look = search.look_everywhere if everywhere else search.look
    with pytest.raises(TradeGone):
        await look(record, noted)


async def test_the_sells_that_were_there_before_are_not_ours(desk: Desk, bot: BusyBot) -> None:
    """An exit has no tag: it is the sell that was asked for and not there before (freqtrade)."""
    await desk.orders.create(admission(), order(amount="2"))
    bot._exit({"tradeid": 1, "amount": 0.5})  # by a person
    wanted = await lost(desk, "late", side="sell", amount="0.5")
    search, record, noted = await sought(desk, wanted)
    assert await search.look(record, noted) is None
    bot.take_effect()
    found = await search.look(record, noted)
    assert found is not None
    assert found.bot_order_id == "order-3"
