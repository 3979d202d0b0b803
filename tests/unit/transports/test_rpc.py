"""JSON-RPC messages as they are let in: what is no clear call is refused, and said why."""

from typing import Any

import pytest

from mcp_gateway.errors import GatewayError
from mcp_gateway.transports import rpc
from mcp_gateway.transports.body import parse

pytestmark = pytest.mark.unit

CALL: dict[str, Any] = {
    "jsonrpc": "2.0", "id": 1, "method": "tools/call",
    "params": {"name": "get_candles", "arguments": {"limit": 3}, "_meta": {}},
}  # fmt: skip
NOTICE = {"jsonrpc": "2.0", "method": "notifications/initialized"}
VERSION = "io.modelcontextprotocol/protocolVersion"


def code_of(message: dict[str, Any], *headers: tuple[bytes, bytes]) -> str:
    """Return the code with which a message is refused, empty where it passes."""
    try:
        rpc.check(message)
        rpc.check_headers(headers, message)
    except GatewayError as error:
        return error.code
    return ""


def calling(**params: Any) -> dict[str, Any]:
    """Return the call with some of its params changed."""
    return CALL | {"params": CALL["params"] | params}


@pytest.mark.parametrize(
    "message",
    [
        CALL, NOTICE, CALL | {"id": "text"}, CALL | {"id": 0}, CALL | {"id": -5},
        CALL | {"id": "x" * 128}, CALL | {"id": 2**53 - 1}, calling(arguments=None),
        {"jsonrpc": "2.0", "id": 1, "method": "ping"}, CALL | {"method": "x/y", "params": None},
        calling(requestState="s", inputResponses={}), calling(task={}),
    ],
)  # fmt: skip
def test_a_clear_message_passes(message: dict[str, Any]) -> None:
    """So that the refusals below are refusals of what they name."""
    assert code_of(message) == ""


@pytest.mark.parametrize("version", [None, "1.0", "2", 2.0])
def test_another_json_rpc_is_refused(version: Any) -> None:
    """JSON-RPC 2.0 section 4: exactly "2.0"."""
    assert code_of(CALL | {"jsonrpc": version}) == "message_malformed"


@pytest.mark.parametrize(
    "text", ["null", "1.5", "1e2", "true", "[]", "{}", str(2**53), "-1e1", '"' + "x" * 129 + '"']
)
def test_an_id_that_could_not_come_back_as_it_is_is_refused(text: str) -> None:
    """The SDK takes such a call for a notification: accepted, and never done."""
    body = b'{"jsonrpc":"2.0","id":%s,"method":"ping"}' % text.encode()
    assert code_of(parse(body)) == "id_malformed"


def test_a_call_without_an_id_is_refused() -> None:
    """An order that nobody answers would be accepted in silence and never placed."""
    assert code_of({name: one for name, one in CALL.items() if name != "id"}) == "id_missing"


@pytest.mark.parametrize(
    "message",
    [
        NOTICE | {"id": 1}, CALL | {"result": {}}, CALL | {"error": {}}, CALL | {"extra": 1},
        CALL | {"method": 5}, CALL | {"method": ""}, CALL | {"method": "m" * 129},
        CALL | {"params": []}, CALL | {"params": "x"}, {"jsonrpc": "2.0", "id": 1},
        {"jsonrpc": "2.0", "id": 1, "result": {}},
    ],
)  # fmt: skip
def test_what_is_no_call_is_refused(message: dict[str, Any]) -> None:
    """A call and an answer at once, a notification with an id, members that nobody knows."""
    assert code_of(message) == "message_malformed"


@pytest.mark.parametrize(
    ("params", "field"),
    [
        ({"argumentz": {}}, "params.argumentz"), ({"name": 5}, "params.name"),
        ({"name": None}, "params.name"), ({"arguments": "{}"}, "params.arguments"),
        ({"arguments": [1]}, "params.arguments"), ({"\u202e": 1}, "params.?"),
    ],
)  # fmt: skip
def test_a_member_that_the_call_does_not_know_is_named(params: dict[str, Any], field: str) -> None:
    """`argument` for `arguments` would answer another question than the one asked."""
    with pytest.raises(GatewayError) as refused:
        rpc.check(calling(**params))
    assert (refused.value.code, refused.value.detail["field"]) == ("request_invalid", field)


@pytest.mark.parametrize("message", [{"result": {}}, {"error": {"code": 1, "message": "x"}}])
def test_an_answer_passes_where_answers_are_awaited(message: dict[str, Any]) -> None:
    """Over stdio the gateway asks the client, too."""
    rpc.check({"jsonrpc": "2.0", "id": 1} | message, awaits_answers=True)


@pytest.mark.parametrize("message", [{}, {"result": {}, "error": {}}, {"result": {}, "x": 1}])
def test_half_an_answer_is_refused(message: dict[str, Any]) -> None:
    """JSON-RPC 2.0 section 5: either result or error."""
    with pytest.raises(GatewayError) as refused:
        rpc.check({"jsonrpc": "2.0", "id": 1} | message, awaits_answers=True)
    assert refused.value.code == "message_malformed"


@pytest.mark.parametrize(
    "headers",
    [
        [(b"mcp-method", b"tools/list")], [(b"mcp-name", b"create_order")],
        [(b"mcp-name", b"=?base64?!!?=")], [(b"mcp-method", b"tools/call")] * 2,
        [(b"mcp-name", b"get_candles")] * 2, [(b"mcp-protocol-version", b"2025-11-25")] * 2,
        [(b"mcp-session-id", b"a")] * 2,
    ],
)  # fmt: skip
def test_a_header_that_says_another_thing_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    """A proxy that lets calls pass by their headers and a gateway that reads bodies must agree."""
    assert code_of(CALL, *headers) == "header_mismatch"


@pytest.mark.parametrize(
    "headers",
    [
        [(b"mcp-method", b"tools/call"), (b"mcp-name", b"get_candles")],
        [(b"mcp-name", b"=?base64?Z2V0X2NhbmRsZXM=?=")],
        [(b"mcp-protocol-version", b"2025-06-18")], [],
    ],
)  # fmt: skip
def test_a_header_that_says_the_same_passes(headers: list[tuple[bytes, bytes]]) -> None:
    """In every era, and wrapped as the protocol wraps it."""
    assert code_of(CALL, *headers) == ""


def test_a_header_and_a_body_of_two_versions_are_refused() -> None:
    """Which rules hold for the call must not depend on where somebody looks."""
    modern = calling(_meta={VERSION: "2026-07-28"})
    assert code_of(modern, (b"mcp-protocol-version", b"2025-11-25")) == "header_mismatch"
    assert code_of(modern) == "header_mismatch"
    assert code_of(modern, (b"mcp-protocol-version", b"2026-07-28")) == ""


def test_an_unknown_version_is_told_which_are_known() -> None:
    """An agent can go on with one of them."""
    with pytest.raises(GatewayError) as refused:
        rpc.check_headers(((b"mcp-protocol-version", b"1999-01-01" + b"x" * 500),), CALL)
    assert refused.value.code == "protocol_version_unknown"
    assert "2025-11-25" in refused.value.detail["supported"]
    assert len(refused.value.detail["requested"]) == rpc.LONGEST_ID
