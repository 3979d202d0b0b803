"""Who may issue tokens, by which algorithm and keys, and how much their tokens may say."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from mcp_gateway.access.tokens.publickeys import Algorithm, KeySet, shared_secret
from mcp_gateway.domain.operations import SCOPES
from mcp_gateway.errors import ConfigurationError
from mcp_gateway.settings import SHORTEST_SECRET_BYTES

ANYBODY: Final = ("*",)
CALL_AGAIN_S: Final = 5.0  # what a caller waits whose issuer does not tell its keys


class KeySource(Protocol):
    """Where an issuer's keys come from, and whether they can still be had."""

    @property
    def keys(self) -> KeySet:
        """The keys believed at present; the same object for as long as nothing changes."""
        ...

    @property
    def trouble(self) -> str | None:
        """Why the keys could not be renewed last time, None where they could."""
        ...

    async def seek(self, key_id: str | None) -> None:
        """Look for keys anew, because a token names one that is not among them."""
        ...

    async def keep(self) -> None:
        """Renew the keys for as long as the gateway runs."""
        ...


class FixedKeys:
    """Keys that were read at the start and stay."""

    trouble: Final = None

    def __init__(self, keys: KeySet) -> None:
        self.keys: Final = keys

    async def seek(self, _key_id: str | None) -> None:
        """Do nothing: there are no others."""

    async def keep(self) -> None:
        """Do nothing: nothing gets old."""


@dataclass(frozen=True, slots=True)
class Issuer:
    """One issuer that is believed, within its bounds.

    ``algorithm`` is the only one its tokens may have, whatever their header says.
    ``longest_s`` is the longest lifetime in seconds. ``scopes`` is the most that a token of it
    can carry. ``subjects`` are names, or beginnings with ``*`` at the end.
    """

    name: str
    issuer: str
    algorithm: Algorithm
    audience: str
    longest_s: int
    source: KeySource = field(repr=False)
    scopes: frozenset[str] = frozenset(SCOPES)
    subjects: Sequence[str] = ANYBODY

    def may_name(self, subject: str) -> bool:
        """Tell whether a token of this issuer may speak for, or of, a subject."""
        return any(
            subject.startswith(each[:-1]) if each.endswith("*") else subject == each
            for each in self.subjects
        )


def one_box(secret: bytes, issuer: str, audience: str, longest_s: int) -> Issuer:
    """Return the gateway itself as an issuer: HS256 by JWT_SECRET.

    Raises:
        ConfigurationError: the secret is shorter than 32 bytes.
    """
    if len(secret) < SHORTEST_SECRET_BYTES:
        raise ConfigurationError([f"JWT_SECRET: at least {SHORTEST_SECRET_BYTES} bytes"])
    source = FixedKeys(shared_secret(secret))
    return Issuer("one-box", issuer, "HS256", audience, longest_s, source)
