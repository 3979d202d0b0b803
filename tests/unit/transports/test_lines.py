"""The lines of stdio: bounded, checked, and answered where they are bad."""

import io
import threading
from typing import Any

import orjson
import pytest

from mcp_gateway.transports.lines import Incoming, Outgoing

pytestmark = pytest.mark.unit

PING = b'{"jsonrpc":"2.0","id":1,"method":"ping"}'
LIMIT = 1024


def passed(sent: bytes) -> tuple[list[str], list[Any]]:
    """Return the lines that pass, as the SDK reads them, and the answers to the others."""
    refused: list[bytes] = []
    incoming = Incoming(io.BytesIO(sent), limit_bytes=LIMIT, refuse=refused.append)
    lines = list(io.TextIOWrapper(incoming, encoding="utf-8"))  # type: ignore[type-var]  # a raw stream, as the SDK wraps it
    return lines, [orjson.loads(one) for one in refused]


def test_good_lines_pass_in_their_order() -> None:
    """Empty lines are no messages, and the last one may lack its end."""
    second = PING.replace(b"1", b"2")
    lines, refused = passed(PING + b"\n\n  \n" + second + b"\r\n" + PING)
    assert [orjson.loads(line)["id"] for line in lines] == [1, 2, 1]
    assert refused == []


@pytest.mark.parametrize(
    ("line", "code", "ident"),
    [
        (b"this is no JSON", "body_malformed", None),
        (b'{"jsonrpc":"2.0","id":7,"id":8,"method":"ping"}', "body_duplicate_key", None),
        (b'{"jsonrpc":"2.0","id":7,"method":"x","params":{"a":[NaN]}}', "body_malformed", None),
        (b"[" + PING + b"]", "body_not_an_object", None),
        (b"[" * 100, "body_too_deep", None),
        (b"\xef\xbb\xbf" + PING, "body_malformed", None),
        (b"\xff\xfe", "body_malformed", None),
        (PING[:-1] + b',"x":"\\ud800"}', "body_malformed", None),
        (b'{"jsonrpc":"2.0","id":null,"method":"ping"}', "id_malformed", None),
        (b'{"jsonrpc":"2.0","method":"tools/call"}', "id_missing", None),
        (b'{"jsonrpc":"2.0","id":7,"method":"ping","x":1}', "message_malformed", 7),
        (b'{"jsonrpc":"2.0","id":7,"method":"tools/call","params":{"name":1}}',
         "request_invalid", 7),
    ],
)  # fmt: skip
def test_a_bad_line_is_answered_and_left_out(line: bytes, code: str, ident: int | None) -> None:
    """The SDK would be silent, or understand something else; the next line is served."""
    lines, [told] = passed(line + b"\n" + PING + b"\n")
    assert (told["error"]["data"]["code"], told["id"]) == (code, ident)
    assert told["error"]["data"].keys() >= {"message", "retryable", "hint"}
    assert len(lines) == 1


@pytest.mark.parametrize("end", [b"\n", b""], ids=["ended", "cut"])
def test_a_line_beyond_the_bound_is_refused_and_never_held(end: bytes) -> None:
    """Ten megabytes without an end of line would stay in memory, many times."""
    sent = b'{"x":"' + b"a" * 200_000 + b'"}' + end
    lines, [told] = passed(sent + (PING if end else b""))
    assert told["error"]["data"]["code"] == "request_too_large"
    assert told["error"]["data"]["limit_bytes"] == LIMIT
    assert len(lines) == (1 if end else 0)


def test_a_line_of_just_the_bound_passes() -> None:
    """The bound is of the message; its end of line does not count."""
    exact = PING[:-1] + b" " * (LIMIT - len(PING)) + b"}"
    assert passed(exact + b"\n") == ([exact.decode() + "\n"], [])
    assert passed(exact.replace(b"}", b" }") + b"\n")[0] == []


def test_a_carriage_return_inside_splits_nothing() -> None:
    """White space to JSON, an end of line to Python's text streams: two readers, one message."""
    lines, refused = passed(PING.replace(b",", b",\r") + b"\r\n")
    assert [orjson.loads(line)["id"] for line in lines] == [1]
    assert refused == []


def test_an_error_of_the_sdk_gets_its_code_on_the_way_out() -> None:
    """Written in whatever pieces, and beside answers that are none of its business."""
    target = io.BytesIO()
    outgoing = Outgoing(target)
    error = b'{"jsonrpc":"2.0","id":1,"error":{"code":-32601,"message":"m","data":"echo"}}\n'
    for part in (error[:20], error[20:] + PING[:5], PING[5:] + b"\n"):
        outgoing.write(part)
    first, second = target.getvalue().splitlines()
    assert orjson.loads(first)["error"]["data"]["code"] == "method_unknown"
    assert second == PING


def test_lines_of_two_threads_stay_whole() -> None:
    """Refusals are written where lines are read, answers where the SDK writes."""
    target = io.BytesIO()
    outgoing = Outgoing(target)
    line = b'{"a":"' + b"x" * 10_000 + b'"}'

    def refuse() -> None:
        for _ in range(200):
            outgoing.send(line)

    other = threading.Thread(target=refuse)
    other.start()
    for _ in range(200):
        outgoing.write(line[:100])
        outgoing.write(line[100:] + b"\n")
    other.join()
    assert set(target.getvalue().splitlines()) == {line}
