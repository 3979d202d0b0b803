"""The gated MCP server over the real core, a bot at the wire and the SDK's client in memory."""

import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from mcp import Client, MCPError
from mcp.client.session import ElicitationFnT
from mcp.types import CallToolResult

from mcp_gateway.domain.operations import SCOPES
from mcp_gateway.domain.positions import Mode
from mcp_gateway.domain.principals import Credentials, Unsigned
from mcp_gateway.gateway import Gateway
from mcp_gateway.settings import Settings
from mcp_gateway.storage.kv import open_kv
from mcp_gateway.transports.credentials import caller
from mcp_gateway.transports.mcp.server import GatedServer
from tests.support.clock import ManualClock
from tests.support.policy import POLICY_FILE
from tests.support.tradingbot import TradingBot

Era = Literal["auto", "legacy"]
ERAS: tuple[Era, ...] = ("auto", "legacy")  # the SDK's own choice is the modern one
OWNER = Credentials("stdio", None, Unsigned("signature_missing"), "stdio")
STRANGER = Credentials("http", None, Unsigned("signature_missing"), "call-1")
PAIR = "BTC/USDT"


@dataclass
class Agent:
    """One connected agent, with what stands behind its server."""

    client: Client
    server: GatedServer
    bot: TradingBot
    clock: ManualClock
    gateway: Gateway

    async def call(self, tool: str, **arguments: Any) -> CallToolResult:
        """Call a tool; text and structured content must be the same document."""
        result = await self.client.call_tool(tool, arguments)
        assert isinstance(result, CallToolResult)
        return result

    async def told(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Return the answer of a call that must succeed."""
        result = await self.call(tool, **arguments)
        assert not result.is_error, result.structured_content
        assert result.structured_content is not None
        return dict(result.structured_content)

    async def refusal(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Return the refusal of a call that must fail."""
        result = await self.call(tool, **arguments)
        assert result.is_error, result.structured_content
        assert result.structured_content is not None
        return dict(result.structured_content)


@asynccontextmanager
async def connected(
    folder: Path,
    *,
    mode: Era = "auto",
    scopes: tuple[str, ...] = tuple(SCOPES),
    shows: Credentials = OWNER,
    person: ElicitationFnT | None = None,
    money: Mode = "dry-run",
    **settings: Any,
) -> AsyncIterator[Agent]:
    """Connect an agent to a server of its own; the store opens when an order tool wants it.

    Args:
        scopes: what the owner of the process may do.
        shows: what the caller shows; a stranger over HTTP shows nothing.
        money: the mode that the gateway's operator declares.
        person: sits at the agent's client and answers its questions; None: it can't ask any.
    """
    clock = ManualClock()
    bot = TradingBot(clock)
    newest = int(clock.now().timestamp()) // 300 * 300 - 300
    bot.candles = {(pair, "5m"): newest for pair in bot.pairs}
    given = {
        "data_dir": folder, "scopes": scopes, "subject": "agent-a", "policy": POLICY_FILE,
        "mode": money,
    } | settings  # fmt: skip
    gateway = Gateway(Settings.apart(**given), clock, open_kv(None, clock), bot.client())
    caller.set(shows)
    server = GatedServer(gateway)
    async with gateway.running(math.inf), _client(server, mode, person) as client:
        yield Agent(client, server, bot, clock, gateway)


def _client(server: GatedServer, mode: Era, person: ElicitationFnT | None) -> Client:
    return Client(server, mode=mode, elicitation_callback=person)


def an_order(**changes: Any) -> dict[str, Any]:
    """Return the arguments of an order that passes every check, but for what a test changes."""
    return {
        "request_id": str(uuid4()), "pair": PAIR, "side": "buy", "amount": "1",
        "order_type": "market",
    } | changes  # fmt: skip


def code_of(error: MCPError) -> str:
    """Return the code of a refusal that came as a JSON-RPC error."""
    assert {"code", "message", "retryable", "hint"} <= error.data.keys()
    return str(error.data["code"])
