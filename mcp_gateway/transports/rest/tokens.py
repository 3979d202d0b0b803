"""POST /auth/token: the predecessor's JSON login, and the OAuth form of the same.

Source: RFC 6749 sections 2.3.1 (client credentials), 4.4 (the grant), 5.2 (errors).
"""

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qsl, unquote_plus

from pydantic import ValidationError

from mcp_gateway.access.clients import Client, Clients
from mcp_gateway.access.logins import Logins
from mcp_gateway.audit.events import AuditEvent
from mcp_gateway.domain.principals import Credentials
from mcp_gateway.errors import NotFound, RequestMalformed
from mcp_gateway.gateway import Gateway
from mcp_gateway.transports.requests import Answer, Request, only
from mcp_gateway.transports.rest.discovery import is_this_resource
from mcp_gateway.transports.rest.shapes import LONGEST_NAME, Login, Token

MOST_FIELDS: Final = 16
_HINT: Final = "Send username and password, or grant_type=client_credentials with its client."


@dataclass(frozen=True, slots=True)
class _Login:
    name: str
    password: str
    scopes: frozenset[str] | None = None
    resources: tuple[str, ...] = ()


class TokenDesk:
    """Gives tokens to the clients of the clients file; shut where there is none."""

    def __init__(self, clients: Clients | None) -> None:
        self._clients = clients
        self._logins: Logins | None = None

    async def issue(self, gateway: Gateway, request: Request, _shown: Credentials) -> Answer:
        """Answer POST /auth/token.

        Raises:
            NotFound: no clients are configured.
            NotAuthenticated: client_invalid, for an unknown name and a wrong password alike.
            QuotaExceeded: too many logins failed, or are under way.
            RequestMalformed: not one of the two forms, no scope of the client's among those
                it wants, or another resource than this server.
        """
        issuing = gateway.gate.issuing
        if self._clients is None or issuing is None:
            raise NotFound(
                "This server gives no tokens.",
                code="token_endpoint_off",
                hint="Ask the operator for a token, or for MCP_GATEWAY_CLIENTS_FILE to be set.",
            )
        login = _form(request) if request.document is None else _json(request.document)
        if not all(is_this_resource(gateway.settings, wanted) for wanted in login.resources):
            raise _malformed(
                "invalid_target", "The resource is not this server.",
                hint=f"Leave resource out, or name {gateway.settings.base_url}/mcp.",
            )  # fmt: skip
        if self._logins is None:
            self._logins = Logins(self._clients, gateway.clock)
        client = await self._logins.check(login.name, login.password, request.peer)
        scopes = _granted(client, login.scopes)
        token = issuing.issue(client.name, scopes, client.ttl_s, client.act_for)
        _note(gateway, client, request, scopes)
        answer = Token(access_token=token, expires_in=client.ttl_s, scope=" ".join(sorted(scopes)))
        return Answer(200, answer.model_dump_json().encode(), headers=(("pragma", "no-cache"),))


def _note(gateway: Gateway, client: Client, request: Request, scopes: frozenset[str]) -> None:
    gateway.trail.note(
        AuditEvent(
            event="token.issued",
            at=gateway.clock.now(),
            issuer=gateway.settings.issuer,
            subject=client.name,
            channel="rest",
            call_id=request.call_id,
            detail={"scopes": sorted(scopes), "ttl_s": client.ttl_s},
        )
    )


def _granted(client: Client, wanted: frozenset[str] | None) -> frozenset[str]:
    """Return those of the wanted scopes that the client may have; the answer names them.

    MCP clients ask for all that the resource's metadata lists, whatever they may have.

    Source: RFC 6749 section 3.3.
    """
    if wanted is None:
        return client.scopes
    granted = wanted & client.scopes
    if not granted:
        raise _malformed(
            "invalid_scope", "The client may not have any scope of these.",
            hint="Leave scope out for all that the client may have, or ask the operator for more.",
        )  # fmt: skip
    return granted


def _json(document: dict[str, Any]) -> _Login:
    try:
        shown = Login.model_validate(document)
    except ValidationError:
        raise _malformed("invalid_request", "The body must be username and password.") from None
    return _Login(shown.username, shown.password)


def _form(request: Request) -> _Login:
    try:
        pairs = parse_qsl(
            request.body.decode("ascii"), keep_blank_values=True, strict_parsing=True,
            errors="strict", max_num_fields=MOST_FIELDS,
        )  # fmt: skip
        basic = _basic(only(request.headers, b"authorization"))
    except ValueError:  # UnicodeError and binascii.Error are ValueErrors
        raise _malformed("invalid_request", "The form is malformed.") from None
    # RFC 8707 section 2: one parameter may be repeated, and this is it.
    resources = tuple(value for name, value in pairs if name == "resource")
    pairs = [(name, value) for name, value in pairs if name != "resource"]
    fields = dict(pairs)
    if len(fields) != len(pairs):  # RFC 6749 section 3.2: no parameter more than once
        raise _malformed("invalid_request", "A parameter appears twice.")
    if "grant_type" not in fields:
        raise _malformed("invalid_request", "grant_type is missing.")
    if fields["grant_type"] != "client_credentials":
        raise _malformed("unsupported_grant_type", "The grant must be client_credentials.")
    posted = (fields.get("client_id"), fields.get("client_secret"))
    if (basic is None) == (posted[1] is None):  # section 2.3: exactly one method
        raise _malformed("invalid_request", "Show the client's secret in exactly one way.")
    name, password = basic or posted
    if not name or password is None or len(name) > LONGEST_NAME:
        raise _malformed("invalid_request", "The client is missing.")
    scope = fields.get("scope")
    scopes = None if scope is None else frozenset(scope.split())
    return _Login(name, password, scopes, resources)


def _basic(header: str | None) -> tuple[str, str] | None:
    """Read HTTP Basic as RFC 6749 section 2.3.1 wants it: both parts form-encoded."""
    if header is None:
        return None
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        raise ValueError(scheme)
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
    except binascii.Error as error:
        raise ValueError(encoded) from error
    name, colon, password = text.partition(":")
    if not colon:
        raise ValueError(encoded)
    return unquote_plus(name), unquote_plus(password)


def _malformed(word: str, sentence: str, hint: str = _HINT) -> RequestMalformed:
    """Refuse in OAuth's words too: clients of RFC 6749 read ``error``."""
    return RequestMalformed(sentence, code=word, hint=hint, detail={"error": word})
