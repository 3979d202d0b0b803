"""Tokens that are believed no longer, as this process knows them: asked at every call.

One token goes by its ``jti``, all of a subject's by the moment before which they were issued;
a later token of that subject is good. What the store keeps, ``revocation_watch`` brings here.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import anyio

from mcp_gateway.clock import from_unix, iso
from mcp_gateway.domain.principals import Principal
from mcp_gateway.errors import NotAuthenticated
from mcp_gateway.telemetry import logs

LONGEST_FIRST_WAIT_S: Final = 3.0
_log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Revocation:
    """One token (``token_id``) of an issuer revoked, or all of a ``subject`` up to a moment.

    ``id`` is None until it is written down. ``issued_before`` is None for a single token.
    After ``expires_at`` no token lives that it could stop.
    """

    id: int | None
    issuer: str
    subject: str | None
    token_id: str | None
    issued_before: datetime | None
    at: datetime
    expires_at: datetime
    by: str
    reason: str

    def public(self) -> dict[str, str]:
        """Return what operators are told of it."""
        told: dict[str, str | None] = {
            "issuer": self.issuer,
            "subject": self.subject,
            "jti": self.token_id,
            "issued_before": None if self.issued_before is None else iso(self.issued_before),
            "at": iso(self.at),
            "expires_at": iso(self.expires_at),
            "by": self.by,
            "reason": self.reason,
        }
        return {name: value for name, value in told.items() if value is not None}


class Revocations:
    """The revocations that this process knows; a look-up in two dicts.

    Args:
        want: asks for the list to be read. Without it there is nothing to be waited for.
    """

    def __init__(self, want: Callable[[], None] | None = None) -> None:
        self._tokens: dict[tuple[str, str], datetime] = {}
        self._subjects: dict[tuple[str, str], tuple[datetime, datetime]] = {}
        self._want = want
        self._settled = anyio.Event()

    def is_revoked(
        self, issuer: str, subject: str, token_id: str | None, issued_at: datetime | None
    ) -> bool:
        """Tell whether a token is believed no longer; one without a time of issue is an old one."""
        if token_id is not None and (issuer, token_id) in self._tokens:
            return True
        found = self._subjects.get((issuer, subject))
        return found is not None and (issued_at is None or issued_at < found[0])

    def require(self, principal: Principal) -> None:
        """Refuse a principal whose token was revoked.

        Raises:
            NotAuthenticated: token_revoked.
        """
        if self.is_revoked(
            principal.issuer, principal.subject, principal.token_id, principal.issued_at
        ):
            raise NotAuthenticated(
                "The token was revoked.",
                code="token_revoked",
                hint="Ask the operator why; a new token may be given.",
            )

    async def read(self) -> None:
        """Wait, the first time and not for long, until the list was read or could not be."""
        if self._want is None or self._settled.is_set():
            return
        self._want()
        with anyio.move_on_after(LONGEST_FIRST_WAIT_S) as waiting:
            await self._settled.wait()
        if waiting.cancelled_caught:
            _log.warning("Tokens are believed before the revocations could be read")
            self.settle()

    def settle(self) -> None:
        """Let nobody wait for the list any longer: it was read, or the store is down."""
        self._settled.set()

    def add(self, revocations: Iterable[Revocation]) -> None:
        """Know these too. Nothing known is ever taken back before it is over."""
        for one in revocations:
            if one.token_id is not None:
                self._tokens[one.issuer, one.token_id] = one.expires_at
            elif one.subject is not None and one.issued_before is not None:
                known = self._subjects.get((one.issuer, one.subject), (one.issued_before,) * 2)
                self._subjects[one.issuer, one.subject] = (
                    max(known[0], one.issued_before), max(known[1], one.expires_at),
                )  # fmt: skip

    def forget(self, now: datetime) -> None:
        """Drop what no living token can be stopped by."""
        self._tokens = {key: ends for key, ends in self._tokens.items() if ends > now}
        self._subjects = {key: told for key, told in self._subjects.items() if told[1] > now}


def next_second(at: datetime) -> datetime:
    """Return the first whole second after a moment.

    ``iat`` has whole seconds: a token of the same second may be older than the revocation, so
    it goes, too.
    """
    return from_unix(math.floor(at.timestamp()) + 1)
