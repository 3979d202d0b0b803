"""Bearer tokens of the one-box form: JWTs that JWT_SECRET signs, HS256 and nothing else.

PyJWT checks the encoding and the signature. Everything that decides who the caller is,
and until when, is read here: by our clock, from JSON without duplicate names.

Source: RFC 7519 (claims), RFC 8725 (practices), RFC 9068 (the type ``at+jwt``).
"""

import base64
import hashlib
import json
import secrets
from collections import OrderedDict
from collections.abc import Collection, Mapping
from typing import Any, Final, NoReturn

import jwt

from mcp_gateway.access.claims import LONGEST_LIST, acceptable_subject, unfit
from mcp_gateway.access.keyring import Keyring
from mcp_gateway.clock import Clock, from_unix
from mcp_gateway.domain.operations import SCOPES
from mcp_gateway.domain.principals import Principal
from mcp_gateway.errors import ConfigurationError, NotAuthenticated
from mcp_gateway.settings import SHORTEST_SECRET_BYTES, Settings

ALGORITHM: Final = "HS256"
TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
LEEWAY_S: Final = 5
LONGEST_TOKEN_CHARS: Final = 8192
KEPT: Final = 1024  # verified tokens remembered; about 1 kB each

_JWS = jwt.PyJWS(algorithms=[ALGORITHM], options={"enforce_minimum_key_length": True})


class TokenVerifier:
    """Tells who a token speaks for, and issues tokens under the same rules.

    Args:
        secret: the HS256 key, at least 32 bytes.
        issuer: the only ``iss`` that is believed.
        audience: this server's name; ``aud`` must be or contain it.
        longest_s: the longest lifetime of a token, in seconds.
        clock: the time by which tokens begin and end.

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
        self._known: OrderedDict[bytes, tuple[Principal, float]] = OrderedDict()

    def __repr__(self) -> str:
        return f"TokenVerifier(issuer={self._issuer!r}, audience={self._audience!r})"

    def verify(self, token: str) -> Principal:
        """Return the principal that a compact JWT proves.

        Raises:
            NotAuthenticated: token_missing (empty), token_expired (genuine, but its time is
                over) or token_invalid (anything else; never says what, to whom it may help).
        """
        if not token:
            raise NotAuthenticated("No token was sent.")
        if len(token) > LONGEST_TOKEN_CHARS:
            _invalid("longer than a token may be")
        now = self._clock.now().timestamp()
        fingerprint = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._known.get(fingerprint)
        if known is None:
            known = self._read(token, now)
            self._remember(fingerprint, known)
        principal, ends = known
        if now >= ends + LEEWAY_S:
            self._known.pop(fingerprint, None)
            _expired()
        return principal

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

    def _read(self, token: str, now: float) -> tuple[Principal, float]:
        try:
            opened = _JWS.decode_complete(token, self._secret, algorithms=[ALGORITHM])
            header, claims = _strict_header(token), _strict_object(opened["payload"])
        except (jwt.PyJWTError, ValueError, RecursionError):
            _invalid("not a token of this server")
        _check_header(header)
        starts, ends = self._check_times(claims, now)
        if claims.get("iss") != self._issuer or self._audience not in _audiences(claims):
            _invalid("for or from another server")
        if ends - starts > self._longest_s:
            _invalid("longer-lived than this server allows")
        return _principal(claims, ends), ends

    def _check_times(self, claims: Mapping[str, Any], now: float) -> tuple[float, float]:
        starts, ends = _moment(claims, "iat"), _moment(claims, "exp")
        not_before = _moment(claims, "nbf") if "nbf" in claims else starts
        if max(starts, not_before) > now + LEEWAY_S or ends <= starts:
            _invalid("not valid yet")
        if now >= ends + LEEWAY_S:
            _expired()
        return starts, ends

    def _remember(self, fingerprint: bytes, known: tuple[Principal, float]) -> None:
        self._known[fingerprint] = known
        if len(self._known) > KEPT:
            self._known.popitem(last=False)


def verifier_from(settings: Settings, keyring: Keyring, clock: Clock) -> TokenVerifier | None:
    """Return the one-box verifier; None where no JWT_SECRET is set (stdio without a token)."""
    if keyring.jwt_secret is None:
        return None
    return TokenVerifier(
        keyring.jwt_secret, settings.issuer, settings.audience, settings.token_longest_s, clock
    )


def _principal(claims: Mapping[str, Any], ends: float) -> Principal:
    subject, token_id = claims.get("sub"), claims.get("jti")
    scope, act_for = claims.get("scope", ""), claims.get("act_for", [])
    if not acceptable_subject(subject):
        _invalid("without a subject")
    if token_id is not None and not acceptable_subject(token_id):
        _invalid("with an unusable jti")
    if not isinstance(scope, str) or not isinstance(act_for, list):
        _invalid("with scopes or act_for of the wrong type")
    if len(act_for) > LONGEST_LIST or not all(map(acceptable_subject, act_for)):
        _invalid("with an unusable act_for")
    return Principal(
        issuer=claims["iss"],
        subject=claims["sub"],
        scopes=frozenset(each for each in scope.split(" ") if each in SCOPES),
        act_for=frozenset(act_for),
        token_id=token_id,
        expires_at=from_unix(ends),
    )


def _check_header(header: Mapping[str, Any]) -> None:
    # RFC 7515 section 4.1.11: a critical extension that is not understood refuses the token.
    if header.get("alg") != ALGORITHM or "crit" in header or "b64" in header:
        _invalid("with a header that this server does not take")
    kind = header.get("typ", "jwt")
    # RFC 8725 section 3.11: a token made for something else is no access token.
    if not isinstance(kind, str) or kind.lower() not in TYPES:
        _invalid("of another type")


def _audiences(claims: Mapping[str, Any]) -> list[str]:
    given = claims.get("aud")
    audiences = [given] if isinstance(given, str) else given
    if not isinstance(audiences, list) or not all(isinstance(each, str) for each in audiences):
        _invalid("with an audience of the wrong type")
    return audiences


def _moment(claims: Mapping[str, Any], name: str) -> float:
    value = claims.get(name)
    # bool is an int in Python; the bound keeps 1e999 and endless integers out of arithmetic.
    if isinstance(value, bool) or not isinstance(value, int | float):
        _invalid(f"without a usable {name}")
    if not 0 <= value < 2**40:
        _invalid(f"without a usable {name}")
    return value


def _strict_header(token: str) -> dict[str, Any]:
    segment = token.partition(".")[0]
    return _strict_object(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))


def _strict_object(raw: bytes) -> dict[str, Any]:
    parsed = json.loads(raw, object_pairs_hook=_unique, parse_constant=_not_json)
    if not isinstance(parsed, dict):
        raise ValueError("not an object")
    return parsed


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # RFC 8725 section 2.3: two parsers that pick different twins see different callers.
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("duplicate names")
    return unique


def _not_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _invalid(why: str) -> NoReturn:
    raise NotAuthenticated(f"The token is not acceptable: {why}.", code="token_invalid")


def _expired() -> NoReturn:
    raise NotAuthenticated(
        "The token has expired.", code="token_expired", hint="Get a new token, then call again."
    )
