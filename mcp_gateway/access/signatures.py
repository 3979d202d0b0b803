"""Judges whether a request's bytes carry a signature that fits them; never raises for it.

The standard form is RFC 9421 with an RFC 9530 digest of the body. The predecessor's plain
form signs the body alone: it has no time and no nonce, so it can be replayed.

Only the HTTP door imports this module: stdio does not pay for the library.
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from http_message_signatures import (
    HTTPMessageSignaturesException,
    HTTPMessageVerifier,
    HTTPSignatureKeyResolver,
    InvalidSignature,
    VerifyResult,
)
from http_message_signatures.algorithms import ED25519, HMAC_SHA256, HTTPSignatureAlgorithm

from mcp_gateway.access.keyring import Algorithm, Key, Keyring
from mcp_gateway.clock import Clock
from mcp_gateway.domain.principals import Evidence, PlainSigned, Signed, Unsigned

LABEL: Final = "gw"
TAG: Final = "mcp-gateway"
COMPONENTS: Final = ("@method", "@authority", "@path", "content-digest")
SHORTEST_NONCE_BITS: Final = 96
LONGEST_NONCE: Final = 128
LONGEST_FIELD: Final = 2048  # ours need 300; what is longer is not parsed
_HOST: Final = re.compile(r"[A-Za-z0-9.\-_]+(:\d+)?|\[[0-9A-Fa-f:.]+\](:\d+)?")
_HEXADECIMAL: Final = re.compile(r"[0-9A-Fa-f]+")
_PLAIN: Final = re.compile(rb"[0-9A-Fa-f]{64}")
_OWN_FIELDS: Final = (b"signature-input", b"signature", b"content-digest")

_MISSING: Final = Unsigned("signature_missing")
_INVALID: Final = Unsigned("signature_invalid")
_NO_KEY: Final = Unsigned("signature_invalid", no_key=True)
_EXPIRED: Final = Unsigned("signature_expired")
_ALGORITHMS: Final[dict[Algorithm, type[HTTPSignatureAlgorithm]]] = {
    "hmac-sha256": HMAC_SHA256,
    "ed25519": ED25519,
}
MOST_PUBLIC_KEYS: Final = 4096  # kept parsed, some 100 bytes each


@dataclass(frozen=True, slots=True)
class SignedRequest:
    """What came over the wire, unparsed, in the shapes of ASGI.

    ``scheme`` is the one that callers use (behind TLS termination: https), ``host`` the Host
    header, ``raw_path`` the path still percent-encoded, ``query_string`` what follows ``?``.
    """

    method: str
    scheme: str
    host: str
    raw_path: bytes
    query_string: bytes
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes

    def lines(self, name: bytes) -> list[bytes]:
        """Return every line of one header field, in order."""
        return [value for field, value in self.headers if field.lower() == name]


def judge(request: SignedRequest, keyring: Keyring, clock: Clock, window_s: int) -> Evidence:
    """Tell what an RFC 9421 signature on ``request`` proves.

    Only the signature with the label ``gw`` and the tag ``mcp-gateway`` counts (a proxy may
    add its own). It covers method, authority, path and body digest, and names its time,
    nonce, key and algorithm, which is the key's own. Signed routes take no query string.

    Returns:
        Signed where it fits and its time is within ``window_s`` seconds of ``clock``;
        Unsigned with signature_missing, signature_expired (genuine, but old or early) or
        signature_invalid (anything else, by ``no_key`` where no key of that id serves now).
        Whether the nonce is new is the gate's to find out.

    Source: RFC 9421 sections 2, 3.2; RFC 9530 section 2.
    """
    if not request.lines(b"signature-input") and not request.lines(b"signature"):
        return _MISSING
    if not _readable(request):
        return _INVALID
    now = clock.now()
    keys = _Keys(keyring, now)
    try:
        results = _Verifier(keys).verify(
            _View.of(request), max_age=None, expect_tag=TAG, expect_label=LABEL,
            require_components=COMPONENTS, body=request.body,
        )  # fmt: skip
    except (HTTPMessageSignaturesException, ValueError, LookupError, TypeError):
        return _NO_KEY if keys.missed else _INVALID
    return _evidence(results, now.timestamp(), window_s)


def judge_plain(body: bytes, signature: bytes, keys: Iterable[Key]) -> Evidence:
    """Tell what the predecessor's ``X-Signature`` proves: hex HMAC-SHA256 of the body.

    Args:
        signature: the header's value as sent.
        keys: the caller's own; the form names none.
    """
    if not _PLAIN.fullmatch(signature.strip()):
        return _INVALID
    shown = bytes.fromhex(signature.strip().decode())
    fitting = None
    for key in keys:
        if key.algorithm != "hmac-sha256":
            continue
        if hmac.compare_digest(hmac.digest(key.secret, body, hashlib.sha256), shown):
            fitting = PlainSigned(key.key_id)
    return fitting or _INVALID


def _readable(request: SignedRequest) -> bool:
    # A host or path with a delimiter in it would read differently once joined into a URL.
    return (
        not request.query_string
        and _HOST.fullmatch(request.host) is not None
        and request.raw_path.startswith(b"/")
        and not any(mark in request.raw_path for mark in b"?#")
        and all(sum(map(len, request.lines(name))) <= LONGEST_FIELD for name in _OWN_FIELDS)
    )


def _evidence(results: Sequence[VerifyResult], now: float, window_s: int) -> Evidence:
    if len(results) != 1:
        return _INVALID
    told = results[0].parameters
    key_id, nonce, created = told.get("keyid"), told.get("nonce"), told.get("created")
    if not isinstance(key_id, str) or not isinstance(nonce, str) or not isinstance(created, int):
        return _INVALID
    if "alg" not in told or not _long_enough(nonce):
        return _INVALID
    expires = told.get("expires", created + window_s)
    if not isinstance(expires, int):
        return _INVALID
    if abs(now - created) > window_s or now > expires:
        return _EXPIRED
    return Signed(key_id, nonce, created)


def _long_enough(nonce: str) -> bool:
    """Measure a nonce by its alphabet: 4 bits a hexadecimal digit, else base64's 6."""
    bits = 4 if _HEXADECIMAL.fullmatch(nonce) else 6
    return len(nonce) <= LONGEST_NONCE and len(nonce) * bits >= SHORTEST_NONCE_BITS


