"""``mcp-gateway serve``: MCP and REST over HTTP."""

import signal

import click

from mcp_gateway.transports.early import hold


@click.command()
@click.option("--host", help="Address to listen on, in place of MCP_GATEWAY_HOST.")
@click.option(
    "--port", type=click.IntRange(0, 65535),
    help="Port to listen on, in place of MCP_GATEWAY_PORT; 0 takes any free one.",
)  # fmt: skip
def serve(host: str | None, port: int | None) -> None:
    """Serve MCP at /mcp and the REST face at /api/v1, until a signal says stop.

    Example: mcp-gateway serve --port 8000
    """
    hold(signal.SIGUSR1)  # whoever halts within the first second must be heard
    from mcp_gateway.access.tokens.faults import client_faults, issuer_faults
    from mcp_gateway.risk.document import policy_faults
    from mcp_gateway.settings import Settings
    from mcp_gateway.telemetry import logs

    given = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = Settings.load("serve", policy_faults, issuer_faults, client_faults, **given)
    logs.configure(settings.log_level, settings.log_format)
    from mcp_gateway.cli.control.verbs import control_verbs
    from mcp_gateway.transports import http

    log = logs.get(__name__)
    http.serve(
        settings,
        verbs=control_verbs(),
        on_ready=lambda url: log.info("Listening", url=url, mcp_url=f"{url}/mcp"),
    )
