"""The market as callers see it: true about its age and source, whatever the bot does."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import anyio
import httpx2
import pytest

from mcp_gateway.clock import from_unix
from mcp_gateway.domain.market import CandleSeries, Pairs
from mcp_gateway.domain.operations import OPERATIONS
from mcp_gateway.domain.principals import Principal, admission_by_the_gate
from mcp_gateway.errors import (
    BotUnavailable,
    GatewayError,
    NotFound,
    RequestInvalid,
)
from mcp_gateway.market.service import Market
from mcp_gateway.storage.kv import KeyValue, open_kv
from mcp_gateway.storage.memory import MemoryKeyValue
from mcp_gateway.telemetry import metrics
from tests.support.clock import START, ManualClock
from tests.support.recorded import body_of
from tests.support.wirebot import WireBot

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

ADMISSION = admission_by_the_gate(
    Principal("test", "reader", frozenset({"market:read"})), OPERATIONS["get_candles"], "http", "1"
)
NEWEST = int(START.timestamp()) - 300  # the candle that closed just now
DOWN = httpx2.ConnectError("made for the test")


def dead_redis(clock: ManualClock) -> KeyValue:
    """Return a store that is configured and down: nothing listens on port 1."""
    return open_kv("redis://127.0.0.1:1", clock)


class World:
    """A market on a bot at the wire, a store and a clock that a test moves."""

    def __init__(
        self, store: Callable[[ManualClock], KeyValue] = MemoryKeyValue, ttl_s: int = 300
    ) -> None:
        self.clock = ManualClock()
        self.bot = WireBot(self.clock)
        self.bot.candles["BTC/USDT", "5m"] = NEWEST
        self.store = store(self.clock)
        self.client = self.bot.client()
        self.market = Market(self.client, self.store, self.clock, ttl_s)

    async def candles(self, **changed: Any) -> CandleSeries:
        asked: dict[str, Any] = {"pair": "BTC/USDT", "timeframe": "5m", "limit": 10}
        return await self.market.candles(ADMISSION, **(asked | changed))


async def refused(world: World, **changed: Any) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        await world.candles(**changed)
    return caught.value


async def test_candles_come_live_first_and_then_from_the_cache() -> None:
    """One upstream call until the next close; as_of stays the moment of asking."""
    world = World()
    first = await world.candles()
    assert (first.source, first.as_of, first.resampled_from) == ("live", START, None)
    assert [each.open_s for each in first.candles] == [NEWEST - 300 * i for i in range(9, -1, -1)]
    world.clock.advance(200)
    second = await world.candles(limit=3)
    assert (second.source, second.as_of) == ("cache", START)
    assert second.candles == first.candles[-3:]
    assert world.bot.asked("pair_candles") == 1


async def test_the_cache_ends_with_the_next_close() -> None:
    """A candle closes every five minutes; two seconds are the bot's to publish it."""
    world = World(ttl_s=3600)
    await world.candles()
    world.clock.advance(301.9)
    assert (await world.candles()).source == "cache"
    world.clock.advance(0.2)
    world.bot.candles["BTC/USDT", "5m"] = NEWEST + 300
    again = await world.candles()
    assert (again.source, again.candles[-1].open_s) == ("live", NEWEST + 300)


async def test_nothing_is_kept_longer_than_the_operator_allows() -> None:
    """REDIS_TTL caps everything."""
    world = World(ttl_s=60)
    await world.candles()
    world.clock.advance(59)
    assert (await world.candles()).source == "cache"
    world.clock.advance(2)
    assert (await world.candles()).source == "live"


async def test_a_bot_that_is_behind_is_asked_again_soon() -> None:
    """Just after a close the newest candle may be missing: that answer is kept two seconds."""
    world = World()
    world.bot.candles["BTC/USDT", "5m"] = NEWEST - 900
    await world.candles()
    world.clock.advance(1.9)
    assert (await world.candles()).source == "cache"
    world.clock.advance(0.2)
    world.bot.candles["BTC/USDT", "5m"] = NEWEST
    assert (await world.candles()).candles[-1].open_s == NEWEST


async def test_many_callers_cost_one_call() -> None:
    """Sixty-four at once, through cache misses and one flight."""
    world = World()
    world.bot.hold = anyio.Event()
    series: list[CandleSeries] = []

    async def ask() -> None:
        series.append(await world.candles())

    async with anyio.create_task_group() as callers:
        for _ in range(64):
            callers.start_soon(ask)
        while world.bot.asked("pair_candles") == 0:
            await anyio.lowlevel.checkpoint()
        assert series == []
        world.bot.hold.set()
    assert len(series) == 64
    assert world.bot.asked("pair_candles") == 1


async def test_without_cache_the_bot_is_asked_each_time() -> None:
    """use_cache=false: live, and never something old in its place."""
    world = World()
    for calls in (1, 2):
        assert (await world.candles(use_cache=False)).source == "live"
        assert world.bot.asked("pair_candles") == calls
    world.bot.fails = DOWN
    assert (await refused(world, use_cache=False)).code == "bot_unreachable"


