"""The resources: every URI that there is, and every kind that there is not."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from mcp import MCPError
from mcp.types import TextResourceContents

from tests.support.mcpserver import ERAS, PAIR, Agent, Era, an_order, code_of, connected

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


async def read(agent: Agent, uri: str) -> dict[str, Any]:
    [content] = (await agent.client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    assert (str(content.uri), content.mime_type) == (uri, "application/json")
    document: dict[str, Any] = orjson.loads(content.text)
    return document


async def refused(agent: Agent, uri: str) -> MCPError:
    with pytest.raises(MCPError) as error:
        await agent.client.read_resource(uri)
    return error.value


@pytest.mark.parametrize("mode", ERAS)
async def test_pairs_tell_what_can_be_asked_for(mode: Era, tmp_path: Path) -> None:
    """The bot's whitelist, and its timeframe with the larger ones made of it."""
    async with connected(tmp_path, mode=mode) as agent:
        told = await read(agent, "freqtrade://pairs")
    assert told["pairs"] == ["BTC/USDT", "ETH/USDT"]
    assert (told["as_of"], told["source"]) == ("2025-11-18T10:00:00Z", "live")
    assert told["timeframe"] == "5m"
    assert told["timeframes"] == [
        "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d",
    ]  # fmt: skip


@pytest.mark.parametrize("mode", ERAS)
async def test_a_pair_is_named_percent_encoded(mode: Era, tmp_path: Path) -> None:
    """BTC%2FUSDT is BTC/USDT; its price is the newest close, with its age."""
    async with connected(tmp_path, mode=mode) as agent:
        told = await read(agent, "freqtrade://pairs/BTC%2FUSDT")
    assert told == {
        "pair": PAIR, "base": "BTC", "quote": "USDT", "last_price": 100.0, "price_age_s": 0.0,
    }  # fmt: skip


async def test_a_pair_without_candles_has_no_price(tmp_path: Path) -> None:
    """Left out, not null and not zero: there is none."""
    async with connected(tmp_path) as agent:
        agent.bot.candles.clear()
        told = await read(agent, "freqtrade://pairs/BTC%2FUSDT")
    assert told == {"pair": PAIR, "base": "BTC", "quote": "USDT"}


@pytest.mark.parametrize("mode", ERAS)
async def test_candles_are_what_the_tool_answers(mode: Era, tmp_path: Path) -> None:
    """The newest hundred."""
    async with connected(tmp_path, mode=mode) as agent:
        told = await read(agent, "freqtrade://candles/BTC%2FUSDT/15m")
        tool = await agent.told("get_candles", pair=PAIR, timeframe="15m", limit=100)
    assert told["count"] == 100
    assert told["resampled_from"] == "5m"
    assert told | {"source": ""} == tool | {"source": ""}


@pytest.mark.parametrize("mode", ERAS)
async def test_positions_and_limits_and_orders_are_what_the_tools_answer(
    mode: Era, tmp_path: Path
) -> None:
    """One core: a resource and its tool cannot differ."""
    async with connected(tmp_path, mode=mode) as agent:
        order = an_order()
        await agent.told("create_order", **order)
        held = await agent.told("get_open_positions")
        assert held["total_count"] == 1
        held["source"] = "cache"  # a second has not passed
        assert await read(agent, "freqtrade://positions/open") == held
        assert await read(agent, "freqtrade://positions/BTC%2FUSDT") == held
        assert (await read(agent, "freqtrade://positions/ETH%2FUSDT"))["total_count"] == 0
        limits, account = await read(agent, "gateway://limits"), await agent.told("get_account")
        assert limits["limits"].pop("calls_left") != account["limits"].pop("calls_left")
        assert limits == account
        request_id = order["request_id"]
        state = await agent.told("get_order", request_id=request_id)
        assert await read(agent, f"gateway://orders/{request_id}") == state


@pytest.mark.parametrize(
    "uri",
    [
        "freqtrade://nothing", "freqtrade://pairs/BTC/USDT", "freqtrade://positions",
        "freqtrade://candles/BTC%2FUSDT", "gateway://orders", "gateway://pairs",
        "http://127.0.0.1/status", "file:///etc/passwd", "FREQTRADE://pairs/x/y",
        "freqtrade://strategy/secret",
    ],
)  # fmt: skip
@pytest.mark.parametrize("mode", ERAS)
async def test_an_unknown_uri_is_no_resource(mode: Era, uri: str, tmp_path: Path) -> None:
    """One code for all of them, and the bot is not asked."""
    async with connected(tmp_path, mode=mode) as agent:
        assert code_of(await refused(agent, uri)) == "resource_unknown"
        assert agent.bot.calls == []


@pytest.mark.parametrize(
    ("uri", "field"),
    [
        ("freqtrade://pairs/btc%2Fusdt", "pair"),
        ("freqtrade://pairs/BTCUSDT", "pair"),
        ("freqtrade://positions/btc%2Fusdt", "pair"),
        ("freqtrade://candles/btc%2Fusdt/5m", "pair"),
        ("freqtrade://candles/BTC%2FUSDT/soon", "timeframe"),
        ("gateway://orders/canary", "request_id"),
    ],
)
@pytest.mark.parametrize("mode", ERAS)
async def test_an_ill_formed_part_of_a_uri_is_named(
    mode: Era, uri: str, field: str, tmp_path: Path
) -> None:
    """request_invalid with the part's name; the value is not repeated."""
    async with connected(tmp_path, mode=mode) as agent:
        error = await refused(agent, uri)
        assert (code_of(error), error.data["field"]) == ("request_invalid", field)
        assert "canary" not in str(error.data)
        assert "btc" not in str(error.data)


@pytest.mark.parametrize(
    ("uri", "code"),
    [
        ("freqtrade://pairs/DOGE%2FUSDT", "pair_unknown"),
        ("freqtrade://positions/DOGE%2FUSDT", "pair_unknown"),
        ("freqtrade://candles/DOGE%2FUSDT/5m", "pair_unknown"),
        ("freqtrade://candles/BTC%2FUSDT/7m", "timeframe_unknown"),
        ("gateway://orders/550e8400-e29b-41d4-a716-446655440000", "order_unknown"),
    ],
)
async def test_what_is_not_there_is_not_found(uri: str, code: str, tmp_path: Path) -> None:
    """Well-formed and unknown has its own code."""
    async with connected(tmp_path) as agent:
        assert code_of(await refused(agent, uri)) == code


async def test_an_unknown_uri_spends_a_quota_too(tmp_path: Path) -> None:
    """Else it would be a way to call without end."""
    async with connected(tmp_path, rate_limit_per_minute=1) as agent:
        assert code_of(await refused(agent, "freqtrade://nothing")) == "resource_unknown"
        assert code_of(await refused(agent, "freqtrade://nothing")) == "quota_exceeded"


async def test_a_bot_that_is_down_is_an_error_and_no_empty_answer(tmp_path: Path) -> None:
    """Nobody may conclude from it that nothing is held."""
    async with connected(tmp_path) as agent:
        agent.bot.fails = 500
        for uri in ("freqtrade://pairs", "freqtrade://positions/open", "gateway://limits"):
            error = await refused(agent, uri)
            assert code_of(error) == "bot_failed"
            assert error.data["retryable"] is True


async def test_a_crash_in_a_resource_is_told_in_one_word(tmp_path: Path) -> None:
    """As for tools: the details are the operator's."""
    async with connected(tmp_path) as agent:
        agent.bot.fails = RuntimeError("canary-9f2b")
        error = await refused(agent, "gateway://limits")
        assert code_of(error) == "internal_error"
        assert "canary" not in str(error.data) + error.message
