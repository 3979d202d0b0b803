"""What the MCP SDK refuses by itself, told as every other refusal: code, retryable, hint.

The SDK's own errors have a number and a sentence, at times with a library's words in it, and
some have no body at all. An agent acts on codes.
"""

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import orjson

from mcp_gateway.errors import Refusal
from mcp_gateway.transports.credentials import caller
from mcp_gateway.transports.requests import ASGIApp, Message, Receive, Scope, Send
from mcp_gateway.transports.rpc import HeaderMismatch, ProtocolVersionUnknown

# A JSON-RPC error tells so in front of everything that a caller could have written into it,
# but for the id; whatever looks like one is parsed and held against the whole.
_LOOKED_AT: Final = 1024
_MARK: Final = b'"error":'
LONGEST_ECHO: Final = 64


class NotAcceptable(Refusal):
    """The caller takes no answer of the kind that the gateway gives (406)."""

    status = 406
    default_code = "not_acceptable"
    default_hint = "Send Accept: application/json, text/event-stream."


class Told(NamedTuple):
    """What an agent is told of one of the SDK's numbers; None keeps the SDK's own sentence."""

    code: str
    hint: str
    message: str | None = None


_REFUSED: Final = Told("refused", "Correct the request; nothing was done.", "The call was refused.")
_TOLD: Final[Mapping[int, Told]] = MappingProxyType(
    {
        -32700: Told(
            "body_malformed", "Send one JSON object in UTF-8, each key once.",
            "The message is not JSON in UTF-8.",
        ),
        -32600: Told(
            "message_malformed", "Send one JSON-RPC 2.0 request with an id.",
            "The message is no JSON-RPC request.",
        ),
        -32601: Told(
            "method_unknown", "Use a method of MCP that this server has said it serves.",
            "There is no such method here.",
        ),
        -32602: Told(
            "request_invalid", "Correct the parameters of the method and call again.",
            "The parameters are not those of the method.",
        ),
        -32603: Told(
            "internal_error", "Report this to the operator.", "The gateway failed.",
        ),
        -32020: Told(HeaderMismatch.default_code, HeaderMismatch.default_hint),
        -32021: Told(
            "capability_missing", "Call again with a client that has the capability.",
        ),
        -32022: Told(ProtocolVersionUnknown.default_code, ProtocolVersionUnknown.default_hint),
    }
)  # fmt: skip
# How the SDK names what is missing of a request's own version and capabilities; no input in it.
_PLAIN: Final = "params._meta "
_STATE: Final = Told(
    "request_state_invalid", "Call again without requestState.", "The requestState has ended."
)


def explained(error: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return a JSON-RPC error with a code and a hint in its data; ours come back as they are.

    Args:
        more: laid into the data.
    """
    data = error.get("data")
    facts = data if isinstance(data, dict) else {}
    if "code" in facts and "hint" in facts:
        return dict(error)
    told = _TOLD.get(error["code"], _REFUSED)
    if facts.get("reason") == "invalid_request_state":
        told = _STATE
    said = str(error["message"])
    message = said if told.message is None or said.startswith(_PLAIN) else told.message
    if isinstance(requested := facts.get("requested"), str):
        facts = facts | {"requested": requested[:LONGEST_ECHO]}
    public = Refusal(message, code=told.code, hint=told.hint, detail=facts).public()
    return {"code": error["code"], "message": message, "data": public | more}


def explained_message(line: bytes, **more: Any) -> bytes:
    """Return a JSON-RPC message as it is, or, where it is an error, explained."""
    if _MARK not in line[:_LOOKED_AT]:
        return line
    message = orjson.loads(line)
    if not isinstance(message.get("error"), dict):
        return line
    return orjson.dumps(message | {"error": explained(message["error"], **more)})


class Explained:
    """The SDK's app, with its refusals in our words; answers that are streams pass as they are."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request.

        Raises:
            NotAcceptable: the caller takes no JSON.
        """
        start: Message | None = None
        is_refused = False

        async def pass_on(message: Message) -> None:
            nonlocal start, is_refused
            if message["type"] == "http.response.start":
                start = message
                is_refused = message["status"] == HTTPStatus.NOT_ACCEPTABLE
                return
            if is_refused:  # told below, with the request's id
                return
            if start is not None:
                begun, start = start, None
                if not message.get("more_body", False):
                    begun, message = _explained_answer(begun, message)
                await send(begun)
            await send(message)

        await self._app(scope, receive, pass_on)
        if is_refused:
            raise NotAcceptable("The answer is JSON, which the Accept header leaves out.")


def _explained_answer(start: Message, last: Message) -> tuple[Message, Message]:
    body = last.get("body", b"")
    told = explained_message(body, call_id=caller.get().call_id)
    if told is body:
        return start, last
    kept = [pair for pair in start["headers"] if pair[0] != b"content-length"]
    headers = [*kept, (b"content-length", str(len(told)).encode())]
    return {**start, "headers": headers}, {**last, "body": told}