async def test_held_candles_are_served_stale_while_the_bot_is_down() -> None:
    """Old and marked so is better than nothing, for as long as the operator allows."""
    world = World(ttl_s=900)
    await world.candles()
    world.clock.advance(400)
    world.bot.fails = DOWN
    stale = await world.candles()
    assert (stale.source, stale.as_of) == ("stale", START)
    assert stale.candles[-1].open_s == NEWEST
    world.clock.advance(501)
    assert (await refused(world)).code == "bot_unreachable"


async def test_a_bot_that_is_back_is_live_again() -> None:
    """Stale ends with the trouble, two seconds later at most."""
    world = World(ttl_s=900)
    await world.candles()
    world.clock.advance(400)
    world.bot.fails = DOWN
    assert (await world.candles()).source == "stale"
    world.bot.fails = None
    world.clock.advance(2.1)
    assert (await world.candles()).source == "live"


@pytest.mark.parametrize(("fails", "code"), [(500, "bot_failed"), (DOWN, "bot_unreachable")])
async def test_a_failure_is_an_error_and_kept_for_two_seconds(
    fails: int | Exception, code: str
) -> None:
    """Never an empty list; and not one question for each who asks."""
    world = World()
    world.bot.fails = fails
    assert (await refused(world)).code == code
    calls = len(world.bot.calls)
    assert (await refused(world)).code == code
    assert len(world.bot.calls) == calls
    world.clock.advance(2.1)
    world.bot.fails = None
    assert (await world.candles()).source == "live"


async def test_a_store_that_is_down_costs_the_cache_alone() -> None:
    """Reads go on without it, straight to the bot."""
    world = World(dead_redis)
    assert (await world.candles()).source == "live"
    world.clock.advance(10)
    assert (await world.candles()).source == "live"
    assert world.bot.asked("pair_candles") == 2


async def test_a_larger_timeframe_is_made_of_the_bots_own() -> None:
    """Whole hours only, marked; all that a thousand candles of five minutes hold."""
    world = World()
    hours = await world.candles(timeframe="1h", limit=1000)
    assert (hours.resampled_from, hours.source) == ("5m", "live")
    assert len(hours.candles) == 83
    assert hours.candles[-1].open_s == int(START.timestamp()) - 3600
    assert hours.candles[-1].volume == 1.2
    world.clock.advance(200)
    again = await world.candles(timeframe="1h", limit=1000)
    assert again == CandleSeries("BTC/USDT", "1h", hours.candles, START, "cache", "5m")


async def test_a_timeframe_that_the_bot_publishes_is_used_as_it_is() -> None:
    """A strategy may publish larger frames: they reach further back than made ones."""
    world = World()
    world.bot.candles["BTC/USDT", "1h"] = int(START.timestamp()) - 3600
    hours = await world.candles(timeframe="1h", limit=1000)
    assert (hours.resampled_from, len(hours.candles)) == (None, 1000)


@pytest.mark.parametrize("timeframe", ["1m", "3m"])
async def test_a_smaller_timeframe_is_not_to_be_had(timeframe: str) -> None:
    """Nothing can be taken apart; the hint names what is served."""
    error = await refused(World(), timeframe=timeframe)
    assert (type(error), error.code) == (NotFound, "timeframe_unavailable")
    assert "5m 15m 30m 1h" in error.hint


async def test_a_timeframe_that_is_no_multiple_is_not_to_be_had() -> None:
    """Three hours can't be made of two."""
    world = World()
    world.bot.timeframe = "8h"
    assert (await refused(world, timeframe="12h")).code == "timeframe_unavailable"


async def test_a_timeframe_that_does_not_exist_is_told_as_such() -> None:
    """7x is nowhere to be had."""
    assert (await refused(World(), timeframe="7x")).code == "timeframe_unknown"


@pytest.mark.parametrize("pair", ["NOPE/USDT", "btc/usdt", "../../stop", "BTC/USDT\n"])
async def test_a_pair_that_is_not_traded_is_not_found(pair: str) -> None:
    """The bot answers it with an empty table, which would look like a market at rest."""
    world = World()
    error = await refused(world, pair=pair)
    assert (type(error), error.code) == (NotFound, "pair_unknown")
    assert world.bot.asked("pair_candles") == 0


async def test_a_pair_that_is_not_analysed_yet_is_an_error() -> None:
    """Just after a start the bot has no candle of a pair on its list."""
    error = await refused(World(), pair="ETH/USDT")
    assert (type(error), error.code) == (BotUnavailable, "candles_not_ready")


async def test_too_few_candles_for_a_larger_one_are_an_error() -> None:
    """An empty answer would look like a market without history."""
    world = World()
    world.bot.count = 5
    assert (await refused(world, timeframe="1d")).code == "candles_not_ready"


