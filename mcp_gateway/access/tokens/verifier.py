"""Tells who a bearer token speaks for.

Source: RFC 7519 (JWT), RFC 8725 (practices), RFC 9068 (the type ``at+jwt``).
"""

import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from typing import Final, NamedTuple

import anyio

from mcp_gateway.access.tokens.compact import LONGEST_TOKEN_CHARS, invalid, take_apart
from mcp_gateway.access.tokens.identity import LEEWAY_S, Proven, expired, proven
from mcp_gateway.access.tokens.issuers import CALL_AGAIN_S, Issuer
from mcp_gateway.access.tokens.publickeys import KeySet
from mcp_gateway.access.tokens.revocations import Revocations
from mcp_gateway.clock import Clock
from mcp_gateway.domain.principals import Principal
from mcp_gateway.errors import ConfigurationError, IssuerUnavailable, NotAuthenticated

KEPT: Final = 4096  # verified tokens remembered; about 1 kB each


class _Known(NamedTuple):
    """A token that was checked, and by which keys of whom: others make it unknown again."""

    proven: Proven
    issuer: Issuer
    keys: KeySet


class _UnknownKey(Exception):
    """A token names a key that its issuer is not known to have (yet)."""

    def __init__(self, issuer: Issuer, key_id: str | None) -> None:
        super().__init__(issuer.name)
        self.source = issuer.source
        self.key_id = key_id


class TokenVerifier:
    """Tells who a token speaks for, by the keys and within the bounds of its issuer.

    Args:
        issuers: everybody who is believed; no two with the same ``iss``.
        clock: the time by which tokens begin and end.
        revocations: what is believed no longer, whatever it proves; asked at every call.

    Raises:
        ConfigurationError: two issuers with one ``iss``.
    """

    def __init__(
        self, issuers: Iterable[Issuer], clock: Clock, revocations: Revocations | None = None
    ) -> None:
        believed = tuple(issuers)
        self._issuers = {each.issuer: each for each in believed}
        if len(self._issuers) < len(believed):
            raise ConfigurationError(["MCP_GATEWAY_ISSUERS_FILE: one issuer has one way"])
        self._clock = clock
        self._revocations = Revocations() if revocations is None else revocations
        self._known: OrderedDict[bytes, _Known] = OrderedDict()

    def __repr__(self) -> str:
        return f"TokenVerifier(issuers={sorted(self._issuers)})"

    @property
    def issuers(self) -> tuple[Issuer, ...]:
        """Everybody who is believed."""
        return tuple(self._issuers.values())

    @property
    def others(self) -> tuple[Issuer, ...]:
        """Everybody who is believed but the gateway itself."""
        return tuple(each for each in self._issuers.values() if each.algorithm != "HS256")

    @property
    def ailing(self) -> tuple[str, ...]:
        """The names of the issuers whose keys could not be renewed last time."""
        return tuple(each.name for each in self._issuers.values() if each.source.trouble)

    async def authenticate(self, token: str) -> Principal:
        """Return the principal that a token proves, looking once for a key not known yet.

        Raises:
            NotAuthenticated: as ``verify``.
            IssuerUnavailable: the key is unknown and the issuer's keys can't be had.
        """
        await self._revocations.read()
        try:
            return self._proven(token)
        except _UnknownKey as unknown:
            await unknown.source.seek(unknown.key_id)
            if unknown.source.trouble is None or unknown.source.keys.find(unknown.key_id):
                return self.verify(token)
        raise IssuerUnavailable(
            "The keys of the token's issuer can't be had at present.", retry_after_s=CALL_AGAIN_S
        )

    def verify(self, token: str) -> Principal:
        """Return the principal that a compact JWT proves, by the keys at hand.

        Raises:
            NotAuthenticated: token_missing (empty), token_expired (genuine, but its time is
                over), token_revoked (genuine, too) or token_invalid (anything else; never says
                what, to whom it may help).
        """
        try:
            return self._proven(token)
        except _UnknownKey:
            invalid("signed by no known key")

    def _proven(self, token: str) -> Principal:
        if not token:
            raise NotAuthenticated("No token was sent.")
        if len(token) > LONGEST_TOKEN_CHARS:
            invalid("longer than a token may be")
        now = self._clock.now().timestamp()
        fingerprint = hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
        known = self._known.get(fingerprint)
        # A key that its issuer has withdrawn takes its tokens along, remembered or not.
        if known is None or known.issuer.source.keys is not known.keys:
            known = self._remember(fingerprint, self._check(token, now))
        if now >= known.proven.ends + LEEWAY_S:
            self._known.pop(fingerprint, None)
            expired()
        self._revocations.require(known.proven.principal)
        return known.proven.principal

    async def keep(self) -> None:
        """Renew the keys of every issuer for as long as the gateway runs."""
        async with anyio.create_task_group() as group:
            for issuer in self._issuers.values():
                group.start_soon(issuer.source.keep)

    def _check(self, token: str, now: float) -> _Known:
        compact = take_apart(token)
        named = compact.claims.get("iss")
        issuer = self._issuers.get(named) if isinstance(named, str) else None
        # The header's word for the algorithm counts for nothing but a refusal.
        if issuer is None or compact.algorithm != issuer.algorithm:
            invalid("not a token of this server")
        keys = issuer.source.keys
        key = keys.find(compact.key_id)
        if key is None:
            raise _UnknownKey(issuer, compact.key_id)
        if not key.fits(issuer.algorithm, compact.signed, compact.signature):
            invalid("not a token of this server")
        return _Known(proven(compact.claims, issuer, now), issuer, keys)

    def _remember(self, fingerprint: bytes, known: _Known) -> _Known:
        self._known[fingerprint] = known
        self._known.move_to_end(fingerprint)
        if len(self._known) > KEPT:
            self._known.popitem(last=False)
        return known
