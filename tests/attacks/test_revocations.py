"""Threat: a token was stolen, or its agent went wrong, and it goes on being used."""

import unicodedata
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from mcp_gateway.access.keyring import Keyring
from mcp_gateway.access.tokens import revocations
from mcp_gateway.access.tokens.believed import verifier_from
from mcp_gateway.access.tokens.issuing import issuer_from
from mcp_gateway.access.tokens.revocations import Revocation, Revocations, next_second
from mcp_gateway.cli.control.verbs import VERBS
from mcp_gateway.clock import Clock
from mcp_gateway.domain.market import CandleSeries
from mcp_gateway.domain.operations import OPERATIONS, TOOLS
from mcp_gateway.domain.principals import Admission, Credentials, Principal, Unsigned
from mcp_gateway.errors import NotAuthenticated, StoreUnavailable
from mcp_gateway.gateway import open_gateway
from tests.support.clock import START, ManualClock
from tests.support.faces import FACES, LET_IN
from tests.support.gateway import CALL, ORDER, Face, ToldMarket, code_of, settings_for

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

OURS = "mcp-gateway"
AGENT = "signal-agent"
READ = "/api/v1/candles?pair=BTC/USDT&timeframe=5m"
LOOK_ALIKES = {
    "a capital": "Signal-agent",
    "another script": "sign\u0430l-agent",
    "composed otherwise": unicodedata.normalize("NFD", "signål-agent"),
    "a longer name": "signal-agent-2",
    "a shorter name": "signal-agen",
    "full width": "\uff53ignal-agent",
    "a wildcard": "signal-%",
}


def revoked(now: datetime = START, **changes: Any) -> Revocation:
    """Return a revocation of all that the agent was given before now."""
    whole = Revocation(
        1, OURS, AGENT, None, next_second(now), now, now + timedelta(days=1), "alice", "stolen"
    )
    return replace(whole, **changes)


def of_token(token_id: str | None, **changes: Any) -> Revocation:
    """Return a revocation of one token."""
    return revoked(subject=None, issued_before=None, token_id=token_id, **changes)


def agent(name: str = AGENT, **changes: Any) -> Principal:
    return replace(Principal(OURS, name, frozenset(), token_id="t-1", issued_at=START), **changes)


def is_refused(known: Revocations, principal: Principal) -> bool:
    try:
        known.require(principal)
    except NotAuthenticated as refusal:
        return refusal.code == "token_revoked"
    return False


@pytest.mark.parametrize("by", ["jti", "subject"])
@pytest.mark.parametrize("face", FACES)
async def test_a_revoked_token_is_refused_on_every_face(tmp_path: Path, face: str, by: str) -> None:
    """At the very next call, remembered as verified or not; nobody else's is."""
    settings, known = settings_for(tmp_path), Revocations()
    keyring, clock = Keyring.from_settings(settings), ManualClock()
    issuing = issuer_from(settings, keyring, clock)
    verifier = verifier_from(settings, keyring, clock)
    assert issuing is not None
    assert verifier is not None
    stolen = issuing.issue(AGENT, ["positions:read"], 600)
    others = issuing.issue("another-agent", ["positions:read"], 600)
    async with FACES[face](settings, known) as shows:
        assert await shows(stolen) == LET_IN
        principal = verifier.verify(stolen)
        known.add([revoked() if by == "subject" else of_token(principal.token_id)])
        assert await shows(stolen) == "token_revoked"
        assert await shows(others) == LET_IN


async def test_a_signature_makes_a_revoked_token_no_better(tmp_path: Path) -> None:
    """The thief may have the key, too: no order, and no word about scope or signature."""
    face = Face(settings_for(tmp_path))
    async with face.client(auth=face.auth(signed=True)) as client:
        face.gateway.revocations.add([revoked()])
        for path, body in (("/api/v1/orders", ORDER), ("/mcp", CALL)):
            answer = await client.post(path, json=body)
            assert (answer.status_code, code_of(answer)) == (401, "token_revoked")
            assert 'error="invalid_token"' in answer.headers["www-authenticate"]
    assert face.gateway.order_service.seen == []


class Waiting(ToldMarket):
    """A market whose answer takes until a test lets it go."""

    def __init__(self) -> None:
        super().__init__()
        self.begun, self.go = anyio.Event(), anyio.Event()

    async def candles(self, admission: Admission, *args: Any, **named: Any) -> CandleSeries:
        self.begun.set()
        await self.go.wait()
        return await super().candles(admission, *args, **named)


async def test_a_call_under_way_is_answered_and_the_next_one_is_not(tmp_path: Path) -> None:
    """What was let in is not cut in half, an order least of all; nothing more is let in."""
    face = Face(settings_for(tmp_path))
    face.gateway.market = market = Waiting()
    told: list[int] = []
    async with face.client() as client, anyio.create_task_group() as group:

        async def read() -> None:
            told.append((await client.get(READ)).status_code)

        group.start_soon(read)
        await market.begun.wait()
        face.gateway.revocations.add([revoked()])
        assert code_of(await client.get(READ)) == "token_revoked"
        market.go.set()
    assert told == [200]


