"""Keys that tokens are checked by: PEM, JWK, JWKS, and everything that is none of them."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from mcp_gateway.access.tokens.compact import strict_object
from mcp_gateway.access.tokens.publickeys import (
    MOST_KEYS,
    Asymmetric,
    KeySet,
    read_jwks,
    read_key_file,
)
from tests.support.issuers import Signing, ed25519, jwks, p256, rsa_key

pytestmark = pytest.mark.unit

KEYS: dict[Asymmetric, Signing] = {
    "EdDSA": ed25519("k-1"), "ES256": p256("k-1"), "RS256": rsa_key("k-1")
}  # fmt: skip
PRIVATE = KEYS["EdDSA"].key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
OTHER_CURVE = Signing("ES256", ec.generate_private_key(ec.SECP384R1()), None)
ED448 = Ed448PrivateKey.generate().public_key()


def published(*entries: Any, algorithm: Asymmetric = "EdDSA") -> tuple[KeySet, list[str]]:
    return read_jwks(strict_object(jwks(*entries)), algorithm)


@pytest.mark.parametrize("algorithm", KEYS)
@pytest.mark.parametrize("form", ["pem", "jwk", "jwks"])
def test_a_key_file_is_read_in_each_form(algorithm: Asymmetric, form: str) -> None:
    """The key checks what its private half signed, by the algorithm pinned, and nothing else."""
    signing = KEYS[algorithm]
    forms = {"pem": signing.pem, "jwk": json.dumps(signing.jwk()).encode(), "jwks": jwks(signing)}
    keys = read_key_file(forms[form], algorithm)
    key = keys.find("k-1")
    assert key is not None
    assert key.fits(algorithm, b"signed", signing.sign(b"signed"))
    assert not key.fits(algorithm, b"Signed", signing.sign(b"signed"))


UNFIT: dict[str, tuple[bytes, Asymmetric]] = {
    "empty": (b"", "EdDSA"),
    "no key at all": (b"ssh-ed25519 AAAA", "EdDSA"),
    "a JSON list": (b"[]", "EdDSA"),
    "a member twice": (jwks(ed25519())[:-1] + b', "keys": []}', "EdDSA"),
    "a private PEM": (PRIVATE, "EdDSA"),
    "a private JWK": (json.dumps(ed25519().jwk(d="AAAA")).encode(), "EdDSA"),
    "a private key in a JWKS": (jwks(ed25519().jwk(d="AAAA")), "EdDSA"),
    "a secret as JWK": (json.dumps({"kty": "oct", "k": "AAAA"}).encode(), "EdDSA"),
    "two PEM blocks": (ed25519().pem + ed25519(None, "other").pem, "EdDSA"),
    "a cut PEM": (ed25519().pem[:60], "EdDSA"),
    "a certificate": (b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "RS256"),
    "EdDSA with a key on P-256": (p256().pem, "EdDSA"),
    "EdDSA with an RSA key": (rsa_key().pem, "EdDSA"),
    "EdDSA with Ed448": (
        ED448.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo), "EdDSA"
    ),
    "ES256 with an Ed25519 key": (ed25519().pem, "ES256"),
    "ES256 with a key on P-384": (OTHER_CURVE.pem, "ES256"),
    "RS256 with an Ed25519 key": (ed25519().pem, "RS256"),
    "RS256 with 1024 bits": (rsa_key(None, 1024).pem, "RS256"),
    "RS256 with 1024 bits as JWK": (json.dumps(rsa_key(None, 1024).jwk()).encode(), "RS256"),
    "a JWK for another algorithm": (json.dumps(ed25519().jwk(alg="ES256")).encode(), "EdDSA"),
    "a JWK for encryption": (json.dumps(ed25519().jwk(use="enc")).encode(), "EdDSA"),
    "a JWK that only signs": (json.dumps(ed25519().jwk(key_ops=["sign"])).encode(), "EdDSA"),
    "a JWK with operations of no list": (json.dumps(ed25519().jwk(key_ops="verify")).encode(), "EdDSA"),
    "a JWK with a part missing": (json.dumps(ed25519().jwk(x=None)).encode(), "EdDSA"),
    "a JWK with a part too short": (json.dumps(ed25519().jwk(x="AAAA")).encode(), "EdDSA"),
    "a JWK with a part of a number": (json.dumps(ed25519().jwk(x=1)).encode(), "EdDSA"),
    "a JWK on another curve": (json.dumps(ed25519().jwk(crv="Ed448")).encode(), "EdDSA"),
    "a point that is not on the curve": (json.dumps(p256().jwk(x="A" * 43)).encode(), "ES256"),
    "a kid that is a number": (json.dumps(ed25519().jwk(kid=1)).encode(), "EdDSA"),
    "an empty kid": (json.dumps(ed25519().jwk(kid="")).encode(), "EdDSA"),
    "an endless kid": (json.dumps(ed25519().jwk(kid="k" * 257)).encode(), "EdDSA"),
    "an empty JWKS": (b'{"keys": []}', "EdDSA"),
    "a JWKS of no list": (b'{"keys": {"k": 1}}', "EdDSA"),
    "a JWKS of other types alone": (jwks(p256()), "EdDSA"),
    "a JWKS with one kid twice": (jwks(ed25519(), ed25519("k-1", "other")), "EdDSA"),
    "an endless JWKS": (jwks(*[ed25519().jwk(kid=f"k{n}") for n in range(MOST_KEYS + 1)]), "EdDSA"),
    "an RSA exponent of one": (json.dumps(rsa_key().jwk(e="AQ")).encode(), "RS256"),
    "an RSA exponent of 33 bits": (json.dumps(rsa_key().jwk(e="AQAAAAE")).encode(), "RS256"),
    "an endless RSA exponent": (json.dumps(rsa_key().jwk(e="Aw" + "AAAA" * 80 + "AB")).encode(), "RS256"),
    "an even RSA exponent": (json.dumps(rsa_key().jwk(e="Ag")).encode(), "RS256"),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "algorithm"), UNFIT.values(), ids=UNFIT.keys())
def test_a_file_without_a_fitting_key_is_refused(raw: bytes, algorithm: Asymmetric) -> None:
    """RFC 8725 section 3.5: a key fits the one algorithm, or it is none; and it says why."""
    with pytest.raises(ValueError, match=r"[a-z]"):
        read_key_file(raw, algorithm)


def test_keys_of_other_kinds_in_a_set_are_passed_over() -> None:
    """One JWKS may serve many purposes; only what checks this algorithm is taken."""
    keys, faults = published(p256("k-2"), ed25519(), rsa_key("k-3"), ed25519("e").jwk(use="enc"))
    assert (len(keys), faults) == (1, [])
    assert keys.find("k-2") is None


def test_of_two_published_keys_with_one_id_neither_is_believed() -> None:
    """Which of the two is the issuer's own, nobody can tell."""
    keys, faults = published(ed25519(), ed25519("k-1", "other"), ed25519("k-2", "third"))
    assert keys.find("k-1") is None
    assert keys.find("k-2") is not None
    assert faults == ["two keys with one kid"]