class _Keys(HTTPSignatureKeyResolver):
    """The keys that serve at one moment, in the library's words."""

    def __init__(self, keyring: Keyring, at: datetime) -> None:
        self._keyring = keyring
        self._at = at
        self.missed = False

    def serving(self, key_id: object) -> Key:
        """Return the key of that id.

        Raises:
            InvalidSignature: none serves.
        """
        key = self._keyring.serving(key_id, self._at) if isinstance(key_id, str) else None
        if key is None:
            self.missed = True
            raise InvalidSignature("no such key")
        return key

    def resolve_public_key(self, key_id: str) -> bytes | Ed25519PublicKey:
        # An object of its kind: were these bytes, another algorithm could take them for a secret.
        key = self.serving(key_id)
        return _public_key(key.secret) if key.algorithm == "ed25519" else key.secret


class _Verifier(HTTPMessageVerifier):
    """The library's verifier for one request: no time of its own, and the key's algorithm."""

    def __init__(self, keys: _Keys) -> None:
        super().__init__(signature_algorithm=HMAC_SHA256, key_resolver=keys)
        self._keys = keys

    def validate_created_and_expires(self, sig_input: Any, max_age: Any = None) -> None:  # noqa: ARG002 - the library's signature
        """Let the key that is named decide the algorithm, before the library compares ``alg``.

        The times are left to ``judge``: the library reads the wall clock, we our own.
        """
        key = self._keys.serving(sig_input.params.get("keyid"))
        self.signature_algorithm = _ALGORITHMS[key.algorithm]


@lru_cache(MOST_PUBLIC_KEYS)
def _public_key(raw: bytes) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(raw)


@dataclass(frozen=True, slots=True)
class _Fields:
    """Header lines as the library reads them: bytes as Latin-1, duplicates kept."""

    lines: Sequence[tuple[bytes, bytes]]

    def items(self) -> Iterator[tuple[str, str]]:
        return ((name.decode("latin-1"), value.decode("latin-1")) for name, value in self.lines)


@dataclass(frozen=True, slots=True)
class _View:
    method: str
    url: str
    headers: _Fields

    @classmethod
    def of(cls, request: SignedRequest) -> "_View":
        path = request.raw_path.decode("latin-1")
        return cls(
            request.method, f"{request.scheme}://{request.host}{path}", _Fields(request.headers)
        )
