"""Several issuers behind one verifier: each with its own keys, algorithm and bounds."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from mcp_gateway.access.tokens import verifier as verifying
from mcp_gateway.access.tokens.issuers import Issuer, one_box
from mcp_gateway.access.tokens.issuersfile import load_issuers
from mcp_gateway.access.tokens.jwks import COOLDOWN_S, LONGEST_KEPT_S, USUAL_S, JwksKeys
from mcp_gateway.access.tokens.publickeys import VerifyKey
from mcp_gateway.access.tokens.verifier import TokenVerifier
from mcp_gateway.clock import from_unix
from mcp_gateway.errors import ConfigurationError, GatewayError, NotAuthenticated
from tests.support.clock import ManualClock
from tests.support.issuers import (
    DESK,
    FLOOR,
    VAULT,
    Publisher,
    Signing,
    ed25519,
    p256,
    published,
    rsa_key,
    three_issuers,
)
from tests.support.rogue import Connection
from tests.support.tokens import AUDIENCE, ISSUER, NOW, SECRET, forge

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

OLD, NEW = ed25519("old", "old"), ed25519("new", "new")
SIGNERS: dict[str, Signing] = {DESK: ed25519(), FLOOR: p256(), VAULT: rsa_key()}


def make_verifier(folder: Path, **bounds: Any) -> TokenVerifier:
    """Return a verifier of the one box and of three issuers with these bounds."""
    clock = ManualClock()
    path = three_issuers(folder, **bounds)
    others = load_issuers(path, audience=AUDIENCE, longest_s=3600, taken=(), clock=clock)
    return TokenVerifier([one_box(SECRET, ISSUER, AUDIENCE, 3600), *others], clock)


def of_url(issuer: Publisher, clock: ManualClock) -> TokenVerifier:
    source = JwksKeys("desk", issuer.url, "EdDSA", clock)
    return TokenVerifier([Issuer("desk", DESK, "EdDSA", AUDIENCE, 3600, source)], clock)


def refused(verifier: TokenVerifier, token: str) -> str:
    with pytest.raises(NotAuthenticated) as refusal:
        verifier.verify(token)
    return refusal.value.code


def believes(verifier: TokenVerifier, token: str) -> bool:
    return verifier.verify(token).subject == "signal-agent"


async def learns(verifier: TokenVerifier, token: str) -> bool:
    return (await verifier.authenticate(token)).subject == "signal-agent"


async def code(verifier: TokenVerifier, token: str) -> str:
    with pytest.raises(GatewayError) as refusal:
        await verifier.authenticate(token)
    return refusal.value.code


@pytest.mark.parametrize("issuer", SIGNERS)
def test_each_issuer_s_tokens_prove_who_its_claims_name(tmp_path: Path, issuer: str) -> None:
    """The principal is issuer and subject together."""
    principal = make_verifier(tmp_path).verify(SIGNERS[issuer].token(iss=issuer))
    assert (principal.issuer, principal.subject) == (issuer, "signal-agent")
    assert principal.scopes == {"market:read", "orders:create"}
    assert (principal.issued_at, principal.expires_at) == (from_unix(NOW), from_unix(NOW + 600))
    assert principal.token_id == "t-1"


def test_one_name_at_two_issuers_is_two_callers(tmp_path: Path) -> None:
    """Quotas, keys and orders of one are none of the other's."""
    verifier = make_verifier(tmp_path)
    box = verifier.verify(forge())
    desk = verifier.verify(ed25519().token(iss=DESK))
    assert box.subject == desk.subject
    assert (box.issuer, desk.issuer) == (ISSUER, DESK)
    assert box != desk


def test_an_issuer_s_tokens_carry_no_more_than_it_may_give(tmp_path: Path) -> None:
    """Whatever a token asks for, the operator's ceiling holds."""
    verifier = make_verifier(tmp_path, scopes=["market:read", "audit:read"])
    token = ed25519().token(iss=DESK, scope="market:read orders:create ops:halt orders:live")
    assert verifier.verify(token).scopes == {"market:read"}
    assert verifier.verify(forge()).scopes == {"market:read", "orders:create"}


