"""The gated MCP server: every list, call, read and prompt asks the gate first.

``MCPServer`` has no place for a gate, so its seven public methods are overridden. That the
SDK reaches its handlers through them is its behaviour and not its promise: one test per
door proves, in both protocol eras, that a refusing gate refuses.
"""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Final

from mcp.server import MCPServer
from mcp.server.lowlevel.helper_types import ReadResourceContents
from mcp.server.mcpserver import Context
from mcp.types import (
    CallToolResult,
    GetPromptResult,
    InputRequiredResult,
    Prompt,
    Resource,
    ResourceTemplate,
    Tool,
)
from pydantic import AnyUrl

from mcp_gateway import __version__
from mcp_gateway.domain.operations import OPERATIONS, TOOLS, resource_operation
from mcp_gateway.errors import GatewayError, NotFound
from mcp_gateway.gateway import Gateway
from mcp_gateway.transports.admission import admitted
from mcp_gateway.transports.credentials import shown
from mcp_gateway.transports.mcp import results
from mcp_gateway.transports.mcp.completion import add_completion
from mcp_gateway.transports.mcp.elicitation import state_security
from mcp_gateway.transports.mcp.prompts import PromptLibrary
from mcp_gateway.transports.mcp.resources import add_resources
from mcp_gateway.transports.mcp.tools import build_tools

INSTRUCTIONS: Final = """\
Gateway between you and a Freqtrade trading bot. Read the market with get_candles and \
get_open_positions, your limits with get_account. Before create_order call dry_run_order \
and pass its preview_id on. \
Amounts are in base, prices in quote per base, times in UTC. Give every order a fresh UUID as \
request_id; after any doubt ask get_order with it instead of sending the order again; \
cancel_order takes back a limit order that still rests. \
Every failure has a code and a hint that names the next safe step."""


class GatedServer(MCPServer[Any]):
    """An MCP server whose seven public methods ask the gate."""

    def __init__(self, gateway: Gateway) -> None:
        super().__init__(
            "mcp-gateway",
            title="MCP Gateway for Freqtrade",
            version=__version__,
            instructions=INSTRUCTIONS,
            tools=build_tools(gateway),
            log_level="WARNING",
            request_state_security=state_security(gateway),
            subscriptions=False,  # nothing notifies yet; a promise of listChanged would be false
        )
        self._gate = gateway.gate
        self._prompts = PromptLibrary.load()
        add_resources(self, gateway)
        add_completion(self, gateway)

    @asynccontextmanager
    async def _admitted(self, operation: str) -> AsyncIterator[None]:
        """Let a call in; whatever goes wrong inside leaves as a refusal of ours."""
        async with admitted(self._gate, shown(), OPERATIONS[operation]):
            with results.in_our_words(operation):
                yield

    @asynccontextmanager
    async def _listing(self) -> AsyncIterator[Callable[[str], bool]]:
        """Let a list in; yield what tells whether its caller may use an operation."""
        try:
            async with admitted(self._gate, shown(), OPERATIONS["list"]) as admission:
                scopes = admission.principal.scopes
                yield lambda name: self._gate.lacking(scopes, OPERATIONS[name]) is None
        except GatewayError as error:
            raise results.protocol_error(error) from None

    async def list_tools(self) -> list[Tool]:
        async with self._listing() as sees:
            return [tool for tool in await super().list_tools() if sees(tool.name)]

    async def list_resources(self) -> list[Resource]:
        async with self._listing() as sees:
            listed = await super().list_resources()
            return [one for one in listed if sees(resource_operation(str(one.uri)).name)]

    async def list_resource_templates(self) -> list[ResourceTemplate]:
        async with self._listing() as sees:
            listed = await super().list_resource_templates()
            return [one for one in listed if sees(resource_operation(one.uri_template).name)]

    async def list_prompts(self) -> list[Prompt]:
        async with self._listing() as sees:
            return self._prompts.listed() if sees("get_prompt") else []

    async def call_tool(
        self, name: str, arguments: dict[str, Any], context: Context[Any, Any] | None = None
    ) -> CallToolResult | InputRequiredResult:
        try:
            async with self._admitted(name if name in TOOLS else "unknown_tool"):
                if name not in TOOLS:
                    raise NotFound(
                        "There is no such tool.",
                        code="tool_unknown",
                        hint="Use a name of tools/list.",
                    )
                return await super().call_tool(name, arguments, context)
        except GatewayError as error:
            return results.refused(error)

    async def read_resource(
        self, uri: AnyUrl | str, context: Context[Any, Any] | None = None
    ) -> Iterable[ReadResourceContents] | InputRequiredResult:
        try:
            async with self._admitted(resource_operation(str(uri)).name):
                return await super().read_resource(uri, context)
        except GatewayError as error:
            raise results.protocol_error(error) from None

    async def get_prompt(
        self,
        name: str,
        arguments: dict[str, Any] | None = None,
        context: Context[Any, Any] | None = None,  # noqa: ARG002  (the SDK's signature)
    ) -> GetPromptResult | InputRequiredResult:
        try:
            async with self._admitted("get_prompt"):
                return self._prompts.render(name, arguments or {})
        except GatewayError as error:
            raise results.protocol_error(error) from None
