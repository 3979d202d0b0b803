"""The keys that tokens are checked by, and how they are read from PEM, JWK and JWKS.

A key fits one algorithm, the one pinned for its issuer, or it is no key of that issuer.

Source: RFC 7517 (JWK), RFC 7518 section 6 (its parameters), RFC 8037 (Ed25519),
RFC 8725 section 3.5 (RSA of 2048 bits or more).
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast, get_args

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_public_key,
)

from mcp_gateway.access.tokens.compact import LONGEST_KEY_ID, strict_object

Asymmetric = Literal["EdDSA", "ES256", "RS256"]
Algorithm = Literal["HS256", "EdDSA", "ES256", "RS256"]
ASYMMETRIC: Final[tuple[str, ...]] = get_args(Asymmetric)
LEAST_RSA_BITS: Final = 2048
MOST_RSA_BITS: Final = 8192  # beyond it one check takes a millisecond and more
MOST_RSA_EXPONENT: Final = 2**32 - 1  # likewise: the work grows with its bits
MOST_KEYS: Final = 100
KEY_TYPES: Final = {"EdDSA": "OKP", "ES256": "EC", "RS256": "RSA"}
# What a JWK of these types is made of; anything more private has no business there.
_PUBLIC_PARTS: Final = {"OKP": ("x",), "EC": ("x", "y"), "RSA": ("n", "e")}
_PRIVATE_PARTS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
_JWS: Final = jwt.PyJWS(algorithms=["HS256", *ASYMMETRIC])


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """A key with its id; two are equal when id and key are."""

    key_id: str | None
    digest: bytes
    material: Any = field(repr=False, compare=False)

    def fits(self, algorithm: Algorithm, signed: bytes, signature: bytes) -> bool:
        """Tell whether a signature is this key's, by the algorithm pinned for it."""
        try:
            return bool(
                _JWS.get_algorithm_by_name(algorithm).verify(signed, self.material, signature)
            )
        except (ValueError, TypeError):  # a signature that is no number of that field
            return False


class KeySet:
    """The keys of one issuer, found by their ids and never by anybody else's."""

    def __init__(self, keys: Iterable[VerifyKey] = ()) -> None:
        self._keys = frozenset(keys)
        self._by_id = {key.key_id: key for key in self._keys if key.key_id is not None}
        self._sole = next(iter(self._keys)) if len(self._keys) == 1 else None

    def find(self, key_id: str | None) -> VerifyKey | None:
        """Return the key of that id, None where there is none.

        An only key without an id serves every token; an only key with one serves tokens that
        name no key.
        """
        if key_id is not None and (named := self._by_id.get(key_id)) is not None:
            return named
        if self._sole is not None and None in {key_id, self._sole.key_id}:
            return self._sole
        return None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, KeySet) and self._keys == other._keys

    def __hash__(self) -> int:
        return hash(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def shared_secret(secret: bytes) -> KeySet:
    """Return the key set of the one box: one secret that signs and checks."""
    return KeySet([VerifyKey(None, hashlib.sha256(secret).digest(), secret)])


def read_key_file(raw: bytes, algorithm: Asymmetric) -> KeySet:
    """Read a file with one PEM public key, one JWK, or a JWKS.

    Raises:
        ValueError: anything else, a private key, or a key of another algorithm; says which.
    """
    if b"-----BEGIN" in raw:
        return KeySet([_from_pem(raw, algorithm)])
    try:
        document = strict_object(raw)
    except (ValueError, RecursionError):
        raise ValueError("neither a PEM public key nor a JWK or JWKS in JSON") from None
    if "keys" not in document:
        return KeySet([_from_jwk(document, algorithm)])
    keys, faults = read_jwks(document, algorithm)
    if faults:
        raise ValueError("; ".join(faults))
    return keys


def read_jwks(document: Mapping[str, Any], algorithm: Asymmetric) -> tuple[KeySet, list[str]]:
    """Return the keys of a JWKS that fit an algorithm, and what is wrong with the others.

    Keys of other types are no fault: one set may serve many purposes. Of two keys with one id
    neither is believed. A set without a usable key is an empty one, with the fault: so an issuer
    withdraws its last key.

    Raises:
        ValueError: not a JWKS.
    """
    entries = document.get("keys")
    if not isinstance(entries, list) or len(entries) > MOST_KEYS:
        raise ValueError(f"no list of at most {MOST_KEYS} keys")
    keys: list[VerifyKey] = []
    faults = []
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict) or not _is_meant(entry, algorithm):
            continue
        try:
            keys.append(_from_jwk(entry, algorithm))
        except ValueError as error:
            faults.append(f"keys[{place}]: {error}")
    if not keys and not all(isinstance(entry, dict) for entry in entries):
        raise ValueError("entries that are no keys")
    usable = _without_twins(keys)
    if len(usable) < len(keys):
        faults.append("two keys with one kid")
    if not usable:
        faults.insert(0, f"no key for {algorithm}")
    return KeySet(usable), faults


