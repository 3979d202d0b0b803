"""The bridge between an app's lines and a gateway: every request gets one answer."""

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import orjson
import pytest

from mcp_gateway.client import GatewayAuth
from mcp_gateway.client.bridge import Delivery, Relay, frames, relay
from mcp_gateway.client.bridge.pipe import LONGEST_LINE_BYTES, Pipe

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

MODERN = {"_meta": {frames.VERSION_KEY: "2026-07-28"}}
PATIENCE_S = 10.0


def message(method: str, message_id: Any = None, **params: Any) -> bytes:
    """Return a request, or a notice where it has no id."""
    told: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params}
    return orjson.dumps(told if message_id is None else told | {"id": message_id})


class Slow:
    """A gateway that answers ``ping`` and keeps every other request waiting until it is let go."""

    def __init__(self) -> None:
        self.arrived: list[dict[str, Any]] = []
        self.hung_up: list[Any] = []
        self.released = anyio.Event()
        self._news = anyio.Event()

    async def __call__(self, request: httpx2.Request) -> httpx2.Response:
        told = orjson.loads(request.content)
        self.arrived.append(told)
        self._news.set()
        self._news = anyio.Event()
        if "id" not in told:
            return httpx2.Response(202)
        if told["method"] != "ping":
            try:
                await self.released.wait()
            except anyio.get_cancelled_exc_class():
                self.hung_up.append(told["id"])
                raise
        return httpx2.Response(200, json={"jsonrpc": "2.0", "id": told["id"], "result": {}})

    async def seen(self, count: int) -> None:
        """Wait until that many messages have arrived."""
        with anyio.fail_after(PATIENCE_S):
            while len(self.arrived) < count:
                await self._news.wait()


class App:
    """A desktop app: says lines, hears lines."""

    def __init__(self) -> None:
        self.gateway = Slow()
        self._say, self._lines = anyio.create_memory_object_stream[bytes | None](100)
        self._heard, self._answers = anyio.create_memory_object_stream[bytes](200)

    async def say(self, line: bytes | None) -> None:
        await self._say.send(line)

    async def hear(self) -> dict[str, Any]:
        with anyio.fail_after(PATIENCE_S):
            told: dict[str, Any] = orjson.loads(await self._answers.receive())
        return told

    def close(self) -> None:
        """Close its end, as an app that quits."""
        self._say.close()

    async def run(self) -> None:
        """Run the bridge until the app has closed."""
        transport = httpx2.MockTransport(self.gateway)
        auth = GatewayAuth("token")
        delivery = Delivery("https://g.example/mcp", auth, tell=_ignore, transport=transport)
        async with self._lines, self._heard:
            bridge = Relay(delivery, self._heard.send, longest_line_bytes=LONGEST_LINE_BYTES)
            await bridge.run(self._lines)
        await delivery.close()


def _ignore(_notice: str) -> None:
    """Nobody reads the app's log here."""


@pytest.fixture
async def app() -> AsyncIterator[App]:
    app = App()
    async with anyio.create_task_group() as group:
        group.start_soon(app.run)
        yield app
        app.gateway.released.set()
        app.close()
    app._answers.close()


async def test_answers_come_as_they_are_ready(app: App) -> None:
    """A slow call holds up none behind it."""
    await app.say(message("tools/call", 1))
    await app.say(message("ping", 2))
    assert (await app.hear())["id"] == 2
    app.gateway.released.set()
    assert (await app.hear())["id"] == 1


BAD_LINES: dict[str, tuple[bytes | None, int, str]] = {
    "no JSON": (b"hello", frames.UNREADABLE, "request_malformed"),
    "too long": (None, frames.REFUSED, "request_too_large"),
}


@pytest.mark.parametrize("what", BAD_LINES)
async def test_a_line_that_can_t_be_read_is_refused_and_the_next_one_served(
    app: App, what: str
) -> None:
    """JSON-RPC 2.0 section 5.1; nothing of it goes anywhere."""
    line, number, code = BAD_LINES[what]
    await app.say(line)
    error = (await app.hear())["error"]
    assert (error["code"], error["data"]["code"]) == (number, code)
    await app.say(b"  ")
    await app.say(message("ping", 1))
    assert (await app.hear())["id"] == 1
    assert len(app.gateway.arrived) == 1


