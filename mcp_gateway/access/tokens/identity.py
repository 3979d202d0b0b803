"""Who a token's claims speak for, and from when until when; every claim is checked here.

Source: RFC 7519 section 4 (claims), RFC 9068 section 2.2 (of access tokens).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from mcp_gateway.access.tokens.claims import LONGEST_LIST, acceptable_subject
from mcp_gateway.access.tokens.compact import invalid
from mcp_gateway.access.tokens.issuers import Issuer
from mcp_gateway.clock import from_unix
from mcp_gateway.domain.operations import SCOPES
from mcp_gateway.domain.principals import Principal
from mcp_gateway.errors import NotAuthenticated

LEEWAY_S: Final = 5


@dataclass(frozen=True, slots=True)
class Proven:
    """A caller and the Unix time at which the token's own life is over."""

    principal: Principal
    ends: float


def proven(claims: Mapping[str, Any], issuer: Issuer, now: float) -> Proven:
    """Return whom the claims of a genuine token name.

    Args:
        issuer: whose key signed it; what it may say is bounded by it.
        now: Unix time.

    Raises:
        NotAuthenticated: token_expired, or token_invalid for any claim that is not as agreed.
    """
    starts, ends = _checked_times(claims, now)
    if issuer.audience not in _audiences(claims):
        invalid("for another server")
    if ends - starts > issuer.longest_s:
        invalid("longer-lived than this server allows")
    return Proven(_principal(claims, issuer, starts, ends), ends)


def expired() -> NoReturn:
    """Refuse a genuine token whose time is over.

    Raises:
        NotAuthenticated: token_expired.
    """
    raise NotAuthenticated(
        "The token has expired.", code="token_expired", hint="Get a new token, then call again."
    )


def _checked_times(claims: Mapping[str, Any], now: float) -> tuple[float, float]:
    starts, ends = _moment(claims, "iat"), _moment(claims, "exp")
    not_before = _moment(claims, "nbf") if "nbf" in claims else starts
    if max(starts, not_before) > now + LEEWAY_S or ends <= starts:
        invalid("not valid yet")
    if now >= ends + LEEWAY_S:
        expired()
    return starts, ends


def _moment(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    # bool is an int in Python; the bound keeps 1e999 and endless integers out of arithmetic.
    if isinstance(value, bool) or not isinstance(value, int | float):
        invalid(f"without a usable {name}")
    if not 0 <= value < 2**40:
        invalid(f"without a usable {name}")
    return value


def _audiences(claims: Mapping[str, Any]) -> list[str]:
    given = claims.get("aud")
    audiences = [given] if isinstance(given, str) else given
    if not isinstance(audiences, list) or not all(isinstance(each, str) for each in audiences):
        invalid("with an audience of the wrong type")
    return audiences


def _principal(claims: Mapping[str, Any], issuer: Issuer, starts: float, ends: float) -> Principal:
    subject, token_id = claims.get("sub"), claims.get("jti")
    scope, act_for = claims.get("scope", ""), claims.get("act_for", [])
    if not acceptable_subject(subject):
        invalid("without a subject")
    if token_id is not None and not acceptable_subject(token_id):
        invalid("with an unusable jti")
    if not isinstance(scope, str) or not isinstance(act_for, list):
        invalid("with scopes or act_for of the wrong type")
    if len(act_for) > LONGEST_LIST or not all(map(acceptable_subject, act_for)):
        invalid("with an unusable act_for")
    if not all(map(issuer.may_name, (claims["sub"], *act_for))):
        invalid("naming somebody whom its issuer may not name")
    return Principal(
        issuer=issuer.issuer,
        subject=claims["sub"],
        scopes=frozenset(each for each in scope.split(" ") if each in SCOPES) & issuer.scopes,
        act_for=frozenset(act_for),
        token_id=token_id,
        expires_at=from_unix(ends),
        issued_at=from_unix(starts),
    )
