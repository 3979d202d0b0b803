"""Hostile bytes at the door, over a real socket: each gets an answer with a code, in time."""

from collections.abc import AsyncIterator

import anyio
import orjson
import pytest

from mcp_gateway.transports.bounds import BoundedProtocol
from tests.support.gateway import CALL, ORDER, Face, settings_for
from tests.support.wire import Wire, served

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

FACES = pytest.mark.parametrize("path", ["/mcp", "/api/v1/orders/dry-run"], ids=["mcp", "rest"])


@pytest.fixture(scope="module")
def one_face(tmp_path_factory: pytest.TempPathFactory) -> Face:
    return Face(settings_for(tmp_path_factory.mktemp("door")), body_deadline_s=0.3)


@pytest.fixture(scope="module")
async def wire(one_face: Face) -> AsyncIterator[Wire]:
    async with served(one_face.door) as wire:
        yield wire


@pytest.fixture
def face(one_face: Face) -> Face:
    one_face.mcp.bodies.clear()
    return one_face


class Impatient(BoundedProtocol):
    """Waits a fifth of a second for a head."""

    head_deadline_s = 0.2


def head(face: Face, path: str, *lines: str, method: str = "POST") -> bytes:
    """Return the head of a good request, and further lines."""
    return "\r\n".join(
        [
            f"{method} {path} HTTP/1.1",
            "Host: localhost",
            f"Authorization: Bearer {face.token()}",
            "Content-Type: application/json",
            *lines,
            "",
            "",
        ]
    ).encode()


def body_for(path: str) -> bytes:
    return orjson.dumps(CALL if path == "/mcp" else ORDER)


def read(answer: bytes) -> tuple[int, str]:
    """Return status and code of the last answer in a conversation."""
    last = answer[answer.rindex(b"HTTP/1.1 ") :]
    top, _, text = last.partition(b"\r\n\r\n")
    told = orjson.loads(text)
    code = told["error"]["data"]["code"] if "error" in told else told.get("code", "")
    return int(top.split(b" ")[1]), code


@FACES
async def test_a_good_call_passes_over_the_wire(face: Face, wire: Wire, path: str) -> None:
    """So that the refusals below are refusals of what they name."""
    body = body_for(path)
    answer = await wire.exchange(
        head(face, path, f"Content-Length: {len(body)}", "Connection: close"), body
    )
    assert answer.startswith(b"HTTP/1.1 200 ")


@FACES
async def test_an_endless_chunked_body_ends_at_the_limit(face: Face, wire: Wire, path: str) -> None:
    """No length is announced, so the bytes are counted as they come."""
    chunk = b"4000\r\n" + b"a" * 0x4000 + b"\r\n"
    answer = await wire.exchange(head(face, path, "Transfer-Encoding: chunked"), *[chunk] * 8)
    assert read(answer) == (413, "request_too_large")


@FACES
async def test_an_announced_oversize_is_refused_before_its_first_byte(
    face: Face, wire: Wire, path: str
) -> None:
    """RFC 9110 section 10.1.1: a caller that waits for 100-continue gets the refusal instead."""
    lines = ("Content-Length: 10000000", "Expect: 100-continue")
    answer = await wire.exchange(head(face, path, *lines))
    assert b"100 Continue" not in answer
    assert read(answer) == (413, "request_too_large")


@FACES
async def test_a_dripped_body_meets_the_deadline(face: Face, wire: Wire, path: str) -> None:
    """A byte now and then keeps a read time-out happy; the deadline is for the whole body."""
    async with await anyio.connect_tcp("127.0.0.1", wire.port) as stream:
        await stream.send(head(face, path, "Content-Length: 1000"))
        answer = b""
        with anyio.fail_after(5), anyio.move_on_after(4):
            async with anyio.create_task_group() as group:

                async def drip() -> None:
                    while True:
                        await stream.send(b" ")
                        await anyio.sleep(0.05)

                group.start_soon(drip)
                while not answer.endswith(b"}"):
                    answer += await stream.receive()
                group.cancel_scope.cancel()
    assert read(answer) == (408, "request_timeout")


async def test_others_are_served_while_a_body_drips(face: Face, wire: Wire) -> None:
    """A slow caller holds up nobody else."""
    async with await anyio.connect_tcp("127.0.0.1", wire.port) as slow:
        await slow.send(head(face, "/mcp", "Content-Length: 1000") + b"{")
        body = body_for("/mcp")
        lines = (f"Content-Length: {len(body)}", "Connection: close")
        answer = await wire.exchange(head(face, "/mcp", *lines) + body, patience_s=2)
    assert answer.startswith(b"HTTP/1.1 200 ")


