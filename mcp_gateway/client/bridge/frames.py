"""One line of the stdio wire: what the bridge must know of it; its bytes pass as they are.

Source: MCP 2025-11-25 and 2026-07-28, base protocol and streamable HTTP (headers).
"""

import base64
from dataclasses import dataclass
from typing import Any, Final

import orjson

from mcp_gateway.errors import GatewayError

VERSION_KEY: Final = "io.modelcontextprotocol/protocolVersion"
_NAMES: Final = {"tools/call": "name", "prompts/get": "name", "resources/read": "uri"}
# Calls that may be made twice: reads, and what the gateway itself knows again by its request_id.
REPEATABLE_TOOLS: Final = frozenset(
    {
        "get_candles", "get_open_positions", "get_account", "get_order",
        "dry_run_order", "create_order", "cancel_order",
    }
)  # fmt: skip
ORDER: Final = "create_order"
REFUSED: Final = -32000  # JSON-RPC 2.0 section 5.1: the server's own room
UNREADABLE: Final = -32700
CANCELLED: Final = "notifications/cancelled"


@dataclass(frozen=True, slots=True)
class Frame:
    """A line as it came, and what was read of it.

    ``version`` is the protocol version of a message that carries its own (since 2026-07-28);
    None where a handshake has agreed on one. ``key`` tells requests apart, ``1`` from ``"1"``.
    """

    raw: bytes
    method: str | None = None
    request_id: Any = None
    awaits_answer: bool = False
    name: str | None = None
    version: str | None = None
    order_id: str | None = None
    answers_question: bool = False
    cancels: bytes | None = None

    @property
    def key(self) -> bytes:
        """What its request is known by while it is under way."""
        return orjson.dumps(self.request_id)

    @property
    def is_order(self) -> bool:
        """Whether it places an order."""
        return self.method == "tools/call" and self.name == ORDER

    @property
    def repeatable(self) -> bool:
        """Whether it may be sent a second time where the first may have arrived.

        An answer to a question counts once, and an order needs the id by which the gateway
        knows it again.
        """
        if self.answers_question or not self.awaits_answer:
            return False
        if self.method != "tools/call":
            return True
        if self.name == ORDER and self.order_id is None:
            return False
        return self.name in REPEATABLE_TOOLS

    def headers(self, agreed_version: str | None) -> dict[str, str]:
        """Return what streamable HTTP wants to be said in headers too.

        Args:
            agreed_version: what the handshake has agreed on, None before it.
        """
        told = {"Accept": "application/json, text/event-stream", "Content-Type": "application/json"}
        version = self.version or agreed_version
        if version is not None and self.method != "initialize":
            told["MCP-Protocol-Version"] = header_text(version)
        if self.version is not None and self.method is not None:
            told["Mcp-Method"] = header_text(self.method)
            if self.name is not None:
                told["Mcp-Name"] = header_text(self.name)
        return told


def read(line: bytes) -> Frame:
    """Read a line.

    Raises:
        ValueError: it is no JSON.
    """
    told = orjson.loads(line)
    if not isinstance(told, dict):
        return Frame(line, awaits_answer=True)  # a batch: the gateway refuses it in its own words
    method = told.get("method")
    if not isinstance(method, str):  # the answer to a question, or nothing that there is
        return Frame(line, None, told.get("id"))
    return _call(line, method, told)


def _call(line: bytes, method: str, told: dict[str, Any]) -> Frame:
    params = _object(told.get("params"))
    arguments = _object(params.get("arguments"))
    cancelled = params.get("requestId") if method == CANCELLED else None
    return Frame(
        line,
        method,
        told.get("id"),
        awaits_answer="id" in told,
        name=_text(params.get(_NAMES.get(method, ""))),
        version=_text(_object(params.get("_meta")).get(VERSION_KEY)),
        order_id=_text(arguments.get("request_id")),
        answers_question="inputResponses" in params or "requestState" in params,
        cancels=None if cancelled is None else orjson.dumps(cancelled),
    )


def answer_to(request_id: Any, body: bytes) -> bytes | None:
    """Return a JSON-RPC message of the gateway's as one line; None where it is none.

    A refusal that knows no id (its request could not be read) is given the request's: over
    stdio nobody could tell otherwise what it answers. What answers another request is none.
    """
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(told, dict) or told.get("jsonrpc") != "2.0":
        return None
    if "error" in told and told.get("id") is None and request_id is not None:
        return orjson.dumps(told | {"id": request_id})
    if ("result" in told or "error" in told) and told.get("id") != request_id:
        return None
    return body.replace(b"\r", b" ").replace(b"\n", b" ")  # between tokens only: JSON escapes them


def is_answer(line: bytes) -> bool:
    """Tell whether a message answers a request, and does not ask or tell by itself."""
    told = orjson.loads(line)
    return "result" in told or "error" in told


def settles_an_order(line: bytes) -> bool:
    """Tell whether an answer says what became of an order, and not only of this one call."""
    result = _object(orjson.loads(line).get("result"))
    if not result:
        return False
    return result.get("isError") is not True or "outcome" in _object(
        result.get("structuredContent")
    )


def refusal(request_id: Any, error: GatewayError, code: int = REFUSED) -> bytes:
    """Return an error of the bridge's own.

    The next step stands in the sentence too: many apps show a model nothing else.
    """
    told = {"code": code, "message": f"{error.message} {error.hint}", "data": error.public()}
    return orjson.dumps({"jsonrpc": "2.0", "id": request_id, "error": told})


def header_text(value: str) -> str:
    """Write a value so that it survives in a header (MCP 2026-07-28, streamable HTTP)."""
    plain = value.isascii() and value.isprintable() and value == value.strip()
    if plain and not (value.startswith("=?base64?") and value.endswith("?=")):
        return value
    return f"=?base64?{base64.b64encode(value.encode()).decode()}?="


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
