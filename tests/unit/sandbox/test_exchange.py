"""The simulated exchange answers as Binance does, and fails when it is told to."""

from collections.abc import AsyncIterator
from decimal import Decimal

import anyio
import httpx2
import pytest

from mcp_gateway.sandbox.exchange import Exchange
from tests.support.clock import START, ManualClock

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

NOW_MS = int(START.timestamp() * 1000)
HOUR_MS = 3_600_000


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
async def exchange(clock: ManualClock) -> AsyncIterator[httpx2.AsyncClient]:
    transport = httpx2.ASGITransport(app=Exchange(clock).app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://exchange") as client:
        yield client


async def klines(exchange: httpx2.AsyncClient, **query: str | int) -> list[list[object]]:
    asked: dict[str, str | int] = {"symbol": "BTCUSDT", "interval": "1h", **query}
    answer = await exchange.get("/api/v3/klines", params=asked)
    assert answer.status_code == 200
    rows: list[list[object]] = answer.json()
    return rows


async def test_the_newest_candles_come_without_a_start(exchange: httpx2.AsyncClient) -> None:
    """Without startTime Binance tells the last ones, the running candle among them."""
    rows = await klines(exchange, limit=3)
    assert [row[0] for row in rows] == [NOW_MS - 2 * HOUR_MS, NOW_MS - HOUR_MS, NOW_MS]


async def test_candles_begin_at_the_first_open_after_the_start(
    exchange: httpx2.AsyncClient,
) -> None:
    """With startTime the oldest come first, so that a caller can page forward."""
    rows = await klines(exchange, startTime=NOW_MS - 10 * HOUR_MS + 1, limit=2)
    assert [row[0] for row in rows] == [NOW_MS - 9 * HOUR_MS, NOW_MS - 8 * HOUR_MS]


async def test_candles_end_with_the_one_of_the_end_time(exchange: httpx2.AsyncClient) -> None:
    """With endTime alone the last ones before it are told."""
    rows = await klines(exchange, endTime=NOW_MS - 5 * HOUR_MS - 1, limit=2)
    assert [row[0] for row in rows] == [NOW_MS - 7 * HOUR_MS, NOW_MS - 6 * HOUR_MS]


async def test_there_is_no_candle_of_the_future(exchange: httpx2.AsyncClient) -> None:
    """A start after now is answered with an empty list."""
    assert await klines(exchange, startTime=NOW_MS + HOUR_MS) == []


async def test_no_more_than_a_thousand_candles_are_told(exchange: httpx2.AsyncClient) -> None:
    """Binance's own limit holds."""
    assert len(await klines(exchange, limit=5000)) == 1000


async def test_weeks_open_on_monday(exchange: httpx2.AsyncClient) -> None:
    """2025-11-18 is a Tuesday; its week opened a day before."""
    [row] = await klines(exchange, interval="1w", limit=1)
    assert row[0] == NOW_MS - 34 * HOUR_MS


async def test_twelve_five_minute_candles_make_the_hour(exchange: httpx2.AsyncClient) -> None:
    """The strings on the wire sum up too, volume included."""
    [hour] = await klines(exchange, startTime=NOW_MS - HOUR_MS, limit=1)
    parts = await klines(exchange, interval="5m", startTime=NOW_MS - HOUR_MS, limit=12)
    assert hour[1] == parts[0][1]
    assert Decimal(str(hour[2])) == max(Decimal(str(part[2])) for part in parts)
    assert Decimal(str(hour[3])) == min(Decimal(str(part[3])) for part in parts)
    assert hour[4] == parts[-1][4]
    assert Decimal(str(hour[5])) == sum(Decimal(str(part[5])) for part in parts)


async def test_the_book_lies_around_the_price(exchange: httpx2.AsyncClient) -> None:
    """Best bid below the last price, best ask above it, each side sorted outwards."""
    state = (await exchange.get("/control/state")).json()
    book = (await exchange.get("/api/v3/depth", params={"symbol": "XRPUSDT", "limit": 5})).json()
    price = Decimal(state["prices"]["XRPUSDT"])
    bids, asks = ([Decimal(level[0]) for level in book[side]] for side in ("bids", "asks"))
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert bids[0] < price < asks[0]
    assert len(bids) == len(asks) == 5


async def test_prices_lie_on_ticks_and_amounts_on_lots(exchange: httpx2.AsyncClient) -> None:
    """What the exchange tells obeys the filters that it publishes."""
    info = (await exchange.get("/api/v3/exchangeInfo")).json()
    for market in info["symbols"]:
        filters = {one["filterType"]: one for one in market["filters"]}
        tick = Decimal(filters["PRICE_FILTER"]["tickSize"])
        lot = Decimal(filters["LOT_SIZE"]["stepSize"])
        [row] = await klines(exchange, symbol=market["symbol"], limit=1, endTime=NOW_MS - 1)
        assert all(Decimal(str(price)) % tick == 0 for price in row[1:5])
        assert Decimal(str(row[5])) % lot == 0


async def test_the_ticker_tells_every_symbol(exchange: httpx2.AsyncClient) -> None:
    """The balance of a dry run is priced by one call for all symbols."""
    rows = (await exchange.get("/api/v3/ticker/24hr")).json()
    state = (await exchange.get("/control/state")).json()
    assert {row["symbol"]: row["lastPrice"] for row in rows} == state["prices"]


@pytest.mark.parametrize(
    ("path", "query", "status", "code"),
    [
        ("klines", {"symbol": "NOPE", "interval": "1h"}, 400, -1121),
        ("klines", {"interval": "1h"}, 400, -1121),
        ("klines", {"symbol": "BTCUSDT", "interval": "7m"}, 400, -1120),
        ("klines", {"symbol": "BTCUSDT", "interval": "1h", "limit": "x"}, 400, -1100),
        ("depth", {"symbol": "NOPE"}, 400, -1121),
        ("ticker/24hr", {"symbols": "{"}, 400, -1100),
        ("account", {}, 404, -1000),
    ],
)
async def test_a_bad_call_is_refused_in_binances_words(
    exchange: httpx2.AsyncClient, path: str, query: dict[str, str], status: int, code: int
) -> None:
    """The bot reads the code of Binance's table of errors."""
    answer = await exchange.get(f"/api/v3/{path}", params=query)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


async def test_a_fault_hits_as_many_matching_calls_as_asked(exchange: httpx2.AsyncClient) -> None:
    """Other calls pass, and after the count all is well again."""
    await exchange.post("/control/faults", json={"match": "depth", "status": 503, "count": 2})
    asked = {"symbol": "BTCUSDT"}
    assert (await exchange.get("/api/v3/time")).status_code == 200
    statuses = [(await exchange.get("/api/v3/depth", params=asked)).status_code for _ in range(3)]
    assert statuses == [503, 503, 200]


async def test_a_fault_without_end_lasts_until_the_reset(exchange: httpx2.AsyncClient) -> None:
    """Count -1 stays; the reset clears faults, shocks and the counts of calls."""
    await exchange.post("/control/faults", json={"status": 500, "count": -1})
    assert [(await exchange.get("/api/v3/ping")).status_code for _ in range(4)] == [500] * 4
    state = (await exchange.post("/control/reset")).json()
    assert state["faults"] == []
    assert state["calls"] == {}
    assert (await exchange.get("/api/v3/ping")).status_code == 200


async def test_a_delayed_call_is_answered_late_and_well(
    exchange: httpx2.AsyncClient, clock: ManualClock
) -> None:
    """A delay alone is no refusal: the answer comes when the time has passed."""
    await exchange.post("/control/faults", json={"match": "ping", "delay_s": 30})
    answers: list[httpx2.Response] = []

    async def ask() -> None:
        answers.append(await exchange.get("/api/v3/ping"))

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await clock.sleeping()
        clock.advance(29)
        await anyio.wait_all_tasks_blocked()
        assert answers == []
        clock.advance(1)
    assert answers[0].status_code == 200


async def test_a_shock_moves_the_price_at_once(exchange: httpx2.AsyncClient) -> None:
    """A test that needs a crash gets it within the running minute."""
    before = (await exchange.get("/control/state")).json()["prices"]
    shock = {"symbol": "BTCUSDT", "factor": 0.5}
    after = (await exchange.post("/control/shock", json=shock)).json()["prices"]
    assert float(after["BTCUSDT"]) == pytest.approx(float(before["BTCUSDT"]) / 2, abs=0.01)
    assert after["ETHUSDT"] == before["ETHUSDT"]


@pytest.mark.parametrize(
    ("what", "body", "status"),
    [
        ("faults", {"status": 200}, 422),
        ("faults", {"delay": 1}, 422),
        ("shock", {"symbol": "BTCUSDT", "factor": 0}, 422),
        ("shock", {"symbol": "NOPE", "factor": 2}, 422),
        ("nothing", {}, 404),
    ],
)
async def test_a_mistaken_control_call_is_refused(
    exchange: httpx2.AsyncClient, what: str, body: dict[str, object], status: int
) -> None:
    """A misspelt fault that is ignored would let a test pass for nothing."""
    assert (await exchange.post(f"/control/{what}", json=body)).status_code == status
    assert (await exchange.get("/control/state")).json()["faults"] == []
