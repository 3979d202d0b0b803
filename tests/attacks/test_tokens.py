"""Threat: a caller shows a token that is forged, borrowed, confused or too old."""

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_gateway.access.tokens.identity import LEEWAY_S
from mcp_gateway.access.tokens.issuers import one_box
from mcp_gateway.access.tokens.issuersfile import load_issuers
from mcp_gateway.access.tokens.jwks import COOLDOWN_S
from mcp_gateway.access.tokens.verifier import TokenVerifier
from mcp_gateway.errors import NotAuthenticated
from tests.support.clock import ManualClock
from tests.support.faces import FACES, LET_IN
from tests.support.forged import LONGEST_S, OF_THE_BOX, raw_claims
from tests.support.forged_issued import OF_ISSUERS
from tests.support.gateway import settings_for
from tests.support.issuers import (
    DESK,
    FLOOR,
    VAULT,
    ed25519,
    issuers_file,
    p256,
    published,
    rsa_key,
    three_issuers,
)
from tests.support.rogue import Connection
from tests.support.tokens import AUDIENCE, ISSUER, NOW, SECRET, compact, forge

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

# Of white space before a token nothing is left in a header; it is then the genuine one.
NOT_IN_A_HEADER = {"white space before"}
FORGED = {f"the box: {name}": make for name, make in OF_THE_BOX.items()} | {
    f"issuers: {name}": make for name, make in OF_ISSUERS.items()
}
GENUINE: dict[str, Callable[[], str]] = {
    "the box": lambda: forge(scope="positions:read"),
    "EdDSA": lambda: ed25519().token(iss=DESK, scope="positions:read"),
    "ES256": lambda: p256().token(iss=FLOOR, scope="positions:read"),
    "RS256": lambda: rsa_key().token(iss=VAULT, scope="positions:read"),
    "EdDSA, no kid, for the only key": lambda: ed25519().token(
        {"kid": None}, iss=DESK, scope="positions:read"
    ),
    "RS256, any kid, for a key without a name": lambda: rsa_key().token(
        {"kid": "any"}, iss=VAULT, scope="positions:read"
    ),
}


def make_verifier(clock: ManualClock | None = None) -> TokenVerifier:
    """Return a verifier of the one box alone."""
    box = one_box(SECRET, ISSUER, AUDIENCE, LONGEST_S)
    return TokenVerifier([box], clock or ManualClock())


@pytest.fixture(scope="module")
def of_all(tmp_path_factory: pytest.TempPathFactory) -> TokenVerifier:
    """A verifier of the one box and of an issuer of each algorithm."""
    clock = ManualClock()
    folder = tmp_path_factory.mktemp("issuers")
    others = load_issuers(
        three_issuers(folder, scopes=["positions:read", "orders:create"]),
        audience=AUDIENCE, longest_s=LONGEST_S, taken=(ISSUER, "local"), clock=clock,
    )  # fmt: skip
    return TokenVerifier([one_box(SECRET, ISSUER, AUDIENCE, LONGEST_S), *others], clock)


@pytest.mark.parametrize("make", FORGED.values(), ids=FORGED.keys())
async def test_a_forged_or_confused_token_is_refused(
    of_all: TokenVerifier, make: Callable[[], str]
) -> None:
    """RFC 8725: the algorithm is ours, every claim is checked; RFC 6750: 401 invalid_token."""
    with pytest.raises(NotAuthenticated) as refused:
        await of_all.authenticate(make())
    assert refused.value.code == "token_invalid"


@pytest.mark.parametrize("make", GENUINE.values(), ids=GENUINE.keys())
async def test_a_genuine_token_of_each_kind_is_believed(
    of_all: TokenVerifier, make: Callable[[], str]
) -> None:
    """Without this, the tables would pass with a verifier that refuses everything."""
    assert (await of_all.authenticate(make())).scopes == {"positions:read"}


