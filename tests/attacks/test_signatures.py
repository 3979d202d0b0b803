"""Threat: an order is altered, borrowed, replayed, or sent without the caller's own key."""

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_gateway.access.signatures import LONGEST_FIELD, SignedRequest, judge, judge_plain
from mcp_gateway.domain.principals import Evidence, PlainSigned, Signed, Unsigned
from tests.support.clock import ManualClock
from tests.support.signing import (
    BODY,
    COMPONENTS,
    KEY,
    KEY_ID,
    KEYRING,
    NONCE,
    OTHER_ID,
    OTHER_KEY,
    content_digest,
    signed,
)
from tests.support.tokens import NOW

pytestmark = [pytest.mark.unit]

WINDOW_S = 30
KEYS = KEYRING.signing_keys()


def judged(request: SignedRequest, *, later_s: float = 0) -> Evidence:
    clock = ManualClock()
    clock.advance(later_s)
    return judge(request, KEYRING, clock, WINDOW_S)


def with_field(request: SignedRequest, name: bytes, value: bytes) -> SignedRequest:
    kept = [pair for pair in request.headers if pair[0] != name]
    return replace(request, headers=[*kept, (name, value)])


def without_field(request: SignedRequest, name: bytes) -> SignedRequest:
    return replace(request, headers=[pair for pair in request.headers if pair[0] != name])


def with_line(request: SignedRequest, name: bytes, value: bytes) -> SignedRequest:
    return replace(request, headers=[*request.headers, (name, value)])


def field(request: SignedRequest, name: bytes) -> bytes:
    return next(value for found, value in request.headers if found == name)


def relabelled(request: SignedRequest, parameters: bytes) -> SignedRequest:
    """Alter the signature's parameters after signing."""
    told = field(request, b"signature-input")
    return with_field(request, b"signature-input", told.partition(b";")[0] + parameters)


def swapped_body() -> SignedRequest:
    other = b'{"pair":"BTC/USDT","side":"buy","amount":"9.001"}'
    return replace(signed(), body=other)


def swapped_body_and_digest() -> SignedRequest:
    request = swapped_body()
    return with_field(request, b"content-digest", content_digest(request.body).encode())


def second_digest_line() -> SignedRequest:
    return with_line(signed(), b"content-digest", content_digest(b"{}", "sha-512").encode())


