"""What stands in a token, and why it is believed or not: for operators, who may know."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from mcp_gateway.access.tokens.compact import Compact, take_apart
from mcp_gateway.access.tokens.revocations import Revocation
from mcp_gateway.access.tokens.verifier import TokenVerifier
from mcp_gateway.clock import from_unix, iso
from mcp_gateway.domain.principals import Principal
from mcp_gateway.errors import GatewayError, NotAuthenticated

LATEST: Final = 2**37  # Unix seconds in the year 6325; beyond 9999 there are no dates


@dataclass(frozen=True, slots=True)
class Report:
    """A token without its signature.

    ``compact`` is None where it could not even be read, ``principal`` where it is not believed;
    then ``refusal`` says why.
    """

    compact: Compact | None
    principal: Principal | None
    refusal: GatewayError | None

    @property
    def mark(self) -> tuple[str, str | None, str | None, datetime | None] | None:
        """What a revocation knows a token by: issuer, subject, jti, time of issue, as it says."""
        claims: Mapping[str, Any] = {} if self.compact is None else self.compact.claims
        issuer = _text(claims, "iss")
        if issuer is None:
            return None
        return issuer, _text(claims, "sub"), _text(claims, "jti"), _moment(claims, "iat")

    def public(self, revocation: Revocation | None, *, is_known: bool) -> dict[str, Any]:
        """Return what an operator is told, JSON-ready; nothing of the signature.

        Args:
            revocation: what has revoked it; None: nothing, if that ``is_known`` at all.
        """
        refusal = self.refusal
        told: dict[str, Any] = {"believed": refusal is None and revocation is None}
        if refusal is not None:
            told["why_not"] = {"code": refusal.code, "message": refusal.message}
        elif revocation is not None:
            told["why_not"] = {"code": "token_revoked", "message": "The token was revoked."}
        told["revoked"] = (revocation.public() if revocation else False) if is_known else None
        if self.compact is not None:
            told |= _said(self.compact)
        if self.principal is not None:
            told["scopes"] = sorted(self.principal.scopes)
        return told


async def reported(token: str, verifier: TokenVerifier | None) -> Report:
    """Look into a token; what has revoked it is told by whoever has the list.

    Args:
        verifier: who is believed here; None: nobody.
    """
    try:
        compact = take_apart(token)
    except NotAuthenticated as refusal:
        return Report(None, None, refusal)
    if verifier is None:
        return Report(compact, None, NotAuthenticated("This gateway takes no tokens."))
    try:
        return Report(compact, await verifier.authenticate(token), None)
    except GatewayError as refusal:
        return Report(compact, None, refusal)


def _said(compact: Compact) -> dict[str, Any]:
    claims = compact.claims
    issued_at, expires_at = _moment(claims, "iat"), _moment(claims, "exp")
    return {
        "issuer": _text(claims, "iss"),
        "subject": _text(claims, "sub"),
        "scopes": (_text(claims, "scope") or "").split(),
        "jti": _text(claims, "jti"),
        "issued_at": issued_at and iso(issued_at),
        "expires_at": expires_at and iso(expires_at),
        "algorithm": compact.algorithm,
        "kid": compact.key_id,
        "claims": dict(claims),
    }


def _text(claims: Mapping[str, Any], name: str) -> str | None:
    value = claims.get(name)
    return value if isinstance(value, str) else None


def _moment(claims: Mapping[str, Any], name: str) -> datetime | None:
    value = claims.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < LATEST:
        return None
    return from_unix(value)
