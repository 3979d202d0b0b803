"""Issuers of the tests: keys of every kind, tokens signed by them, and a server of their JWKS."""

import base64
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import anyio
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.support.rogue import Connection, Rogue, rogue
from tests.support.tokens import AUDIENCE, NOW, b64

DESK, FLOOR, VAULT = "https://desk.example", "https://floor.example", "https://vault.example"
EXACT = 32  # bytes of a coordinate on P-256


@dataclass(frozen=True)
class Signing:
    """A private key with the algorithm that its issuer is pinned to."""

    algorithm: str
    key: Any
    key_id: str | None

    def sign(self, signed: bytes) -> bytes:
        """Return the signature as RFC 7518 wants it."""
        if isinstance(self.key, Ed25519PrivateKey):
            return self.key.sign(signed)
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
        r, s = decode_dss_signature(self.key.sign(signed, ec.ECDSA(hashes.SHA256())))
        size = (self.key.curve.key_size + 7) // 8
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")

    @property
    def pem(self) -> bytes:
        """The public half, as a PEM."""
        public = self.key.public_key()
        return bytes(public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))

    @property
    def der(self) -> bytes:
        """The public half, as DER."""
        public = self.key.public_key()
        return bytes(public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))

    def jwk(self, **changes: Any) -> dict[str, Any]:
        """Return the public half as a JWK, with members changed; None leaves one out."""
        told = {"kid": self.key_id, "use": "sig", "alg": self.algorithm} | self._parts() | changes
        return {name: value for name, value in told.items() if value is not None}

    def _parts(self) -> dict[str, Any]:
        public = self.key.public_key()
        if isinstance(self.key, Ed25519PrivateKey):
            raw = public.public_bytes(Encoding.Raw, PublicFormat.Raw)
            return {"kty": "OKP", "crv": "Ed25519", "x": b64(raw)}
        numbers = public.public_numbers()
        if isinstance(self.key, rsa.RSAPrivateKey):
            size = (self.key.key_size + 7) // 8
            return {"kty": "RSA", "n": b64(numbers.n.to_bytes(size, "big")), "e": "AQAB"}
        x, y = (b64(each.to_bytes(EXACT, "big")) for each in (numbers.x, numbers.y))
        return {"kty": "EC", "crv": "P-256", "x": x, "y": y}

    def token(
        self,
        header: Mapping[str, Any] | None = None,
        *,
        without: tuple[str, ...] = (),
        signer: "Signing | None" = None,
        **claims: Any,
    ) -> str:
        """Return a token of this key (or of another's signer), with some parts changed."""
        fields = {"alg": self.algorithm, "typ": "at+jwt", "kid": self.key_id} | dict(header or {})
        fields = {name: value for name, value in fields.items() if value is not None}
        told = {"sub": "signal-agent", "aud": AUDIENCE, "iat": NOW, "exp": NOW + 600,
                "jti": "t-1", "scope": "market:read orders:create"} | claims  # fmt: skip
        told = {name: value for name, value in told.items() if name not in without}
        return (signer or self).over(json.dumps(fields).encode(), json.dumps(told).encode())

    def over(self, header: bytes, payload: bytes) -> str:
        """Return a compact JWS over exactly these bytes."""
        signed = f"{b64(header)}.{b64(payload)}"
        return f"{signed}.{b64(self.sign(signed.encode()))}"


@cache
def ed25519(key_id: str | None = "k-1", seed: str = "desk") -> Signing:
    """Return an Ed25519 key that is the same in every run."""
    raw = hashlib.sha256(seed.encode()).digest()
    return Signing("EdDSA", Ed25519PrivateKey.from_private_bytes(raw), key_id)


@cache
def p256(key_id: str | None = "k-1", seed: str = "floor") -> Signing:
    """Return a key on P-256 that is the same in every run."""
    number = int.from_bytes(hashlib.sha256(seed.encode()).digest(), "big") >> 1
    return Signing("ES256", ec.derive_private_key(number, ec.SECP256R1()), key_id)


