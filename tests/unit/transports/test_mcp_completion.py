"""Completion of pair, timeframe and side."""

from pathlib import Path

import pytest
from mcp import MCPError
from mcp.types import Completion, PromptReference, ResourceTemplateReference

from mcp_gateway.transports.mcp.completion import served_timeframes
from tests.support.mcpserver import ERAS, Agent, Era, code_of, connected

pytestmark = [pytest.mark.unit, pytest.mark.anyio]
PROMPT = PromptReference(name="market_briefing")
TEMPLATE = ResourceTemplateReference(uri="freqtrade://candles/{pair}/{timeframe}")


async def complete(
    agent: Agent, name: str, value: str, ref: PromptReference | ResourceTemplateReference = PROMPT
) -> Completion:
    return (await agent.client.complete(ref, {"name": name, "value": value})).completion


@pytest.mark.parametrize("mode", ERAS)
@pytest.mark.parametrize("ref", [PROMPT, TEMPLATE], ids=["prompt", "template"])
async def test_pairs_complete_from_what_the_bot_trades(
    mode: Era, ref: PromptReference | ResourceTemplateReference, tmp_path: Path
) -> None:
    """Whatever the case of what was typed, in prompts and in templates."""
    async with connected(tmp_path, mode=mode) as agent:
        assert (await complete(agent, "pair", "", ref)).values == ["BTC/USDT", "ETH/USDT"]
        assert (await complete(agent, "pair", "et", ref)).values == ["ETH/USDT"]
        assert (await complete(agent, "pair", "DOGE", ref)).values == []


@pytest.mark.parametrize("mode", ERAS)
async def test_timeframes_complete_from_what_is_served(mode: Era, tmp_path: Path) -> None:
    """The bot's own and what can be made of it, not what no answer would come for."""
    async with connected(tmp_path, mode=mode) as agent:
        assert (await complete(agent, "timeframe", "1", TEMPLATE)).values == [
            "15m", "1h", "12h", "1d",
        ]  # fmt: skip


async def test_sides_complete_and_other_arguments_do_not(tmp_path: Path) -> None:
    """An unknown argument has no values, which is no error."""
    async with connected(tmp_path) as agent:
        assert (await complete(agent, "side", "s")).values == ["sell"]
        for name in ("amount", "nothing", "admission"):
            assert (await complete(agent, name, "")).values == []


async def test_more_than_a_hundred_are_counted_and_cut(tmp_path: Path) -> None:
    """The protocol's own bound; has_more says that there are others."""
    async with connected(tmp_path) as agent:
        agent.bot.pairs = tuple(f"C{n}/USDT" for n in range(150))
        told = await complete(agent, "pair", "c")
    assert (len(told.values), told.total, told.has_more) == (100, 150, True)


@pytest.mark.parametrize("mode", ERAS)
async def test_a_bot_that_is_down_is_an_error_with_a_code(mode: Era, tmp_path: Path) -> None:
    """Never an empty list: it would say that there are no pairs."""
    async with connected(tmp_path, mode=mode) as agent:
        agent.bot.fails = 500
        with pytest.raises(MCPError) as refused:
            await complete(agent, "pair", "")
        assert code_of(refused.value) == "bot_failed"


async def test_completion_spends_a_quota_of_its_own(tmp_path: Path) -> None:
    """A person who types must not use up the agent's calls."""
    async with connected(tmp_path, rate_limit_per_minute=1) as agent:
        await complete(agent, "pair", "")
        with pytest.raises(MCPError) as refused:
            await complete(agent, "pair", "B")
        assert code_of(refused.value) == "quota_exceeded"
        await agent.told("get_account")


def test_only_multiples_of_the_bots_timeframe_are_served() -> None:
    """A 15m bot has no 5m, and nothing that 15m does not divide."""
    assert served_timeframes("15m")[0] == "15m"
    assert "5m" not in served_timeframes("15m")
    assert served_timeframes("8h") == ["8h", "1d"]
