"""The one door of the HTTP face, before MCP and REST alike; it knows bytes, no operation.

In this order: host and origin, route, size of the headers, a browser's question before a call,
method, media type, the body within its bounds, the token, the signature over the raw bytes, one strict parse. What passes
goes on with its ``caller`` set; what does not is refused in the caller's language.
"""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import anyio
import structlog

from mcp_gateway.domain.principals import Channel, Credentials, Principal, Unsigned
from mcp_gateway.errors import (
    Draining,
    GatewayError,
    HeadersTooLarge,
    InternalError,
    MethodNotAllowed,
    NotAuthenticated,
    NotFound,
    NotPermitted,
)
from mcp_gateway.gateway import Gateway
from mcp_gateway.telemetry import logs, metrics
from mcp_gateway.transports import body as bodies
from mcp_gateway.transports import cors, refusals, rpc
from mcp_gateway.transports.credentials import bearer, caller
from mcp_gateway.transports.faults import Explained
from mcp_gateway.transports.forwarding import Proxies
from mcp_gateway.transports.hosts import Hosts
from mcp_gateway.transports.requests import (
    JSON,
    ASGIApp,
    Message,
    Receive,
    Scope,
    Send,
)
from mcp_gateway.transports.routes import MCP, Route, find, table
from mcp_gateway.transports.signing import judged
from mcp_gateway.transports.turnstile import DOOR_LIMIT, Turnstile
from mcp_gateway.transports.visit import Visit

log = logs.get(__name__)

BODY_DEADLINE_S = 10.0
# A token may have 8 KiB, a signature takes one. Beyond this a 431 says so in the caller's
# language; a head of twice that size never gets here, ``bounds`` cuts it off on the wire.
TOLD_HEAD_BYTES = 32_768
MOST_HEADERS = 100  # browsers and proxies together send about forty
# Refusals behind which nothing more is read on the connection.
_ENDS = frozenset({DOOR_LIMIT, bodies.NOT_EXPECTED})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})


