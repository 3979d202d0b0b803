"""What is wrong with the files that say whose tokens are believed, told before a start."""

from mcp_gateway.access.clients import Clients
from mcp_gateway.clock import Clock
from mcp_gateway.errors import ConfigurationError
from mcp_gateway.settings import Settings


def issuer_faults(settings: Settings) -> list[str]:
    """Return what is wrong with the file that the settings name, for ``Settings.load``."""
    if settings.issuers_file is None:
        return []
    # PyJWT costs 0.1 s of start-up, which a process without such a file should not pay.
    from mcp_gateway.access.tokens.believed import others_from  # noqa: PLC0415 - see above

    try:
        others_from(settings, Clock())
    except ConfigurationError as error:
        return list(error.faults)
    return []


def client_faults(settings: Settings) -> list[str]:
    """Return what is wrong with the clients file that the settings name, for ``Settings.load``."""
    if settings.clients_file is None:
        return []
    try:
        Clients.load(settings.clients_file, settings.token_longest_s)
    except ConfigurationError as error:
        return list(error.faults)
    return []
