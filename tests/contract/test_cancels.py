"""What a real Freqtrade does with a cancel, and what its books tell afterwards."""

from collections.abc import AsyncIterator
from decimal import Decimal

import anyio
import httpx2
import pytest

from mcp_gateway.domain.answers import Accepted, Answer, Refused, Unanswered
from mcp_gateway.domain.positions import Trade
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.freqtrade.orders import Entry, Exit
from mcp_gateway.sandbox.bot import Sandbox
from tests.support.bot import connect

pytestmark = [pytest.mark.integration, pytest.mark.anyio, pytest.mark.xdist_group("bot")]

PAIR, TAG = "ETH/USDT", "gw:cancels"
FAR_BELOW, FAR_ABOVE = Decimal(500), Decimal(99_999)


@pytest.fixture
async def client(clean_bot: Sandbox) -> AsyncIterator[FreqtradeClient]:
    """A client of the bot, which has no trade and no fault."""
    async with connect(clean_bot) as connected:
        yield connected


def trade_of(answer: Answer) -> Trade:
    assert isinstance(answer, Accepted), answer
    assert answer.trade is not None
    return answer.trade


async def resting_entry(client: FreqtradeClient, price: Decimal = FAR_BELOW) -> Trade:
    return trade_of(await client.enter(Entry(PAIR, Decimal(100), "limit", price, TAG)))


async def held_with_resting_exit(client: FreqtradeClient) -> Trade:
    held = trade_of(await client.enter(Entry(PAIR, Decimal(100), "market", None, TAG)))
    leave = Exit(held.trade_id, None, "limit", FAR_ABOVE)
    assert await client.exit(leave) == Accepted(None)
    return held


async def test_a_cancelled_entry_is_off_and_forgotten(client: FreqtradeClient) -> None:
    """The bot says "no active trade" when it is done, and no list of its own has it any more."""
    resting = await resting_entry(client)
    assert await client.cancel(resting.trade_id) == Accepted(None)
    assert (await client.open_trades(), await client.closed_trades(10, 0)) == ((), ())
    assert await client.trade(resting.trade_id) is None
    assert await client.cancel(resting.trade_id) == Refused("trade_not_open")


async def test_the_id_of_a_cancelled_trade_is_given_away_again(client: FreqtradeClient) -> None:
    """A cancel by an id that was read too long ago would meet another's order."""
    first = await resting_entry(client)
    assert await client.cancel(first.trade_id) == Accepted(None)
    other = Entry("BTC/USDT", Decimal(100), "market", None, "gw:other")
    assert trade_of(await client.enter(other)).trade_id == first.trade_id


async def test_a_cancelled_exit_leaves_the_position_and_no_trace(client: FreqtradeClient) -> None:
    """The trade comes back with what it held; the order that was never filled is not in it."""
    held = await held_with_resting_exit(client)
    [resting] = await client.open_trades()
    assert [order.is_open for order in resting.orders] == [False, True]
    after = trade_of(await client.cancel(held.trade_id))
    assert (after.is_open, after.tag, after.amount) == (True, TAG, held.amount)
    assert [order.side for order in after.orders] == ["buy"]
    assert await client.cancel(held.trade_id) == Refused("no_open_order")


async def test_a_cancel_with_nothing_to_cancel_is_refused(client: FreqtradeClient) -> None:
    """Unknown trades, trades where nothing rests, and closed ones."""
    assert await client.cancel(999_999) == Refused("trade_not_open")
    held = trade_of(await client.enter(Entry(PAIR, Decimal(100), "market", None, TAG)))
    assert await client.cancel(held.trade_id) == Refused("no_open_order")
    assert await client.exit(Exit(held.trade_id, None, "market", None)) == Accepted(None)
    assert await client.cancel(held.trade_id) == Refused("trade_not_open")


async def test_a_paused_bot_cancels_and_a_stopped_one_does_not(
    client: FreqtradeClient, bot_api: httpx2.Client
) -> None:
    """A halt by pause traps nothing; a stopped bot traps resting orders too."""
    held = await held_with_resting_exit(client)
    bot_api.post("pause").raise_for_status()
    assert trade_of(await client.cancel(held.trade_id)).amount == held.amount
    leave = Exit(held.trade_id, None, "limit", FAR_ABOVE)
    assert await client.exit(leave) == Accepted(None)
    bot_api.post("stop").raise_for_status()
    assert await client.cancel(held.trade_id) == Refused("bot_not_running")
    bot_api.post("start").raise_for_status()
    assert trade_of(await client.cancel(held.trade_id)).amount == held.amount


async def test_a_cancel_while_the_exchange_fails_is_not_known(
    client: FreqtradeClient, exchange_control: httpx2.Client
) -> None:
    """The words are "Order not found.", and yet the order rests on: the exchange was down."""
    resting = await resting_entry(client)
    fault = {"match": "depth", "status": 503, "count": -1}
    exchange_control.post("faults", json=fault).raise_for_status()
    with anyio.fail_after(60):
        assert await client.cancel(resting.trade_id) == Unanswered("refusal_unproven")
    exchange_control.post("reset").raise_for_status()
    [still] = await client.open_trades()
    assert still.orders[0].is_open
    assert await client.cancel(resting.trade_id) == Accepted(None)


async def test_a_cancel_that_comes_too_late_tells_the_fill(
    client: FreqtradeClient, exchange_control: httpx2.Client
) -> None:
    """The bot looks at the market first: an order that would be filled is filled, and stays."""
    prices = exchange_control.get("state").json()["prices"]
    limit = (Decimal(prices["ETHUSDT"]) * Decimal("0.9")).quantize(Decimal("0.01"))
    resting = await resting_entry(client, limit)
    shock = {"symbol": "ETHUSDT", "factor": 0.7}
    exchange_control.post("shock", json=shock).raise_for_status()
    answer = await client.cancel(resting.trade_id)
    [held] = await client.open_trades()
    [order] = held.orders
    assert (order.is_open, order.filled, held.amount) == (False, order.amount, order.amount)
    # The bot's own loop may have seen the market before the cancel came.
    assert answer == Refused("no_open_order") or trade_of(answer).amount == held.amount


async def test_closed_trades_come_in_pages_by_id(client: FreqtradeClient) -> None:
    """The whole book can be walked; a page that is not full is the last."""
    for tag in ("gw:first", "gw:second", "gw:third"):
        trade = trade_of(await client.enter(Entry(PAIR, Decimal(100), "market", None, tag)))
        assert await client.exit(Exit(trade.trade_id, None, "market", None)) == Accepted(None)
    pages = [await client.closed_trades(2, offset) for offset in (0, 2, 4)]
    tags = [[trade.tag for trade in page] for page in pages]
    assert tags == [["gw:first", "gw:second"], ["gw:third"], []]


async def test_the_bot_notes_what_an_order_cost_and_claims_its_coins(
    client: FreqtradeClient,
) -> None:
    """The fee in the quote currency, to the last digit; a held coin is accounted for."""
    trade = trade_of(await client.enter(Entry(PAIR, Decimal(100), "market", None, TAG)))
    [order] = trade.orders
    assert trade.entry_fee is not None
    assert trade.fee_rate is not None
    assert order.average_price is not None
    assert trade.entry_fee.currency == "USDT"
    cost = order.filled * order.average_price * trade.fee_rate
    assert abs(trade.entry_fee.cost - cost) < Decimal("0.0000001")
    assert await client.unmanaged_coins() == ()