@pytest.mark.parametrize(
    "entries",
    [[], [p256()], [ed25519().jwk(use="enc")], [ed25519(), ed25519("k-1", "other")]],
    ids=["none", "another algorithm", "another use", "twins"],
)
def test_a_published_set_without_a_usable_key_is_empty(entries: list[Any]) -> None:
    """So an issuer withdraws its last key; a set that is none is refused instead."""
    keys, faults = published(*entries)
    assert len(keys) == 0
    assert faults[0] == "no key for EdDSA"
    with pytest.raises(ValueError, match="entries that are no keys"):
        published(1, None, "k-1")


def test_the_largest_rsa_exponent_is_taken() -> None:
    """Below 2^32 a check costs what it may; 65537 is what everybody has."""
    keys, faults = published(rsa_key().jwk(e="_____w"), algorithm="RS256")
    assert (len(keys), faults) == (1, [])


def test_a_broken_key_in_a_set_is_left_out_and_told() -> None:
    """One bad entry does not take the others' tokens down, nor does it pass in silence."""
    keys, faults = published(ed25519(), ed25519("k-2", "other").jwk(d="AAAA"), "no key")
    assert len(keys) == 1
    [fault] = faults
    assert fault.startswith("keys[1]: holds a private key")


def test_a_key_is_found_by_its_own_id_alone() -> None:
    """A token that names no key is for an issuer with one key; a name must be right."""
    several, _ = published(ed25519("a"), ed25519("b", "other"))
    assert several.find(None) is None
    assert several.find("c") is None
    one, _ = published(ed25519("a"))
    assert one.find(None) is one.find("a") is not None
    assert one.find("b") is None
    nameless = read_key_file(ed25519().pem, "EdDSA")
    assert nameless.find("whatever") is nameless.find(None) is not None


def test_an_issuer_without_keys_has_none_for_anybody() -> None:
    """Before the first fetch nothing is believed."""
    assert KeySet().find(None) is None
    assert KeySet().find("k-1") is None


def test_equal_sets_are_equal_whatever_their_order() -> None:
    """A refresh that brings the same keys keeps what was checked by them."""
    one, _ = published(ed25519("a"), ed25519("b", "other"))
    same, _ = published(ed25519("b", "other"), ed25519("a"))
    other, _ = published(ed25519("a"), ed25519("b", "third"))
    renamed, _ = published(ed25519("a"), ed25519("c", "other"))
    assert one == same
    assert hash(one) == hash(same)
    assert one not in {other, renamed}


def test_a_key_shows_nothing_of_itself() -> None:
    """Also the one-box secret goes this way: repr must not carry it."""
    key = read_key_file(ed25519().pem, "EdDSA").find(None)
    assert "material" not in repr(key)
