"""The stand-in for the bot trades as the real one does: the same calls, the same words."""

from collections.abc import Awaitable, Callable
from decimal import Decimal

import pytest

from mcp_gateway.domain.answers import Accepted, Answer
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.freqtrade.orders import Entry, Exit
from mcp_gateway.sandbox.bot import Sandbox
from tests.support.bot import connect
from tests.support.clock import ManualClock
from tests.support.tradingbot import TradingBot

pytestmark = [pytest.mark.integration, pytest.mark.anyio, pytest.mark.xdist_group("bot")]

PAIR, OTHER = "BTC/USDT", "ETH/USDT"
FAR_BELOW, FAR_ABOVE = Decimal(50), Decimal(999_999)
Scene = Callable[[FreqtradeClient], Awaitable[list[str]]]


def word(answer: Answer) -> str:
    if not isinstance(answer, Accepted):
        return answer.code
    if answer.trade is None:
        return "accepted"
    orders = (f"{one.side} {'open' if one.is_open else 'closed'}" for one in answer.trade.orders)
    return f"trade {answer.trade.trade_id}: {', '.join(orders)}"


async def books(client: FreqtradeClient) -> str:
    opened = [trade.trade_id for trade in await client.open_trades()]
    closed = [trade.trade_id for trade in await client.closed_trades(10, 0)]
    return f"open {opened} closed {closed}"


def market(pair: str = PAIR) -> Entry:
    return Entry(pair, Decimal(100), "market", None, "gw:a")


def limit(pair: str = PAIR) -> Entry:
    return Entry(pair, Decimal(100), "limit", FAR_BELOW, "gw:b")


async def entries(client: FreqtradeClient) -> list[str]:
    """Enter, enter again, cancel what rests, and get its id once more."""
    return [
        word(await client.enter(limit())),
        word(await client.enter(market())),
        word(await client.enter(market("NOPE/USDT"))),
        word(await client.cancel(1)),
        word(await client.cancel(1)),
        word(await client.enter(market(OTHER))),
        word(await client.cancel(1)),
        await books(client),
    ]


async def exits(client: FreqtradeClient) -> list[str]:
    """Let an exit rest, cancel it, replace one by another, and leave an unfilled entry."""
    told = [
        word(await client.enter(market())),
        word(await client.exit(Exit(1, None, "limit", FAR_ABOVE))),
        word(Accepted(await client.trade(1))),
        word(await client.cancel(1)),
        word(await client.exit(Exit(1, None, "limit", FAR_ABOVE))),
        word(await client.exit(Exit(1, None, "market", None))),
        word(Accepted(await client.trade(1))),
        word(await client.exit(Exit(1, None, "market", None))),
        word(await client.cancel(1)),
        word(await client.enter(limit(OTHER))),
        word(await client.exit(Exit(2, None, "market", None))),
    ]
    return [*told, await books(client)]


async def slots(client: FreqtradeClient) -> list[str]:
    """Enter until the last slot is taken."""
    pairs = await client.pairs()
    free = (await client.bot_state()).max_open_positions
    assert free is not None
    for pair in pairs[:free]:
        assert isinstance(await client.enter(limit(pair)), Accepted)
    return [word(await client.enter(limit(pairs[free])))]


@pytest.mark.parametrize("scene", [entries, exits, slots])
async def test_the_stand_in_answers_as_the_real_bot(scene: Scene, clean_bot: Sandbox) -> None:
    """What the order floor is proven against behaves as Freqtrade does."""
    async with connect(clean_bot) as real:
        expected = await scene(real)
    stand_in = TradingBot(ManualClock())
    stand_in.pairs = (PAIR, OTHER, "SOL/USDT", "XRP/USDT")
    async with stand_in.client() as standing:
        assert await scene(standing) == expected
