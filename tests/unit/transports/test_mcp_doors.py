"""One test for each door of the MCP server: a gate that refuses is asked, in both eras.

That the SDK reaches its handlers through the seven public methods is its behaviour and not
its promise. The day an upgrade goes around them, these tests fail.
"""

from pathlib import Path

import pytest
from mcp import MCPError
from mcp.types import PromptReference, ResourceTemplateReference

from tests.support.mcpserver import ERAS, STRANGER, Agent, Era, an_order, code_of, connected
from tests.support.tokens import NOW, SECRET, forge

pytestmark = [
    pytest.mark.unit,
    pytest.mark.anyio,
    pytest.mark.parametrize("mode", ERAS),
]
POWERLESS = ("ops:halt",)  # a known caller whose one scope opens none of these doors
TOOLS = {
    "get_candles": {"pair": "BTC/USDT", "timeframe": "5m"},
    "get_open_positions": {},
    "dry_run_order": an_order(),
    "create_order": an_order(),
    "get_order": {"request_id": an_order()["request_id"]},
    "cancel_order": {"request_id": an_order()["request_id"]},
    "get_account": {},
}
URIS = (
    "freqtrade://pairs",
    "freqtrade://pairs/BTC%2FUSDT",
    "freqtrade://candles/BTC%2FUSDT/5m",
    "freqtrade://positions/open",
    "freqtrade://positions/BTC%2FUSDT",
    "gateway://orders/550e8400-e29b-41d4-a716-446655440000",
    "gateway://limits",
)


async def refused_list(agent: Agent, method: str) -> str:
    """Ask for a list that must be refused; return the code."""
    with pytest.raises(MCPError) as refused:
        await getattr(agent.client, method)()
    return code_of(refused.value)


LISTS = ("list_tools", "list_resources", "list_resource_templates", "list_prompts")


@pytest.mark.parametrize("method", LISTS)
async def test_a_stranger_gets_no_list(mode: Era, method: str, tmp_path: Path) -> None:
    """An empty list would say that there is nothing; the refusal says what is missing."""
    async with connected(tmp_path, mode=mode, shows=STRANGER) as agent:
        assert await refused_list(agent, method) == "token_missing"
        assert untouched(agent)


@pytest.mark.parametrize("method", LISTS)
async def test_an_expired_token_of_stdio_is_told_and_no_empty_list(
    mode: Era, method: str, tmp_path: Path
) -> None:
    """A desktop app that runs for days learns why its tools are gone."""
    secret, token = SECRET.decode(), forge(exp=NOW + 60)
    async with connected(tmp_path, mode=mode, jwt_secret=secret, token=token) as agent:
        await getattr(agent.client, method)()
        agent.clock.advance(66)
        assert await refused_list(agent, method) == "token_expired"


async def test_lists_are_counted_apart_from_calls(mode: Era, tmp_path: Path) -> None:
    """The SDK's client asks for lists by itself: they spend one quota of their own."""
    async with connected(tmp_path, mode=mode, rate_limit_per_minute=1) as agent:
        await agent.client.list_resources()
        assert await refused_list(agent, "list_prompts") == "quota_exceeded"
        await agent.client.read_resource("freqtrade://pairs")


def untouched(agent: Agent) -> bool:
    """Tell whether neither the bot was asked nor the store wanted."""
    return agent.bot.calls == [] and not agent.gateway._wanted.is_set()


async def test_a_refusing_gate_empties_the_tool_list(mode: Era, tmp_path: Path) -> None:
    """tools/list: a caller without a scope for any sees no tool."""
    async with connected(tmp_path, mode=mode) as agent:
        assert [one.name for one in (await agent.client.list_tools()).tools] == list(TOOLS)
    async with connected(tmp_path, mode=mode, scopes=POWERLESS) as agent:
        assert (await agent.client.list_tools()).tools == []


@pytest.mark.parametrize("tool", TOOLS)
async def test_a_refusing_gate_refuses_a_tool(mode: Era, tool: str, tmp_path: Path) -> None:
    """tools/call: refused before an argument is looked at, and nothing behind it is reached."""
    async with connected(tmp_path, mode=mode, shows=STRANGER) as agent:
        assert (await agent.refusal(tool, **TOOLS[tool]))["code"] == "token_missing"
        assert (await agent.refusal(tool, nonsense=1))["code"] == "token_missing"
        assert untouched(agent)
    async with connected(tmp_path, mode=mode, scopes=POWERLESS) as agent:
        assert (await agent.refusal(tool, **TOOLS[tool]))["code"] == "scope_missing"
        assert untouched(agent)