@pytest.mark.parametrize(
    ("claims", "is_believed"),
    [
        ({"sub": "desk-1"}, True), ({"sub": "chief"}, True), ({"sub": "other"}, False),
        ({"sub": "Desk-1"}, False), ({"sub": "chief-2"}, False), ({"sub": "dеsk-1"}, False),
        ({"sub": "desk-1", "act_for": ["desk-2"]}, True),
        ({"sub": "desk-1", "act_for": ["desk-2", "other"]}, False),
        ({"sub": "desk-1", "act_for": ["signal-agent"]}, False),
    ],
    ids=range(9),
)  # fmt: skip
def test_an_issuer_names_only_its_own_subjects(
    tmp_path: Path, claims: dict[str, Any], is_believed: bool
) -> None:
    """One issuer's agents are not impersonated by another's, nor acted for."""
    verifier = make_verifier(tmp_path, subjects=["desk-*", "chief"])
    token = ed25519().token(iss=DESK, **claims)
    if is_believed:
        assert verifier.verify(token).subject == claims["sub"]
    else:
        assert refused(verifier, token) == "token_invalid"


def test_an_issuer_has_its_own_audience_and_lifetime(tmp_path: Path) -> None:
    """The one box keeps the settings'."""
    verifier = make_verifier(tmp_path, audience="desk-gateway", longest_s=300)
    short: dict[str, Any] = {"iss": DESK, "exp": NOW + 300}
    assert believes(verifier, ed25519().token(**short, aud="desk-gateway"))
    assert refused(verifier, ed25519().token(**short)) == "token_invalid"
    assert refused(verifier, ed25519().token(iss=DESK, aud="desk-gateway")) == "token_invalid"
    assert believes(verifier, forge())


def test_a_token_ends_for_every_kind_of_key(tmp_path: Path) -> None:
    """Only a genuine one learns that its time is over."""
    verifier = make_verifier(tmp_path)
    old: dict[str, Any] = {"iat": NOW - 900, "exp": NOW - 600}
    for issuer, signing in SIGNERS.items():
        assert refused(verifier, signing.token(iss=issuer, **old)) == "token_expired"
        forged = signing.token(iss=issuer, signer=ed25519("k-1", "thief"), **old)
        assert refused(verifier, forged) == "token_invalid"


async def test_a_new_key_works_as_soon_as_it_is_published() -> None:
    """The first token of it waits for one fetch; the old one goes on in the overlap."""
    clock = ManualClock()
    async with published(OLD) as issuer:
        verifier = of_url(issuer, clock)
        assert await learns(verifier, OLD.token(iss=DESK))
        issuer.keys = (OLD, NEW)
        clock.advance(COOLDOWN_S)
        assert await learns(verifier, NEW.token(iss=DESK))
        assert believes(verifier, OLD.token(iss=DESK))
        assert issuer.fetches == 2


async def test_a_withdrawn_key_takes_its_tokens_along() -> None:
    """Also those that were checked before and are remembered."""
    clock = ManualClock()
    async with published(OLD, NEW) as issuer:
        verifier = of_url(issuer, clock)
        token = OLD.token(iss=DESK)
        assert await learns(verifier, token)
        issuer.keys = (NEW,)
        clock.advance(COOLDOWN_S)
        assert await code(verifier, ed25519("unknown", "x").token(iss=DESK)) == "token_invalid"
        assert await code(verifier, token) == "token_invalid"
        assert await learns(verifier, NEW.token(iss=DESK))


async def test_a_key_exchanged_under_its_id_takes_its_tokens_along() -> None:
    """The id alone is no key."""
    clock = ManualClock()
    async with published(OLD) as issuer:
        verifier = of_url(issuer, clock)
        token = OLD.token(iss=DESK)
        assert await learns(verifier, token)
        issuer.keys = (ed25519("old", "new"),)
        clock.advance(COOLDOWN_S)
        assert await code(verifier, ed25519("unknown", "x").token(iss=DESK)) == "token_invalid"
        assert refused(verifier, token) == "token_invalid"


async def test_keys_that_are_too_old_take_their_tokens_along() -> None:
    """A day without its issuer, and nobody knows what it has withdrawn."""
    clock = ManualClock()
    async with published(OLD) as issuer:
        source = JwksKeys("desk", issuer.url, "EdDSA", clock)
        desk = Issuer("desk", DESK, "EdDSA", AUDIENCE, 10**7, source)
        verifier = TokenVerifier([desk], clock)
        token = OLD.token(iss=DESK, exp=NOW + 10**6)
        assert await learns(verifier, token)

        async def gone(connection: Connection) -> None:
            await connection.reset()

        issuer.misbehaves = gone
        clock.advance(LONGEST_KEPT_S)
        assert believes(verifier, token)
        clock.advance(1)
        assert refused(verifier, token) == "token_invalid"
        assert await code(verifier, token) == "issuer_unavailable"


