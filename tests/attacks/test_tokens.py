"""Threat: a caller shows a token that is forged, borrowed, confused or too old."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from hypothesis import given
from hypothesis import strategies as st

from mcp_gateway.access.tokens.compact import LONGEST_TOKEN_CHARS
from mcp_gateway.access.tokens.identity import LEEWAY_S
from mcp_gateway.access.tokens.issuers import one_box
from mcp_gateway.access.tokens.verifier import TokenVerifier
from mcp_gateway.errors import NotAuthenticated
from tests.support.clock import ManualClock
from tests.support.tokens import AUDIENCE, CLAIMS, HEADER, ISSUER, NOW, SECRET, b64, compact, forge

pytestmark = [pytest.mark.unit]

LONGEST_S = 3600


def make_verifier(clock: ManualClock | None = None) -> TokenVerifier:
    return TokenVerifier([one_box(SECRET, ISSUER, AUDIENCE, LONGEST_S)], clock or ManualClock())


def raw_claims(**claims: Any) -> bytes:
    return json.dumps(CLAIMS | claims).encode()


def raw_header(**fields: Any) -> bytes:
    return json.dumps(HEADER | fields).encode()


def twice(raw: bytes, name: str, value: str) -> bytes:
    """Put a second member of the same name before the end of an object."""
    return raw[:-1] + f', "{name}": {value}}}'.encode()


def unsigned(algorithm: str) -> str:
    return f"{b64(raw_header(alg=algorithm))}.{b64(raw_claims())}."


def signed_by_rsa() -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    signing_input = f"{b64(raw_header(alg='RS256'))}.{b64(raw_claims())}"
    signature = key.sign(signing_input.encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{signing_input}.{b64(signature)}"


def hmac_by_a_public_key() -> str:
    public = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    pem = public.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return forge(secret=pem)


def swapped_claims() -> str:
    head, _, tail = forge().split(".")
    return f"{head}.{b64(raw_claims(sub='treasurer'))}.{tail}"


def nested(raw: bytes) -> bytes:
    depth = 2000
    return raw[:-1] + b', "x": ' + b"[" * depth + b"]" * depth + b"}"


FORGED: dict[str, Callable[[], str]] = {
    "not a token": lambda: "garbage",
    "empty segments": lambda: "..",
    "two segments": lambda: forge().rpartition(".")[0],
    "four segments": lambda: forge() + ".AAAA",
    "five segments, as an encrypted token has": lambda: "a.b.c.d.e",
    "no signature": lambda: forge().rpartition(".")[0] + ".",
    "cut signature": lambda: forge()[:-8],
    "signature of zeros": lambda: forge().rpartition(".")[0] + "." + b64(bytes(32)),
    "another key": lambda: forge(secret=b"x" * 40),
    "the key of a public certificate": hmac_by_a_public_key,
    "claims exchanged after signing": swapped_claims,
    "alg none": lambda: unsigned("none"),
    "alg None in capitals": lambda: unsigned("NONE"),
    "alg none, yet signed": lambda: forge({"alg": "none"}),
    "alg HS512": lambda: forge({"alg": "HS512"}, algorithm="sha512"),
    "alg HS384": lambda: forge({"alg": "HS384"}, algorithm="sha384"),
    "alg HS512 in the header over an HS256 signature": lambda: forge({"alg": "HS512"}),
    "alg RS256 by the caller's own key": signed_by_rsa,
    "alg hs256 in small letters": lambda: forge({"alg": "hs256"}),
    "alg missing": lambda: compact(b'{"typ":"JWT"}', raw_claims()),
    "alg of another type": lambda: forge({"alg": ["HS256"]}),
    "alg twice": lambda: compact(twice(raw_header(alg="none"), "alg", '"HS256"'), raw_claims()),
    "critical extension": lambda: forge({"crit": ["exp"], "exp": NOW}),
    "empty crit": lambda: forge({"crit": []}),
    "unencoded payload": lambda: forge({"b64": False, "crit": ["b64"]}),
    "unencoded payload without crit": lambda: forge({"b64": False}),
    "encoded payload declared critical": lambda: forge({"b64": True, "crit": ["b64"]}),
    "an ID token's type": lambda: forge({"typ": "id+jwt"}),
    "a logout token's type": lambda: forge({"typ": "logout+jwt"}),
    "typ of another type": lambda: forge({"typ": 1}),
    "header is a list": lambda: compact(b'["HS256"]', raw_claims()),
    "header nested deeply": lambda: compact(nested(raw_header()), raw_claims()),
    "header is not UTF-8": lambda: compact(b'{"alg":"HS256","x":"\xff"}', raw_claims()),
    "payload is a list": lambda: compact(raw_header(), b"[]"),
    "payload is not JSON": lambda: compact(raw_header(), b"sub=me"),
    "payload is empty": lambda: compact(raw_header(), b""),
    "payload nested deeply": lambda: compact(raw_header(), nested(raw_claims())),
    "payload holds NaN": lambda: compact(raw_header(), raw_claims(x=float("nan"))),
    "sub twice": lambda: compact(raw_header(), twice(raw_claims(), "sub", '"treasurer"')),
    "scope twice": lambda: compact(raw_header(), twice(raw_claims(), "scope", '"ops:halt"')),
    "exp twice": lambda: compact(raw_header(), twice(raw_claims(), "exp", str(NOW + 60))),
    "a nested duplicate": lambda: compact(raw_header(), twice(raw_claims(), "x", '{"a":1,"a":2}')),
    "sub missing": lambda: forge(without=("sub",)),
    "sub null": lambda: forge(sub=None),
    "sub empty": lambda: forge(sub=""),
    "sub a number": lambda: forge(sub=7),
    "sub too long": lambda: forge(sub="a" * 129),
    "sub with a line break": lambda: forge(sub="agent\nadmin"),
    "sub with a NUL": lambda: forge(sub="agent\0"),
    "sub padded": lambda: forge(sub=" agent"),
    "iss missing": lambda: forge(without=("iss",)),
    "iss another": lambda: forge(iss="https://elsewhere.example"),
    "iss a list": lambda: forge(iss=[ISSUER]),
    "iss in capitals": lambda: forge(iss=ISSUER.upper()),
    "iss of the local caller": lambda: forge(iss="local"),
    "aud missing": lambda: forge(without=("aud",)),
    "aud another": lambda: forge(aud="other-server"),
    "aud begins like ours": lambda: forge(aud=AUDIENCE + ".evil.example"),
    "aud empty list": lambda: forge(aud=[]),
    "aud a list of others": lambda: forge(aud=["other-server", "third"]),
    "aud an object": lambda: forge(aud={AUDIENCE: True}),
    "aud a mixed list": lambda: forge(aud=[AUDIENCE, 1]),
    "exp missing": lambda: forge(without=("exp",)),
    "exp text": lambda: forge(exp=str(NOW + 600)),
    "exp true": lambda: forge(exp=True),
    "exp null": lambda: forge(exp=None),
    "exp infinite": lambda: compact(
        raw_header(), raw_claims().replace(str(NOW + 600).encode(), b"1e999")
    ),
    "exp beyond any calendar": lambda: forge(exp=10**30),
    "exp with ten thousand digits": lambda: compact(
        raw_header(), raw_claims().replace(str(NOW + 600).encode(), b"9" * 5000)
    ),
    "exp negative": lambda: forge(exp=-1),
    "exp before iat": lambda: forge(iat=NOW, exp=NOW - 1),
    "longer-lived than allowed": lambda: forge(exp=NOW + LONGEST_S + 1),
    "long-lived by an early iat": lambda: forge(iat=NOW - LONGEST_S, exp=NOW + 1),
    "iat missing": lambda: forge(without=("iat",)),
    "iat text": lambda: forge(iat="now"),
    "iat in the future": lambda: forge(iat=NOW + LEEWAY_S + 1, exp=NOW + 600),
    "nbf in the future": lambda: forge(nbf=NOW + LEEWAY_S + 1),
    "nbf true": lambda: forge(nbf=True),
    "nbf negative": lambda: forge(nbf=-1),
    "nbf text": lambda: forge(nbf="soon"),
    "nbf null": lambda: forge(nbf=None),
    "scope a list": lambda: forge(scope=["orders:create"]),
    "scope a number": lambda: forge(scope=1),
    "act_for text": lambda: forge(act_for="treasurer"),
    "act_for a list of numbers": lambda: forge(act_for=[1]),
    "act_for an object": lambda: forge(act_for={"treasurer": True}),
    "act_for endless": lambda: forge(act_for=[f"a{n}" for n in range(65)]),
    "jti a number": lambda: forge(jti=1),
    "larger than 8 KiB": lambda: forge(x="a" * LONGEST_TOKEN_CHARS),
    "white space before": lambda: " " + forge(),
    "a line break within": lambda: forge().replace(".", ".\n", 1),
    "plain base64 alphabet": lambda: forge(sub="???>>>").replace("-", "+").replace("_", "/") + "/",
    "letters beyond ASCII": lambda: forge() + "é",
    "a lone surrogate": lambda: forge() + "\ud800",
}


@pytest.mark.parametrize("make", FORGED.values(), ids=FORGED.keys())
def test_a_forged_or_confused_token_is_refused(make: Callable[[], str]) -> None:
    """RFC 8725: the algorithm is ours, every claim is checked; RFC 6750: 401 invalid_token."""
    with pytest.raises(NotAuthenticated) as refused:
        make_verifier().verify(make())
    assert refused.value.code == "token_invalid"


def test_the_token_that_the_forgeries_vary_is_itself_accepted() -> None:
    """Without this, the table above would pass with a verifier that refuses everything."""
    principal = make_verifier().verify(forge())
    assert (principal.issuer, principal.subject) == (ISSUER, "signal-agent")
    assert principal.scopes == {"market:read", "orders:create"}
    assert principal.token_id == "t-1"


@pytest.mark.parametrize(
    "token",
    [
        forge({"typ": "JWT"}), forge({"typ": "application/at+jwt"}), forge({"kid": "any"}),
        compact(b'{"alg":"HS256"}', raw_claims()), forge(aud=["other", AUDIENCE]),
        forge(exp=NOW + 600.5), forge(iat=NOW + LEEWAY_S), forge(nbf=NOW + LEEWAY_S),
        forge(exp=NOW + LONGEST_S), forge(without=("jti",)), forge(sub="عامل"),
    ],
)  # fmt: skip
def test_what_the_standards_allow_is_accepted(token: str) -> None:
    """RFC 7519: typ and jti are optional, aud may be a list, times may have fractions."""
    assert make_verifier().verify(token).issuer == ISSUER


@pytest.mark.parametrize("token", ["", None])
def test_no_token_is_told_from_a_bad_one(token: str | None) -> None:
    """RFC 6750 section 3.1: without credentials the answer names no error."""
    with pytest.raises(NotAuthenticated) as refused:
        make_verifier().verify(token or "")
    assert refused.value.code == "token_missing"


def test_a_token_ends_at_its_time_also_when_it_was_accepted_before() -> None:
    """A remembered token lives no longer than it says, but for the leeway."""
    clock = ManualClock()
    verifier = make_verifier(clock)
    token = forge(exp=NOW + 60)
    clock.advance(60 + LEEWAY_S - 0.01)
    assert verifier.verify(token).subject == "signal-agent"
    clock.advance(0.01)
    for _ in range(2):
        with pytest.raises(NotAuthenticated) as refused:
            verifier.verify(token)
        assert refused.value.code == "token_expired"


def test_an_expired_token_of_another_key_is_invalid_not_expired() -> None:
    """Only a genuine token may learn that its time is over."""
    with pytest.raises(NotAuthenticated) as refused:
        make_verifier().verify(forge(secret=b"x" * 40, iat=NOW - 900, exp=NOW - 600))
    assert refused.value.code == "token_invalid"


def test_a_genuine_but_old_token_is_expired() -> None:
    """The agent is told to fetch a new one rather than to look for a fault."""
    with pytest.raises(NotAuthenticated) as refused:
        make_verifier().verify(forge(iat=NOW - 900, exp=NOW - LEEWAY_S))
    assert refused.value.code == "token_expired"


def test_a_remembered_token_vouches_for_no_other() -> None:
    """The memory is keyed by the whole token: one changed bit is another token."""
    verifier = make_verifier()
    token = forge()
    verifier.verify(token)
    for position in range(len(token)):
        changed = (
            token[:position] + ("A" if token[position] != "A" else "B") + token[position + 1 :]
        )
        with pytest.raises(NotAuthenticated):
            verifier.verify(changed)


def test_scopes_that_nobody_knows_are_left_out() -> None:
    """A scope of a later version gives nothing today."""
    principal = make_verifier().verify(forge(scope="market:read orders:everything  *"))
    assert principal.scopes == {"market:read"}


@pytest.mark.parametrize(
    "token", [make() for name, make in FORGED.items() if name in {"another key", "sub too long"}]
)
def test_a_refusal_repeats_nothing_of_the_token(token: str) -> None:
    """Neither secret nor input reaches a message."""
    with pytest.raises(NotAuthenticated) as refused:
        make_verifier().verify(token)
    told = str(refused.value.public())
    assert SECRET.decode() not in told
    assert not any(part and part in told for part in token.split("."))


@given(st.text(max_size=200) | st.binary(max_size=200).map(lambda raw: compact(raw, raw)))
def test_whatever_is_shown_gets_a_refusal_and_never_a_crash(token: str) -> None:
    """Hostile input ends as token_missing or token_invalid."""
    with pytest.raises(NotAuthenticated) as refused:
        make_verifier().verify(token)
    assert refused.value.code in {"token_missing", "token_invalid"}
