"""The SDK's own refusals, told with code, retryable and hint as every other one."""

from typing import Any

import orjson
import pytest

from mcp_gateway.transports.faults import explained, explained_message

pytestmark = pytest.mark.unit

OURS = {
    "code": -32602, "message": "m",
    "data": {"code": "c", "message": "m", "retryable": True, "hint": "h"},
}  # fmt: skip


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (-32700, "body_malformed"), (-32600, "message_malformed"), (-32601, "method_unknown"),
        (-32602, "request_invalid"), (-32603, "internal_error"), (-32020, "header_mismatch"),
        (-32021, "capability_missing"), (-32022, "protocol_version_unknown"), (-1, "refused"),
    ],
)  # fmt: skip
def test_each_number_has_a_code(number: int, code: str) -> None:
    """An agent acts on codes; the number stays what the protocol says."""
    told = explained({"code": number, "message": "a sentence"})
    assert (told["code"], told["data"]["code"]) == (number, code)
    assert told["data"].keys() >= {"message", "retryable", "hint"}
    assert told["message"] == told["data"]["message"]


def test_a_library_s_words_and_the_caller_s_are_not_told() -> None:
    """The SDK's sentence may name its classes, and repeat what was sent."""
    leaky: dict[str, Any] = {
        "code": -32602, "message": "4 errors for union[JSONRPCRequest]", "data": "my-method",
    }  # fmt: skip
    told = orjson.dumps(explained(leaky))
    assert b"JSONRPC" not in told
    assert b"my-method" not in told


def test_what_the_protocol_wants_in_the_data_stays() -> None:
    """MCP 2026-07-28: a client reads the supported versions there, and goes on."""
    data = {"supported": ["2026-07-28"], "requested": "x" * 5000}
    told = explained({"code": -32022, "message": "Unsupported", "data": data}, call_id="c-1")
    assert told["data"]["supported"] == ["2026-07-28"]
    assert len(told["data"]["requested"]) == 64
    assert told["data"]["call_id"] == "c-1"


def test_a_state_that_has_ended_has_a_code_of_its_own() -> None:
    """The SDK tells it as wrong params; the next step is another one."""
    data = {"reason": "invalid_request_state"}
    told = explained({"code": -32602, "message": "Invalid or expired", "data": data})
    assert told["data"]["code"] == "request_state_invalid"


def test_our_own_refusals_come_back_as_they_are() -> None:
    """Nothing is told twice."""
    assert explained(OURS) == OURS


@pytest.mark.parametrize(
    "line",
    [
        b'{"jsonrpc":"2.0","id":1,"result":{"error":1}}',
        b'{"jsonrpc":"2.0","id":1,"result":{"text":"\\"error\\":{}"}}',
        b'{"jsonrpc":"2.0","method":"notifications/progress"}', b"", b"not json at all",
    ],
)  # fmt: skip
def test_an_answer_that_is_no_error_is_not_touched(line: bytes) -> None:
    """Byte for byte: candles may be 40 kB."""
    assert explained_message(line) is line


def test_an_error_behind_the_longest_id_is_seen() -> None:
    """The id is the caller's, and comes first; each of its characters may take six bytes."""
    line = orjson.dumps(
        {"jsonrpc": "2.0", "id": "\u0001" * 128, "error": {"code": -32601, "message": "m"}}
    )
    assert b"method_unknown" in explained_message(line)
