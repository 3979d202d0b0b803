"""Where a client's token comes from, and how it stays fresh."""

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest

from mcp_gateway.client.tokens import (
    COOLDOWN_S,
    ClientCredentials,
    FixedToken,
    TokenEndpointAway,
    TokenFile,
    TokenUnavailable,
)
from tests.support.clock import ManualClock

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

URL = "https://gateway.example/auth/token"
SECRET = "canary: secret & more"
LIFETIME_S = 600


class Endpoint:
    """A token endpoint that numbers its tokens, or answers what a test tells it to."""

    def __init__(self) -> None:
        self.asked: list[httpx2.Request] = []
        self.answer: Callable[[], httpx2.Response] | None = None

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        await anyio.lowlevel.checkpoint()  # so that two callers can meet here
        self.asked.append(request)
        if self.answer is not None:
            return self.answer()
        return granted(f"token-{len(self.asked)}")


def granted(token: str, **changes: Any) -> httpx2.Response:
    """Return an endpoint's yes."""
    told = {"access_token": token, "token_type": "bearer", "expires_in": LIFETIME_S} | changes
    return httpx2.Response(200, json={k: v for k, v in told.items() if v is not None})


def away() -> httpx2.Response:
    """Be away."""
    raise httpx2.ConnectError("away")


@pytest.fixture
def endpoint() -> Endpoint:
    return Endpoint()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def source(endpoint: Endpoint, clock: ManualClock) -> ClientCredentials:
    transport = httpx2.MockTransport(endpoint)
    return ClientCredentials(URL, "desk 1", SECRET, clock=clock, transport=transport)


async def test_a_client_s_token_is_fetched_as_the_protocol_wants_it(
    source: ClientCredentials, endpoint: Endpoint
) -> None:
    """RFC 6749: the grant as a form, name and secret form-encoded in HTTP Basic."""
    assert await source.current() == "token-1"
    [request] = endpoint.asked
    assert (request.method, str(request.url)) == ("POST", URL)
    assert request.content == b"grant_type=client_credentials"
    login = base64.b64decode(request.headers["authorization"].removeprefix("Basic "))
    assert login == b"desk+1:canary%3A+secret+%26+more"


async def test_a_scope_is_asked_for_where_one_is_named(endpoint: Endpoint) -> None:
    """Issuers elsewhere often give none without."""
    transport = httpx2.MockTransport(endpoint)
    source = ClientCredentials(URL, "a", "b", scope="market:read", transport=transport)
    await source.current()
    assert b"scope=market%3Aread" in endpoint.asked[0].content


async def test_a_token_is_kept_until_its_end_is_near(
    source: ClientCredentials, endpoint: Endpoint, clock: ManualClock
) -> None:
    """Renewed a minute before, or a tenth of a short life."""
    assert await source.current() == "token-1"
    clock.advance(LIFETIME_S - 61)
    assert await source.current() == "token-1"
    clock.advance(2)
    assert await source.current() == "token-2"
    assert len(endpoint.asked) == 2


async def test_many_callers_fetch_one_token(source: ClientCredentials, endpoint: Endpoint) -> None:
    """Whoever comes while one is fetched waits for that one."""
    seen: list[str] = []

    async def ask() -> None:
        seen.append(await source.current())

    async with anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(ask)
    assert seen == ["token-1"] * 5
    assert len(endpoint.asked) == 1


async def test_an_endpoint_that_is_away_spoils_no_token_that_is_still_good(
    source: ClientCredentials, endpoint: Endpoint, clock: ManualClock
) -> None:
    """It is asked again soon, and only after the token's end there is none."""
    await source.current()
    endpoint.answer = away
    clock.advance(LIFETIME_S - 30)
    assert await source.current() == "token-1"
    assert await source.current() == "token-1"
    assert len(endpoint.asked) == 2  # not for each call
    clock.advance(31)
    with pytest.raises(TokenUnavailable) as failed:
        await source.current()
    assert (failed.value.code, failed.value.retryable) == ("token_unavailable", True)
    endpoint.answer = None
    clock.advance(COOLDOWN_S)
    assert await source.current() == "token-4"


BUSY: dict[str, Callable[[], httpx2.Response]] = {
    "too many": lambda: httpx2.Response(429, json={"error": "invalid_request"}),
    "too slow": lambda: httpx2.Response(408),
    "no such page": lambda: httpx2.Response(404, text="<html>"),
    "elsewhere": lambda: httpx2.Response(302, headers={"location": "https://elsewhere.example"}),
    "failed": lambda: httpx2.Response(503),
    "a page": lambda: httpx2.Response(200, text="<html>"),
}


@pytest.mark.parametrize("answer", BUSY)
async def test_a_renewal_that_fails_spoils_no_token_that_is_still_good(
    source: ClientCredentials, endpoint: Endpoint, clock: ManualClock, answer: str
) -> None:
    """An endpoint that is busy, or hidden, has said nothing about the client."""
    await source.current()
    endpoint.answer = BUSY[answer]
    clock.advance(LIFETIME_S - 30)
    assert await source.current() == "token-1"
    clock.advance(31)
    with pytest.raises(TokenUnavailable):
        await source.current()


@pytest.mark.parametrize("status", [400, 401, 403])
async def test_a_client_that_is_refused_shows_its_old_token_no_more(
    source: ClientCredentials, endpoint: Endpoint, clock: ManualClock, status: int
) -> None:
    """The endpoint has said no to the client itself."""
    await source.current()
    endpoint.answer = lambda: httpx2.Response(status, json={"error": "invalid_client"})
    clock.advance(LIFETIME_S - 30)
    for _ in range(2):
        with pytest.raises(TokenUnavailable):
            await source.current()