async def test_a_head_in_one_go_beyond_the_bound_is_told_politely(face: Face, wire: Wire) -> None:
    """RFC 6585 section 5: too large for the door, small enough for the wire."""
    filler = [f"X-Filler-{number}: {'a' * 1000}" for number in range(40)]
    answer = await wire.exchange(head(face, "/mcp", *filler, "Content-Length: 2") + b"{}")
    assert read(answer) == (431, "headers_too_large")


@FACES
async def test_more_headers_than_anybody_needs_are_told_politely(
    face: Face, wire: Wire, path: str
) -> None:
    """Small ones, but hundreds: each is looked at by everything behind the door."""
    many = [f"X-{number}: a" for number in range(300)]
    answer = await wire.exchange(head(face, path, *many, "Content-Length: 2") + b"{}")
    assert read(answer) == (431, "headers_too_large")


@pytest.mark.parametrize(
    ("lines", "body"),
    [(("Content-Length: 2",), b"{}"), (("Transfer-Encoding: chunked",), b"2\r\n{}\r\n0\r\n\r\n")],
    ids=["length", "chunked"],
)
async def test_a_read_with_a_body_is_refused_and_hung_up_on(
    face: Face, wire: Wire, lines: tuple[str, ...], body: bytes
) -> None:
    """What nobody reads could be the next request to somebody else on the way."""
    sent = head(face, "/api/v1/positions/open", *lines, method="GET")
    answer = await wire.exchange(sent + body + head(face, "/metrics", method="GET"))
    assert read(answer) == (400, "body_not_expected")
    assert answer.count(b"HTTP/1.1 ") == 1


@pytest.mark.parametrize("part", [b"X-A: " + b"a" * 4096, b"X-A: b\r\n" * 512], ids=["one", "many"])
async def test_a_head_without_end_is_cut_off(wire: Wire, part: bytes) -> None:
    """A header bomb: one endless line, or lines without end, before any request is whole."""
    answer = await wire.exchange(b"POST /mcp HTTP/1.1\r\n" + part, *[part] * 200)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))
    assert b" 200 " not in answer


async def test_an_endless_url_is_cut_off(wire: Wire) -> None:
    """The request line counts as the head."""
    answer = await wire.exchange(b"GET /", *[b"a" * 4096] * 200)
    assert answer == b"" or answer.startswith((b"HTTP/1.1 431 ", b"HTTP/1.1 400 "))


@pytest.mark.parametrize("sent", [b"", b"POST /mcp HTTP/1.1\r\nHost: local"], ids=["none", "half"])
async def test_a_head_that_never_comes_is_hung_up_on(one_face: Face, sent: bytes) -> None:
    """Slowloris: idle connections must not pile up."""
    async with served(one_face.door, protocol=Impatient) as wire:
        answer = await wire.exchange(*([sent] if sent else []), patience_s=3)
    assert answer.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize(
    "garbage", [b"\x00\x01\x02\r\n\r\n", b"SSH-2.0-x\r\n", b"\x16\x03\x01\x02", b"GET\r\n\r\n"]
)
async def test_garbage_is_answered_and_hung_up_on(wire: Wire, garbage: bytes) -> None:
    """What is no HTTP gets a 400 and no stack trace."""
    answer = await wire.exchange(garbage)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Traceback" not in answer


async def test_garbage_behind_a_good_request_is_no_part_of_it(face: Face, wire: Wire) -> None:
    """Pipelining: the call has its own bytes alone, and the connection ends with a 400."""
    body = body_for("/mcp")
    good = head(face, "/mcp", f"Content-Length: {len(body)}") + body
    answer = await wire.exchange(good + b"\x00\x01garbage\r\n\r\n")
    assert face.mcp.bodies == [body]
    assert b"HTTP/1.1 400 " in answer


