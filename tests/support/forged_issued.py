"""Tokens that must be refused everywhere: of issuers with key pairs, forged or confused.

They go against ``issuers.three_issuers``: DESK (EdDSA), FLOOR (ES256, its key named alike) and
VAULT (RS256, its key without a name), beside the one box.
"""

import hmac
import json
from collections.abc import Callable
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.issuers import DESK, FLOOR, VAULT, Signing, ed25519, p256, rsa_key, tampered
from tests.support.tokens import ISSUER, NOW, b64, forge

THIEF_OF = {"EdDSA": ed25519("k-1", "thief"), "ES256": p256("k-1", "thief")}
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
ELSEWHERE = "https://thief.example/jwks.json"


def desk(header: dict[str, Any] | None = None, **changes: Any) -> str:
    return ed25519().token(header, **({"iss": DESK} | changes))


def floor(header: dict[str, Any] | None = None, **changes: Any) -> str:
    return p256().token(header, **({"iss": FLOOR} | changes))


def vault(header: dict[str, Any] | None = None, **changes: Any) -> str:
    return rsa_key().token(header, **({"iss": VAULT} | changes))


def signed_as(token: str, sign: Callable[[bytes], bytes]) -> str:
    """Return a token with another signature over the same bytes."""
    signed, _, _ = token.rpartition(".")
    return f"{signed}.{b64(sign(signed.encode()))}"


def by_hmac(token: str, key: bytes) -> str:
    return signed_as(token, lambda signed: hmac.digest(key, signed, "sha256"))


def signature(token: str) -> bytes:
    """Return the bytes of a token's signature."""
    kept: list[bytes] = []

    def keep(raw: bytes) -> bytes:
        kept.append(raw)
        return raw

    tampered(token, 2, keep)
    return kept[0]


def by_psychic(r: int, s: int) -> str:
    """Return FLOOR's token under a signature of two chosen numbers (CVE-2022-21449)."""
    return signed_as(floor(), lambda _: r.to_bytes(32, "big") + s.to_bytes(32, "big"))


def malleable() -> str:
    """Return DESK's token with the order of the curve added to its signature's second half."""
    raw = signature(desk())
    s = int.from_bytes(raw[32:], "little") + ED25519_ORDER
    return signed_as(desk(), lambda _: raw[:32] + s.to_bytes(32, "little"))


def by_ed448() -> str:
    return signed_as(desk(), Ed448PrivateKey.generate().sign)


def by_curve(curve: ec.EllipticCurve, algorithm: str) -> str:
    thief = Signing(algorithm, ec.generate_private_key(curve), "k-1")
    return thief.token(iss=FLOOR)


def by_rsa(algorithm: str, digest: hashes.HashAlgorithm, *, pss: bool = False) -> str:
    """Sign by the issuer's own key in another way than the one that is agreed."""
    way = padding.PSS(padding.MGF1(digest), digest.digest_size) if pss else padding.PKCS1v15()
    key = rsa_key().key
    return signed_as(vault({"alg": algorithm}), lambda signed: key.sign(signed, way, digest))


def der_signature() -> str:
    return signed_as(floor(), lambda signed: p256().key.sign(signed, ec.ECDSA(hashes.SHA256())))


def raw_public(signing: Signing) -> bytes:
    return bytes(signing.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw))


def thief_s(header: dict[str, Any]) -> str:
    """Return a token that the thief signed, and whose header brings or names the thief's key."""
    return THIEF_OF["EdDSA"].token({"kid": "k-1"} | header, iss=DESK)


