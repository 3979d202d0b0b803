"""Threat: a key is taken for another kind, outlives its end, or speaks for somebody else."""

import hashlib
import hmac
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from mcp_gateway.access.keyring import Key, Keyring
from mcp_gateway.access.keys import file
from mcp_gateway.access.keys.records import public_text, record_faults
from mcp_gateway.access.signatures import SignedRequest, judge, judge_plain
from mcp_gateway.client import GatewayAuth
from mcp_gateway.domain.operations import OPERATIONS
from mcp_gateway.domain.principals import Credentials, Evidence, PlainSigned, Signed, Unsigned
from mcp_gateway.errors import NotPermitted
from tests.support.clock import START, ManualClock
from tests.support.gateway import ORDER, TRADER, Face, code_of, settings_for
from tests.support.keys import days, made, record, written
from tests.support.signing import NONCE, signed
from tests.support.tokens import ISSUER, NOW

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

PRIVATE = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = PRIVATE.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
PEM = PRIVATE.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
SECRET = b"a-shared-secret-of-the-tests-0123456789abcdef"
RING = Keyring(
    keys=[
        Key("pair", ISSUER, TRADER, PUBLIC, "ed25519"),
        Key("shared", ISSUER, TRADER, SECRET),
    ]
)
ED25519: dict[str, Any] = {"keyid": "pair", "alg": "ed25519", "signer": PRIVATE.sign}


def judged(request: SignedRequest, ring: Keyring = RING) -> Evidence:
    return judge(request, ring, ManualClock(), 30)


def hmac_by(key: bytes) -> Callable[[bytes], bytes]:
    return partial(hmac.digest, key, digest="sha256")


def cut(signature: bytes) -> Callable[[bytes], bytes]:
    return lambda _base: signature


def torsion(base: bytes) -> bytes:
    """Sign with S + L, which is another spelling of the same signature (RFC 8032, 5.1.7)."""
    genuine = PRIVATE.sign(base)
    order = 2**252 + 27742317777372353535851937790883648493
    more = int.from_bytes(genuine[32:], "little") + order
    return genuine[:32] + more.to_bytes(32, "little")


def test_an_ed25519_signature_that_fits_is_evidence() -> None:
    """Without this, the table below would pass with a judge that refuses everything."""
    assert judged(signed(**ED25519)) == Signed("pair", NONCE, NOW)
    assert judged(signed(key=SECRET.decode(), keyid="shared")) == Signed("shared", NONCE, NOW)


ATTACKS: dict[str, Callable[[], SignedRequest]] = {
    "the public key as an HMAC secret": lambda: signed(
        keyid="pair", alg="hmac-sha256", signer=hmac_by(PUBLIC)
    ),
    "the public key's PEM as an HMAC secret": lambda: signed(
        keyid="pair", alg="hmac-sha256", signer=hmac_by(PEM)
    ),
    "HMAC by the public key, called ed25519": lambda: signed(
        keyid="pair", alg="ed25519", signer=hmac_by(PUBLIC)
    ),
    "HMAC by the public key, called nothing": lambda: signed(
        keyid="pair", without=("alg",), signer=hmac_by(PUBLIC)
    ),
    "ed25519 called HMAC": lambda: signed(**ED25519 | {"alg": "hmac-sha256"}),
    "ed25519 called nothing": lambda: signed(**ED25519, without=("alg",)),
    "ed25519 in capitals": lambda: signed(**ED25519 | {"alg": "Ed25519"}),
    "ed25519 called none": lambda: signed(**ED25519 | {"alg": "none"}),
    "ed25519 called rsa": lambda: signed(**ED25519 | {"alg": "rsa-v1_5-sha256"}),
    "HMAC's key id with a pair's signature": lambda: signed(**ED25519 | {"keyid": "shared"}),
    "the pair's key id with HMAC's signature": lambda: signed(keyid="pair", signer=hmac_by(SECRET)),
    "another pair": lambda: signed(**ED25519 | {"signer": Ed25519PrivateKey.generate().sign}),
    "a signature cut short": lambda: signed(**ED25519 | {"signer": cut(b"\0" * 63)}),
    "a signature too long": lambda: signed(
        **ED25519 | {"signer": lambda base: PRIVATE.sign(base) + b"\0"}
    ),
    "a signature of zeros": lambda: signed(**ED25519 | {"signer": cut(b"\0" * 64)}),
    "an empty signature": lambda: signed(**ED25519 | {"signer": cut(b"")}),
    "the same signature in another spelling": lambda: signed(**ED25519 | {"signer": torsion}),
    "signed twice over, a hash of the base": lambda: signed(
        **ED25519 | {"signer": lambda base: PRIVATE.sign(hashlib.sha512(base).digest())}
    ),
    "another body": lambda: replace(signed(**ED25519), body=b"{}"),
    "another path": lambda: replace(signed(**ED25519), raw_path=b"/api/v1/halts"),
    "another host": lambda: replace(signed(**ED25519), host="elsewhere.example"),
    "another method": lambda: replace(signed(**ED25519), method="DELETE"),
    "a key id as a number": lambda: signed(**ED25519 | {"keyid": 7}),
    "no key id": lambda: signed(**ED25519, without=("keyid",)),
    "a key id in other letters": lambda: signed(**ED25519 | {"keyid": "PAIR"}),
    "a key id with a space": lambda: signed(**ED25519 | {"keyid": "pair "}),
}