async def test_two_pipelined_calls_are_two_calls_in_order(face: Face, wire: Wire) -> None:
    """RFC 9112 section 9.3.2; each has its own body, its own token and its own answer."""
    first, second = orjson.dumps(CALL | {"id": 1}), orjson.dumps(CALL | {"id": 2})
    sent = b"".join(
        head(face, "/mcp", f"Content-Length: {len(body)}", f"Connection: {word}") + body
        for body, word in ((first, "keep-alive"), (second, "close"))
    )
    answer = await wire.exchange(sent)
    assert answer.count(b"HTTP/1.1 200 ") == 2
    assert face.mcp.bodies == [first, second]


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: 2", "Transfer-Encoding: chunked"),
        ("Content-Length: 2", "Content-Length: 3"),
        ("Content-Length: +2",),
        ("Content-Length: 2, 2",),
        ("Transfer-Encoding: xchunked",),
    ],
)
@FACES
async def test_a_doubtful_length_is_refused(
    face: Face, wire: Wire, path: str, lines: tuple[str, ...]
) -> None:
    """RFC 9112 section 6.3: request smuggling lives on lengths that two readers read apart."""
    answer = await wire.exchange(head(face, path, *lines, "Connection: close") + b"{}\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert face.mcp.bodies == []


@FACES
async def test_a_doubled_host_is_refused(face: Face, wire: Wire, path: str) -> None:
    """RFC 9112 section 3.2."""
    lines = ("Host: evil.example", "Content-Length: 2", "Connection: close")
    answer = await wire.exchange(head(face, path, *lines) + b"{}")
    assert read(answer) == (421, "host_not_allowed")


@FACES
@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (("Origin: https://evil.example",), (403, "origin_not_allowed")),
        (("Authorization: Bearer x",), (401, "token_invalid")),
        (("X-HTTP-Method-Override: DELETE",), (200, "")),
    ],
)
async def test_a_header_more_decides(
    face: Face, wire: Wire, path: str, lines: tuple[str, ...], told: tuple[int, str]
) -> None:
    """A foreign origin and a second token refuse; an override of the method does nothing."""
    body = body_for(path)
    length = f"Content-Length: {len(body)}"
    answer = await wire.exchange(head(face, path, *lines, length, "Connection: close") + body)
    assert read(answer) == told


@FACES
@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "PATCH", "OPTIONS", "TRACE"])
async def test_another_method_with_a_body_calls_nothing(
    face: Face, wire: Wire, path: str, method: str
) -> None:
    """Method confusion: the body of a GET is no call."""
    body = body_for(path)
    lines = (f"Content-Length: {len(body)}", "Connection: close")
    answer = await wire.exchange(head(face, path, *lines, method=method) + body)
    assert read(answer) == (405, "method_not_allowed")
    assert b"\r\nallow: POST\r\n" in answer
    assert face.mcp.bodies == []


@pytest.mark.parametrize(
    "target", ["http://evil.example/mcp", "*", "/mcp#x", "/../mcp", "/mcp;x=1", "/mcp%00"]
)
async def test_a_strange_target_is_no_way_to_mcp(face: Face, wire: Wire, target: str) -> None:
    """Absolute forms, fragments, parameters and encodings of a path reach no other door."""
    body = body_for("/mcp")
    lines = (f"Content-Length: {len(body)}", "Connection: close")
    sent = head(face, target, *lines).replace(b"Host: localhost", b"Host: evil.example") + body
    answer = await wire.exchange(sent)
    assert not answer.startswith(b"HTTP/1.1 200 ")
    assert face.mcp.bodies == []


async def test_an_upgrade_is_not_taken(face: Face, wire: Wire) -> None:
    """There is no WebSocket here; the request is judged as the GET it is."""
    lines = ("Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: eA==")
    async with await anyio.connect_tcp("127.0.0.1", wire.port) as stream:
        await stream.send(head(face, "/mcp", *lines, method="GET"))
        with anyio.fail_after(5):
            answer = await stream.receive()
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert face.mcp.bodies == []


async def test_a_caller_who_hangs_up_midway_is_no_error_of_ours(
    face: Face, wire: Wire, caplog: pytest.LogCaptureFixture
) -> None:
    """Half a body and then nothing: no call, no traceback, and the server lives."""
    async with await anyio.connect_tcp("127.0.0.1", wire.port) as stream:
        await stream.send(head(face, "/mcp", "Content-Length: 1000") + b"{")
    body = body_for("/mcp")
    lines = (f"Content-Length: {len(body)}", "Connection: close")
    answer = await wire.exchange(head(face, "/mcp", *lines) + body)
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert not [record for record in caplog.records if record.exc_info]
