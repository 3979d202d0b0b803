"""A session's failures, in our own tree: what an agent's program can act on."""

import socket

import pytest
from mcp import MCPError

from mcp_gateway.client import (
    GatewayAuth,
    GatewayRefused,
    GatewayUnreachable,
    open_session,
    session,
)

pytestmark = [pytest.mark.unit, pytest.mark.anyio]
URL = "http://127.0.0.1:9/mcp"
DATA = {
    "code": "scope_missing",
    "message": "No.",
    "retryable": False,
    "hint": "Ask.",
    "call_id": "1",
}


async def test_nobody_there_is_told_with_the_address() -> None:
    """Whatever the SDK wraps around it."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}/mcp"
        with pytest.raises(GatewayUnreachable) as failed:
            async with open_session(url, GatewayAuth("token")):
                pass
    assert failed.value.code == "gateway_unreachable"
    assert url in failed.value.message


@pytest.mark.parametrize("behind", ["", "/", "/mcp"])
async def test_a_session_takes_the_address_with_or_without_its_path(behind: str) -> None:
    """As the typed client does; without it a gateway has only "not found" to say."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{held.getsockname()[1]}"
        with pytest.raises(GatewayUnreachable) as failed:
            async with open_session(url + behind, GatewayAuth("token")):
                pass
    assert failed.value.message == f"No gateway answers at {url}/mcp."


@pytest.mark.parametrize("deep", [False, True])
async def test_a_refusal_of_the_gateway_keeps_its_words(deep: bool) -> None:
    """Code, message and hint are the gateway's; the whole answer is at hand."""
    refusal = MCPError(-32001, "No.", DATA)
    with pytest.raises(GatewayRefused) as failed:
        raise session._told(ExceptionGroup("g", [KeyError(), refusal]) if deep else refusal, URL)
    assert (failed.value.code, failed.value.hint) == ("scope_missing", "Ask.")
    assert failed.value.answer == DATA


@pytest.mark.parametrize("data", [None, "text", {}, {"code": 1}])
def test_an_error_that_is_no_gateway_s_is_told_as_the_protocol_s(data: object) -> None:
    """The SDK raises errors of its own, and any server may answer at the address."""
    told = session._told(MCPError(-32600, "Odd.", data), URL)
    assert isinstance(told, GatewayRefused)
    assert (told.code, told.message) == ("protocol_error", "Odd.")
    assert told.answer.keys() == {"code", "message", "retryable", "hint"}


def test_what_is_not_anticipated_stays_as_it_is() -> None:
    """A bug keeps its traceback, group and all."""
    bug = ExceptionGroup("g", [KeyError("bug")])
    assert session._told(bug, URL) is bug
