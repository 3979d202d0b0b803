"""The last look before the first byte of an order, and the bot's own switch."""

from collections.abc import Awaitable, Callable
from decimal import Decimal

import anyio
import orjson
import pytest

from mcp_gateway.clock import Clock
from mcp_gateway.domain.answers import Accepted, NotSent, Refused, Unanswered
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.freqtrade.orders import Entry
from tests.support.rogue import Answering, Connection, head, rogue

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

ENTRY = Entry("BTC/USDT", Decimal(100), "market", None, "gw:a")


def client_of(url: str) -> FreqtradeClient:
    """Return a client with short deadlines."""
    return FreqtradeClient(
        url, None, None, pool_size=2, read_timeout_s=5, order_timeout_s=5, clock=Clock()
    )


def saying(code: str | None) -> Callable[[], Awaitable[str | None]]:
    """Return a last look that says this."""

    async def said() -> str | None:
        return code

    return said


async def answer_a_yes(connection: Connection) -> None:
    """Answer as the bot answers a switch."""
    await connection.answer(b'{"status":"as you say"}')


async def test_an_order_is_kept_back_while_it_connects() -> None:
    """Connecting takes time: what says no by then keeps every byte back."""
    asked: list[str | None] = []

    async def unless() -> str | None:
        asked.append(None if not asked else "trading_halted")
        return asked[-1]

    async with rogue(answer_a_yes) as bot, client_of(bot.url) as freqtrade:
        assert await freqtrade.enter(ENTRY, unless=unless) == NotSent("trading_halted")
        with anyio.fail_after(5):
            while not bot.connections:  # noqa: ASYNC110 (the server's own task counts it)
                await anyio.sleep(0.01)
        assert (asked, bot.paths) == ([None, "trading_halted"], [])


async def test_an_order_that_is_not_wanted_any_more_does_not_even_connect() -> None:
    """Nobody is asked."""
    async with rogue(answer_a_yes) as bot, client_of(bot.url) as freqtrade:
        assert await freqtrade.enter(ENTRY, unless=saying("no")) == NotSent("no")
        assert bot.connections == 0


async def test_an_order_that_nothing_speaks_against_is_sent_once() -> None:
    """The look changes nothing else; and the next order has a connection of its own."""
    async with rogue(answer_a_yes) as bot, client_of(bot.url) as freqtrade:
        for _ in range(2):
            told = await freqtrade.enter(ENTRY, unless=saying(None))
            assert isinstance(told, Unanswered)
        assert (bot.paths, bot.connections) == (["forceenter", "forceenter"], 2)


async def test_a_pause_and_a_start_are_single_posts() -> None:
    """POST /stopbuy and POST /start, without a body."""
    async with rogue(answer_a_yes) as bot, client_of(bot.url) as freqtrade:
        assert await freqtrade.pause() == Accepted(None)
        assert await freqtrade.resume() == Accepted(None)
        assert bot.paths == ["stopbuy", "start"]


def refusing(status: str, body: object) -> Answering:
    """Return a bot that answers this."""

    async def answering(connection: Connection) -> None:
        text = orjson.dumps(body)
        await connection.send(head(len(text), status) + text)

    return answering


@pytest.mark.parametrize(
    ("answering", "told"),
    [
        pytest.param(refusing("401 No", {"detail": "No"}), Refused("bot_credentials"), id="401"),
        pytest.param(refusing("500 No", "No"), Unanswered("bot_failed"), id="500"),
        pytest.param(refusing("200 OK", {}), Unanswered("bot_nonsense"), id="no-status"),
        pytest.param(refusing("200 OK", [1]), Unanswered("bot_nonsense"), id="no-object"),
    ],
)
async def test_only_the_bots_own_word_is_a_yes(
    answering: Answering, told: Refused | Unanswered
) -> None:
    """Else it is asked again."""
    async with rogue(answering) as bot, client_of(bot.url) as freqtrade:
        assert await freqtrade.pause() == told