async def test_a_gate_whose_quota_is_spent_refuses_a_tool(mode: Era, tmp_path: Path) -> None:
    """tools/call: a malformed call counts like any other, and the refusal says how long to wait."""
    async with connected(tmp_path, mode=mode, rate_limit_per_minute=1) as agent:
        assert (await agent.refusal("get_account", nonsense=1))["code"] == "request_invalid"
        refusal = await agent.refusal("get_account")
        assert refusal["code"] == "quota_exceeded"
        assert refusal["retryable"] is True
        assert 0 < refusal["retry_after_s"] <= 60
        assert agent.bot.calls == []


async def test_a_refusing_gate_empties_the_resource_list(mode: Era, tmp_path: Path) -> None:
    """resources/list."""
    listed = {"freqtrade://pairs", "freqtrade://positions/open", "gateway://limits"}
    async with connected(tmp_path, mode=mode) as agent:
        assert {str(one.uri) for one in (await agent.client.list_resources()).resources} == listed
    async with connected(tmp_path, mode=mode, scopes=POWERLESS) as agent:
        assert (await agent.client.list_resources()).resources == []


async def test_a_refusing_gate_empties_the_template_list(mode: Era, tmp_path: Path) -> None:
    """resources/templates/list."""
    listed = {
        "freqtrade://pairs/{pair}",
        "freqtrade://candles/{pair}/{timeframe}",
        "freqtrade://positions/{pair}",
        "gateway://orders/{request_id}",
    }
    async with connected(tmp_path, mode=mode) as agent:
        found = (await agent.client.list_resource_templates()).resource_templates
        assert {one.uri_template for one in found} == listed
    async with connected(tmp_path, mode=mode, scopes=POWERLESS) as agent:
        assert (await agent.client.list_resource_templates()).resource_templates == []


@pytest.mark.parametrize("uri", URIS)
async def test_a_refusing_gate_refuses_a_resource(mode: Era, uri: str, tmp_path: Path) -> None:
    """resources/read: a JSON-RPC error with our code, and nothing behind it is reached."""
    for stranger, code in (
        ({"shows": STRANGER}, "token_missing"),
        ({"scopes": POWERLESS}, "scope_missing"),
    ):
        async with connected(tmp_path, mode=mode, **stranger) as agent:
            with pytest.raises(MCPError) as refused:
                await agent.client.read_resource(uri)
            assert code_of(refused.value) == code
            assert untouched(agent)


async def test_a_refusing_gate_refuses_a_resource_that_does_not_exist(
    mode: Era, tmp_path: Path
) -> None:
    """resources/read: who is not let in learns nothing about what there is."""
    async with connected(tmp_path, mode=mode, shows=STRANGER) as agent:
        with pytest.raises(MCPError) as refused:
            await agent.client.read_resource("freqtrade://nothing")
        assert code_of(refused.value) == "token_missing"


async def test_a_refusing_gate_empties_the_prompt_list(mode: Era, tmp_path: Path) -> None:
    """prompts/list."""
    listed = {"market_briefing", "place_order", "review_positions"}
    async with connected(tmp_path, mode=mode) as agent:
        assert {one.name for one in (await agent.client.list_prompts()).prompts} == listed
    async with connected(tmp_path, mode=mode, scopes=POWERLESS) as agent:
        assert (await agent.client.list_prompts()).prompts == []


async def test_a_refusing_gate_refuses_a_prompt(mode: Era, tmp_path: Path) -> None:
    """prompts/get."""
    for stranger, code in (
        ({"shows": STRANGER}, "token_missing"),
        ({"scopes": POWERLESS}, "scope_missing"),
    ):
        async with connected(tmp_path, mode=mode, **stranger) as agent:
            with pytest.raises(MCPError) as refused:
                await agent.client.get_prompt("review_positions", {})
            assert code_of(refused.value) == code


async def test_a_refusing_gate_refuses_completion(mode: Era, tmp_path: Path) -> None:
    """completion/complete, of a prompt's argument and of a template's."""
    for stranger, code in (
        ({"shows": STRANGER}, "token_missing"),
        ({"scopes": POWERLESS}, "scope_missing"),
    ):
        async with connected(tmp_path, mode=mode, **stranger) as agent:
            for ref in (
                PromptReference(name="market_briefing"),
                ResourceTemplateReference(uri="freqtrade://pairs/{pair}"),
            ):
                with pytest.raises(MCPError) as refused:
                    await agent.client.complete(ref, {"name": "pair", "value": "B"})
                assert code_of(refused.value) == code
            assert untouched(agent)