@pytest.mark.parametrize("make", ATTACKS.values(), ids=ATTACKS.keys())
def test_the_key_decides_the_algorithm(make: Callable[[], SignedRequest]) -> None:
    """RFC 9421 section 7.3.6: else what a caller writes would decide how it is checked."""
    assert judged(make()) == Unsigned("signature_invalid")


def test_a_point_for_which_anybody_can_sign_is_no_key_to_load() -> None:
    """With this public key, R = identity and S = 0 fit any message; the file refuses it."""
    identity = b"\x01" + b"\0" * 31
    weak = Keyring(keys=[Key("weak", ISSUER, TRADER, identity, "ed25519")])
    forged = signed(keyid="weak", alg="ed25519", signer=cut(identity + b"\0" * 32))
    assert judged(forged, weak) == Signed("weak", NONCE, NOW)
    told = made("ed25519").record.model_dump(mode="json", exclude_none=True)
    assert record_faults(told, 0)[1] == []
    assert record_faults(told | {"public_key": public_text(identity)}, 0)[1]


@pytest.mark.parametrize(
    ("changes", "fits"),
    [
        ({}, True), ({"not_before": START}, True), ({"not_before": START + days(0.001)}, False),
        ({"not_after": START}, False), ({"not_after": START + days(0.001)}, True),
        ({"revoked": True}, False), ({"revoked": True, "not_after": START + days(1)}, False),
    ],
    ids=range(7),
)  # fmt: skip
def test_a_key_serves_between_its_dates_and_never_once_revoked(
    changes: dict[str, Any], fits: bool
) -> None:
    """By our clock, at the moment of the call."""
    ring = Keyring(keys=[replace(Key("pair", ISSUER, TRADER, PUBLIC, "ed25519"), **changes)])
    wanted = Signed("pair", NONCE, NOW) if fits else Unsigned("signature_invalid")
    assert judged(signed(**ED25519), ring) == wanted


def test_the_plain_form_is_held_against_the_callers_own_hmac_keys() -> None:
    """It names no key: a public key must not serve as a secret there either."""
    keys = RING.keys_of(ISSUER, TRADER, START)
    body = b"{}"
    by_public = hmac.digest(PUBLIC, body, "sha256").hex().encode()
    assert judge_plain(body, by_public, keys) == Unsigned("signature_invalid")
    genuine = hmac.digest(SECRET, body, "sha256").hex().encode()
    assert judge_plain(body, genuine, keys) == PlainSigned("shared")
    assert judge_plain(body, genuine, RING.keys_of(ISSUER, "x", START)) != PlainSigned("shared")
    assert RING.keys_of("https://elsewhere.example", TRADER, START) == ()


