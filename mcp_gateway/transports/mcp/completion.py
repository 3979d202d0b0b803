"""Completion of pair and timeframe in prompts and resource templates."""

from typing import Any, Final

from mcp.server import MCPServer
from mcp.types import Completion, CompletionArgument, CompletionContext

from mcp_gateway.domain.market import TIMEFRAMES, timeframe_seconds
from mcp_gateway.domain.operations import OPERATIONS
from mcp_gateway.domain.principals import Admission
from mcp_gateway.errors import GatewayError
from mcp_gateway.gateway import Gateway
from mcp_gateway.transports.admission import admitted
from mcp_gateway.transports.credentials import shown
from mcp_gateway.transports.mcp.results import protocol_error

MOST_VALUES: Final = 100  # the protocol's own bound


def add_completion(server: MCPServer[Any], gateway: Gateway) -> None:
    """Register the handler; it asks the gate itself, for it is no method of the server."""

    async def complete(
        _ref: Any, argument: CompletionArgument, _context: CompletionContext | None
    ) -> Completion | None:
        try:
            async with admitted(gateway.gate, shown(), OPERATIONS["complete"]) as admission:
                choices = await _choices(gateway, admission, argument.name)
        except GatewayError as error:
            raise protocol_error(error) from None
        wanted = argument.value.casefold()
        hits = [choice for choice in choices if choice.casefold().startswith(wanted)]
        return Completion(
            values=hits[:MOST_VALUES], total=len(hits), has_more=len(hits) > MOST_VALUES
        )

    register: Any = server.completion()  # type: ignore[no-untyped-call]  # the SDK leaves it bare
    register(complete)


async def _choices(gateway: Gateway, admission: Admission, name: str) -> list[str]:
    if name == "pair":
        return list((await gateway.market.pairs(admission)).names)
    if name == "timeframe":
        return served_timeframes((await gateway.market.bot_state()).timeframe)
    if name == "side":
        return ["buy", "sell"]
    return []


def served_timeframes(own: str) -> list[str]:
    """Return the bot's own timeframe and the larger ones that can be made of it."""
    own_s = timeframe_seconds(own)
    return [name for name, s in TIMEFRAMES.items() if s >= own_s and s % own_s == 0]
