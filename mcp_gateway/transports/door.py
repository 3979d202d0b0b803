"""The one door of the HTTP face, before MCP and REST alike; it knows bytes, no operation.

In this order: host and origin, route and method, size of the headers, media type, the body
within its bounds, the token, the signature over the raw bytes, one strict parse. What passes
goes on with its ``caller`` set; what does not is refused in the caller's language.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import structlog

from mcp_gateway.domain.principals import Channel, Credentials, Principal, Unsigned
from mcp_gateway.errors import (
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
from mcp_gateway.transports import refusals
from mcp_gateway.transports.credentials import bearer, caller
from mcp_gateway.transports.hosts import Hosts
from mcp_gateway.transports.places import MCP, Place, Places
from mcp_gateway.transports.requests import (
    JSON,
    Answer,
    ASGIApp,
    Message,
    Receive,
    Request,
    Scope,
    Send,
)
from mcp_gateway.transports.signing import Judge
from mcp_gateway.transports.visit import Visit

log = logs.get(__name__)

BODY_DEADLINE_S = 10.0
LARGEST_HEAD_BYTES = 32_768  # a token may have 8 KiB; a signature takes one
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"})

Rest = Callable[[Request, Credentials], Awaitable[Answer]]


class Door:
    """Pure ASGI, outermost: one request in, one counted, logged and safe answer out.

    Args:
        mcp: the MCP SDK's app, asked for /mcp.
        rest: answers every other place of the table.
        places: the table itself.
        judge: what a request's signature proves.
    """

    def __init__(
        self,
        gateway: Gateway,
        *,
        mcp: ASGIApp,
        rest: Rest,
        places: Places,
        judge: Judge,
        body_deadline_s: float = BODY_DEADLINE_S,
    ) -> None:
        self._gateway = gateway
        self._settings = gateway.settings
        self._hosts = Hosts(gateway.settings)
        self._mcp = mcp
        self._rest = rest
        self._places = places
        self._judge = judge
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
                self._record(visit, self._gateway.clock.monotonic() - started)

    async def _answer(self, visit: Visit, scope: Scope, receive: Receive) -> None:
        try:
            await self._pass(visit, scope, receive)
        except GatewayError as error:
            await self._refuse(visit, error, receive)
        except Exception:
            log.exception("Unexpected failure")
            if visit.status:  # the answer has begun: only a broken connection can still tell
                raise
            failure = InternalError("The gateway failed; it has been logged.")
            await self._refuse(visit, failure, receive)

    async def _pass(self, visit: Visit, scope: Scope, receive: Receive) -> None:
        place = self._place(visit)
        kind = ""
        if visit.method == "POST":
            kind = bodies.media_type(visit.headers, place.media_types)
            visit.body = await bodies.read(
                visit.headers, receive,
                limit_bytes=self._settings.max_body_bytes, deadline_s=self._body_deadline_s,
            )  # fmt: skip
        credentials = self._credentials(visit, place)
        document = bodies.parse(visit.body or b"") if kind == JSON else None
        token = caller.set(credentials)
        try:
            if place is MCP:
                inner = {**scope, "headers": list(visit.headers)}
                await self._mcp(inner, _replayed(visit.body or b"", receive), visit.reply)
            else:
                await visit.answer(await self._rest(visit.request(document), credentials))
        finally:
            caller.reset(token)

    def _place(self, visit: Visit) -> Place:
        """Find the place, and check all that stands before the body: host, method, size."""
        found = self._places.find(visit.path)
        if found is not None:
            visit.place, visit.variables = found
        if not (visit.place and visit.place.probe):
            self._hosts.check(visit.headers)
        if visit.place is None:
            raise NotFound(
                "There is no such route.", code="route_unknown", hint="Read /openapi.json."
            )
        if visit.method not in visit.place.methods:
            raise MethodNotAllowed(
                "The route knows no such method.", detail={"allow": list(visit.place.methods)}
            )
        if sum(len(name) + len(value) for name, value in visit.headers) > LARGEST_HEAD_BYTES:
            raise HeadersTooLarge(f"The headers are larger than {LARGEST_HEAD_BYTES} bytes.")
        return visit.place

    def _credentials(self, visit: Visit, place: Place) -> Credentials:
        """Collect what the caller shows, and at guarded places believe only a valid token."""
        channel: Channel = "http" if place is MCP else "rest"
        missing = Unsigned("signature_missing")
        if place.guard == "open":
            return Credentials(channel, None, missing, visit.call_id)
        shown = Credentials(channel, bearer(visit.headers), missing, visit.call_id)
        principal = self._known(shown)
        visit.user = principal.subject
        if not place.signable:
            return shown
        evidence = self._judge.judge(
            visit.method, visit.path, visit.query, visit.headers, visit.body or b"",
            plain=place is not MCP,
        )  # fmt: skip
        return Credentials(channel, shown.token, evidence, visit.call_id)

    def _known(self, shown: Credentials) -> Principal:
        if shown.token is None:
            raise NotAuthenticated("No token was sent.")
        principal = self._gateway.gate.authenticate(shown)
        if not principal.scopes:
            raise NotPermitted("The token allows nothing.", detail={"scope": ""})
        return principal

    async def _refuse(self, visit: Visit, error: GatewayError, receive: Receive) -> None:
        told: dict[str, Any] = {"base_url": self._settings.base_url, "call_id": visit.call_id}
        answer = (
            refusals.rpc_error(error, visit.rpc_id(), **told)
            if visit.path == MCP.path
            else refusals.problem(error, **told)
        )
        is_unread = visit.body is None and visit.method != "GET"
        await visit.answer(answer, unread=receive if is_unread else None)
        log.debug("Refused", code=error.code)

    def _record(self, visit: Visit, elapsed_s: float) -> None:
        path = visit.place.path if visit.place else "other"
        method = visit.method if visit.method in _METHODS else "OTHER"
        status = visit.status or 499  # hung up before anything was answered
        metrics.http_requests_total.labels(method, path, str(status)).inc()
        metrics.http_request_duration_seconds.labels(method, path).observe(elapsed_s)
        write = log.debug if visit.place and visit.place.probe else log.info
        write(
            "Request answered",
            method=method, path=path, status=status, user=visit.user,
            duration_ms=round(elapsed_s * 1000, 2),
        )  # fmt: skip


def _replayed(body: bytes, receive: Receive) -> Receive:
    """Give the body once, then what really arrives, so that a disconnect stays visible."""
    pending = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return pending.pop() if pending else await receive()

    return replay
