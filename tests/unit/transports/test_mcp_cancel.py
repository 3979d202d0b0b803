"""The tool that cancels, before a core that is told what to answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from mcp import Client
from mcp.types import CallToolResult

from mcp_gateway.domain.orders import OrderRequest
from mcp_gateway.errors import BotUnavailable, GatewayError, OrderNotResting, OutcomeUnknown
from mcp_gateway.gateway import Gateway
from mcp_gateway.transports.mcp.server import GatedServer
from tests.support.gateway import ORDER, ToldGateway, receipt, settings_for
from tests.support.mcpserver import ERAS, Era
from tests.support.wires import shown_locally

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

REQUEST_ID = UUID(str(ORDER["request_id"]))


@asynccontextmanager
async def connected(folder: Path, *scopes: str, mode: Era = "auto") -> AsyncIterator[Any]:
    """Return the core and a way to call the tool, for a caller with these scopes."""
    core = ToldGateway(settings_for(folder))
    issuing = core.gate.issuing
    assert issuing is not None
    token = issuing.issue("signal-agent", scopes or ("orders:create",), 3600)
    with shown_locally(token):
        async with Client(GatedServer(cast("Gateway", core)), mode=mode) as client:

            async def cancel() -> CallToolResult:
                return await client.call_tool("cancel_order", {"request_id": str(REQUEST_ID)})

            yield core, cancel


def rests(core: ToldGateway) -> None:
    """Let the order of the tests rest at the bot."""
    order = OrderRequest(
        request_id=REQUEST_ID, pair="BTC/USDT", side="buy", amount=Decimal(1),
        order_type="limit", price=Decimal(1), agent="signal-agent",
    )  # fmt: skip
    core.order_service.receipts[REQUEST_ID] = receipt(order)


@pytest.mark.parametrize("mode", ERAS)
async def test_a_cancel_is_answered_with_the_order_s_state(mode: Era, tmp_path: Path) -> None:
    """The same as get_order, after the cancel; admitted as an operation of its own."""
    async with connected(tmp_path, mode=mode) as (core, cancel):
        rests(core)
        told = await cancel()
        state = await core.order_service.get(core, REQUEST_ID)
    assert not told.is_error
    assert told.structured_content == state
    assert told.structured_content["status"] == "cancelled"
    assert core.order_service.cancels == [("cancel_order", REQUEST_ID)]


@pytest.mark.parametrize(
    "error",
    [
        OrderNotResting("It has ended.", detail={"order_status": "filled"}),
        OutcomeUnknown("Not known."),
        BotUnavailable("It is down."),
    ],
    ids=lambda error: error.code,
)
async def test_a_refused_cancel_is_an_error_result_with_its_code(
    error: GatewayError, tmp_path: Path
) -> None:
    """Code, hint and what the core adds reach the agent."""
    async with connected(tmp_path) as (core, cancel):
        core.order_service.trouble = error
        told = await cancel()
    assert told.is_error
    assert told.structured_content == error.public()


async def test_who_may_only_look_cancels_nothing(tmp_path: Path) -> None:
    """The scope of orders is asked for before the order is looked for."""
    async with connected(tmp_path, "orders:preview") as (core, cancel):
        told = await cancel()
    assert told.is_error
    assert told.structured_content["code"] == "scope_missing"
    assert core.order_service.cancels == []
