"""The one owner of secrets: what signs tokens, and what signs orders and for whom.

Nothing here prints a secret: ``repr`` shows key ids only.
"""

import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

from pydantic import SecretStr

from mcp_gateway.errors import ConfigurationError
from mcp_gateway.settings import Settings

LONGEST_KEY_ID = 128  # as long as a subject may be
RANDOM_BYTES = 32


@dataclass(frozen=True, slots=True)
class Key:
    """A key that signs requests; only tokens of ``subject`` may be used beside it."""

    key_id: str
    subject: str
    secret: bytes = field(repr=False)


class Keyring:
    """Every secret that the gateway checks others by.

    Args:
        jwt_secret: key of the one-box tokens; None where the process takes no tokens.
        keys: request-signing keys, each key id once.

    Raises:
        ConfigurationError: a key id that no signature header could carry, or one used twice.
    """

    def __init__(self, *, jwt_secret: bytes | None = None, keys: Iterable[Key] = ()) -> None:
        self._jwt_secret = jwt_secret
        # What this process alone seals ends with it.
        self._root = jwt_secret or secrets.token_bytes(RANDOM_BYTES)
        self._keys: dict[str, Key] = {}
        for key in keys:
            if key.key_id in self._keys or not _fits_a_header(key.key_id):
                fault = f"a key id is unique, printable ASCII, at most {LONGEST_KEY_ID} characters"
                raise ConfigurationError([f"MCP_GATEWAY_SUBJECT, MCP_GATEWAY_OPERATOR: {fault}"])
            self._keys[key.key_id] = key

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
            keys.append(Key(settings.subject, settings.subject, hmac_secret))
        operators = _bytes(settings.operator_hmac_secret)
        if operators and settings.operator:
            keys.append(Key(settings.operator, settings.operator, operators))
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
        """Return the key of that id, None where it is unknown."""
        return self._keys.get(key_id)

    def signing_keys(self) -> tuple[Key, ...]:
        """Return every request-signing key."""
        return tuple(self._keys.values())

    def __repr__(self) -> str:
        return f"Keyring(keys={sorted(self._keys)})"


def _bytes(secret: SecretStr | None) -> bytes | None:
    # A secret is text; its UTF-8 bytes are the key, as in the predecessor.
    return secret.get_secret_value().encode() if secret else None


def _fits_a_header(key_id: str) -> bool:
    """RFC 9651 section 3.3.3: a String holds printable ASCII only."""
    return 0 < len(key_id) <= LONGEST_KEY_ID and key_id.isascii() and key_id.isprintable()
