"""What the MCP server says of itself, what it shows to whom, and how its tools fail."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson
import pytest
from mcp import MCPError
from mcp.types import PromptReference, TextContent

from mcp_gateway import __version__
from mcp_gateway.telemetry import metrics
from mcp_gateway.transports.mcp.results import REPLAYED
from tests.support.mcpserver import ERAS, PAIR, Agent, Era, an_order, connected

pytestmark = [pytest.mark.unit, pytest.mark.anyio]
MOST_BYTES = 10_000  # of the whole tool list; benchmarks/ counts its tokens too


@pytest.mark.parametrize("mode", ERAS)
async def test_the_server_names_itself_and_its_version(mode: Era, tmp_path: Path) -> None:
    """The version is ours, not the SDK's; instructions tell the safe order of steps."""
    async with connected(tmp_path, mode=mode) as agent:
        info = agent.client.server_info
        assert info is not None
        assert (info.name, info.version) == ("mcp-gateway", __version__)
        instructions = agent.client.instructions or ""
        for word in ("dry_run_order", "request_id", "get_order", "base", "quote", "UTC"):
            assert word in instructions


@pytest.mark.parametrize("mode", ERAS)
async def test_nothing_is_promised_that_does_not_come(mode: Era, tmp_path: Path) -> None:
    """Lists never change within a process and nothing notifies: no listChanged, no subscribe."""
    async with connected(tmp_path, mode=mode) as agent:
        told = agent.client.server_capabilities.model_dump_json(by_alias=True, exclude_none=True)
        assert '"listChanged":true' not in told
        assert '"subscribe":true' not in told


async def test_every_tool_says_what_a_client_needs_to_know(tmp_path: Path) -> None:
    """Title, description, both schemas, annotations; unknown arguments are refused by schema."""
    async with connected(tmp_path) as agent:
        tools = (await agent.client.list_tools()).tools
    for tool in tools:
        assert tool.title
        assert tool.description
        assert tool.input_schema["additionalProperties"] is False
        assert tool.output_schema
        assert tool.annotations is not None
        assert tool.annotations.open_world_hint is True
    writing = {
        tool.name for tool in tools if tool.annotations and not tool.annotations.read_only_hint
    }
    assert writing == {"create_order", "cancel_order"}
    for hints in [tool.annotations for tool in tools if tool.name in writing]:
        assert hints is not None
        assert (hints.destructive_hint, hints.idempotent_hint) == (True, True)


async def test_the_tool_list_is_short_enough_to_be_read(tmp_path: Path) -> None:
    """A model reads it in every conversation: under 10 kB for a caller who may do everything."""
    async with connected(tmp_path) as agent:
        listed = await agent.client.list_tools()
    tools = listed.model_dump(mode="json", by_alias=True, exclude_none=True)["tools"]
    assert len(orjson.dumps(tools)) < MOST_BYTES


@pytest.mark.parametrize(
    ("scopes", "tools", "prompts"),
    [
        (("market:read",), {"get_candles"}, 3),
        (("positions:read",), {"get_open_positions", "get_account"}, 0),
        (("orders:preview",), {"dry_run_order", "get_order"}, 0),
        (("orders:create",), {"create_order", "get_order", "cancel_order"}, 0),
        (("audit:read", "ops:halt", "orders:approve", "orders:live"), set(), 0),
    ],
)
@pytest.mark.parametrize("mode", ERAS)
async def test_the_lists_show_what_the_scopes_allow(
    mode: Era, scopes: tuple[str, ...], tools: set[str], prompts: int, tmp_path: Path
) -> None:
    """An agent is not tempted by what it may not do."""
    async with connected(tmp_path, mode=mode, scopes=scopes) as agent:
        assert {one.name for one in (await agent.client.list_tools()).tools} == tools
        assert len((await agent.client.list_prompts()).prompts) == prompts


