"""The agent's side: what GatewayAuth puts on a request."""

import httpx2
import pytest

from mcp_gateway.access.keyring import Key, Keyring
from mcp_gateway.access.signatures import SignedRequest, judge
from mcp_gateway.client import GatewayAuth, TokenUnavailable
from mcp_gateway.domain.principals import Evidence, Signed, Unsigned
from tests.support.clock import ManualClock
from tests.support.tokens import ISSUER

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

KEY = "a-signing-key-of-the-tests-0123456789abcdef"
KEYRING = Keyring(keys=[Key("signal-agent", ISSUER, "signal-agent", KEY.encode())])


def received(request: httpx2.Request) -> SignedRequest:
    return SignedRequest(
        request.method,
        request.url.scheme,
        request.headers["host"],
        request.url.raw_path.partition(b"?")[0],
        request.url.query,
        request.headers.raw,
        request.content,
    )


class Wire:
    """Stands at the wire: keeps every request and what the gateway's judge says of it."""

    def __init__(self, clock: ManualClock) -> None:
        self.requests: list[httpx2.Request] = []
        self.evidence: list[Evidence] = []
        self._clock = clock

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        self.evidence.append(judge(received(request), KEYRING, self._clock, 30))
        return httpx2.Response(200, json={})


def make_auth(clock: ManualClock) -> GatewayAuth:
    return GatewayAuth("the-token", key=KEY, key_id="signal-agent", clock=clock)


async def test_an_async_client_signs_the_bytes_it_sends() -> None:
    """The judge of the gateway accepts what the client signed, whatever the JSON's spelling."""
    clock = ManualClock()
    wire = Wire(clock)
    async with httpx2.AsyncClient(
        auth=make_auth(clock), transport=httpx2.MockTransport(wire), base_url="http://gw:8000"
    ) as client:
        await client.post("/mcp", json={"amount": 0.001, "note": "سلام"})
        await client.post("/mcp", content=b' {"amount" : 1e-3 } ')
    assert all(isinstance(each, Signed) for each in wire.evidence)


def test_a_sync_client_signs_the_bytes_it_sends() -> None:
    """The same object serves scripts without an event loop."""
    clock = ManualClock()
    wire = Wire(clock)
    with httpx2.Client(
        auth=make_auth(clock), transport=httpx2.MockTransport(wire), base_url="https://gw"
    ) as client:
        client.post("/api/v1/orders", json={"amount": "0.001"})
    assert isinstance(wire.evidence[0], Signed)


def test_a_body_that_is_streamed_is_signed_whole() -> None:
    """The bytes are read before they are signed, also when they come in pieces."""
    clock = ManualClock()
    wire = Wire(clock)
    with httpx2.Client(auth=make_auth(clock), transport=httpx2.MockTransport(wire)) as client:
        client.post("http://gw/mcp", content=iter([b'{"a":', b"1}"]))
    assert isinstance(wire.evidence[0], Signed)


def test_the_same_call_twice_carries_two_nonces() -> None:
    """A repetition must not look like a replay; the order's request_id makes it harmless."""
    clock = ManualClock()
    wire = Wire(clock)
    with httpx2.Client(auth=make_auth(clock), transport=httpx2.MockTransport(wire)) as client:
        request = client.build_request("POST", "http://gw/mcp", json={})
        client.send(request)
        client.send(request)
    first, second = wire.evidence
    assert isinstance(first, Signed)
    assert isinstance(second, Signed)
    assert first.nonce != second.nonce


def test_the_signature_is_dated_when_it_is_sent() -> None:
    """The window of the gateway counts from sending."""
    clock = ManualClock()
    auth = make_auth(clock)
    clock.advance(3600)
    wire = Wire(clock)
    with httpx2.Client(auth=auth, transport=httpx2.MockTransport(wire)) as client:
        client.post("http://gw/mcp", json={})
    assert isinstance(wire.evidence[0], Signed)


