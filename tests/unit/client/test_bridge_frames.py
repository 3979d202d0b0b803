"""What the bridge reads of a line, and what it writes itself."""

from typing import Any

import orjson
import pytest
from mcp.shared.inbound import decode_header_value, encode_header_value

from mcp_gateway.client.bridge import failures, frames
from mcp_gateway.domain.operations import TOOLS

pytestmark = pytest.mark.unit

MODERN = {"_meta": {frames.VERSION_KEY: "2026-07-28"}}


def line(method: str, params: dict[str, Any] | None = None, **changes: Any) -> bytes:
    """Return a request."""
    told = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}
    return orjson.dumps(told | changes)


def call(tool: str, arguments: dict[str, Any] | None = None, **params: Any) -> bytes:
    """Return a tool call."""
    return line("tools/call", {"name": tool, "arguments": arguments or {}} | params)


def test_a_message_of_the_modern_era_says_in_headers_what_its_body_says() -> None:
    """MCP 2026-07-28, streamable HTTP: version, method, and the name where there is one."""
    frame = frames.read(call("get_candles", **MODERN))
    told = frame.headers("2025-11-25")
    assert told["MCP-Protocol-Version"] == "2026-07-28"
    assert (told["Mcp-Method"], told["Mcp-Name"]) == ("tools/call", "get_candles")
    read = frames.read(line("resources/read", {"uri": "freqtrade://pairs"} | MODERN))
    assert read.headers(None)["Mcp-Name"] == "freqtrade://pairs"
    assert "Mcp-Name" not in frames.read(line("tools/list", MODERN)).headers(None)


def test_a_message_of_the_handshake_era_bears_the_version_agreed_on() -> None:
    """MCP 2025-06-18 and later; none before there is one, and none with the handshake itself."""
    frame = frames.read(call("get_candles"))
    assert frame.headers("2025-11-25")["MCP-Protocol-Version"] == "2025-11-25"
    assert not {"Mcp-Method", "Mcp-Name"} & frame.headers("2025-11-25").keys()
    assert "MCP-Protocol-Version" not in frame.headers(None)
    again = frames.read(line("initialize", {"protocolVersion": "2025-11-25"}))
    assert "MCP-Protocol-Version" not in again.headers("2025-11-25")


@pytest.mark.parametrize(
    "value",
    ["get_candles", "nöpe", " edge ", "a\r\nx-evil: 1", "=?base64?eA==?=", "", "日本", "\t"],
)
def test_a_name_survives_in_its_header(value: str) -> None:
    """And no line break gets into one; the SDK's own words."""
    written = frames.header_text(value)
    assert written == encode_header_value(value)
    assert decode_header_value(written) == value
    assert written.isascii()
    assert written.isprintable()


def test_requests_notices_and_answers_are_told_apart() -> None:
    """By their id and method, as JSON-RPC does."""
    assert frames.read(line("ping")).awaits_answer
    notice = frames.read(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
    answer = frames.read(b'{"jsonrpc":"2.0","id":1,"result":{"action":"accept"}}')
    assert not notice.awaits_answer
    assert not answer.awaits_answer
    assert frames.read(b"[]").awaits_answer  # a batch, which the gateway refuses


def test_ids_of_two_kinds_are_two_ids() -> None:
    """JSON-RPC: 1 and "1" name different requests."""
    keys = {frames.read(line("ping", id=one)).key for one in (1, "1", None)}
    assert len(keys) == 3
    cancel = line("notifications/cancelled", {"requestId": "1"})
    assert frames.read(cancel).cancels == frames.read(line("ping", id="1")).key


def test_the_bridge_repeats_the_gateway_s_own_tools_alone() -> None:
    """What it may send twice is the table of tools; a tool that comes later must be thought of."""
    assert frozenset(TOOLS) == frames.REPEATABLE_TOOLS
    assert not frames.read(call("sell_everything")).repeatable


REPEATED = {
    "a list": (line("tools/list"), True),
    "a read": (call("get_candles"), True),
    "an order with its id": (call("create_order", {"request_id": "x"}), True),
    "an order without": (call("create_order"), False),
    "an order whose id is no text": (call("create_order", {"request_id": 1}), False),
    "a person's answer": (call("create_order", {"request_id": "x"}, inputResponses={}), False),
    "a state that counts once": (call("get_order", {}, requestState="s"), False),
    "a notice": (b'{"jsonrpc":"2.0","method":"notifications/x"}', False),
}


@pytest.mark.parametrize("what", REPEATED)
def test_only_what_is_safe_twice_is_repeatable(what: str) -> None:
    """An order needs the id by which the gateway knows it again; an answer counts once."""
    raw, repeatable = REPEATED[what]
    assert frames.read(raw).repeatable is repeatable


@pytest.mark.parametrize("raw", [b"", b"no", b"{", b'{"a":"\xff"}', b'{"id":1}{"id":2}'])
def test_what_is_no_json_is_no_frame(raw: bytes) -> None:
    """Nothing of it is sent anywhere."""
    with pytest.raises(ValueError, match=r"\S"):
        frames.read(raw)


def test_an_answer_passes_byte_by_byte_in_one_line() -> None:
    """Numbers keep their digits; a line break between two tokens would end the line."""
    body = b'{"jsonrpc":"2.0",\r\n "id":1,"result":{"n":0.10000000000000000001,"t":"a\\nb"}}'
    told = frames.answer_to(1, body)
    assert told is not None
    assert b"\n" not in told
    assert b"\r" not in told
    assert b"0.10000000000000000001" in told
    assert orjson.loads(told) == orjson.loads(body)


def test_a_refusal_without_an_id_is_given_the_request_s() -> None:
    """Over stdio nobody could tell else what it answers."""
    body = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32700,"message":"No."}}'
    told = frames.answer_to("a", body)
    assert told is not None
    assert orjson.loads(told)["id"] == "a"
    assert frames.answer_to(None, body) == body


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"id":1}', b'"text"', b'{"jsonrpc":2}'])
def test_what_is_no_message_never_reaches_the_app(body: bytes) -> None:
    """Standard output carries JSON-RPC and nothing else."""
    assert frames.answer_to(1, body) is None


ANSWERS = {
    "placed": ({"result": {"structuredContent": {"outcome": "placed"}}}, True),
    "a question": ({"result": {"inputRequests": {}}}, True),
    "denied": ({"result": {"isError": True, "structuredContent": {"outcome": "denied"}}}, True),
    "a quota": ({"result": {"isError": True, "structuredContent": {"code": "q"}}}, False),
    "an error": ({"error": {"code": 1, "message": "No."}}, False),
}


@pytest.mark.parametrize("what", ANSWERS)
def test_a_refusal_of_the_call_settles_no_order(what: str) -> None:
    """Only a word about the order itself does; a question is one, too: it waits."""
    told, settles = ANSWERS[what]
    assert frames.settles_an_order(orjson.dumps(told)) is settles


def test_a_lost_order_names_the_id_to_ask_by() -> None:
    """And never calls it undone; a lost read is simply made again."""
    order = failures.lost(frames.read(call("create_order", {"request_id": "abc"})))
    assert (order.code, order.retryable) == ("outcome_unknown", False)
    assert order.public()["request_id"] == "abc"
    read = failures.lost(frames.read(call("get_candles")))
    assert (read.code, read.retryable) == ("answer_lost", True)
    cancel = failures.lost(frames.read(call("cancel_order", {"request_id": "abc"})))
    assert (cancel.code, cancel.retryable) == ("answer_lost", True)