@pytest.mark.parametrize("name", LOOK_ALIKES.values(), ids=LOOK_ALIKES.keys())
def test_a_look_alike_is_somebody_else(name: str) -> None:
    """Names are compared letter by letter: neither is revoked with the other."""
    known = Revocations()
    known.add([revoked()])
    assert not is_refused(known, agent(name))
    other = Revocations()
    other.add([revoked(subject=name)])
    assert is_refused(other, agent(name))
    assert not is_refused(other, agent())


@pytest.mark.parametrize("revocation", [revoked(), of_token("t-1")], ids=["subject", "jti"])
def test_the_same_name_or_id_of_another_issuer_is_somebody_else(revocation: Revocation) -> None:
    """A principal is issuer and subject; two issuers may count their ids alike."""
    known = Revocations()
    known.add([revocation])
    assert is_refused(known, agent())
    assert not is_refused(known, agent(issuer="https://issuer.example"))


def test_a_token_without_an_id_or_a_time_is_not_out_of_reach() -> None:
    """Without a jti the subject reaches it; without a time of issue it counts as an old one."""
    known = Revocations()
    known.add([of_token("t-1")])
    assert not is_refused(known, agent(token_id=None))
    known.add([revoked()])
    assert is_refused(known, agent(token_id=None))
    assert is_refused(known, agent(token_id=None, issued_at=None))


@pytest.mark.parametrize(
    ("issued_s", "refused"), [(-600, True), (0, True), (1, False), (600, False)]
)
def test_tokens_up_to_the_second_of_the_revocation_go_and_later_ones_are_good(
    issued_s: int, refused: bool
) -> None:
    """``iat`` has whole seconds: what may be older is taken for older."""
    known = Revocations()
    known.add([revoked(START + timedelta(milliseconds=600))])
    assert is_refused(known, agent(issued_at=START + timedelta(seconds=issued_s))) == refused


def test_an_older_revocation_takes_nothing_back() -> None:
    """Rows may be read in any order, again and again."""
    known = Revocations()
    known.add([revoked(START + timedelta(hours=1)), revoked()])
    assert is_refused(known, agent(issued_at=START + timedelta(minutes=30)))


def asking(token: str) -> Credentials:
    return Credentials("stdio", token, Unsigned("signature_missing"), "call-1")


async def test_a_start_believes_nothing_before_it_has_read_the_list(tmp_path: Path) -> None:
    """A desktop app's server opens its store late, and its token may have been revoked before."""
    settings = settings_for(tmp_path, freqtrade_url="http://127.0.0.1:9")
    issuing = issuer_from(settings, Keyring.from_settings(settings), Clock())
    assert issuing is not None
    stolen, good = issuing.issue(AGENT, [], 600), issuing.issue("another-agent", [], 600)
    async with open_gateway(settings) as gateway:
        assert (await gateway.gate.authenticate(asking(stolen))).subject == AGENT
        await gateway.books()
        await gateway.revoking.revoke(revoked(gateway.clock.now()))
    async with open_gateway(settings, store_after_s=600) as gateway:
        with pytest.raises(NotAuthenticated) as refused:
            await gateway.gate.authenticate(asking(stolen))
        assert refused.value.code == "token_revoked"
        assert (await gateway.gate.authenticate(asking(good))).subject == "another-agent"


async def test_a_store_that_does_not_open_keeps_no_read_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reads go on, orders are refused by the ledger; nobody waits for a list that can't be had."""
    monkeypatch.setattr(revocations, "LONGEST_FIRST_WAIT_S", 600)
    (tmp_path / "data").write_text("in the way")
    settings = settings_for(tmp_path / "data", freqtrade_url="http://127.0.0.1:9")
    issuing = issuer_from(settings, Keyring.from_settings(settings), Clock())
    assert issuing is not None
    token = issuing.issue(AGENT, [], 600)
    async with open_gateway(settings, store_after_s=600) as gateway:
        with anyio.fail_after(30):
            assert (await gateway.gate.authenticate(asking(token))).subject == AGENT
        with pytest.raises(StoreUnavailable):
            await gateway.revoking.revoke(revoked())


@pytest.mark.parametrize(
    "path", ["/auth/revoke", "/auth/token/revoke", "/api/v1/tokens", "/oauth/revoke"]
)
async def test_no_agent_can_revoke_over_http(tmp_path: Path, path: str) -> None:
    """Whoever could revoke another's token could silence it: the operator's socket alone does."""
    face = Face(settings_for(tmp_path))
    async with face.client() as client:
        answer = await client.post(path, json={"subject": "another-agent", "reason": "rival"})
    assert (answer.status_code, code_of(answer)) == (404, "route_unknown")


def test_no_operation_of_any_face_revokes() -> None:
    """Not with any scope: the table of operations has no such row."""
    assert {"token.revoke", "token.inspect"} <= VERBS.keys()
    assert not [name for name in (*OPERATIONS, *TOOLS) if "token" in name or "revo" in name]