@cache
def rsa_key(key_id: str | None = None, bits: int = 2048, which: int = 0) -> Signing:
    """Return an RSA key, made once in a run."""
    return Signing("RS256", rsa.generate_private_key(public_exponent=65537, key_size=bits), key_id)


def jwks(*keys: Signing | dict[str, Any]) -> bytes:
    """Return a JWKS of these keys."""
    told = [key.jwk() if isinstance(key, Signing) else key for key in keys]
    return json.dumps({"keys": told}).encode()


def written(folder: Path, name: str, text: str | bytes, mode: int = 0o644) -> Path:
    """Write a file that nobody else can write, unless ``mode`` says so."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(mode)
    return path


def issuers_file(folder: Path, **tables: Mapping[str, Any]) -> Path:
    """Write an issuers file; values are TOML as JSON spells it."""
    lines = []
    for name, fields in tables.items():
        lines.append(f"[issuers.{name}]")
        lines += [f"{field} = {json.dumps(value)}" for field, value in fields.items()]
    return written(folder, "issuers.toml", "\n".join(lines))


def three_issuers(folder: Path, **bounds: Any) -> Path:
    """Write a file with an issuer of each algorithm; two of them name their key alike.

    Args:
        bounds: further fields of each.
    """
    scopes = {"scopes": ["market:read", "orders:create"]}
    written(folder, "desk.json", jwks(ed25519()))
    written(folder, "floor.json", json.dumps(p256().jwk()))
    written(folder, "vault.pem", rsa_key().pem)
    desk = {"issuer": DESK, "algorithm": "EdDSA", "key_file": "desk.json"}
    floor = {"issuer": FLOOR, "algorithm": "ES256", "key_file": "floor.json"}
    vault = {"issuer": VAULT, "algorithm": "RS256", "key_file": "vault.pem"}
    tables = {"desk": desk, "floor": floor, "vault": vault}
    return issuers_file(folder, **{name: scopes | each | bounds for name, each in tables.items()})


@dataclass
class Publisher:
    """Publishes a JWKS over HTTP on loopback, and misbehaves when told to.

    ``max_age_s`` None sends no cache-control. ``misbehaves`` takes an answer's place. ``asked``
    is set when the first request has come.
    """

    server: Rogue
    keys: tuple[Signing | dict[str, Any], ...] = ()
    max_age_s: int | None = None
    misbehaves: Callable[[Connection], Any] | None = None
    asked: anyio.Event = field(default_factory=anyio.Event)
    requests: list[bytes] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where the JWKS stands."""
        return f"{self.server.url}/jwks.json"

    @property
    def fetches(self) -> int:
        """How often it was asked for."""
        return len(self.requests)

    async def answer(self, connection: Connection) -> None:
        """Answer one request."""
        self.requests.append(connection.request)
        self.asked.set()
        if self.misbehaves is not None:
            await self.misbehaves(connection)
            return
        body = jwks(*self.keys)
        age = (
            "" if self.max_age_s is None else f"cache-control: public, max-age={self.max_age_s}\r\n"
        )
        head = f"HTTP/1.1 200 OK\r\n{age}content-length: {len(body)}\r\n\r\n"
        await connection.send(head.encode() + body)


@asynccontextmanager
async def published(*keys: Signing | dict[str, Any], **fields: Any) -> AsyncIterator[Publisher]:
    """Serve a JWKS for as long as the block runs."""
    made: list[Publisher] = []

    async def answer(connection: Connection) -> None:
        await made[0].answer(connection)

    async with rogue(answer) as server:
        made.append(Publisher(server, keys, **fields))
        yield made[0]


def tampered(token: str, part: int, change: Callable[[bytes], bytes]) -> str:
    """Return a token with the bytes of one of its parts changed, signature kept."""
    parts = token.split(".")
    raw = base64.urlsafe_b64decode(parts[part] + "=" * (-len(parts[part]) % 4))
    parts[part] = b64(change(raw))
    return ".".join(parts)