def test_a_cancel_is_signed_though_it_has_no_body() -> None:
    """DELETE reaches a signed operation; the digest of nothing is covered like any other."""
    clock = ManualClock()
    wire = Wire(clock)
    with httpx2.Client(auth=make_auth(clock), transport=httpx2.MockTransport(wire)) as client:
        client.delete("http://gw/api/v1/orders/550e8400-e29b-41d4-a716-446655440000")
    assert isinstance(wire.evidence[0], Signed)
    assert wire.requests[0].content == b""


def test_reads_by_get_carry_the_token_alone() -> None:
    """Only POST and DELETE reach signed operations."""
    clock = ManualClock()
    wire = Wire(clock)
    with httpx2.Client(auth=make_auth(clock), transport=httpx2.MockTransport(wire)) as client:
        client.get("http://gw/api/v1/candles", params={"pair": "BTC/USDT"})
    assert wire.requests[0].headers["authorization"] == "Bearer the-token"
    assert wire.evidence == [Unsigned("signature_missing")]


def test_the_token_may_be_renewed_between_requests() -> None:
    """A function is asked each time, so a long-lived agent outlives its tokens."""
    clock = ManualClock()
    wire = Wire(clock)
    tokens = iter(["first", "second"])
    auth = GatewayAuth(lambda: next(tokens))
    with httpx2.Client(auth=auth, transport=httpx2.MockTransport(wire)) as client:
        client.post("http://gw/mcp", json={})
        client.post("http://gw/mcp", json={})
    shown = [request.headers["authorization"] for request in wire.requests]
    assert shown == ["Bearer first", "Bearer second"]
    assert wire.evidence == [Unsigned("signature_missing")] * 2


@pytest.mark.parametrize("given", [{"key": KEY}, {"key_id": "signal-agent"}])
def test_half_a_key_is_a_mistake(given: dict[str, str]) -> None:
    """An agent that believes it signs would be refused only at its first order."""
    with pytest.raises(ValueError, match="go together"):
        GatewayAuth("the-token", **given)  # type: ignore[arg-type]  # clock is never among them


def test_an_empty_key_is_a_mistake() -> None:
    """An unset variable must not turn signing off in silence."""
    with pytest.raises(ValueError, match="empty"):
        GatewayAuth("the-token", key="", key_id="signal-agent")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_token_and_key_may_be_read_from_files_as_they_are(end: str) -> None:
    """A file ends with a line feed, which is part of neither."""
    clock = ManualClock()
    wire = Wire(clock)
    auth = GatewayAuth(f" the-token{end}", key=KEY + end, key_id="signal-agent", clock=clock)
    with httpx2.Client(auth=auth, transport=httpx2.MockTransport(wire)) as client:
        client.post("http://gw/mcp", json={})
    assert wire.requests[0].headers["authorization"] == "Bearer the-token"
    assert isinstance(wire.evidence[0], Signed)


NO_TOKENS = ["", "\n", "two words", "two\nlines", "t\u00f6ken", "bell\x07"]


@pytest.mark.parametrize("token", NO_TOKENS, ids=ascii)
def test_what_no_header_can_hold_is_no_token(token: str) -> None:
    """Told when it is made: at the first order it would look like a lost one."""
    with pytest.raises(ValueError, match="token"):
        GatewayAuth(token)


@pytest.mark.parametrize("token", NO_TOKENS, ids=ascii)
def test_a_function_that_tells_no_token_stops_the_request(token: str) -> None:
    """Before anything is sent, in a code of its own."""
    wire = Wire(ManualClock())
    with (
        httpx2.Client(
            auth=GatewayAuth(lambda: token), transport=httpx2.MockTransport(wire)
        ) as client,
        pytest.raises(TokenUnavailable) as failed,
    ):
        client.post("http://gw/mcp", json={})
    assert failed.value.code == "token_unavailable"
    assert wire.requests == []


def test_a_secret_that_is_too_short_is_a_mistake() -> None:
    """No gateway has such a key; a file that was cut off does."""
    for short in ("k" * 31, "k" * 31 + "\n"):
        with pytest.raises(ValueError, match="32 bytes"):
            GatewayAuth("the-token", key=short, key_id="signal-agent")


def test_neither_token_nor_key_is_shown() -> None:
    """Secrets never reach a log by way of repr."""
    assert repr(make_auth(ManualClock())) == "GatewayAuth(key_id='signal-agent')"
