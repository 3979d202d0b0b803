"""The HTTP wire: one app with both languages, its life, and the server that carries it.

Draining stands in our own ASGI lifespan, outside the MCP SDK's: what stands behind
``uvicorn.Server.serve()`` never runs after a signal, and the SDK's own lifespan ends after it
has cancelled its handlers.
"""

import asyncio
import errno
import gc
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Final

import uvicorn
from mcp.server.transport_security import TransportSecuritySettings

from mcp_gateway.access.clients import Clients
from mcp_gateway.clock import Clock
from mcp_gateway.errors import GatewayError, failures_in
from mcp_gateway.gateway import open_gateway
from mcp_gateway.settings import Settings
from mcp_gateway.telemetry import logs
from mcp_gateway.transports.bounds import BoundedProtocol
from mcp_gateway.transports.control import Verbs, control_socket
from mcp_gateway.transports.door import Door
from mcp_gateway.transports.mcp.server import GatedServer
from mcp_gateway.transports.requests import ASGIApp, Receive, Scope, Send
from mcp_gateway.transports.rest.routes import rest_routes
from mcp_gateway.transports.routes import MCP
from mcp_gateway.transports.signals import answered

# For answers under way when the server stops; orders drain after it. Both together stay below
# the ten seconds that container engines wait before they kill.
GRACE_S: Final = 5
# Longer than clients keep an idle connection (httpx: 5 s, load balancers: 60 s), so that it is
# the client who closes and no call meets a closing server.
KEEP_ALIVE_S: Final = 75

LEFTOVERS_S: Final = 2.0

log = logs.get(__name__)


class CannotListen(GatewayError):
    """The address cannot be listened on."""

    default_code = "port_busy"
    default_hint = "Choose another port with --port or MCP_GATEWAY_PORT; 0 takes any free one."


@asynccontextmanager
async def open_app(
    settings: Settings,
    *,
    clock: Clock | None = None,
    verbs: Verbs | None = None,
    signals: bool = False,
) -> AsyncIterator[ASGIApp]:
    """Open the gateway and yield the ASGI app before it; drain it on leaving.

    Args:
        verbs: what the control socket answers; None opens no socket.
        signals: answer those that are no end, too; for the main thread alone.

    Raises:
        ConfigurationError: the clients file or the keys file has faults.
    """
    clients = None
    if settings.clients_file is not None:
        clients = Clients.load(settings.clients_file, settings.token_longest_s)
    async with AsyncExitStack() as stack:
        gateway = await stack.enter_async_context(
            open_gateway(settings, clock=clock, serves=settings.base_url)
        )
        await stack.enter_async_context(gateway.gate.keys.watched())
        await gateway.gate.meet_store()
        if verbs is not None:
            control = control_socket(gateway, verbs, settings.control_socket)
            await stack.enter_async_context(control)
        if signals:
            reread = partial(gateway.policies.look, again=True)
            await stack.enter_async_context(answered(signal.SIGHUP, reread))
            halt = gateway.local_halts.by_signal
            await stack.enter_async_context(answered(signal.SIGUSR1, halt))
        await gateway.ensure_store_is_ours()
        server = GatedServer(gateway)
        mcp = server.streamable_http_app(
            streamable_http_path=MCP.path,
            json_response=True,
            stateless_http=True,
            max_request_body_size=settings.max_body_bytes,
            # The door has checked Host and Origin, for both languages alike.
            transport_security=TransportSecuritySettings(enable_dns_rebinding_protection=False),
        )
        await stack.enter_async_context(server.session_manager.run())
        yield Door(gateway, mcp=mcp, routes=rest_routes(settings, clients))