def _without_twins(keys: list[VerifyKey]) -> list[VerifyKey]:
    ids = [key.key_id for key in keys]
    return [key for key in keys if ids.count(key.key_id) == 1]


def _is_meant(jwk: Mapping[str, Any], algorithm: Asymmetric) -> bool:
    """Tell whether a JWK is for checking signatures of this algorithm, by its own words."""
    operations = jwk.get("key_ops", ["verify"])
    return (
        jwk.get("kty") == KEY_TYPES[algorithm]
        and jwk.get("alg", algorithm) == algorithm
        and jwk.get("use", "sig") == "sig"
        and isinstance(operations, list)
        and "verify" in operations
    )


def _from_jwk(jwk: Mapping[str, Any], algorithm: Asymmetric) -> VerifyKey:
    if not _is_meant(jwk, algorithm):
        raise ValueError(f"not a key that checks {algorithm} signatures")
    if _PRIVATE_PARTS & jwk.keys():
        raise ValueError("holds a private key, which is no secret any more")
    key_id = jwk.get("kid")
    if key_id is not None and not (isinstance(key_id, str) and 0 < len(key_id) <= LONGEST_KEY_ID):
        raise ValueError(f"kid: text of 1 to {LONGEST_KEY_ID} characters")
    if not all(isinstance(jwk.get(part), str) for part in _PUBLIC_PARTS[KEY_TYPES[algorithm]]):
        raise ValueError("a part of the key is missing")
    reader = cast("Any", _JWS.get_algorithm_by_name(algorithm))
    try:
        material = reader.from_jwk(dict(jwk))
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, UnsupportedAlgorithm):
        raise ValueError(f"not a key of {algorithm}") from None
    return _checked(key_id, material, algorithm)


def _from_pem(raw: bytes, algorithm: Asymmetric) -> VerifyKey:
    if b"PRIVATE KEY-----" in raw:
        raise ValueError("holds a private key; give the public one (openssl pkey -pubout)")
    if raw.count(b"-----BEGIN") > 1:
        raise ValueError("more than one PEM block; for several keys use a JWKS")
    try:
        material = load_pem_public_key(raw)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise ValueError("not a PEM public key (openssl x509 -pubkey takes one out)") from None
    return _checked(None, material, algorithm)


def _checked(key_id: str | None, material: Any, algorithm: Asymmetric) -> VerifyKey:
    """Return a key that is exactly what the algorithm wants: type, curve, size.

    Raises:
        ValueError: it is another.
    """
    if algorithm == "EdDSA":
        fits = isinstance(material, Ed25519PublicKey)
    elif algorithm == "ES256":
        fits = isinstance(material, EllipticCurvePublicKey)
        fits = fits and isinstance(material.curve, SECP256R1)
    else:
        fits = isinstance(material, RSAPublicKey)
        fits = fits and LEAST_RSA_BITS <= material.key_size <= MOST_RSA_BITS
        fits = fits and material.public_numbers().e <= MOST_RSA_EXPONENT
    if not fits:
        wanted = {
            "EdDSA": "an Ed25519 key", "ES256": "a key on P-256",
            "RS256": f"an RSA key of {LEAST_RSA_BITS} to {MOST_RSA_BITS} bits, e below 2^32",
        }  # fmt: skip
        raise ValueError(f"{algorithm} wants {wanted[algorithm]}")
    encoded = material.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return VerifyKey(key_id, hashlib.sha256(encoded).digest(), material)
