"""Names that nothing knows, told to whoever wrote them: they may be typos."""

from contextlib import suppress

import click

from mcp_gateway.cli.control.reach import ask
from mcp_gateway.errors import GatewayError
from mcp_gateway.settings import Settings


def warn_of_strangers(settings: Settings, agent: str | None, pair: str | None) -> None:
    """Tell a person of a name that nothing knows, where a gateway can tell; nothing is refused."""
    with suppress(GatewayError):
        for one in ask(settings, "halt.strangers", {"agent": agent, "pair": pair}):
            click.echo(f"! {one}", err=True)
