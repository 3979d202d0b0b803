"""The stdio wire: JSON-RPC on standard output and nothing else.

The SDK claims standard output for the protocol; logs go to standard error.
"""

import os
import signal
from contextlib import AbstractAsyncContextManager, nullcontext, suppress

import anyio

from mcp_gateway.domain.principals import Credentials, Unsigned
from mcp_gateway.errors import IssuerUnavailable
from mcp_gateway.gateway import Absence, Gateway, open_gateway
from mcp_gateway.settings import Settings
from mcp_gateway.storage.hold import STDIO
from mcp_gateway.transports.control import Verbs, control_socket
from mcp_gateway.transports.credentials import caller
from mcp_gateway.transports.lines import checked_lines
from mcp_gateway.transports.mcp.server import GatedServer
from mcp_gateway.transports.signals import answered

STORE_AFTER_S = 3.0  # the tool list comes first; then recovery should not wait for an order


async def serve_stdio(
    settings: Settings, *, verbs: Verbs | None = None, absence: Absence | None = None
) -> None:
    """Serve one client on standard input and output until it closes, or SIGTERM comes.

    SIGUSR1 halts all entries.

    Args:
        verbs: what the control socket answers; None opens no socket.
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
    # A client closes the input first and sends SIGTERM soon after: signals are listened to
    # until the last order has arrived.
    async with anyio.create_task_group() as group:
        async with open_gateway(
            settings, store_after_s=STORE_AFTER_S, absence=absence, serves=STDIO
        ) as gateway:
            # A bad token is told now, not at every call.
            with suppress(IssuerUnavailable):  # it may be there when the first call comes
                await gateway.gate.authenticate(caller.get())
            group.start_soon(_leave_on_signal, gateway)
            halt = gateway.local_halts.by_signal
            async with _controlled(gateway, verbs), answered(signal.SIGUSR1, halt):
                with checked_lines(settings.max_body_bytes):
                    await GatedServer(gateway).run_stdio_async()
        group.cancel_scope.cancel()


def _controlled(gateway: Gateway, verbs: Verbs | None) -> AbstractAsyncContextManager[None]:
    if verbs is None:
        return nullcontext()
    return control_socket(gateway, verbs, gateway.settings.control_socket)


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
