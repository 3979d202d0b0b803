"""Whether the keys of every issuer can be had, for somebody who asks before the first call."""

from dataclasses import dataclass

from mcp_gateway.access.tokens.believed import others_from
from mcp_gateway.clock import Clock
from mcp_gateway.settings import Settings


@dataclass(frozen=True, slots=True)
class Seen:
    """How an issuer's keys are: how many are believed, or why there are none."""

    name: str
    issuer: str
    keys: int
    trouble: str | None


async def look_at_issuers(settings: Settings, clock: Clock) -> list[Seen]:
    """Fetch the keys of every issuer of the file once, one after the other.

    Raises:
        ConfigurationError: every fault of the file.
    """
    found = []
    for issuer in others_from(settings, clock):
        await issuer.source.seek(None)
        keys, trouble = len(issuer.source.keys), issuer.source.trouble
        found.append(Seen(issuer.name, issuer.issuer, keys, trouble))
    return found