class Served:
    """The whole HTTP face over a keys file."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "keys.json"
        self.face = Face(settings_for(folder, hmac_secret=None))
        self.clock = self.face.gateway.clock
        self.keys = self.face.gateway.gate.keys

    async def looked(self) -> None:
        await self.keys.look()

    @asynccontextmanager
    async def agent(
        self, key: Any, key_id: str, subject: str = TRADER
    ) -> AsyncIterator[httpx2.AsyncClient]:
        token = self.face.token(subject=subject)
        auth = GatewayAuth(token, key=key, key_id=key_id, clock=self.clock)
        async with self.face.client(auth=auth) as client:
            yield client


@pytest.fixture
def served(tmp_path: Path) -> Served:
    return Served(tmp_path)


async def ordered(client: httpx2.AsyncClient) -> str:
    answer = await client.post("/api/v1/orders", json=ORDER)
    return "placed" if answer.is_success else code_of(answer)


def pem(private: Ed25519PrivateKey) -> str:
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


async def test_a_client_signs_with_a_pair(served: Served) -> None:
    """By its PEM or the object; the gateway knows the public half alone."""
    one = made("ed25519", public_key=PEM)
    written(served.path, one.record)
    for key in (PRIVATE, pem(PRIVATE)):
        async with served.agent(key, one.record.key_id) as client:
            assert await ordered(client) == "placed"


async def test_a_key_serves_from_its_first_order_on(served: Served) -> None:
    """Unknown ids are looked for at once: no waiting after `keys new`."""
    one = made()
    async with served.agent(one.handed_over, one.record.key_id) as client:
        assert await ordered(client) == "signature_invalid"
        written(served.path, one.record)
        assert await ordered(client) == "placed"


async def test_a_revoked_key_is_refused_though_its_token_lives(served: Served) -> None:
    """Revoking is the operator's answer to a stolen key; nothing of it may linger."""
    one = made()
    written(served.path, one.record)
    await served.looked()
    async with served.agent(one.handed_over, one.record.key_id) as client:
        assert await ordered(client) == "placed"
        file.change(
            served.path, lambda keys: keys.revoked(one.record.key_id, START, "x"), lambda: None
        )
        await served.looked()
        assert await ordered(client) == "signature_invalid"


async def test_a_key_revoked_between_door_and_gate_is_refused(served: Served) -> None:
    """The gate looks again: what the door has judged may be seconds old."""
    one = made()
    written(served.path, one.record)
    await served.looked()
    gate = served.face.gateway.gate
    seen = Signed(one.record.key_id, NONCE, NOW)
    shown = Credentials("rest", served.face.token(), seen, "call-1")
    gate.keyring.hold([replace(one.record.key(), revoked=True)], START)
    with pytest.raises(NotPermitted) as refused:
        await gate.admit(shown, OPERATIONS["create_order"])
    assert refused.value.code == "signature_invalid"


async def test_another_subjects_key_of_the_file_is_no_use(served: Served) -> None:
    """A stolen token alone cannot trade, nor a stolen key."""
    mine, theirs = made(), made(subject="risk-agent")
    written(served.path, mine.record, theirs.record)
    await served.looked()
    async with served.agent(theirs.handed_over, theirs.record.key_id) as client:
        assert await ordered(client) == "signature_invalid"
    async with served.agent(mine.handed_over, mine.record.key_id, subject="risk-agent") as client:
        assert await ordered(client) == "signature_invalid"


async def test_the_same_subject_of_another_issuer_is_somebody_else(served: Served) -> None:
    """Two issuers may both call somebody signal-agent."""
    one = record(issuer="https://elsewhere.example")
    written(served.path, one)
    await served.looked()
    assert one.secret is not None
    async with served.agent(one.secret.get_secret_value(), one.key_id) as client:
        assert await ordered(client) == "signature_invalid"


async def test_a_retired_key_is_refused_from_its_last_moment_on(served: Served) -> None:
    """The overlap ends by the clock; nobody has to do anything."""
    old, new = made(), made()
    written(served.path, old.record)
    file.change(
        served.path,
        lambda keys: keys.rotated(old.record.key_id, new.record, START, days(1)),
        lambda: None,
    )
    await served.looked()
    for one, later in ((old, "signature_invalid"), (new, "placed")):
        async with served.agent(one.handed_over, one.record.key_id) as client:
            assert await ordered(client) == "placed"
            served.clock.set_wall(START + days(1))
            client.auth = GatewayAuth(
                served.face.token(),
                key=one.handed_over,
                key_id=one.record.key_id,
                clock=served.clock,
            )
            assert await ordered(client) == later
            served.clock.set_wall(START + days(0.5))


async def test_the_environments_key_id_cannot_be_taken_over(tmp_path: Path) -> None:
    """A record of the same id in the file would let another sign as that agent."""
    face = Face(settings_for(tmp_path))
    attacker = made()
    written(tmp_path / "keys.json", attacker.record.model_copy(update={"key_id": TRADER}))
    face.gateway.clock.advance(1)
    await face.gateway.gate.keys.look()
    assert face.gateway.gate.keys.faults
    auth = GatewayAuth(
        face.token(), key=attacker.handed_over, key_id=TRADER, clock=face.gateway.clock
    )
    async with face.client(auth=auth) as client:
        assert await ordered(client) == "signature_invalid"
    async with face.client(auth=face.auth(signed=True)) as client:
        assert await ordered(client) == "placed"