async def test_resources_are_listed_by_scope(tmp_path: Path) -> None:
    """The same for resources and templates."""
    async with connected(tmp_path, scopes=("positions:read",)) as agent:
        resources = (await agent.client.list_resources()).resources
        templates = (await agent.client.list_resource_templates()).resource_templates
    assert {str(one.uri) for one in resources} == {"freqtrade://positions/open", "gateway://limits"}
    assert {one.uri_template for one in templates} == {"freqtrade://positions/{pair}"}


def counted(operation: str, code: str) -> float:
    """Return how many calls of an operation over stdio have ended with this code."""
    labels = {"operation": operation, "channel": "stdio", "code": code}
    return metrics.REGISTRY.get_sample_value("mcp_gateway_calls_total", labels) or 0


async def list_prompts(agent: Agent) -> object:
    return await agent.client.list_prompts()


async def read_pairs(agent: Agent) -> object:
    return await agent.client.read_resource("freqtrade://pairs")


async def get_prompt(agent: Agent) -> object:
    return await agent.client.get_prompt("review_positions", {})


async def complete_pair(agent: Agent) -> object:
    prompt = PromptReference(name="market_briefing")
    return await agent.client.complete(prompt, {"name": "pair", "value": ""})


async def call_get_account(agent: Agent) -> object:
    return await agent.told("get_account")


async def misread_pair(agent: Agent) -> object:
    return await agent.client.read_resource("freqtrade://pairs/NO%2FUSDT")


async def misread_uri(agent: Agent) -> object:
    return await agent.client.read_resource("freqtrade://nothing")


async def misname_prompt(agent: Agent) -> object:
    return await agent.client.get_prompt("nothing", {})


async def miscall_tool(agent: Agent) -> object:
    return await agent.refusal("get_account", nonsense=1)


async def call_no_tool(agent: Agent) -> object:
    return await agent.refusal("sell_everything")


Act = Callable[[Agent], Awaitable[object]]


@pytest.mark.parametrize(
    ("act", "operation"),
    [
        (list_prompts, "list"), (read_pairs, "read_pairs"), (get_prompt, "get_prompt"),
        (complete_pair, "complete"), (call_get_account, "get_account"),
    ],
)  # fmt: skip
async def test_every_kind_of_call_is_counted_when_it_is_answered(
    act: Act, operation: str, tmp_path: Path
) -> None:
    """Once, under ``ok``: tools, resources, prompts, completion and lists alike."""
    async with connected(tmp_path) as agent:
        before = counted(operation, "ok")
        await act(agent)
        assert counted(operation, "ok") == before + 1
        noted = [one.event for one in agent.gateway.trail.oldest(10)]
    assert [event for event in noted if event != "store.upgraded"] == []


@pytest.mark.parametrize(
    ("act", "operation", "code"),
    [
        (misread_pair, "read_pairs", "pair_unknown"),
        (misread_uri, "unknown_resource", "resource_unknown"),
        (misname_prompt, "get_prompt", "prompt_unknown"),
        (miscall_tool, "get_account", "request_invalid"),
        (call_no_tool, "unknown_tool", "tool_unknown"),
    ],
)
async def test_every_kind_of_refusal_is_counted_and_noted(
    act: Act, operation: str, code: str, tmp_path: Path
) -> None:
    """A known caller's refusal is an audit row, whatever it asked for."""
    async with connected(tmp_path) as agent:
        before = counted(operation, code)
        with suppress(MCPError):
            await act(agent)
        assert counted(operation, code) == before + 1
        (row,) = agent.gateway.trail.oldest(10)
        assert (row.event, row.operation, row.code) == ("call.refused", operation, code)
        assert (row.subject, row.channel) == ("agent-a", "stdio")


@pytest.mark.parametrize("mode", ERAS)
async def test_a_repeated_order_is_answered_from_the_record_and_marked(
    mode: Era, tmp_path: Path
) -> None:
    """The same structured content, the mark in _meta alone, one order at the bot."""
    async with connected(tmp_path, mode=mode) as agent:
        order = an_order()
        first = await agent.call("create_order", **order)
        again = await agent.call("create_order", **order)
        assert first.structured_content == again.structured_content
        assert REPLAYED not in (first.meta or {})
        assert (again.meta or {})[REPLAYED] is True
        assert agent.bot.asked("forceenter") == 1


