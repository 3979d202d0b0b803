"""JSON-RPC messages as they are let in, over HTTP and stdio alike, before the SDK sees them.

The SDK drops what it does not know: a misspelt member, an id of an odd type, a call without
an id. Whoever sent an order so would hear nothing, or of another call than the one meant.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from mcp.shared.inbound import (
    MCP_METHOD_HEADER,
    MCP_NAME_HEADER,
    MCP_PROTOCOL_VERSION_HEADER,
    NAME_BEARING_METHODS,
    decode_header_value,
)
from mcp.types import PROTOCOL_VERSION_META_KEY
from mcp.types.version import KNOWN_PROTOCOL_VERSIONS

from mcp_gateway.errors import Refusal, RequestInvalid, RequestMalformed
from mcp_gateway.transports.requests import Headers

LONGEST_ID: Final = 128
LARGEST_ID: Final = 2**53  # RFC 7493 section 2.2: beyond it, readers lose digits
LONGEST_METHOD: Final = 128
_ROUTING: Final = frozenset(
    {
        MCP_METHOD_HEADER.encode(), MCP_NAME_HEADER.encode(),
        MCP_PROTOCOL_VERSION_HEADER.encode(), b"mcp-session-id",
    }
)  # fmt: skip
_CALL: Final = frozenset({"jsonrpc", "id", "method", "params"})
_ANSWER: Final = frozenset({"jsonrpc", "id", "result", "error"})
_NOTICE: Final = "notifications/"
# What comes with every call of the eras served (2024-11-05 to 2026-07-28), then each one's own.
_ASKED_BACK: Final = frozenset({"_meta", "inputResponses", "requestState"})
_MEMBERS: Final[Mapping[str, frozenset[str]]] = MappingProxyType(
    {
        "tools/call": _ASKED_BACK | {"name", "arguments", "task"},
        "prompts/get": _ASKED_BACK | {"name", "arguments"},
        "resources/read": _ASKED_BACK | {"uri"},
        "completion/complete": frozenset({"_meta", "ref", "argument", "context"}),
    }
)
_KINDS: Final[Mapping[str, tuple[type, str]]] = MappingProxyType(
    {"name": (str, "text"), "uri": (str, "text"), "arguments": (dict, "an object")}
)


class HeaderMismatch(Refusal):
    """A header says another thing than the body, or says it twice (400)."""

    default_code = "header_mismatch"
    default_hint = "Send each MCP header once, with the value that the body has."


class ProtocolVersionUnknown(Refusal):
    """The caller speaks a version of MCP that this server does not (400)."""

    default_code = "protocol_version_unknown"
    default_hint = "Use a protocol version that `supported` names."


def check(message: Mapping[str, Any], *, awaits_answers: bool = False) -> None:
    """Let a parsed message pass, or say what is wrong with it.

    Args:
        awaits_answers: the wire carries answers of the client, too (stdio).

    Raises:
        RequestMalformed: message_malformed, id_malformed or id_missing.
        RequestInvalid: a parameter of a call is unknown or of another type.

    Source: JSON-RPC 2.0 sections 4 and 5; the params of the MCP methods.
    """
    if message.get("jsonrpc") != "2.0":
        raise _malformed('jsonrpc must be "2.0".')
    if "method" not in message:
        _check_answer(message, awaited=awaits_answers)
        return
    if not message.keys() <= _CALL:
        raise _malformed("A call has jsonrpc, id, method and params, and nothing else.")
    method, params = message["method"], message.get("params")
    if not isinstance(method, str) or not 0 < len(method) <= LONGEST_METHOD:
        raise _malformed(f"method must be text of 1 to {LONGEST_METHOD} characters.")
    if params is not None and not isinstance(params, dict):
        raise _malformed("params must be an object.")
    _check_id(message, is_notice=method.startswith(_NOTICE))
    _check_params(method, params or {})


def check_headers(headers: Headers, message: Mapping[str, Any]) -> None:
    """Let a call or notification pass whose headers say what its body says.

    Whatever stands before the gateway may route or count by the headers; the body decides
    here, in every era of the protocol.

    Raises:
        HeaderMismatch: an MCP header differs from the body, or was sent twice.
        ProtocolVersionUnknown: the header names a version that nobody has heard of.

    Source: MCP 2026-07-28, streamable HTTP.
    """
    told = _routing(headers)
    version, named = told.get(MCP_PROTOCOL_VERSION_HEADER), told.get(MCP_NAME_HEADER)
    if told.get(MCP_METHOD_HEADER) not in {None, message["method"]}:
        raise HeaderMismatch("Mcp-Method differs from the body's method.")
    params = message.get("params") or {}
    naming = NAME_BEARING_METHODS.get(message["method"])
    if naming is not None and named is not None and _read(named) != params.get(naming):
        raise HeaderMismatch("Mcp-Name differs from what the body names.")
    meta = params.get("_meta")
    inside = meta.get(PROTOCOL_VERSION_META_KEY) if isinstance(meta, dict) else None
    if version is not None and inside is None and version not in KNOWN_PROTOCOL_VERSIONS:
        raise ProtocolVersionUnknown(
            "There is no such version of the protocol here.",
            detail={"supported": list(KNOWN_PROTOCOL_VERSIONS), "requested": version[:LONGEST_ID]},
        )
    if inside is not None and inside != version:
        raise HeaderMismatch("MCP-Protocol-Version differs from the version in the body's _meta.")


def usable_id(message: Mapping[str, Any]) -> str | int | None:
    """Return the id that a refusal of this message carries, None where it has no usable one."""
    shown = message.get("id")
    if isinstance(shown, str):
        return shown if len(shown) <= LONGEST_ID else None
    if isinstance(shown, int) and not isinstance(shown, bool):
        return shown if abs(shown) < LARGEST_ID else None
    return None


def _check_id(message: Mapping[str, Any], *, is_notice: bool) -> None:
    if is_notice and "id" in message:
        raise _malformed("A notification has no id.")
    if not is_notice and "id" not in message:
        raise _malformed("A call without an id gets no answer.", code="id_missing")
    if not is_notice and usable_id(message) is None:
        raise _malformed(
            f"id must be a whole number below 2^53 or text of at most {LONGEST_ID} characters.",
            code="id_malformed",
        )


def _check_answer(message: Mapping[str, Any], *, awaited: bool) -> None:
    if not awaited:
        raise _malformed("The body is no call, and no answer is awaited here.")
    if not message.keys() <= _ANSWER or ("result" in message) == ("error" in message):
        raise _malformed("An answer has jsonrpc, id, and either result or error.")


def _check_params(method: str, params: Mapping[str, Any]) -> None:
    """Check the members by which a call says what it wants; the SDK and the gate do the rest."""
    known = _MEMBERS.get(method)
    if known is None:
        return
    if unknown := sorted(params.keys() - known):
        named = unknown[0] if unknown[0].isascii() and unknown[0].isidentifier() else "?"
        raise _wrong(f"params.{named[:LONGEST_ID]}", "no such member")
    for name, (kind, expected) in _KINDS.items():
        if name not in known or (name == "arguments" and params.get(name) is None):
            continue
        if not isinstance(params.get(name), kind):
            raise _wrong(f"params.{name}", expected)


def _wrong(field: str, expected: str) -> RequestInvalid:
    return RequestInvalid(f"{field}: {expected}", detail={"field": field})


def _malformed(message: str, code: str = "message_malformed") -> RequestMalformed:
    return RequestMalformed(message, code=code, hint="Send one JSON-RPC 2.0 request with an id.")


def _routing(headers: Headers) -> dict[str, str]:
    """Return the MCP headers by name, each of which may stand once."""
    told: dict[str, str] = {}
    for name, value in headers:
        if name not in _ROUTING:
            continue
        if (known := name.decode()) in told:
            raise HeaderMismatch(f"The header {known} was sent twice.")
        told[known] = value.decode("latin-1")
    return told


def _read(value: str | None) -> str | None:
    """Read a header value that may be wrapped in base64; None where it is broken."""
    try:
        return decode_header_value(value)
    except ValueError:
        return None