class Lifespan:
    """An ASGI app that opens another one at the server's start and closes it at its end."""

    def __init__(self, opener: Callable[[], AbstractAsyncContextManager[ASGIApp]]) -> None:
        self._opener = opener
        self._app: ASGIApp | None = None
        self.failure: Exception | None = None
        self.when_lost: Callable[[], None] = lambda: None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the lifespan, or pass a request on."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._app is not None:
            await self._app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        phase = "startup"
        try:
            async with self._opener() as self._app:
                await send({"type": "lifespan.startup.complete"})
                phase = "shutdown"
                await receive()
        except Exception as error:
            self.failure = next(failures_in(error))
            # Ours are told by whoever called serve; a bug must not hide beside one of them.
            if not all(isinstance(one, GatewayError) for one in failures_in(error)):
                log.exception("The gateway failed", phase=phase)
            await send({"type": f"lifespan.{phase}.failed"})
            self.when_lost()  # a server without its gateway would answer nonsense
        else:
            await send({"type": "lifespan.shutdown.complete"})


class Server(uvicorn.Server):
    """uvicorn, reporting when it listens."""

    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then freeze what is there for good: it saves pauses of 50 to 80 ms."""
        await super().startup(sockets=sockets)
        gc.collect()
        gc.freeze()
        self._ready()


def server_for(
    app: ASGIApp,
    ready: Callable[[], None],
    *,
    protocol: type[BoundedProtocol] = BoundedProtocol,
) -> Server:
    """Return a server for an app that has a lifespan; give its ``serve`` a bound socket."""
    config = uvicorn.Config(
        app,
        http=protocol,
        loop="asyncio",  # uvloop gains nothing here and has the worse tail
        ws="none",
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=GRACE_S,
    )
    return Server(config, ready)


def serve(
    settings: Settings,
    *,
    verbs: Verbs | None = None,
    on_ready: Callable[[str], None] = lambda _url: None,
) -> None:
    """Serve HTTP until a signal says stop, then drain.

    Args:
        on_ready: called with the base URL as soon as requests are answered.

    Raises:
        CannotListen: the port is taken, or the address is not this machine's.
        ConfigurationError: found while opening the gateway.
    """
    listening = bound(settings.host, settings.port)
    settings = settings.model_copy(update={"port": listening.getsockname()[1]})
    app = Lifespan(partial(open_app, settings, verbs=verbs, signals=True))
    server = server_for(app, lambda: on_ready(settings.base_url))

    def stop() -> None:
        server.should_exit = True

    app.when_lost = stop
    # uvicorn raises the caught signal again at its end; after a clean stop that is no failure.
    for caught in (signal.SIGINT, signal.SIGTERM):
        signal.signal(caught, lambda _signal, _frame: stop())
    try:
        asyncio.run(_until_stopped(server, listening, app))
    except SystemExit:  # uvicorn's word for a lifespan that did not start
        if app.failure is None:
            raise
    finally:
        listening.close()
    if app.failure is not None:
        raise app.failure


async def _until_stopped(server: Server, listening: socket.socket, app: Lifespan) -> None:
    await server.serve(sockets=[listening])
    # All is drained and closed. What a library left behind may refuse to be cancelled, and the
    # event loop would wait for it for ever.
    for task in asyncio.all_tasks() - {asyncio.current_task()}:
        task.cancel()
    left = asyncio.all_tasks() - {asyncio.current_task()}
    if left and (await asyncio.wait(left, timeout=LEFTOVERS_S))[1]:
        log.warning("Leaving work behind that does not end", tasks=len(left))
        logging.shutdown()
        os._exit(0 if app.failure is None else 1)


def bound(host: str, port: int) -> socket.socket:
    """Return a socket bound to the address; port 0 takes any free one.

    Raises:
        CannotListen: port_busy or listen_failed.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise _cannot_listen(host, port, error) from error
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen()
    except OSError as error:
        listening.close()
        raise _cannot_listen(host, port, error) from error
    return listening


def _cannot_listen(host: str, port: int, error: OSError) -> CannotListen:
    if error.errno == errno.EADDRINUSE:
        return CannotListen(f"Port {port} of {host} is taken by another process.")
    return CannotListen(
        f"Cannot listen on {host} port {port}: {error.strerror}.",
        code="listen_failed",
        hint="Check MCP_GATEWAY_HOST and MCP_GATEWAY_PORT.",
    )