@pytest.mark.parametrize("face", FACES)
async def test_every_face_refuses_every_one_of_them(tmp_path: Path, face: str) -> None:
    """MCP over HTTP and stdio in both eras, and REST: none is more generous than another."""
    scopes = ["market:read", "positions:read", "orders:create"]
    settings = settings_for(
        tmp_path,
        jwt_secret=SECRET.decode(),
        token_longest_s=LONGEST_S,
        issuers_file=three_issuers(tmp_path, scopes=scopes),
    )
    is_http = not face.startswith("stdio")
    left_out = {f"the box: {name}" for name in NOT_IN_A_HEADER} if is_http else set()
    async with FACES[face](settings) as shows:
        told = {name: await shows(make()) for name, make in FORGED.items() if name not in left_out}
        let_in = {name: await shows(make()) for name, make in GENUINE.items()}
        expired = [
            await shows(forge(iat=NOW - 900, exp=NOW - 600)),
            await shows(ed25519().token(iss=DESK, iat=NOW - 900, exp=NOW - 600)),
        ]
    assert told == dict.fromkeys(FORGED.keys() - left_out, "token_invalid")
    assert len(told) >= 60
    assert let_in == dict.fromkeys(GENUINE, LET_IN)
    assert expired == ["token_expired", "token_expired"]


@pytest.mark.parametrize("face", FACES)
async def test_keys_of_an_issuer_that_is_down_cannot_be_made_up(tmp_path: Path, face: str) -> None:
    """While nobody can say whose key it is nobody is let in; and the caller is told to wait."""

    async def down(connection: Connection) -> None:
        await connection.reset()

    async with published(misbehaves=down) as issuer:
        table = {"issuer": DESK, "algorithm": "EdDSA", "jwks_url": issuer.url}
        settings = settings_for(tmp_path, issuers_file=issuers_file(tmp_path, desk=table))
        async with FACES[face](settings) as shows:
            told = [await shows(ed25519().token(iss=DESK)) for _ in range(5)]
    assert told == ["issuer_unavailable"] * 5
    assert issuer.fetches == 1


@pytest.mark.parametrize("face", FACES)
async def test_a_key_that_is_withdrawn_opens_no_face(tmp_path: Path, face: str) -> None:
    """It opened all of them a moment before, and the token is the same."""
    old, new = (
        ed25519(name, name).token(iss=DESK, scope="positions:read") for name in ("old", "new")
    )
    async with published(ed25519("old", "old")) as issuer:
        table = {"issuer": DESK, "algorithm": "EdDSA", "jwks_url": issuer.url}
        settings = settings_for(tmp_path, issuers_file=issuers_file(tmp_path, desk=table))
        async with FACES[face](settings) as shows:
            before = await shows(old)
            issuer.keys = (ed25519("new", "new"),)
            shows.clock.advance(COOLDOWN_S)
            told = [before, await shows(new), await shows(old)]
    assert told == [LET_IN, LET_IN, "token_invalid"]


@pytest.mark.parametrize("face", FACES)
async def test_a_withdrawn_only_key_opens_no_face(tmp_path: Path, face: str) -> None:
    """A stolen key that leaves an empty set behind is as withdrawn as a replaced one."""
    stolen = ed25519("old", "old").token(iss=DESK, scope="positions:read")
    async with published(ed25519("old", "old")) as issuer:
        table = {"issuer": DESK, "algorithm": "EdDSA", "jwks_url": issuer.url}
        settings = settings_for(tmp_path, issuers_file=issuers_file(tmp_path, desk=table))
        async with FACES[face](settings) as shows:
            before = await shows(stolen)
            issuer.keys = ()
            shows.clock.advance(COOLDOWN_S)
            unknown = await shows(ed25519("new", "new").token(iss=DESK))  # has them fetched
            told = [before, unknown, await shows(stolen)]
    assert told == [LET_IN, "issuer_unavailable", "issuer_unavailable"]


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
    "token",
    [make() for name, make in OF_THE_BOX.items() if name in {"another key", "sub too long"}],
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
