"""The stdio wire: JSON-RPC on standard output and nothing else.

The SDK claims standard output for the protocol; logs go to standard error.
"""

import os
import signal

import anyio

from mcp_gateway.domain.principals import Credentials, Unsigned
from mcp_gateway.gateway import Absence, Gateway, open_gateway
from mcp_gateway.settings import Settings
from mcp_gateway.transports.credentials import caller
from mcp_gateway.transports.mcp.server import GatedServer

STORE_AFTER_S = 3.0  # the tool list comes first; then recovery should not wait for an order


async def serve_stdio(settings: Settings, *, absence: Absence | None = None) -> None:
    """Serve one client on standard input and output until it closes, or SIGTERM comes.

    Args:
        absence: says why the bot can't be reached, for whoever is starting it.

    Raises:
        NotAuthenticated: MCP_GATEWAY_TOKEN is not (or no longer) valid.
    """
    # Whoever starts the process is the caller; a token, if set, is checked on every call.
    caller.set(
        Credentials(
            channel="stdio",
            token=settings.token.get_secret_value() if settings.token else None,
            evidence=Unsigned("signature_missing"),
            call_id="stdio",
        )
    )
    async with (
        open_gateway(settings, store_after_s=STORE_AFTER_S, absence=absence) as gateway,
        anyio.create_task_group() as group,
    ):
        gateway.gate.authenticate(caller.get())  # a bad token is told now, not at every call
        group.start_soon(_leave_on_signal, gateway)
        await GatedServer(gateway).run_stdio_async()
        group.cancel_scope.cancel()


async def _leave_on_signal(gateway: Gateway) -> None:
    """Drain, then leave without the interpreter's goodbye.

    The thread that reads standard input can't be cancelled, so an orderly end would wait
    for the client to close it; the default handler would end the process with an order on
    its way.
    """
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for _signal in signals:
            await gateway.stop()
            os._exit(0)