ATTACKS: dict[str, Callable[[], SignedRequest]] = {
    "one digit of the body changed": swapped_body,
    "body and digest changed together": swapped_body_and_digest,
    "body taken away": lambda: replace(signed(), body=b""),
    "a space after the body": lambda: replace(signed(), body=BODY + b" "),
    "another path": lambda: replace(signed(), raw_path=b"/api/v1/orders/dry-run"),
    "the path spelt with an escape": lambda: replace(signed(), raw_path=b"/api/v1/%6frders"),
    "a doubled slash": lambda: replace(signed(), raw_path=b"//api/v1/orders"),
    "another host": lambda: replace(signed(), host="gateway.example"),
    "another port": lambda: replace(signed(), host="127.0.0.1:8001"),
    "a path smuggled into the host": lambda: replace(
        signed(host="h", path="/x/mcp"), host="h/x", raw_path=b"/mcp"
    ),
    "a user name in the host": lambda: replace(signed(host="h"), host="user@h"),
    "another method": lambda: replace(signed(), method="PUT"),
    "the method in small letters": lambda: signed(method="post"),
    "a query string added": lambda: replace(signed(), query_string=b"amount=9"),
    "a query string from the start": lambda: signed(query=b"a=1"),
    "a query within the path": lambda: replace(signed(), raw_path=b"/api/v1/orders?a=1"),
    "another subject's key": lambda: signed(key=OTHER_KEY),
    "a key of nobody": lambda: signed(keyid="nobody"),
    "an empty key": lambda: signed(key="", keyid="nobody"),
    "no key id": lambda: signed(without=("keyid",)),
    "no time": lambda: signed(without=("created",)),
    "time as text": lambda: signed(created=str(NOW)),
    "no nonce": lambda: signed(without=("nonce",)),
    "an empty nonce": lambda: signed(nonce=""),
    "a nonce of 90 bit": lambda: signed(nonce="A-cdefghijklmno"),
    "a nonce of 92 bit in hexadecimal": lambda: signed(nonce="0123456789abcdef0123456"),
    "an endless nonce": lambda: signed(nonce="n" * 129),
    "nonce as a number": lambda: signed(nonce=123456789012345),
    "no algorithm": lambda: signed(without=("alg",)),
    "another algorithm": lambda: signed(alg="hmac-sha512"),
    "no algorithm by name": lambda: signed(alg="none"),
    "no tag": lambda: signed(without=("tag",)),
    "the tag of another application": lambda: signed(tag="other-app"),
    "another label": lambda: signed(label="sig1"),
    "an unknown parameter": lambda: signed(audience="x"),
    "every parameter replaced": lambda: relabelled(signed(), b";created=1"),
    "nonce changed after signing": lambda: with_field(
        signed(), b"signature-input",
        field(signed(), b"signature-input").replace(NONCE.encode(), NONCE[::-1].encode()),
    ),
    "time changed after signing": lambda: with_field(
        signed(), b"signature-input",
        field(signed(), b"signature-input").replace(str(NOW).encode(), str(NOW + 1).encode()),
    ),
    **{
        f"{name} not covered": partial(
            signed, components=[each for each in COMPONENTS if each != name]
        )
        for name in COMPONENTS
    },
    "digest left out where there is no body": lambda: without_field(
        signed(body=b"", components=COMPONENTS[:3]), b"content-digest"
    ),
    "the root path taken away": lambda: replace(signed(path="/"), raw_path=b""),
    "nothing covered": lambda: signed(components=()),
    "a component twice": lambda: signed(components=(*COMPONENTS, "@path")),
    "a component of no message": lambda: with_field(
        signed(), b"signature-input",
        field(signed(), b"signature-input").replace(b'"@path"', b'"@path" "@nothing"'),
    ),
    "only one member of the digest covered": lambda: with_field(
        signed(), b"signature-input",
        field(signed(), b"signature-input").replace(
            b'"content-digest"', b'"content-digest";key="sha-256"'
        ),
    ),
    "digest of other bytes, signed": lambda: signed(digest=content_digest(b"{}")),
    "digest by a weak algorithm": lambda: signed(
        digest="md5=:" + "AAAAAAAAAAAAAAAAAAAAAA==" + ":"
    ),
    "a weak digest beside the good one": lambda: signed(
        digest=content_digest(BODY) + ", md5=:AAAAAAAAAAAAAAAAAAAAAA==:"
    ),
    "digest of the wrong length": lambda: signed(digest="sha-256=:AAAA:"),
    "digest as text": lambda: signed(digest='sha-256="abc"'),
    "digest missing": lambda: without_field(signed(), b"content-digest"),
    "a second digest line": second_digest_line,
    "signature without its input": lambda: without_field(signed(), b"signature-input"),
    "input without its signature": lambda: without_field(signed(), b"signature"),
    "signature of zeros": lambda: with_field(signed(), b"signature", b"gw=:" + b"A" * 43 + b"=:"),
    "signature empty": lambda: with_field(signed(), b"signature", b"gw=::"),
    "signature as text": lambda: with_field(signed(), b"signature", b'gw="x"'),
    "two input lines with one label": lambda: with_line(
        signed(), b"signature-input", field(signed(), b"signature-input")
    ),
    "two signature lines with one label": lambda: with_line(
        signed(), b"signature", field(signed(), b"signature")
    ),
    "a second label without its input": lambda: with_line(signed(), b"signature", b"b=:AAAA:"),
    "the label in capitals": lambda: with_field(
        signed(), b"signature-input", field(signed(), b"signature-input").replace(b"gw=", b"GW=")
    ),
    "an input longer than is read": lambda: with_field(
        signed(), b"signature-input",
        field(signed(), b"signature-input") + b" " * LONGEST_FIELD,
    ),
    "bytes beyond ASCII": lambda: with_field(signed(), b"signature-input", b"gw=(\xff\xfe)"),
    "a null byte": lambda: with_field(signed(), b"signature", b"gw=:\0:"),
}  # fmt: skip


@pytest.mark.parametrize("make", ATTACKS.values(), ids=ATTACKS.keys())
def test_an_altered_or_borrowed_signature_proves_nothing(
    make: Callable[[], SignedRequest],
) -> None:
    """RFC 9421 section 3.2: what the policy asks for is covered, fits and is by a known key."""
    assert judged(make()) == Unsigned("signature_invalid")


@pytest.mark.parametrize(
    "request_",
    [
        signed(), signed(host="gateway.example"), signed(components=[*reversed(COMPONENTS)]),
        signed(components=(*COMPONENTS, "@scheme")), signed(host="[::1]:8000"),
        signed(digest=content_digest(BODY, "sha-512")), signed(expires=NOW + 10),
        signed(digest=content_digest(BODY) + ", " + content_digest(BODY, "sha-512")),
        signed(body=b""), signed(path="/mcp"),
    ],
)  # fmt: skip
def test_a_signature_that_fits_is_evidence(request_: SignedRequest) -> None:
    """Without this, the table above would pass with a judge that refuses everything."""
    assert judged(request_) == Signed(KEY_ID, NONCE, NOW)


def test_the_evidence_names_the_key_that_signed() -> None:
    """Whose key it is decides the gate: another subject's key is evidence for that subject."""
    assert judged(signed(key=OTHER_KEY, keyid=OTHER_ID)) == Signed(OTHER_ID, NONCE, NOW)


def test_a_request_without_signature_is_not_called_invalid() -> None:
    """Reads need none; the agent of an order is told that one is missing."""
    bare = without_field(without_field(signed(), b"signature"), b"signature-input")
    assert judged(bare) == Unsigned("signature_missing")


