"""The one owner of secrets: what signs tokens, and what signs orders and for whom.

Nothing here prints a secret: ``repr`` shows key ids only.
"""

import hmac
import secrets
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from pydantic import SecretStr

from mcp_gateway.errors import ConfigurationError
from mcp_gateway.settings import Settings

LONGEST_KEY_ID: Final = 128  # as long as a subject may be
RANDOM_BYTES: Final = 32
MOST_LIVE: Final = 2  # the one in use, and the one that takes its place
Algorithm = Literal["hmac-sha256", "ed25519"]


@dataclass(frozen=True, slots=True)
class Key:
    """A key that signs requests; only tokens of (``issuer``, ``subject``) may be used beside it.

    ``secret`` is the HMAC's key; of Ed25519 the 32 bytes of the public key, which are no secret.
    """

    key_id: str
    issuer: str
    subject: str
    secret: bytes = field(repr=False)
    algorithm: Algorithm = "hmac-sha256"
    not_before: datetime | None = None
    not_after: datetime | None = None
    revoked: bool = False

    @property
    def owner(self) -> tuple[str, str]:
        """Issuer and subject: whose key it is."""
        return self.issuer, self.subject

    def serves(self, at: datetime) -> bool:
        """Tell whether signatures by it count at that moment."""
        return not self.ended(at) and (self.not_before is None or self.not_before <= at)

    def ended(self, at: datetime) -> bool:
        """Tell whether signatures by it never count again."""
        return self.revoked or (self.not_after is not None and self.not_after <= at)


class Keyring:
    """Every secret that the gateway checks others by.

    Args:
        jwt_secret: key of the one-box tokens; None where the process takes no tokens.
        keys: request-signing keys of the environment, each key id once.

    Raises:
        ConfigurationError: a key id that no signature header could carry, or one used twice.
    """

    def __init__(self, *, jwt_secret: bytes | None = None, keys: Iterable[Key] = ()) -> None:
        self._jwt_secret = jwt_secret
        # What this process alone seals ends with it.
        self._root = jwt_secret or secrets.token_bytes(RANDOM_BYTES)
        self._own: dict[str, Key] = {}
        for key in keys:
            if key.key_id in self._own or not fits_a_header(key.key_id):
                fault = f"a key id is unique, printable ASCII, at most {LONGEST_KEY_ID} characters"
                raise ConfigurationError([f"MCP_GATEWAY_SUBJECT, MCP_GATEWAY_OPERATOR: {fault}"])
            self._own[key.key_id] = key
        self._keys = dict(self._own)

    @classmethod
    def from_settings(cls, settings: Settings) -> "Keyring":
        """Return the one-box keyring: HMAC_SECRET belongs to MCP_GATEWAY_SUBJECT alone.

        OPERATOR_HMAC_SECRET belongs to MCP_GATEWAY_OPERATOR: who decides is told apart from
        who trades.

        Agents who share that subject share its key, and are not told apart by it.
        """
        jwt_secret, hmac_secret = _bytes(settings.jwt_secret), _bytes(settings.hmac_secret)
        keys = []
        if hmac_secret and settings.subject:
            keys.append(Key(settings.subject, settings.issuer, settings.subject, hmac_secret))
        operators = _bytes(settings.operator_hmac_secret)
        if operators and settings.operator:
            keys.append(Key(settings.operator, settings.issuer, settings.operator, operators))
        return cls(jwt_secret=jwt_secret, keys=keys)

    @property
    def jwt_secret(self) -> bytes | None:
        """The key of the one-box tokens, as bytes; None where there is none."""
        return self._jwt_secret

    def derived(self, purpose: str) -> bytes:
        """Return a key of 32 bytes for one purpose of the gateway's own.

        It is made of JWT_SECRET, which replicas share; without one it lives as long as the
        process.

        Source: RFC 5869 (HKDF with SHA-256, one block).
        """
        extracted = hmac.digest(b"mcp-gateway", self._root, "sha256")
        return hmac.digest(extracted, purpose.encode() + b"\x01", "sha256")

    def find(self, key_id: str) -> Key | None:
        """Return the key of that id whatever its state, None where it is unknown."""
        return self._keys.get(key_id)

    def serving(self, key_id: str, at: datetime) -> Key | None:
        """Return the key of that id if signatures by it count at that moment."""
        key = self._keys.get(key_id)
        return key if key is not None and key.serves(at) else None

    def keys_of(self, issuer: str, subject: str, at: datetime) -> tuple[Key, ...]:
        """Return the keys that serve one caller at that moment."""
        owner = (issuer, subject)
        return tuple(key for key in self._keys.values() if key.owner == owner and key.serves(at))

    def hold(self, keys: Iterable[Key], at: datetime) -> None:
        """Take these keys beside those of the environment, in place of all taken before.

        Raises:
            ConfigurationError: a key id that the environment uses, or more live keys of one
                caller than two; nothing is changed then.
        """
        given = list(keys)
        faults = [
            f"{key.key_id}: the environment uses this key id" for key in given
            if key.key_id in self._own
        ]  # fmt: skip
        faults += [
            f"{subject} of {issuer} has {count} live keys, at most {MOST_LIVE} may be"
            for (issuer, subject), count in crowded([*self._own.values(), *given], at)
        ]
        if faults:
            raise ConfigurationError(faults)
        self._keys = self._own | {key.key_id: key for key in given}

    def own_keys(self) -> tuple[Key, ...]:
        """Return the request-signing keys of the environment."""
        return tuple(self._own.values())

    def signing_keys(self) -> tuple[Key, ...]:
        """Return every request-signing key, whatever its state."""
        return tuple(self._keys.values())

    def __repr__(self) -> str:
        return f"Keyring(keys={sorted(self._keys)})"


def crowded(keys: Iterable[Key], at: datetime) -> list[tuple[tuple[str, str], int]]:
    """Return whoever has more live keys than two, with how many."""
    live = Counter(key.owner for key in keys if not key.ended(at))
    return sorted((owner, count) for owner, count in live.items() if count > MOST_LIVE)


def _bytes(secret: SecretStr | None) -> bytes | None:
    # A secret is text; its UTF-8 bytes are the key, as in the predecessor.
    return secret.get_secret_value().encode() if secret else None


def fits_a_header(key_id: str) -> bool:
    """Tell whether a signature can name it.

    Source: RFC 9651 section 3.3.3, a String holds printable ASCII only.
    """
    return 0 < len(key_id) <= LONGEST_KEY_ID and key_id.isascii() and key_id.isprintable()