HS: dict[str, Any] = {"alg": "HS256"}
OF_ISSUERS: dict[str, Callable[[], str]] = {
    "HS256 by the PEM of the public key": lambda: by_hmac(vault(HS), rsa_key().pem),
    "HS256 by the PEM without its last line break": lambda: by_hmac(vault(HS), rsa_key().pem[:-1]),
    "HS256 by the DER of the public key": lambda: by_hmac(vault(HS), rsa_key().der),
    "HS256 by the raw public key": lambda: by_hmac(desk(HS), raw_public(ed25519())),
    "HS256 by the JWK": lambda: by_hmac(desk(HS), json.dumps(ed25519().jwk()).encode()),
    "HS256 by the x of the JWK": lambda: by_hmac(floor(HS), p256().jwk()["x"].encode()),
    "HS256 by the one box's secret, for another issuer": lambda: forge(iss=DESK),
    "HMAC under the header EdDSA": lambda: by_hmac(desk(), raw_public(ed25519())),
    "HMAC under the header RS256": lambda: by_hmac(vault(), rsa_key().pem),
    "a key pair's token for the one box": lambda: desk(iss=ISSUER),
    "a key pair's token for the local caller": lambda: desk(iss="local"),
    "alg none": lambda: desk({"alg": "none"}).rpartition(".")[0] + ".",
    "alg None, signed": lambda: desk({"alg": "None"}),
    "alg nOnE": lambda: floor({"alg": "nOnE"}).rpartition(".")[0] + ".",
    "alg eddsa": lambda: desk({"alg": "eddsa"}),
    "alg Ed25519, which nobody agreed on": lambda: desk({"alg": "Ed25519"}),
    "alg with a space": lambda: desk({"alg": "EdDSA "}),
    "alg with a look-alike": lambda: desk({"alg": "\u0415dDSA"}),
    "alg a list": lambda: desk({"alg": ["EdDSA"]}),
    "ES256 for EdDSA, by the thief": lambda: THIEF_OF["ES256"].token(iss=DESK),
    "ES256 for EdDSA, by another issuer": lambda: p256().token(iss=DESK),
    "EdDSA for ES256, by another issuer": lambda: ed25519().token(iss=FLOOR),
    "EdDSA in the header over an ES256 signature": lambda: desk(signer=p256()),
    "ES256 in the header over an EdDSA signature": lambda: floor(signer=ed25519()),
    "RS256 for EdDSA, by another issuer": lambda: rsa_key("k-1").token(iss=DESK),
    "EdDSA in the header over RS256": lambda: desk(signer=rsa_key()),
    "the kid of another issuer": lambda: p256("k-1").token({"alg": "EdDSA"}, iss=DESK),
    "the same kid at two issuers": lambda: desk(iss=FLOOR),
    "the same kid at two issuers, algorithm mended": lambda: desk({"alg": "ES256"}, iss=FLOOR),
    "an unknown kid": lambda: desk({"kid": "k-2"}),
    "kid in capitals": lambda: desk({"kid": "K-1"}),
    "kid with a look-alike": lambda: desk({"kid": "\u212a-1"}),
    "kid that is a path": lambda: desk({"kid": "../desk.json"}),
    "kid that is a path to nothing": lambda: by_hmac(desk({"kid": "/dev/null"}), b""),
    "kid that is SQL": lambda: desk({"kid": "k-1' UNION SELECT 'key' --"}),
    "kid that is a command": lambda: desk({"kid": "k-1; cat /etc/passwd"}),
    "kid that is a URL": lambda: desk({"kid": ELSEWHERE}),
    "kid with a NUL": lambda: desk({"kid": "k-1\0"}),
    "kid with a line break": lambda: desk({"kid": "k-1\r\nx: y"}),
    "kid a number": lambda: desk({"kid": 1}),
    "kid a list": lambda: desk({"kid": ["k-1"]}),
    "kid an object": lambda: desk({"kid": {"k": "k-1"}}),
    "kid empty": lambda: desk({"kid": ""}),
    "kid endless": lambda: desk({"kid": "k" * 257}),
    "kid twice": lambda: ed25519().over(
        b'{"alg":"EdDSA","typ":"at+jwt","kid":"k-1","kid":"k-1"}', b"{}"
    ),
    "a key brought along": lambda: thief_s({"jwk": THIEF_OF["EdDSA"].jwk()}),
    "a certificate brought along": lambda: thief_s({"x5c": [b64(THIEF_OF["EdDSA"].der)]}),
    "a thumbprint brought along": lambda: thief_s({"x5t#S256": b64(bytes(32))}),
    "a place of keys brought along": lambda: thief_s({"jku": ELSEWHERE, "kid": "thief"}),
    "a place of certificates brought along": lambda: thief_s({"x5u": ELSEWHERE, "kid": "thief"}),
    "another key of the same kind": lambda: THIEF_OF["EdDSA"].token(iss=DESK),
    "another key on the same curve": lambda: THIEF_OF["ES256"].token(iss=FLOOR),
    "another key of the same size": lambda: rsa_key(None, 2048, 1).token(iss=VAULT),
    "a key of 1024 bits": lambda: rsa_key(None, 1024).token(iss=VAULT),
    "Ed448": by_ed448,
    "ES256 on another curve": lambda: by_curve(ec.SECP384R1(), "ES256"),
    "ES384": lambda: by_curve(ec.SECP384R1(), "ES384"),
    "ES256K": lambda: by_curve(ec.SECP256K1(), "ES256K"),
    "RS512 by the right key": lambda: by_rsa("RS512", hashes.SHA512()),
    "RS384 by the right key": lambda: by_rsa("RS384", hashes.SHA384()),
    "RS256 in the header over RS512": lambda: by_rsa("RS256", hashes.SHA512()),
    "PS256 by the right key": lambda: by_rsa("PS256", hashes.SHA256(), pss=True),
    "RS256 in the header over PS256": lambda: by_rsa("RS256", hashes.SHA256(), pss=True),
    "a signature of zeros": lambda: by_psychic(0, 0),
    "a signature of zero and one": lambda: by_psychic(0, 1),
    "a signature of the curve's order": lambda: by_psychic(P256_ORDER, P256_ORDER),
    "a signature in DER": der_signature,
    "an Ed25519 signature of zeros": lambda: signed_as(desk(), lambda _: bytes(64)),
    "an Ed25519 signature, malleated": malleable,
    "an RSA signature of one": lambda: signed_as(vault(), lambda _: bytes(255) + b"\1"),
    "an RSA signature after a zero": lambda: signed_as(
        vault(), lambda _: b"\0" + signature(vault())
    ),
    "EdDSA, signature cut": lambda: signed_as(desk(), lambda _: signature(desk())[:-1]),
    "ES256, signature cut": lambda: signed_as(floor(), lambda _: signature(floor())[:-1]),
    "RS256, signature cut": lambda: signed_as(vault(), lambda _: signature(vault())[:-1]),
    "EdDSA, a byte more": lambda: signed_as(desk(), lambda _: signature(desk()) + b"\0"),
    "ES256, a byte more": lambda: signed_as(floor(), lambda _: signature(floor()) + b"\0"),
    "EdDSA, padded": lambda: desk() + "==",
    "ES256, claims exchanged": lambda: tampered(
        floor(), 1, lambda raw: raw.replace(b"600", b"700")
    ),
    "EdDSA, claims exchanged": lambda: tampered(
        desk(), 1, lambda raw: raw.replace(b"signal-agent", b"treasurer")
    ),
    "RS256, header exchanged": lambda: tampered(vault(), 0, lambda raw: raw + b" "),
    "crit": lambda: desk({"crit": ["exp"], "exp": NOW}),
    "unencoded payload": lambda: desk({"b64": False, "crit": ["b64"]}),
    "an ID token's type": lambda: desk({"typ": "id+jwt"}),
    "a security event's type": lambda: floor({"typ": "secevent+jwt"}),
    "detached": lambda: "..".join(desk().split(".")[::2]),
    "encrypted (five parts)": lambda: b64(b'{"alg":"dir","enc":"A256GCM"}') + "..AA.AA.AA",
    "a token within": lambda: ed25519().over(
        b'{"alg":"EdDSA","kid":"k-1","cty":"JWT"}', desk().encode()
    ),
    "iss with a slash more": lambda: desk(iss=DESK + "/"),
    "iss in capitals": lambda: desk(iss=DESK.upper()),
    "iss with a look-alike": lambda: desk(iss=DESK.replace("e", "\u0435", 1)),
    "iss over http": lambda: desk(iss=DESK.replace("https", "http")),
    "iss a list of both": lambda: desk(iss=[DESK, FLOOR]),
    "aud of the issuer": lambda: desk(aud=DESK),
    "aud missing": lambda: floor(without=("aud",)),
    "early": lambda: desk(nbf=NOW + 60),
    "longer-lived than allowed": lambda: vault(exp=NOW + 86_401),
    "from the future": lambda: floor(iat=NOW + 60, exp=NOW + 600),
    "without an end": lambda: desk(without=("exp",)),
    "without a subject": lambda: vault(without=("sub",)),
}