async def test_a_repeated_refusal_is_marked_too(tmp_path: Path) -> None:
    """A denied order stays denied, with the same words."""
    async with connected(tmp_path) as agent:
        order = an_order(amount="1000")
        first = await agent.call("create_order", **order)
        again = await agent.call("create_order", **order)
        assert first.is_error
        assert again.is_error
        assert first.structured_content == again.structured_content
        assert (again.meta or {})[REPLAYED] is True
        assert agent.bot.asked("forceenter") == 0


@pytest.mark.parametrize("mode", ERAS)
async def test_text_and_structured_content_are_one_document(mode: Era, tmp_path: Path) -> None:
    """A client that reads only the text sees the same; it is compact JSON."""
    async with connected(tmp_path, mode=mode) as agent:
        for tool, arguments in (
            ("get_candles", {"pair": PAIR, "timeframe": "5m", "limit": 2}),
            ("get_account", {}),
            ("get_account", {"nonsense": 1}),
        ):
            result = await agent.call(tool, **arguments)
            [block] = result.content
            assert isinstance(block, TextContent)
            assert orjson.loads(block.text) == result.structured_content
            assert "\n" not in block.text


@pytest.mark.parametrize("mode", ERAS)
async def test_an_unknown_tool_is_refused_in_our_words(mode: Era, tmp_path: Path) -> None:
    """An error result with a code, and the name is not repeated."""
    async with connected(tmp_path, mode=mode) as agent:
        refusal = await agent.refusal("sell_everything")
        assert refusal["code"] == "tool_unknown"
        assert "sell_everything" not in str(refusal)


@pytest.mark.parametrize("mode", ERAS)
async def test_a_crash_is_told_in_one_word_and_logged_in_full(
    mode: Era,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What nobody anticipated may hold a secret: the model sees internal_error alone."""
    async with connected(tmp_path, mode=mode) as agent:
        agent.bot.fails = RuntimeError("canary-9f2b")
        refusal = await agent.refusal("get_account")
        assert refusal["code"] == "internal_error"
        assert "canary-9f2b" not in str(refusal)
    # Where it goes depends on whether logging was configured before.
    assert "canary-9f2b" in "".join(capsys.readouterr()) + caplog.text


async def test_every_answer_has_the_shape_that_its_tool_publishes(tmp_path: Path) -> None:
    """The SDK does not hold our answers against the schemas; so it is done here."""
    async with connected(tmp_path) as agent:
        order, resting = an_order(), an_order(pair="ETH/USDT", order_type="limit", price=99)
        await agent.told("create_order", **resting)
        answers: dict[str, dict[str, Any]] = {
            "cancel_order": await agent.told("cancel_order", request_id=resting["request_id"]),
            "get_candles": await agent.told("get_candles", pair=PAIR, timeframe="1h"),
            "dry_run_order": await agent.told("dry_run_order", **an_order()),
            "create_order": await agent.told("create_order", **order),
            "get_order": await agent.told("get_order", request_id=order["request_id"]),
            "get_open_positions": await agent.told("get_open_positions"),
            "get_account": await agent.told("get_account"),
        }
        schemas = {one.name: one.output_schema for one in (await agent.client.list_tools()).tools}
    assert answers.keys() == schemas.keys()
    for name, answer in answers.items():
        schema = schemas[name] or {}
        assert set(schema["anyOf"][0]["required"]) <= answer.keys()
        for field, value in answer.items():
            if field in schema["properties"]:
                assert fits(value, schema["properties"][field]), (name, field, value)


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """Hold a value against one property of the tools' small schemas."""
    if "anyOf" in schema:
        return any(fits(value, branch) for branch in schema["anyOf"])
    kinds: dict[str, type | tuple[type, ...]] = {
        "string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list,
        "object": dict, "null": type(None),
    }  # fmt: skip
    is_number = schema["type"] in {"integer", "number"}
    return isinstance(value, kinds[schema["type"]]) and not (is_number and isinstance(value, bool))
