"""Tokens made by hand, good and bad: the bytes of RFC 7515 without the library under test."""

import base64
import hmac
import json
from collections.abc import Mapping
from typing import Any

from tests.support.clock import START

SECRET = b"a-secret-of-the-tests-only-0123456789abcdef"
ISSUER = "mcp-gateway"
AUDIENCE = "mcp-gateway"
NOW = int(START.timestamp())
HEADER: dict[str, Any] = {"alg": "HS256", "typ": "at+jwt"}
CLAIMS: dict[str, Any] = {
    "iss": ISSUER, "sub": "signal-agent", "aud": AUDIENCE, "iat": NOW, "exp": NOW + 600,
    "jti": "t-1", "scope": "market:read orders:create",
}  # fmt: skip


def b64(raw: bytes) -> str:
    """Return base64url without padding."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def compact(
    header: bytes, payload: bytes, secret: bytes = SECRET, algorithm: str = "sha256"
) -> str:
    """Return a compact JWS over exactly these bytes."""
    signing_input = f"{b64(header)}.{b64(payload)}"
    signature = hmac.digest(secret, signing_input.encode(), algorithm)
    return f"{signing_input}.{b64(signature)}"


def forge(
    header: Mapping[str, Any] | None = None,
    *,
    secret: bytes = SECRET,
    without: tuple[str, ...] = (),
    algorithm: str = "sha256",
    **claims: Any,
) -> str:
    """Return a genuine token with some header fields or claims replaced or left out."""
    fields = HEADER | dict(header or {})
    told = {name: value for name, value in (CLAIMS | claims).items() if name not in without}
    return compact(json.dumps(fields).encode(), json.dumps(told).encode(), secret, algorithm)
