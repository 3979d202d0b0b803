"""Signing keys as values: states, dates, two live ones, and ids that are never given out again."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mcp_gateway.access.keyring import Key, Keyring
from mcp_gateway.access.keys import making
from mcp_gateway.access.keys.records import KeyRecord, KeySet, is_weak, record_faults
from mcp_gateway.errors import ConfigurationError, GatewayError
from tests.support.clock import START
from tests.support.keys import SUBJECT, days, made, record
from tests.support.tokens import ISSUER

pytestmark = [pytest.mark.unit]

FIELD = 2**255 - 19
D = -121665 * pow(121666, -1, FIELD) % FIELD


def refused(work: Any, *arguments: Any) -> str:
    with pytest.raises(GatewayError) as refusal:
        work(*arguments)
    return refusal.value.code


@pytest.mark.parametrize(
    ("changes", "after_days", "state"),
    [
        ({}, 0, "active"), ({}, 9999, "active"), ({"not_before": START + days(1)}, 0.9, "waiting"),
        ({"not_before": START + days(1)}, 1, "active"),
        ({"not_after": START + days(1)}, 0.9, "active"),
        ({"not_after": START + days(1)}, 1, "ended"),
        ({"not_after": START + days(1), "replaced_by": "k2"}, 0.9, "retiring"),
        ({"not_after": START + days(1), "replaced_by": "k2"}, 1, "ended"),
        ({"revoked_at": START, "secret": None}, 0, "revoked"),
    ],
)  # fmt: skip
def test_a_key_has_one_state_at_a_time(
    changes: dict[str, Any], after_days: float, state: str
) -> None:
    """The dates say which; the keyring believes only those that serve at that moment."""
    kept, at = record(**changes), START + days(after_days)
    assert kept.state(at) == state
    assert kept.key().serves(at) is (state in {"active", "retiring"})
    assert kept.key().ended(at) is (state in {"ended", "revoked"})


def test_a_caller_has_two_live_keys_at_most() -> None:
    """The one in use and the one that takes its place; a third must wait for an end."""
    first, second, third = record(), record(), record()
    full = KeySet((first, second))
    assert refused(full.with_new, third, START) == "keys_full"
    assert KeySet((first,)).with_new(second, START) == full
    assert full.revoked(first.key_id, START, "gone").with_new(third, START).records[-1] == third
    ended = KeySet((record(not_after=START), second))
    assert third in ended.with_new(third, START).records
    assert len(full.with_new(record("risk-agent"), START).records) == 3


def test_the_environments_key_counts_as_one_of_the_two() -> None:
    """HMAC_SECRET beside two keys of the file would be a third way in."""
    own = [Key(SUBJECT, ISSUER, SUBJECT, b"k" * 32)]
    kept = KeySet().with_new(record(), START, own)
    assert refused(kept.with_new, record(), START, own) == "keys_full"
    other = [Key(SUBJECT, "https://elsewhere.example", SUBJECT, b"k" * 32)]
    assert len(kept.with_new(record(), START, other).records) == 2


def test_a_rotated_key_serves_until_the_overlap_is_over() -> None:
    """Nothing fails while the agent changes over; then the old key is of no use."""
    old, new = record(), record()
    kept = KeySet((old,)).rotated(old.key_id, new, START, days(7))
    retiring = kept.named(old.key_id)
    assert (retiring.state(START), retiring.replaced_by) == ("retiring", new.key_id)
    assert retiring.not_after == START + days(7)
    assert kept.named(new.key_id).state(START) == "active"


def test_a_rotation_never_prolongs_a_key() -> None:
    """A key that ends tomorrow does so whatever the overlap."""
    old = record(not_after=START + days(1))
    kept = KeySet((old,)).rotated(old.key_id, record(), START, days(7))
    assert kept.named(old.key_id).not_after == START + days(1)


def test_only_an_active_key_is_rotated() -> None:
    """A retiring one has its successor; a dead one must not come back by a side door."""
    old = record()
    kept = KeySet((old,)).rotated(old.key_id, record(), START, days(1))
    assert refused(kept.rotated, old.key_id, record(), START, days(1)) == "key_retiring"
    gone = KeySet((old,)).revoked(old.key_id, START, "lost")
    assert refused(gone.rotated, old.key_id, record(), START, days(1)) == "key_not_live"
    assert refused(kept.rotated, "nobody", record(), START, days(1)) == "key_unknown"


def test_a_revoked_key_keeps_its_id_and_loses_its_secret() -> None:
    """The id names that key for ever; the secret is of no use to anybody any more."""
    old = record()
    gone = KeySet((old,)).revoked(old.key_id, START, "laptop lost")
    told = gone.named(old.key_id)
    assert (told.secret, told.revoked_at, told.reason) == (None, START, "laptop lost")
    assert gone.revoked(old.key_id, START + days(1), "again") == gone
    assert refused(gone.revoked, "nobody", START, "x") == "key_unknown"


def test_a_revoked_public_key_does_not_come_back() -> None:
    """The pair may be in other hands: under another id it would be as bad."""
    agents = Ed25519PrivateKey.generate().public_key()
    pem = agents.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    first, again = (made("ed25519", public_key=pem).record for _ in range(2))
    gone = KeySet((first,)).revoked(first.key_id, START, "stolen")
    assert refused(gone.with_new, again, START) == "key_known"


def test_a_key_id_stands_once_in_the_file() -> None:
    """Two records of one id would leave open whose key it is."""
    one = record()
    with pytest.raises(ConfigurationError) as faults:
        KeySet((one, one))
    assert one.key_id in faults.value.faults[0]


def test_key_ids_are_readable_and_new() -> None:
    """An operator recognises whose it is; no header needs escaping; none is given out twice."""
    ids = {making.new_key_id("signal-agent") for _ in range(100)}
    assert len(ids) == 100
    assert all(each.startswith("signal-agent-") for each in ids)
    for subject in ("агент", "a b/c", "-", "x" * 128, '"\\'):
        key_id = making.new_key_id(subject)
        assert Keyring(keys=[Key(key_id, ISSUER, subject, b"k")]).find(key_id) is not None


GOOD: dict[str, Any] = {
    "key_id": "k1", "issuer": ISSUER, "subject": SUBJECT, "algorithm": "hmac-sha256",
    "secret": "s" * 43, "created_at": "2025-11-18T10:00:00Z", "not_before": "2025-11-18T10:00:00Z",
}  # fmt: skip
PUBLIC = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"  # RFC 8032 section 7.1, test 1


def test_a_sound_record_is_read() -> None:
    """Without this, the table of faults would pass with a reader that refuses everything."""
    found, faults = record_faults(GOOD, 0)
    assert (found is not None and found.key_id, faults) == ("k1", [])
    pair = {k: v for k, v in GOOD.items() if k != "secret"} | {
        "algorithm": "ed25519", "public_key": PUBLIC
    }  # fmt: skip
    assert record_faults(pair, 0)[1] == []


@pytest.mark.parametrize(
    "changes",
    [
        {"key_id": ""}, {"key_id": "k" * 129}, {"key_id": "ключ"}, {"key_id": "a\nb"}, {"key_id": 7},
        {"issuer": ""}, {"subject": ""}, {"subject": None}, {"algorithm": "none"},
        {"algorithm": "rsa-v1_5-sha256"}, {"algorithm": "HMAC-SHA256"},
        {"secret": "short"}, {"secret": None}, {"secret": 5}, {"public_key": PUBLIC},
        {"algorithm": "ed25519"}, {"algorithm": "ed25519", "public_key": PUBLIC},
        {"algorithm": "ed25519", "secret": None, "public_key": "AAAA"},
        {"algorithm": "ed25519", "secret": None, "public_key": "A" * 43},
        {"algorithm": "ed25519", "secret": None, "public_key": f"{PUBLIC}="},
        {"algorithm": "ed25519", "secret": None, "public_key": f"{PUBLIC}\n"},
        {"algorithm": "ed25519", "secret": None, "public_key": "é" * 43},
        {"created_at": "yesterday"}, {"created_at": 5}, {"not_before": "2025-11-18T10:00:00"},
        {"not_after": "2025-11-17T10:00:00Z"}, {"not_before": None}, {"unknown": 1},
        {"revoked_at": "soon"}, {"reason": ""}, {"reason": "x" * 201}, {"replaced_by": "\x00"},
    ],
    ids=str,
)  # fmt: skip
def test_a_record_with_a_fault_is_named_by_its_field(changes: dict[str, Any]) -> None:
    """An operator mends what is named; the secret is never in the sentence."""
    found, faults = record_faults(GOOD | changes, 3)
    assert found is None
    assert faults
    assert all(fault.startswith("keys[3]") for fault in faults)
    assert GOOD["secret"] not in str(faults)


@pytest.mark.parametrize("told", [None, 5, "k1", [], [GOOD]], ids=repr)
def test_what_is_no_record_is_a_fault(told: object) -> None:
    """A list in the place of a table is told, not crashed on."""
    assert record_faults(told, 0)[1]


def test_no_secret_is_shown_of_a_key() -> None:
    """Not by repr, not by what lists print, not by what is handed out beside it."""
    one = made()
    assert one.handed_over is not None
    for shown in (
        repr(one),
        repr(one.record),
        str(one.record.shown(START)),
        repr(one.record.key()),
    ):
        assert one.handed_over not in shown
    assert isinstance(one.record, KeyRecord)


def _decoded(public: bytes) -> tuple[int, int] | None:
    """Return the point that 32 bytes encode; None where they encode none (RFC 8032, 5.1.3)."""
    sign, y = public[31] >> 7, int.from_bytes(public, "little") & ~(1 << 255)
    square = (y * y - 1) * pow(D * y * y + 1, -1, FIELD) % FIELD
    x = pow(square, (FIELD + 3) // 8, FIELD)
    if (x * x - square) % FIELD:
        x = x * pow(2, (FIELD - 1) // 4, FIELD) % FIELD
    if (x * x - square) % FIELD:
        return None
    return (FIELD - x if x % 2 != sign else x) % FIELD, y % FIELD


def _doubled(point: tuple[int, int]) -> tuple[int, int]:
    x, y = point
    both = D * x * x * y * y
    return (
        2 * x * y * pow(1 + both, -1, FIELD) % FIELD,
        (y * y + x * x) * pow(1 - both, -1, FIELD) % FIELD,
    )


@pytest.mark.parametrize(
    "y",
    [0, 1, FIELD - 1, FIELD, FIELD + 1,
     int("05fc536d880238b13933c6d305acdfd5f098eff289f4c345b027b2c28f95e826", 16),
     int("7a03ac9277fdc74ec6cc392cfa53202a0f67100d760b3cba4fd84d3d706a17c7", 16)],
)  # fmt: skip
@pytest.mark.parametrize("sign", [0, 1])
def test_a_public_key_for_which_anybody_can_sign_is_refused(y: int, sign: int) -> None:
    """RFC 8032: eight times such a point is the identity, so a signature need not know a key."""
    public = (y | sign << 255).to_bytes(32, "little")
    assert is_weak(public)
    point = _decoded(public)
    assert point is not None
    assert _doubled(_doubled(_doubled(point))) == (0, 1)


def test_an_honest_public_key_is_none_of_them() -> None:
    """The check must not refuse what agents really use."""
    for _ in range(20):
        raw = Ed25519PrivateKey.generate().public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        assert not is_weak(raw)
