"""Whom this gateway believes, as the settings say: the one box, and the issuers of a file."""

from mcp_gateway.access.keyring import Keyring
from mcp_gateway.access.tokens.claims import LOCAL
from mcp_gateway.access.tokens.issuers import Issuer, one_box
from mcp_gateway.access.tokens.revocations import Revocations
from mcp_gateway.access.tokens.verifier import TokenVerifier
from mcp_gateway.clock import Clock
from mcp_gateway.settings import Settings


def verifier_from(
    settings: Settings, keyring: Keyring, clock: Clock, revocations: Revocations | None = None
) -> TokenVerifier | None:
    """Return what checks tokens; None where nobody who issues any is configured.

    Raises:
        ConfigurationError: every fault of the issuers file.
    """
    issuers = others_from(settings, clock)
    if keyring.jwt_secret is not None:
        box = (keyring.jwt_secret, settings.issuer, settings.audience, settings.token_longest_s)
        issuers.append(one_box(*box))
    return TokenVerifier(issuers, clock, revocations) if issuers else None


def others_from(settings: Settings, clock: Clock) -> list[Issuer]:
    """Return the issuers of the file; none where no file is named.

    Raises:
        ConfigurationError: every fault of it.
    """
    if settings.issuers_file is None:
        return []
    # Slow to import (an HTTP client), and a one box fetches no keys.
    from mcp_gateway.access.tokens.issuersfile import load_issuers  # noqa: PLC0415 - see above

    # One issuer never has two ways: where JWT_SECRET signs for a name, no other key does.
    taken = {LOCAL} if settings.jwt_secret is None else {LOCAL, settings.issuer}
    return load_issuers(
        settings.issuers_file,
        audience=settings.audience,
        longest_s=settings.token_longest_s,
        taken=taken,
        clock=clock,
    )