@pytest.mark.parametrize(
    ("later_s", "fits"), [(-30.5, False), (-30, True), (0, True), (30, True), (30.5, False)]
)
def test_time_may_be_off_by_the_window_and_no_more(later_s: float, fits: bool) -> None:
    """By our clock, in both directions; the refusal says that time is the fault."""
    expected = Signed(KEY_ID, NONCE, NOW) if fits else Unsigned("signature_expired")
    assert judged(signed(), later_s=later_s) == expected


@pytest.mark.parametrize("created", [0, 1, NOW - 86400, NOW + 86400, 10**14, -5])
def test_any_moment_can_be_claimed_and_only_the_present_counts(created: int) -> None:
    """RFC 9421 section 7.2.2: a timestamp far off is refused, however it is spelt."""
    assert judged(signed(created=created)) == Unsigned("signature_expired")


def test_the_signers_own_end_is_kept() -> None:
    """RFC 9421 section 2.3: `expires` may make the window smaller, never larger."""
    assert judged(signed(expires=NOW + 5), later_s=6) == Unsigned("signature_expired")
    assert judged(signed(expires=NOW + 900), later_s=31) == Unsigned("signature_expired")


def test_a_second_signature_by_another_label_lends_nothing() -> None:
    """A proxy may add its own; only ours is read, and ours must fit by itself."""
    proxy = signed(key=OTHER_KEY, keyid=OTHER_ID, label="proxy", tag="proxy-app")
    both = with_line(signed(), b"signature-input", field(proxy, b"signature-input"))
    both = with_line(both, b"signature", field(proxy, b"signature"))
    assert judged(both) == Signed(KEY_ID, NONCE, NOW)
    assert judged(replace(both, body=b"{}")) == Unsigned("signature_invalid")


def test_the_default_port_is_the_same_authority() -> None:
    """RFC 9421 section 2.2.3: a client may leave out :443 behind TLS, and so may the Host."""
    request = replace(signed(host="gateway.example"), scheme="https", host="gateway.example:443")
    assert judged(request) == Signed(KEY_ID, NONCE, NOW)


FIELDS = (b"signature-input", b"signature", b"content-digest")
NOISE = st.binary(max_size=80) | st.sampled_from(
    [b"gw", b"gw=", b"gw=()", b"gw=1", b"gw=(1 2)", b'gw=("@method";req)', b"gw=:*:", b"gw=?1",
     b'gw=("@query-param";name="x")', b'gw=("@status")', b'gw=("content-digest";bs)',
     b'gw=("content-digest";tr)', b'gw=("@signature-params")', b"gw=@1", b"gw;created=9" * 9]
)  # fmt: skip


@given(name=st.sampled_from(FIELDS), noise=NOISE, cut=st.integers(0, 250), whole=st.booleans())
def test_whatever_stands_in_the_headers_is_judged_without_a_crash(
    name: bytes, noise: bytes, cut: int, whole: bool
) -> None:
    """The door must never fail on a header: a read with a broken signature still passes."""
    request = signed()
    value = noise if whole else field(request, name)[:cut] + noise + field(request, name)[cut:]
    evidence = judged(with_field(request, name, value))
    unchanged = value.strip(b" \t") == field(request, name)
    assert isinstance(evidence, Unsigned) or unchanged or not noise.strip(b" \t")


@given(method=st.text(max_size=10), host=st.text(max_size=30), path=st.binary(max_size=30))
def test_whatever_stands_in_the_request_line_is_judged_without_a_crash(
    method: str, host: str, path: bytes
) -> None:
    """The same for method, host and path."""
    request = replace(signed(), method=method, host=host, raw_path=path)
    assert judged(request) == Unsigned("signature_invalid")


def plain(body: bytes = BODY, key: str = KEY) -> bytes:
    return hmac.new(key.encode(), body, hashlib.sha256).hexdigest().encode()


def test_the_predecessors_form_is_evidence_of_its_own_kind() -> None:
    """It names whose key fits, and that it can be replayed."""
    assert judge_plain(BODY, plain(), KEYS) == PlainSigned(KEY_ID)
    assert judge_plain(BODY, plain(key=OTHER_KEY), KEYS) == PlainSigned(OTHER_ID)
    assert judge_plain(BODY, plain().upper(), KEYS) == PlainSigned(KEY_ID)


@pytest.mark.parametrize(
    "signature",
    [b"", plain()[:-2], plain() + b"00", plain(key="x"), plain(body=b"{}"), b"z" * 64, b"\xff" * 64,
     b"sha256=" + plain(), b"0x" + plain()[2:]],
)  # fmt: skip
def test_a_plain_signature_that_does_not_fit_proves_nothing(signature: bytes) -> None:
    """Only the hexadecimal HMAC-SHA256 of exactly this body fits."""
    assert judge_plain(BODY, signature, KEYS) == Unsigned("signature_invalid")


def test_the_keyring_shows_no_secret() -> None:
    """Secrets never reach a log by way of repr."""
    shown = repr(KEYRING) + repr(KEYRING.signing_keys()) + str(KEYRING)
    assert KEY not in shown
    assert OTHER_KEY not in shown