async def test_an_issuer_that_is_down_is_told_apart_from_a_bad_token() -> None:
    """The agent waits instead of fetching one new token after the other."""

    async def gone(connection: Connection) -> None:
        await connection.reset()

    clock = ManualClock()
    async with published(OLD, misbehaves=gone) as issuer:
        verifier = of_url(issuer, clock)
        assert list(verifier.ailing) == ["desk"]
        with pytest.raises(GatewayError) as refusal:
            await verifier.authenticate(OLD.token(iss=DESK))
        assert (refusal.value.code, refusal.value.retryable) == ("issuer_unavailable", True)
        assert DESK not in str(refusal.value.public())
        issuer.misbehaves = None
        clock.advance(COOLDOWN_S)
        assert await learns(verifier, OLD.token(iss=DESK))
        assert not verifier.ailing


async def test_only_an_unknown_key_of_a_known_issuer_asks_the_issuer() -> None:
    """Nobody makes the gateway fetch by what is forged in another way."""
    clock = ManualClock()
    async with published(OLD) as issuer:
        verifier = of_url(issuer, clock)
        await verifier.authenticate(OLD.token(iss=DESK))
        forged = (
            OLD.token(iss="https://elsewhere.example"), OLD.token(iss=None),
            OLD.token({"alg": "HS256", "kid": "x"}, iss=DESK), OLD.token(iss=DESK)[:-9],
            OLD.token(iss=DESK, signer=NEW), OLD.token({"kid": 1}, iss=DESK),
            OLD.token({"kid": "x" * 257}, iss=DESK), OLD.token(iss=DESK, exp=NOW - 60, iat=NOW - 90),
        )  # fmt: skip
        clock.advance(COOLDOWN_S)
        for token in forged:
            assert await code(verifier, token) in {"token_invalid", "token_expired"}
        assert issuer.fetches == 1


async def test_every_issuer_is_kept_fresh_by_itself() -> None:
    """One that is down does not hold up the others."""
    clock = ManualClock()
    async with published(OLD) as well, published(misbehaves=Connection.hang) as silent:
        sources = [
            JwksKeys(name, each.url, "EdDSA", clock)
            for name, each in (("silent", silent), ("well", well))
        ]
        issuers = [
            Issuer(name, name, "EdDSA", AUDIENCE, 3600, source)
            for name, source in zip(("silent", "well"), sources, strict=True)
        ]
        verifier = TokenVerifier(issuers, clock)
        async with anyio.create_task_group() as group:
            group.start_soon(verifier.keep)
            await clock.sleeping()
            assert believes(verifier, OLD.token(iss="well"))
            assert verifier.ailing == ("silent",)
            clock.advance(USUAL_S)
            await clock.sleeping()
            assert well.fetches == 2
            group.cancel_scope.cancel()


def test_a_token_is_checked_once_and_then_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second call costs no arithmetic on curves."""
    verifier, checks = make_verifier(tmp_path), counted(monkeypatch)
    token = ed25519().token(iss=DESK)
    assert verifier.verify(token) is verifier.verify(token)
    assert checks() == 1


def test_only_so_many_tokens_are_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever may fetch many tokens does not fill the memory; the oldest are checked anew."""
    monkeypatch.setattr(verifying, "KEPT", 3)
    verifier, checks = make_verifier(tmp_path), counted(monkeypatch)
    tokens = [forge(jti=f"t-{n}") for n in range(4)]
    for token in (*tokens, tokens[3], tokens[1]):
        verifier.verify(token)
    assert checks() == 4
    verifier.verify(tokens[0])
    assert checks() == 5


def test_what_is_refused_is_not_remembered(tmp_path: Path) -> None:
    """A stranger's tokens push nobody's out."""
    verifier = make_verifier(tmp_path)
    for number in range(10):
        assert refused(verifier, forge(secret=b"x" * 40, jti=f"t-{number}")) == "token_invalid"
    assert not verifier._known


def test_two_issuers_of_one_name_are_a_mistake() -> None:
    """Whoever builds a verifier must not give an issuer two ways."""
    box = one_box(SECRET, ISSUER, AUDIENCE, 3600)
    with pytest.raises(ConfigurationError):
        TokenVerifier([box, one_box(b"x" * 32, ISSUER, AUDIENCE, 3600)], ManualClock())


def test_it_shows_issuers_and_no_keys(tmp_path: Path) -> None:
    """For logs and crash reports."""
    shown = repr(make_verifier(tmp_path)) + repr(one_box(SECRET, ISSUER, AUDIENCE, 3600))
    assert DESK in shown
    assert SECRET.decode() not in shown


def counted(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Count the signatures that are really checked."""
    checks, fits = list[str](), VerifyKey.fits

    def counting(self: VerifyKey, *given: Any) -> bool:
        checks.append("one")
        return fits(self, *given)

    monkeypatch.setattr(VerifyKey, "fits", counting)
    return lambda: len(checks)
