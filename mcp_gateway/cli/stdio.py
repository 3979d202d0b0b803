"""``mcp-gateway stdio``: one desktop app on standard input and output."""

import signal
from functools import partial

import click

from mcp_gateway.transports.early import hold


@click.command()
def stdio() -> None:
    """Serve MCP over standard input and output, for the app that started this process.

    Everything is set by the environment. Without MCP_GATEWAY_TOKEN the caller is
    MCP_GATEWAY_SUBJECT with MCP_GATEWAY_SCOPES (default: reading and previews).

    Example: FREQTRADE_URL=http://127.0.0.1:8080 mcp-gateway stdio
    """
    hold(signal.SIGUSR1)  # whoever halts within the first second must be heard
    import anyio

    from mcp_gateway.access.tokens.faults import issuer_faults
    from mcp_gateway.risk.document import policy_faults
    from mcp_gateway.settings import Settings
    from mcp_gateway.telemetry import logs

    settings = Settings.load("stdio", policy_faults, issuer_faults)
    logs.configure(settings.log_level, settings.log_format)
    from mcp_gateway.cli.control.verbs import control_verbs
    from mcp_gateway.transports.stdio import serve_stdio

    anyio.run(partial(serve_stdio, settings, verbs=control_verbs()))