async def test_a_cancelled_call_of_the_modern_era_is_hung_up_on(app: App) -> None:
    """MCP 2026-07-28: closing the answer's stream is the cancel; no notice goes out."""
    await app.say(message("tools/call", "a", **MODERN))
    await app.gateway.seen(1)
    await app.say(message("notifications/cancelled", requestId="a"))
    await app.say(message("ping", 2))
    assert (await app.hear())["id"] == 2
    assert app.gateway.hung_up == ["a"]
    assert [one["method"] for one in app.gateway.arrived] == ["tools/call", "ping"]


async def test_a_cancel_of_the_handshake_era_is_passed_on(app: App) -> None:
    """There it is a notice to the server, and hanging up means nothing."""
    await app.say(message("tools/call", 1))
    await app.gateway.seen(1)
    await app.say(message("notifications/cancelled", requestId=1))
    await app.gateway.seen(2)
    assert app.gateway.arrived[1]["method"] == "notifications/cancelled"
    assert app.gateway.hung_up == []


async def test_a_cancel_meets_the_id_of_its_own_kind(app: App) -> None:
    """1 and "1" are two calls."""
    await app.say(message("tools/call", 1, **MODERN))
    await app.gateway.seen(1)
    await app.say(message("notifications/cancelled", requestId="1"))
    await app.gateway.seen(2)  # of no call that it knows: the gateway may
    assert app.gateway.hung_up == []


async def test_more_calls_than_it_carries_are_refused(app: App) -> None:
    """With the id of each; those under way are not disturbed."""
    for number in range(relay.MOST_CALLS + 1):
        await app.say(message("tools/call", number))
    told = await app.hear()
    assert told["id"] == relay.MOST_CALLS
    assert (told["error"]["data"]["code"], told["error"]["data"]["retryable"]) == (
        "too_many_calls",
        True,
    )
    app.gateway.released.set()
    assert {(await app.hear())["id"] for _ in range(relay.MOST_CALLS)} == set(
        range(relay.MOST_CALLS)
    )


async def test_what_is_under_way_is_answered_after_the_app_s_end_closed() -> None:
    """A script may say its line and close."""
    app = App()
    async with anyio.create_task_group() as group:
        group.start_soon(app.run)
        await app.say(message("tools/call", 1))
        app.close()
        await app.gateway.seen(1)
        app.gateway.released.set()
        assert (await app.hear())["id"] == 1
    app._answers.close()


@contextmanager
def piped() -> Iterator[tuple[Pipe, int, int]]:
    """Return a pipe, and the app's ends of it: to write to, to read from."""
    read_from, said = os.pipe()
    heard, write_to = os.pipe()
    try:
        yield Pipe(read_from, write_to), said, heard
    finally:
        for one in (read_from, heard, write_to):
            os.close(one)


async def test_lines_are_cut_out_of_what_arrives() -> None:
    """Whatever the pieces; the last one may have no end."""
    with piped() as (pipe, said, _):
        os.write(said, b"one\ntw")
        lines = pipe.lines()
        assert await anext(lines) == b"one"
        os.write(said, b"o\n\nlast")
        os.close(said)
        assert [line async for line in lines] == [b"two", b"", b"last"]


async def test_a_line_without_end_is_dropped_and_the_next_one_read() -> None:
    """Four megabytes are no message; they are not kept either."""
    with piped() as (pipe, said, _):
        seen: list[bytes | None] = []

        async def read() -> None:
            seen.extend([line async for line in pipe.lines()])

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            for _ in range(LONGEST_LINE_BYTES // 65_536 + 1):
                await anyio.to_thread.run_sync(os.write, said, b"x" * 65_536)
            await anyio.to_thread.run_sync(os.write, said, b"\nnext\n")
            os.close(said)
        assert seen == [None, b"next"]


async def test_a_long_answer_is_written_whole() -> None:
    """More than a pipe holds, beside another one, while the app reads slowly."""
    with piped() as (pipe, said, heard):
        os.close(said)
        long, short = b"a" * 300_000, b"b"
        async with anyio.create_task_group() as group:
            group.start_soon(pipe.write, long)
            group.start_soon(pipe.write, short)
            got = b""
            while len(got) < len(long) + len(short) + 2:
                got += await anyio.to_thread.run_sync(os.read, heard, 65_536)
        assert sorted(got.split(b"\n")) == [b"", long, short]


async def test_a_file_can_be_read_as_well(tmp_path: Path) -> None:
    """A redirected file, which no event loop waits for."""
    path = tmp_path / "lines"
    path.write_bytes(b"one\ntwo\n")
    with path.open("rb") as opened:
        pipe = Pipe(opened.fileno(), -1)
        assert [line async for line in pipe.lines()] == [b"one", b"two"]
