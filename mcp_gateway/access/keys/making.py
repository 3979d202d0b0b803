"""New signing keys: the gateway makes a secret or a pair, or takes an agent's public half."""

import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)
from pydantic import SecretStr

from mcp_gateway.access.keyring import Algorithm
from mcp_gateway.access.keys.records import KeyRecord, is_weak, public_text
from mcp_gateway.errors import RequestInvalid

SECRET_BYTES: Final = 32
CLOCKS_APART: Final = timedelta(minutes=1)  # a key serves at once where a clock is behind ours, too
ID_BYTES: Final = 5
LONGEST_STEM: Final = 40
_NOT_PLAIN: Final = re.compile(r"[^A-Za-z0-9._-]+")


@dataclass(frozen=True, slots=True)
class Made:
    """A new key's record, and what only its owner may have: None where the agent has it already.

    ``handed_over`` is an HMAC secret's text, or an Ed25519 private key in PEM.
    """

    record: KeyRecord
    handed_over: str | None = field(repr=False)


def make(
    issuer: str,
    subject: str,
    algorithm: Algorithm,
    at: datetime,
    *,
    public_key: bytes | None = None,
    not_after: datetime | None = None,
) -> Made:
    """Return a new key of (issuer, subject), in force from ``at``.

    Args:
        public_key: in PEM, of a pair that the agent has made; None: the pair is made here.

    Raises:
        RequestInvalid: key_invalid.
    """
    secret, public, handed_over = _material(algorithm, public_key)
    record = KeyRecord(
        key_id=new_key_id(subject), issuer=issuer, subject=subject, algorithm=algorithm,
        secret=None if secret is None else SecretStr(secret), public_key=public,
        created_at=at, not_before=at - CLOCKS_APART, not_after=not_after,
    )  # fmt: skip
    return Made(record, handed_over)


def new_key_id(subject: str) -> str:
    """Return an id that names no key yet: readable, and never given out again."""
    stem = _NOT_PLAIN.sub("-", subject)[:LONGEST_STEM].strip("-") or "key"
    return f"{stem}-{secrets.token_hex(ID_BYTES)}"


def _material(
    algorithm: Algorithm, public_key: bytes | None
) -> tuple[str | None, str | None, str | None]:
    """Return secret, public key, and what is handed over."""
    if algorithm == "hmac-sha256":
        if public_key is not None:
            raise _invalid("An HMAC key has no public half.", "Leave --public-key out.")
        secret = secrets.token_urlsafe(SECRET_BYTES)
        return secret, None, secret
    if public_key is not None:
        return None, public_text(_read_public(public_key)), None
    private = Ed25519PrivateKey.generate()
    pem = private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return None, public_text(_raw(private.public_key())), pem


def _read_public(pem: bytes) -> bytes:
    hint = "openssl pkey -in private.pem -pubout -out public.pem"
    try:
        loaded = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise _invalid("The file holds no public key in PEM.", hint) from None
    if not isinstance(loaded, Ed25519PublicKey):
        raise _invalid("The file's public key is not one of Ed25519.", hint)
    if is_weak(raw := _raw(loaded)):
        raise _invalid("Anybody could sign for this public key.", "Let the agent make a new pair.")
    return raw


def _raw(public: Ed25519PublicKey) -> bytes:
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw)


def _invalid(message: str, hint: str) -> RequestInvalid:
    return RequestInvalid(message, code="key_invalid", hint=hint)
