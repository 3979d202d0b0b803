"""What a model reads before it calls anything: the tool list, pinned, small, and true."""

from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator
from mcp.types import Tool
from rs_bpe.bpe import openai

from mcp_gateway.domain.operations import TOOLS
from mcp_gateway.gateway import open_gateway
from mcp_gateway.sandbox.bot import Sandbox
from tests.support.books import emptied
from tests.support.processes import settings_before, token
from tests.support.tool_list import PINNED, as_sent, listed
from tests.support.wires import FAILED, in_memory

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

WRITING = {"create_order", "cancel_order"}
MOST_BYTES, MOST_TOKENS = 10_000, 2_500
REQUEST_ID = "550e8400-e29b-41d4-a716-446655440000"
ORDER = {"pair": "ADA/USDT", "side": "buy", "amount": "100", "order_type": "market"}


@pytest.fixture(scope="module")
async def tools(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tool]:
    """Every tool as a trader's client gets it."""
    return {tool.name: tool for tool in await listed(tmp_path_factory.mktemp("list"))}


async def test_the_tool_list_is_the_pinned_one(tools: dict[str, Tool]) -> None:
    """A change of what agents read is seen in a review (``tests/support/tool_list.py`` pins it)."""
    assert tuple(tools) == TOOLS
    assert as_sent(list(tools.values())) == orjson.loads(PINNED.read_bytes())


async def test_the_tool_list_is_small(tools: dict[str, Tool]) -> None:
    """It stands in the context of every agent's every turn."""
    text = orjson.dumps({"tools": as_sent(list(tools.values()))}).decode()
    assert len(text) < MOST_BYTES
    assert openai.o200k_base().count(text) < MOST_TOKENS


async def test_every_tool_says_what_a_host_wants_to_know(tools: dict[str, Tool]) -> None:
    """Title, description, annotations and both schemas; unknown arguments are refused."""
    for tool in tools.values():
        assert tool.title
        assert tool.description
        assert tool.annotations is not None
        assert tool.annotations.read_only_hint is (tool.name not in WRITING)
        assert tool.input_schema["additionalProperties"] is False
        Draft202012Validator.check_schema(tool.input_schema)
        Draft202012Validator.check_schema(tool.output_schema or {})


async def test_every_real_answer_fits_its_published_schema(
    tools: dict[str, Tool], real_bot: Sandbox, tmp_path: Path
) -> None:
    """Answers and refusals: many clients throw away what does not fit."""
    emptied(real_bot)
    settings = settings_before(real_bot, tmp_path)
    answered = []
    async with open_gateway(settings) as gateway, in_memory(gateway, token()) as call:
        seen = await call("dry_run_order", **{**RESTING, "order_type": "market"})
        price = round(seen["price"] * 0.97, 4)
        for tool, arguments in [*CALLS, ("create_order", {**RESTING, "price": price}), *CANCELS]:
            told = await call(tool, **arguments)
            failed = told.pop(FAILED)
            Draft202012Validator(tools[tool].output_schema or {}).validate(told)
            success, refusal = (tools[tool].output_schema or {})["anyOf"]
            assert set((refusal if failed else success)["required"]) <= told.keys()
            answered.append((tool, failed))
    emptied(real_bot)
    assert set(answered) == {(tool, failed) for tool in TOOLS for failed in (True, False)}


RESTING: dict[str, Any] = {
    "request_id": "550e8400-e29b-41d4-a716-446655440001",
    "pair": "XRP/USDT", "side": "buy", "amount": "100", "order_type": "limit",
}  # fmt: skip
CANCELS: list[tuple[str, dict[str, Any]]] = [
    ("cancel_order", {"request_id": RESTING["request_id"]}),
    ("cancel_order", {"request_id": REQUEST_ID}),
    ("cancel_order", {"request_id": "00000000-0000-4000-8000-000000000000"}),
]
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("get_candles", {"pair": "BTC/USDT", "timeframe": "5m"}),
    ("get_candles", {"pair": "BTC/USDT", "timeframe": "1d", "limit": 2}),
    ("get_candles", {"pair": "BTC/USDT", "timeframe": "5m", "before": "2010-01-01T00:00:00Z"}),
    ("get_candles", {"pair": "NO/USDT", "timeframe": "5m"}),
    ("get_open_positions", {}),
    ("dry_run_order", {**ORDER, "request_id": REQUEST_ID}),
    ("dry_run_order", {**ORDER, "request_id": REQUEST_ID, "amount": "1000000"}),
    ("dry_run_order", {**ORDER, "request_id": REQUEST_ID, "pair": "NO/USDT"}),
    ("dry_run_order", {**ORDER, "request_id": REQUEST_ID, "amount": "0"}),
    ("create_order", {**ORDER, "request_id": REQUEST_ID}),
    ("create_order", {**ORDER, "request_id": REQUEST_ID, "amount": "50"}),
    ("create_order", {**ORDER, "request_id": REQUEST_ID, "side": "hold"}),
    ("get_order", {"request_id": REQUEST_ID}),
    ("get_order", {"request_id": "00000000-0000-4000-8000-000000000000"}),
    ("get_open_positions", {"pair": "ADA/USDT"}),
    ("get_open_positions", {"pair": "NO/USDT"}),
    ("get_account", {}),
    ("get_account", {"currency": "USDT"}),
]
