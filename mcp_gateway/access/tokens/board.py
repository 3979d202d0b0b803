"""What an operator does about tokens that are out there: revokes them, and looks into them."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, model_validator

from mcp_gateway.access.tokens.claims import acceptable_subject
from mcp_gateway.access.tokens.identity import LEEWAY_S
from mcp_gateway.access.tokens.report import reported
from mcp_gateway.access.tokens.revocation_watch import RevocationWatch
from mcp_gateway.access.tokens.revocations import Revocation, next_second
from mcp_gateway.access.tokens.verifier import TokenVerifier
from mcp_gateway.clock import Clock
from mcp_gateway.domain.text import one_line
from mcp_gateway.errors import RequestInvalid

LONGEST_REASON: Final = 1000
LONGEST_ISSUER: Final = 1000
MARGIN_S: Final = 60  # what the clocks of those who check tokens may differ by, and more


def _name(text: str) -> str:
    if not acceptable_subject(text):
        raise ValueError("printable text of 1 to 128 characters, as it stands in the token")
    return text


Name = Annotated[str, AfterValidator(_name)]
Reason = Annotated[
    str,
    AfterValidator(lambda text: one_line(text, LONGEST_REASON + 1)),
    StringConstraints(min_length=1, max_length=LONGEST_REASON),
]


class RevokeRequest(BaseModel):
    """One token by its ``jti``, or all tokens that a ``subject`` has now."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    jti: Name | None = None
    subject: Name | None = None
    issuer: Annotated[str, StringConstraints(max_length=LONGEST_ISSUER)] | None = None
    reason: Reason

    @model_validator(mode="after")
    def _names_one_thing(self) -> Self:
        if (self.jti is None) == (self.subject is None):
            raise ValueError("jti, subject: exactly one of them")
        if not self.reason:
            raise ValueError("reason: it is all that is known tomorrow")
        return self


@dataclass(frozen=True, slots=True)
class TokenBoard:
    """Revokes and inspects, of a running gateway or of the store alone.

    Args:
        verifier: who is believed; None where no tokens are taken at all.
        own_issuer: who is meant where no issuer is named.
    """

    watch: RevocationWatch
    verifier: TokenVerifier | None
    own_issuer: str
    clock: Clock

    async def revoke(self, request: RevokeRequest, operator: str) -> Revocation:
        """Revoke, for every gateway on the store; return when a new token would be good.

        Raises:
            RequestInvalid: ``issuer_unknown``: nobody here believes that issuer anyway.
            StoreUnavailable: nothing is revoked.
        """
        issuer = request.issuer or self.own_issuer
        now = self.clock.now()
        whole = request.subject is not None
        new = Revocation(
            id=None, issuer=issuer, subject=request.subject, token_id=request.jti,
            issued_before=next_second(now) if whole else None, at=now,
            expires_at=now + timedelta(seconds=self._longest_s(issuer) + LEEWAY_S + MARGIN_S),
            by=operator, reason=request.reason,
        )  # fmt: skip
        record = await self.watch.revoke(new)
        if record.issued_before is not None:
            await self.clock.sleep((record.issued_before - self.clock.now()).total_seconds())
        return record

    async def inspect(self, token: str) -> dict[str, Any]:
        """Tell what a token says, whether it is believed here, and what has revoked it.

        Raises:
            StoreUnavailable: whether it was revoked is not known.
        """
        told = await reported(token, self.verifier)
        found = None if told.mark is None else await self.watch.find(*told.mark)
        return told.public(found, is_known=told.mark is not None)

    def _longest_s(self, issuer: str) -> int:
        issuers = () if self.verifier is None else self.verifier.issuers
        for one in issuers:
            if one.issuer == issuer:
                return one.longest_s
        known = ", ".join(sorted(one.issuer for one in issuers)) or "none"
        raise RequestInvalid(
            "This gateway believes no issuer of that name: nothing would be revoked.",
            code="issuer_unknown",
            hint=f"Name the issuer as it stands in the token's iss. Believed here: {known}.",
        )
