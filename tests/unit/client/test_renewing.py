"""A client whose token is renewed while it works."""

import httpx2
import pytest

from mcp_gateway.client import RenewingAuth

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

KEY = "a-signing-key-of-the-tests-0123456789abcdef"


class Source:
    """Tells a token, and another one after a refusal where it has one."""

    def __init__(self, *tokens: str) -> None:
        self._tokens = list(tokens)

    async def current(self) -> str:
        return self._tokens[0]

    async def after_refusal(self, refused: str) -> str:
        assert refused == self._tokens[0]
        if len(self._tokens) > 1:
            self._tokens.pop(0)
        return self._tokens[0]


class Door:
    """Answers 401 to every token but one; keeps what came."""

    def __init__(self, good: str) -> None:
        self._good = good
        self.seen: list[httpx2.Request] = []

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        copy = httpx2.Request(
            request.method, request.url, headers=request.headers, content=request.content
        )
        self.seen.append(copy)
        good = request.headers["authorization"] == f"Bearer {self._good}"
        return httpx2.Response(200 if good else 401, json={})


async def sent(source: Source, door: Door, *, key: str | None = None) -> httpx2.Response:
    """Send one POST."""
    auth = RenewingAuth(source, key=key, key_id="desk" if key else None)
    async with httpx2.AsyncClient(auth=auth, transport=httpx2.MockTransport(door)) as client:
        return await client.post("https://gateway.example/mcp", content=b"{}")


async def test_a_refused_token_is_renewed_and_the_request_signed_anew() -> None:
    """The same bytes, another token, another nonce: no replay."""
    door = Door("second")
    answer = await sent(Source("first", "second"), door, key=KEY)
    assert answer.status_code == 200
    assert [one.headers["authorization"] for one in door.seen] == ["Bearer first", "Bearer second"]
    assert [one.content for one in door.seen] == [b"{}", b"{}"]
    nonces = [one.headers["signature-input"].split("nonce=")[1] for one in door.seen]
    assert nonces[0] != nonces[1]


def test_a_client_that_can_t_wait_for_a_token_is_told() -> None:
    """A sync client would send an empty one."""
    auth, door = RenewingAuth(Source("first")), Door("first")
    transport = httpx2.MockTransport(door)
    with (
        httpx2.Client(auth=auth, transport=transport) as client,
        pytest.raises(RuntimeError, match="async"),
    ):
        client.get("https://gateway.example")
    assert door.seen == []


async def test_a_request_is_sent_twice_at_most() -> None:
    """A gateway that refuses every token is believed the second time."""
    door = Door("none")
    assert (await sent(Source("first", "second", "third"), door)).status_code == 401
    assert len(door.seen) == 2


async def test_without_another_token_nothing_is_sent_again() -> None:
    """The gateway's own refusal is the answer."""
    door = Door("none")
    assert (await sent(Source("only"), door)).status_code == 401
    assert len(door.seen) == 1
