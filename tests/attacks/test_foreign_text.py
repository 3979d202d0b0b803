"""A bot, a strategy or an exchange writes what is meant to be read as something else."""

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from mcp_gateway.domain.text import LONGEST_LINE
from mcp_gateway.errors import BotUnavailable
from mcp_gateway.freqtrade.orders import Entry
from tests.support.hostile import HOSTILE, SURROGATES, shows_raw
from tests.support.recorded import body_of, client

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

READS = ("bot_state", "pairs", "locked_pairs", "balance", "open_trades", "positions")
FILES = {"show_config": "show_config", "whitelist": "whitelist", "locks": "locks",
         "balance": "balance", "status": "status while holding"}  # fmt: skip
# Words by which the gateway itself decides, and moments: a bot that garbles them is nonsense.
SENSE = {"trading_mode", "note"}


def spoilt(value: Any, text: str) -> Any:
    """Return the bot's answer with every free text of it replaced."""
    if isinstance(value, dict):
        return {name: value[name] if name in SENSE or "date" in name or "last_process" in name
                else spoilt(value[name], text) for name in value}  # fmt: skip
    if isinstance(value, list):
        return [spoilt(one, text) for one in value]
    return text if isinstance(value, str) else value


def texts(value: Any) -> Iterator[str]:
    """Yield every text of a value of ours."""
    if isinstance(value, str):
        yield value
    elif is_dataclass(value):
        for one in fields(value):
            yield from texts(getattr(value, one.name))
    elif isinstance(value, (tuple, frozenset)):
        for one in value:
            yield from texts(one)


@pytest.mark.parametrize("text", [*HOSTILE, *SURROGATES], ids=lambda text: ascii(text)[:40])
async def test_nothing_that_a_bot_wrote_comes_in_raw(text: str) -> None:
    """Whichever of its fields carries it: what leaves the client is a short visible line."""

    async def answer(request: httpx2.Request) -> httpx2.Response:
        name = FILES[request.url.path.removeprefix("/api/v1/")]
        return httpx2.Response(200, content=json.dumps(spoilt(body_of(name), text)))

    told: list[str] = []
    async with client(answer) as bot:
        for read in READS:
            try:
                told += texts(await getattr(bot, read)())
            except BotUnavailable as error:  # a refusal is an answer too, of our own words
                told += (error.code, error.message, error.hint or "")
    assert told
    assert not [one for one in told if shows_raw(one) or len(one) > LONGEST_LINE]


@pytest.mark.parametrize("text", HOSTILE[::7], ids=lambda text: ascii(text)[:40])
async def test_why_a_bot_refuses_an_order_becomes_a_code(text: str) -> None:
    """An exchange's or a strategy's words are no words of ours: an unknown reason is a code."""
    entry = Entry("BTC/USDT", Decimal(100), "market", None, "mg-1")

    async def refuse(_request: httpx2.Request) -> httpx2.Response:
        return httpx2.Response(502, json={"error": f"Error querying /api/v1/forceenter: {text}"})

    async with client(refuse) as bot:
        answer = await bot.enter(entry)
    assert not [one for one in texts(answer) if text.strip() and text in one]