async def test_pages_go_back_without_gap_or_overlap() -> None:
    """A page ends before the open time of the oldest candle that the caller has."""
    world = World()
    newest = await world.candles(limit=300)
    before = from_unix(newest.candles[0].open_s)
    older = await world.candles(limit=300, before=before)
    assert older.candles[-1].open_s == newest.candles[0].open_s - 300
    assert len(older.candles) == 300
    assert world.bot.asked("pair_candles") == 1
    ages_ago = datetime(2000, 1, 1, tzinfo=UTC)
    assert (await world.candles(before=ages_ago)).candles == ()


@pytest.mark.parametrize("limit", [0, -1])
async def test_a_limit_below_one_is_refused(limit: int) -> None:
    """Counted from the end, 0 would mean everything."""
    error = await refused(World(), limit=limit)
    assert (type(error), error.detail["field"]) == (RequestInvalid, "limit")


async def test_each_read_is_counted_by_its_source() -> None:
    """An operator sees how often callers get something old."""

    def count(source: str) -> float:
        labels = {"kind": "candles", "source": source}
        name = "mcp_gateway_cache_reads_total"
        return metrics.REGISTRY.get_sample_value(name, labels) or 0.0

    before = [count(source) for source in ("live", "cache", "stale")]
    world = World(ttl_s=900)
    await world.candles()
    await world.candles()
    world.clock.advance(400)
    world.bot.fails = DOWN
    await world.candles()
    assert [count(source) for source in ("live", "cache", "stale")] == [n + 1 for n in before]


async def test_positions_are_at_most_a_second_old() -> None:
    """Mode and age come with them."""
    world = World()
    world.bot.status = body_of("status while holding")
    first = await world.market.positions(ADMISSION)
    assert (first.source, first.as_of, first.mode) == ("live", START, "dry-run")
    assert [position.pair for position in first.positions] == ["BTC/USDT"]
    world.clock.advance(0.9)
    world.bot.status = []
    second = await world.market.positions(ADMISSION)
    assert (second.source, second.as_of, len(second.positions)) == ("cache", START, 1)
    world.clock.advance(0.2)
    third = await world.market.positions(ADMISSION)
    assert (third.source, third.as_of) == ("live", START + timedelta(seconds=1.1))
    assert third.positions == ()


async def test_positions_of_one_pair_are_those_alone() -> None:
    """A pair on the list without a position has none; one that is nowhere is not found."""
    world = World()
    world.bot.status = body_of("status while holding")
    held = await world.market.positions(ADMISSION, "BTC/USDT")
    assert [position.pair for position in held.positions] == ["BTC/USDT"]
    assert (await world.market.positions(ADMISSION, "ETH/USDT")).positions == ()
    with pytest.raises(NotFound) as caught:
        await world.market.positions(ADMISSION, "NOPE/USDT")
    assert caught.value.code == "pair_unknown"


async def test_a_held_pair_that_left_the_list_still_shows() -> None:
    """The list decides what is bought, not what is held."""
    world = World()
    world.bot.status = body_of("status while holding")
    world.bot.pairs = ("ETH/USDT",)
    assert len((await world.market.positions(ADMISSION, "BTC/USDT")).positions) == 1


async def test_positions_that_cannot_be_read_are_an_error() -> None:
    """No positions and no answer must not look alike."""
    world = World()
    world.bot.fails = DOWN
    with pytest.raises(BotUnavailable):
        await world.market.positions(ADMISSION)


async def test_pairs_and_state_are_kept_for_five_seconds() -> None:
    """They hardly change, and every read of candles looks at them."""
    world = World()
    asked_at = world.clock.now()
    assert await world.market.pairs(ADMISSION) == Pairs(("BTC/USDT", "ETH/USDT"), asked_at, "live")
    assert (await world.market.bot_state()).timeframe == "5m"
    world.bot.pairs, world.bot.timeframe = ("XRP/USDT",), "15m"
    world.clock.advance(4.9)
    assert await world.market.pairs(ADMISSION) == Pairs(("BTC/USDT", "ETH/USDT"), asked_at, "cache")
    assert (await world.market.bot_state()).timeframe == "5m"
    world.clock.advance(0.2)
    assert (await world.market.pairs(ADMISSION)).names == ("XRP/USDT",)
    assert (await world.market.bot_state()).timeframe == "15m"


async def test_the_last_price_is_asked_anew_each_time() -> None:
    """Orders are judged by it: no cache, and the moment of its close with it."""
    world = World()
    await world.candles()
    price, at = await world.market.last_price("BTC/USDT") or (None, None)
    assert at == START
    assert isinstance(price, Decimal)
    assert price == Decimal(repr((await world.candles()).candles[-1].close))
    world.bot.candles["BTC/USDT", "5m"] = NEWEST + 300
    _, later = await world.market.last_price("BTC/USDT") or (None, None)
    assert later == START + timedelta(seconds=300)
    assert await world.market.last_price("ETH/USDT") is None
    world.bot.fails = DOWN
    with pytest.raises(BotUnavailable):
        await world.market.last_price("BTC/USDT")
