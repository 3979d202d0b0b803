"""Who is calling: a token's principal, or over stdio without one whoever started the process."""

from typing import TYPE_CHECKING, Final

from mcp_gateway.access.keyring import Keyring
from mcp_gateway.access.tokens.claims import LOCAL, acceptable_subject
from mcp_gateway.access.tokens.revocations import Revocations
from mcp_gateway.clock import Clock
from mcp_gateway.domain.principals import Credentials, Principal
from mcp_gateway.errors import ConfigurationError, NotAuthenticated
from mcp_gateway.settings import Settings

if TYPE_CHECKING:  # imported where tokens are taken, see below
    from mcp_gateway.access.tokens.issuing import TokenIssuer
    from mcp_gateway.access.tokens.verifier import TokenVerifier


class Callers:
    """Tells who is calling.

    Args:
        verifier: reads tokens; None where the process takes none.
        issuing: makes tokens of the one box; None where there is no JWT_SECRET.
        local: the caller of stdio without a token, whose keys the process holds anyway.
        local_token: MCP_GATEWAY_TOKEN, checked again on every call of stdio.
    """

    def __init__(
        self,
        *,
        verifier: "TokenVerifier | None",
        issuing: "TokenIssuer | None",
        local: Principal | None,
        local_token: str | None,
    ) -> None:
        self.verifier: Final = verifier
        self.issuing: Final = issuing
        self._local = local
        self._local_token = local_token

    @property
    def issuers(self) -> tuple[str, ...]:
        """The ``iss`` of everybody but the gateway itself whose tokens are believed."""
        return tuple(each.issuer for each in self.verifier.others) if self.verifier else ()

    async def authenticate(self, credentials: Credentials) -> Principal:
        """Return who is calling; a key that is not known yet is looked for once.

        Raises:
            NotAuthenticated: token_missing, token_invalid, token_expired or token_revoked.
            IssuerUnavailable: the key is unknown and its issuer can't be asked.
        """
        token = self._token(credentials)
        if token is not None and self.verifier is not None:
            return await self.verifier.authenticate(token)
        return self.recognise(credentials)

    def recognise(self, credentials: Credentials) -> Principal:
        """Return who is calling, by what is known already; raises NotAuthenticated."""
        token = self._token(credentials)
        if token is not None and self.verifier is not None:
            return self.verifier.verify(token)
        if token is None and self._local is not None and is_own_process(credentials):
            return self._local
        raise NotAuthenticated("No token was sent that this server could check.")

    def _token(self, credentials: Credentials) -> str | None:
        if credentials.channel == "stdio" and credentials.token is None:
            return self._local_token
        return credentials.token


def callers_from(
    settings: Settings, keyring: Keyring, clock: Clock, revocations: Revocations | None
) -> Callers:
    """Return what tells callers apart, as the settings name them.

    Raises:
        ConfigurationError: a local caller that could not be told, or a faulty issuers file.
    """
    verifier, issuing = _tokens(settings, keyring, clock, revocations)
    return Callers(
        verifier=verifier,
        issuing=issuing,
        local=local_principal(settings),
        local_token=settings.token.get_secret_value() if settings.token else None,
    )


def _tokens(
    settings: Settings, keyring: Keyring, clock: Clock, revocations: Revocations | None
) -> "tuple[TokenVerifier | None, TokenIssuer | None]":
    """Return what checks tokens and what makes them, where the settings name issuers."""
    if keyring.jwt_secret is None and settings.issuers_file is None:
        return None, None
    # PyJWT costs 0.1 s of start-up, which stdio without tokens should not pay.
    from mcp_gateway.access.tokens import believed, issuing  # noqa: PLC0415 - see above

    verifier = believed.verifier_from(settings, keyring, clock, revocations)
    return verifier, issuing.issuer_from(settings, keyring, clock)


def local_principal(settings: Settings) -> Principal:
    """Return the caller that the process's own environment names.

    Raises:
        ConfigurationError: the subject is unusable, or tokens could claim the same identity.
    """
    faults = []
    if settings.issuer == LOCAL:
        faults.append(f"MCP_GATEWAY_ISSUER: {LOCAL!r} means the caller of stdio; choose another")
    if not acceptable_subject(subject := settings.subject or LOCAL):
        faults.append("MCP_GATEWAY_SUBJECT: printable text of 1 to 128 characters")
    if faults:
        raise ConfigurationError(faults)
    return Principal(issuer=LOCAL, subject=subject, scopes=frozenset(settings.scopes))


def is_own_process(credentials: Credentials) -> bool:
    """Tell whether whoever calls runs the process, or owns its socket: no wire is between."""
    return credentials.channel in {"stdio", "control"}
