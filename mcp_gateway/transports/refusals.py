"""A refusal in the caller's language: a JSON-RPC error on /mcp, a problem everywhere else."""

import math
from typing import Any

import orjson

from mcp_gateway.errors import (
    GatewayError,
    InternalError,
    MethodNotAllowed,
    NotAuthenticated,
    NotPermitted,
    RequestInvalid,
    RequestMalformed,
)
from mcp_gateway.transports.requests import Answer
from mcp_gateway.transports.rpc import HeaderMismatch, ProtocolVersionUnknown

REALM = "mcp-gateway"
# Marks the recorded answer of an earlier call, as Stripe's API does.
REPLAYED = ("idempotent-replayed", "true")
PROBLEM = "application/problem+json"
# Told where the refusal itself knows no better; long enough for a restart.
DEFAULT_RETRY_AFTER_S = 5

# JSON-RPC 2.0 section 5.1; from -32000 down is the server's own room.
_PARSE_ERROR, _INVALID_REQUEST, _INVALID_PARAMS, _INTERNAL_ERROR = -32700, -32600, -32602, -32603
_NOT_AUTHENTICATED, _REFUSED = -32001, -32000
# MCP 2026-07-28: headers against the body, and versions.
_HEADER_MISMATCH, _VERSION_UNKNOWN = -32020, -32022
_UNREADABLE = frozenset(
    {"request_malformed", "body_malformed", "body_duplicate_key", "body_too_deep"}
)


def problem(error: GatewayError, *, base_url: str, call_id: str) -> Answer:
    """Write a refusal as a problem document.

    Source: RFC 9457.
    """
    told = error.public()
    told["detail"] = told.pop("message")
    document = told | {
        "type": f"urn:mcp-gateway:problem:{error.code}",
        "title": error.code.replace("_", " ").capitalize(),
        "status": error.status,
        "call_id": call_id,
    }
    body = orjson.dumps(document, default=str)
    return Answer(error.status, body, PROBLEM, _headers(error, base_url))


def rpc_error(error: GatewayError, request_id: Any, *, base_url: str, call_id: str) -> Answer:
    """Write a refusal as a JSON-RPC error; status and headers stay those of HTTP.

    An SDK client shows any other body only as "Server returned an error response".
    """
    body = rpc_refusal(error, request_id, call_id=call_id)
    # MCP 2026-07-28, streamable HTTP: a -32602 that is refused here is a 400.
    status = 400 if isinstance(error, RequestInvalid) else error.status
    return Answer(status, body, headers=_headers(error, base_url))


def rpc_refusal(error: GatewayError, request_id: Any, **told: Any) -> bytes:
    """Return a refusal as a JSON-RPC error message; ``told`` is laid into its data."""
    document = {
        "jsonrpc": "2.0",
        "id": request_id,
        "error": {
            "code": _rpc_code(error),
            "message": error.message,
            "data": error.public() | told,
        },
    }
    return orjson.dumps(document, default=str)


def _rpc_code(error: GatewayError) -> int:
    if isinstance(error, RequestMalformed):
        return _PARSE_ERROR if error.code in _UNREADABLE else _INVALID_REQUEST
    by_class = (
        (HeaderMismatch, _HEADER_MISMATCH),
        (ProtocolVersionUnknown, _VERSION_UNKNOWN),
        (NotAuthenticated, _NOT_AUTHENTICATED),
        (RequestInvalid, _INVALID_PARAMS),
        (InternalError, _INTERNAL_ERROR),
    )
    return next((code for kind, code in by_class if isinstance(error, kind)), _REFUSED)


def _headers(error: GatewayError, base_url: str) -> tuple[tuple[str, str], ...]:
    headers = [REPLAYED] if error.replayed else []
    if isinstance(error, NotAuthenticated) or error.code == "scope_missing":
        headers.append(("www-authenticate", _challenge(error, base_url)))
    if isinstance(error, MethodNotAllowed):
        headers.append(("allow", ", ".join(error.detail["allow"])))
    if error.retry_after_s is not None or error.status in {429, 503}:
        wait_s = error.retry_after_s or DEFAULT_RETRY_AFTER_S
        headers.append(("retry-after", str(max(1, math.ceil(wait_s)))))
    return tuple(headers)


def _challenge(error: GatewayError, base_url: str) -> str:
    """Say how to authenticate; ``error`` only where a token was sent (RFC 6750 section 3)."""
    if error.code == "client_invalid":  # RFC 6749 section 5.2
        return f'Basic realm="{REALM}"'
    parts = [f'realm="{REALM}"']
    if isinstance(error, NotPermitted):
        parts += ['error="insufficient_scope"', f'scope="{error.detail.get("scope", "")}"']
    elif error.code != "token_missing":
        parts.append('error="invalid_token"')
    parts.append(f'resource_metadata="{base_url}/.well-known/oauth-protected-resource/mcp"')
    return f"Bearer {', '.join(parts)}"