async def test_a_refused_token_is_fetched_anew_once(
    source: ClientCredentials, endpoint: Endpoint, clock: ManualClock
) -> None:
    """A revoked token must not become a storm at the endpoint."""
    first = await source.current()
    clock.advance(COOLDOWN_S)
    another = await source.after_refusal(first)
    assert another == "token-2"
    assert await source.after_refusal(another) == another  # it is a moment old
    clock.advance(COOLDOWN_S)
    assert await source.after_refusal(first) == another  # somebody met the old one late
    assert len(endpoint.asked) == 2


NO_TOKENS: dict[str, Callable[[], httpx2.Response]] = {
    "refused": lambda: httpx2.Response(
        401, json={"error": "invalid_client", "error_description": SECRET}
    ),
    "a page": lambda: httpx2.Response(400, text="<html>no</html>"),
    "elsewhere": lambda: httpx2.Response(302, headers={"location": "https://elsewhere.example"}),
    "failed": lambda: httpx2.Response(500),
    "no JSON": lambda: httpx2.Response(200, text="no JSON"),
    "no object": lambda: httpx2.Response(200, json=[]),
    "no token": lambda: httpx2.Response(200, json={"token_type": "bearer"}),
    "two words": lambda: granted("two words"),
    "two lines": lambda: granted("line\nbreak"),
    "another kind": lambda: granted("x", token_type="mac"),
    "no time": lambda: granted("x", expires_in="soon"),
    "no lifetime": lambda: granted("x", expires_in=0),
    "huge": lambda: httpx2.Response(200, content=b" " * 100_000 + granted("x").content),
    "away": away,
}


@pytest.mark.parametrize("answer", NO_TOKENS)
async def test_whatever_is_no_token_is_told_in_one_code(
    source: ClientCredentials, endpoint: Endpoint, answer: str
) -> None:
    """And never with the secret, or in the endpoint's own sentences."""
    endpoint.answer = NO_TOKENS[answer]
    with pytest.raises(TokenUnavailable) as failed:
        await source.current()
    assert failed.value.code == "token_unavailable"
    assert SECRET not in str(failed.value)
    assert SECRET not in repr(source)


WAITED_FOR = ["away", "failed"]


@pytest.mark.parametrize("answer", NO_TOKENS)
async def test_an_endpoint_that_is_away_is_told_from_one_that_says_no(
    source: ClientCredentials, endpoint: Endpoint, answer: str
) -> None:
    """The first is waited for, the second is believed."""
    endpoint.answer = NO_TOKENS[answer]
    with pytest.raises(TokenUnavailable) as failed:
        await source.current()
    assert isinstance(failed.value, TokenEndpointAway) is (answer in WAITED_FOR)


async def test_an_endpoint_that_names_no_lifetime_is_asked_again_soon(
    source: ClientCredentials, endpoint: Endpoint, clock: ManualClock
) -> None:
    """RFC 6749 section 5.1 only recommends expires_in."""
    endpoint.answer = lambda: granted("x", expires_in=None)
    await source.current()
    clock.advance(300)
    await source.current()
    assert len(endpoint.asked) == 2


def test_a_secret_is_sent_in_no_open_letter() -> None:
    """The token endpoint too is https, or on this machine."""
    with pytest.raises(ValueError, match="https"):
        ClientCredentials("http://issuer.example/token", "a", SECRET)


async def test_the_one_token_stays_the_one_token() -> None:
    """There is nowhere to get another."""
    source = FixedToken("abc\n")
    assert await source.current() == await source.after_refusal("abc") == "abc"
    with pytest.raises(ValueError, match="characters"):
        FixedToken("a b")


def written(path: Path, text: str, mode: int = 0o600) -> None:
    """Put a file in another's place, as who rotates a token does."""
    new = path.with_suffix(".new")
    new.write_text(text)
    new.chmod(mode)
    new.rename(path)


async def test_a_token_file_is_read_anew_when_it_changes(tmp_path: Path) -> None:
    """At the next call, without a restart."""
    path, told = tmp_path / "token", list[str]()
    source = TokenFile(path, told.append)
    with pytest.raises(TokenUnavailable):
        await source.current()
    written(path, "first\n")
    assert await source.current() == "first"
    written(path, "second\n")
    assert await source.current() == "second"


@pytest.mark.parametrize(
    ("text", "mode"), [("", 0o600), ("two words", 0o600), ("token-canary", 0o644)]
)
async def test_a_file_that_became_bad_keeps_the_token_and_is_told(
    tmp_path: Path, text: str, mode: int
) -> None:
    """A person hears of it; the file's text is told nobody."""
    path, told = tmp_path / "token", list[str]()
    source = TokenFile(path, told.append)
    written(path, "first")
    assert await source.current() == "first"
    written(path, text, mode)
    assert await source.current() == "first"
    assert len(told) == 1
    assert text == "" or text not in told[0]


async def test_a_refused_token_is_looked_for_in_its_file(tmp_path: Path) -> None:
    """It may have been replaced in that moment."""
    path = tmp_path / "token"
    source = TokenFile(path, print)
    written(path, "first")
    await source.current()
    assert await source.after_refusal("first") == "first"
    written(path, "second")
    assert await source.after_refusal("first") == "second"