class Door:
    """Pure ASGI, outermost: one request in, one counted, logged and safe answer out.

    Args:
        mcp: the MCP SDK's app, asked for /mcp.
        routes: every other route, each with what answers it.
    """

    def __init__(
        self,
        gateway: Gateway,
        *,
        mcp: ASGIApp,
        routes: Iterable[Route],
        body_deadline_s: float = BODY_DEADLINE_S,
    ) -> None:
        self._gateway = gateway
        self._settings = gateway.settings
        self._hosts = Hosts(gateway.settings)
        self._proxies = Proxies(gateway.settings)
        self._turnstile = Turnstile(gateway.settings.door_rate_limit_per_minute, gateway.clock)
        self._mcp = Explained(mcp)
        self._routes = table([MCP, *routes])
        self._body_deadline_s = body_deadline_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one ASGI request; no other protocol is spoken here."""
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1003})
            return
        visit = Visit.of(scope, send)
        started = self._gateway.clock.monotonic()
        metrics.http_requests_in_progress.inc()
        with structlog.contextvars.bound_contextvars(call_id=visit.call_id):
            try:
                await self._answer(visit, scope, receive)
            finally:
                metrics.http_requests_in_progress.dec()
                self._turnstile.count(visit)
                self._record(visit, self._gateway.clock.monotonic() - started)

    async def _answer(self, visit: Visit, scope: Scope, receive: Receive) -> None:
        try:
            await self._pass(visit, scope, receive)
        except GatewayError as error:
            await self._refuse(visit, error, receive)
        except anyio.get_cancelled_exc_class():
            if not visit.status:  # the server stops and waits no longer; an order goes on
                with anyio.CancelScope(shield=True):
                    await self._refuse(visit, _cut_off(), receive)
            raise
        except Exception:
            log.exception("Unexpected failure")
            if visit.status:  # the answer has begun: only a broken connection can still tell
                raise
            failure = InternalError("The gateway failed; it has been logged.")
            await self._refuse(visit, failure, receive)

    async def _pass(self, visit: Visit, scope: Scope, receive: Receive) -> None:
        methods = await self._enter(visit)
        if visit.origin is not None and visit.method == "OPTIONS":
            told = cors.preflight(visit.headers)
            if told is not None:
                await visit.answer(told)
                return
        if (route := methods.get(visit.method)) is None:
            raise MethodNotAllowed(
                "The route knows no such method.", detail={"allow": list(methods)}
            )
        kind = await self._read(visit, route, receive)
        credentials, principal = await self._credentials(visit, route)
        document = await self._document(visit, route, kind, credentials, principal)
        token = caller.set(credentials)
        try:
            if route.handler is None:
                inner = {**scope, "headers": list(visit.headers)}
                await self._mcp(inner, _replayed(visit.body or b"", receive), visit.reply)
            else:
                request = visit.request(document)
                await visit.answer(await route.handler(self._gateway, request, credentials))
        finally:
            caller.reset(token)

    async def _enter(self, visit: Visit) -> Mapping[str, Route]:
        """Find the routes at the path; check address, host, origin and the size of the head."""
        methods, visit.variables = find(self._routes, visit.path)
        visit.route = methods.get(visit.method, next(iter(methods.values()), None))
        if not (visit.route and visit.route.probe):
            outside = self._proxies.outside(visit.peer, visit.headers)
            visit.peer = outside.peer
            await self._turnstile.admit_stranger(visit, self._gateway.gate)
            visit.origin = self._hosts.check(visit.headers, outside.host)
            visit.come_from(outside)
        if not methods:
            raise NotFound(
                "There is no such route.", code="route_unknown", hint="Read /openapi.json."
            )
        if sum(len(name) + len(value) for name, value in visit.headers) > TOLD_HEAD_BYTES:
            raise HeadersTooLarge(f"The headers are larger than {TOLD_HEAD_BYTES} bytes.")
        if len(visit.headers) > MOST_HEADERS:
            raise HeadersTooLarge(f"There are more than {MOST_HEADERS} headers.")
        return methods

    async def _read(self, visit: Visit, route: Route, receive: Receive) -> str:
        """Take the body of a POST, within its bounds; return its media type."""
        if visit.method != "POST":
            bodies.refuse_any(visit.headers)
            return ""
        kind = bodies.media_type(visit.headers, route.media_types)
        visit.body = await bodies.read(
            visit.headers, receive,
            limit_bytes=self._settings.max_body_bytes, deadline_s=self._body_deadline_s,
        )  # fmt: skip
        return kind

    async def _credentials(
        self, visit: Visit, route: Route
    ) -> tuple[Credentials, Principal | None]:
        """Collect what the caller shows, and at guarded routes believe only a valid token."""
        channel: Channel = "http" if route is MCP else "rest"
        missing = Unsigned("signature_missing")
        if not route.guarded:
            return Credentials(channel, None, missing, visit.call_id, visit.meter), None
        token = bearer(visit.headers)
        shown = Credentials(channel, token, missing, visit.call_id, visit.meter)
        if shown.token is None:
            raise NotAuthenticated("No token was sent.")
        principal = visit.principal = await self._gateway.gate.authenticate(shown)
        if route.signable:
            evidence = await judged(self._gateway, visit, principal, plain=route.plainly_signable)
            shown = replace(shown, evidence=evidence)
        await self._turnstile.admit_caller(principal, shown)
        return shown, principal

    async def _document(
        self,
        visit: Visit,
        route: Route,
        kind: str,
        credentials: Credentials,
        principal: Principal | None,
    ) -> dict[str, Any] | None:
        """Parse a JSON body; from here on a known caller's refusal is written down."""
        try:
            if principal is not None and not principal.scopes:
                raise NotPermitted("The token allows nothing.", detail={"scope": ""})
            if kind != JSON:
                return None
            document = bodies.parse(visit.body or b"")
            if route is MCP:
                rpc.check(document)
                rpc.check_headers(visit.headers, document)
            return document  # noqa: TRY300 - beside the refusals that it can end in
        except GatewayError as refusal:
            if principal is not None:
                await self._gateway.gate.note_refusal(principal, credentials, refusal)
            raise

    async def _refuse(self, visit: Visit, error: GatewayError, receive: Receive) -> None:
        told: dict[str, Any] = {"base_url": self._settings.base_url, "call_id": visit.call_id}
        answer = (
            refusals.rpc_error(error, visit.rpc_id(), **told)
            if visit.path == MCP.path
            else refusals.problem(error, **told)
        )
        ends = error.code in _ENDS
        is_unread = visit.body is None and visit.method != "GET" and not ends
        await visit.answer(answer, unread=receive if is_unread else None, hang_up=ends)
        log.debug("Refused", code=error.code)

    def _record(self, visit: Visit, elapsed_s: float) -> None:
        path = visit.route.path if visit.route else "other"
        method = visit.method if visit.method in _METHODS else "OTHER"
        status = visit.status or 499  # hung up before anything was answered
        metrics.http_requests_total.labels(method, path, str(status)).inc()
        metrics.http_request_duration_seconds.labels(method, path).observe(elapsed_s)
        write = log.debug if visit.route and visit.route.probe else log.info
        write(
            "Request answered",
            method=method, path=path, status=status,
            user=visit.principal and visit.principal.subject,
            duration_ms=round(elapsed_s * 1000, 2),
        )  # fmt: skip


def _cut_off() -> Draining:
    return Draining(
        "The gateway stopped before the answer was there.",
        code="cut_off",
        hint="Call again. After an order ask get_order, or repeat it with the same request_id.",
    )


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Give the body once, then what really arrives, so that a disconnect stays visible."""
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay
