"""Tokens of the one box: what ``mcp-gateway token`` and ``POST /auth/token`` hand out."""

import json
import secrets
from collections.abc import Collection
from typing import Any, Final

import jwt

from mcp_gateway.access.keyring import Keyring
from mcp_gateway.access.tokens.claims import unfit
from mcp_gateway.clock import Clock
from mcp_gateway.errors import ConfigurationError
from mcp_gateway.settings import SHORTEST_SECRET_BYTES, Settings

ALGORITHM: Final = "HS256"

_JWS = jwt.PyJWS(algorithms=[ALGORITHM], options={"enforce_minimum_key_length": True})


class TokenIssuer:
    """Issues tokens under the rules by which the gateway checks them.

    Args:
        secret: the HS256 key, at least 32 bytes.
        issuer: the ``iss`` of its tokens.
        audience: this server's name, their ``aud``.
        longest_s: the longest lifetime of a token, in seconds.

    Raises:
        ConfigurationError: the secret is too short.
    """

    def __init__(
        self, secret: bytes, issuer: str, audience: str, longest_s: int, clock: Clock
    ) -> None:
        if len(secret) < SHORTEST_SECRET_BYTES:
            raise ConfigurationError([f"JWT_SECRET: at least {SHORTEST_SECRET_BYTES} bytes"])
        self._secret = secret
        self._issuer = issuer
        self._audience = audience
        self._longest_s = longest_s
        self._clock = clock

    def __repr__(self) -> str:
        return f"TokenIssuer(issuer={self._issuer!r}, audience={self._audience!r})"

    def issue(
        self, subject: str, scopes: Collection[str], ttl_s: int, act_for: Collection[str] = ()
    ) -> str:
        """Return a new token for ``subject``, valid for ``ttl_s`` seconds from now.

        Raises:
            ValueError: a subject, scope or lifetime that this server would not accept back.
        """
        if fault := unfit(subject, scopes, ttl_s, act_for, self._longest_s):
            raise ValueError(fault)
        now = int(self._clock.now().timestamp())
        claims: dict[str, Any] = {
            "iss": self._issuer, "sub": subject, "aud": self._audience, "iat": now,
            "exp": now + ttl_s, "jti": secrets.token_urlsafe(16),
            "scope": " ".join(sorted(set(scopes))),
        }  # fmt: skip
        if act_for:
            claims["act_for"] = sorted(set(act_for))
        payload = json.dumps(claims, separators=(",", ":")).encode()
        return _JWS.encode(payload, self._secret, ALGORITHM, headers={"typ": "at+jwt"})


def issuer_from(settings: Settings, keyring: Keyring, clock: Clock) -> TokenIssuer | None:
    """Return what issues tokens; None where no JWT_SECRET is set."""
    if keyring.jwt_secret is None:
        return None
    return TokenIssuer(
        keyring.jwt_secret, settings.issuer, settings.audience, settings.token_longest_s, clock
    )
