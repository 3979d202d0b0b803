"""Request bodies: read within bounds of size and time, then parsed once, strictly.

Two parsers that read the same bytes differently are a way around a signature or a limit, so
everything on which JSON parsers disagree is refused: a key twice, NaN, a byte order mark,
lone surrogates, nesting without end.
"""

import json
import re
from decimal import Decimal
from typing import Any

import anyio

from mcp_gateway.errors import (
    MediaTypeNotSupported,
    RequestMalformed,
    RequestTimeout,
    RequestTooLarge,
)
from mcp_gateway.transports.requests import Headers, Receive, only

NOT_EXPECTED = "body_not_expected"
DEEPEST_NESTING = 32  # an MCP call with an order in it has 4
# Each byte is looked at once: no pattern that could begin anew at every quote.
_SIGN = re.compile(r'\\.|["\[\]{}]', re.DOTALL)
_LENGTH = re.compile(r"[0-9]{1,18}\Z")
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]")


def media_type(headers: Headers, accepted: tuple[str, ...]) -> str:
    """Return the body's media type without its parameters.

    Raises:
        MediaTypeNotSupported: another type than the accepted ones, or a compressed body (a few
            bytes could become many).
    """
    try:
        given = only(headers, b"content-type") or ""
        encoding = only(headers, b"content-encoding") or "identity"
    except ValueError as error:
        raise MediaTypeNotSupported(f"The header {error} was sent twice.") from None
    kind, _, parameters = given.partition(";")
    kind = kind.strip().lower()
    charset = parameters.strip().lower().replace('"', "").removeprefix("charset=")
    if kind not in accepted or charset not in {"", "utf-8"} or encoding.lower() != "identity":
        raise MediaTypeNotSupported(f"The body must be {' or '.join(accepted)} in UTF-8.")
    return kind


async def read(headers: Headers, receive: Receive, *, limit_bytes: int, deadline_s: float) -> bytes:
    """Read the whole body.

    A length announced over the limit is refused before a byte is read; a body without a
    length is read up to the limit. The deadline is for the whole body, so that a caller who
    drips a byte a second holds no place.

    Raises:
        RequestTooLarge: more than ``limit_bytes``.
        RequestTimeout: not all there after ``deadline_s`` seconds.
        RequestMalformed: the length is no number, or the caller hung up midway.
    """
    if _announced(headers) > limit_bytes:
        raise _too_large(limit_bytes)
    parts, size = [], 0
    with anyio.move_on_after(deadline_s):
        while True:
            message = await receive()
            if message["type"] != "http.request":
                raise RequestMalformed("The caller hung up before the body was complete.")
            part = message.get("body", b"")
            size += len(part)
            if size > limit_bytes:
                raise _too_large(limit_bytes)
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)
    raise RequestTimeout("The body did not arrive in time.")


def refuse_any(headers: Headers) -> None:
    """Let a request pass that has no body: what nobody reads, nobody has checked or signed.

    Raises:
        RequestMalformed: body_not_expected.
    """
    if _announced(headers) or any(name == b"transfer-encoding" for name, _ in headers):
        raise RequestMalformed(
            "The method takes no body here.",
            code=NOT_EXPECTED,
            hint="Send the request without a body; parameters belong into path and query.",
        )


def parse(body: bytes) -> dict[str, Any]:
    """Parse a body that must be one JSON object (RFC 8259, and I-JSON of RFC 7493).

    Numbers with a fraction or an exponent come as Decimal, so that no digit is lost.

    Raises:
        RequestMalformed: codes body_malformed, body_duplicate_key, body_too_deep, and
            body_not_an_object (which a JSON-RPC batch is).
    """
    try:
        text = body.decode("utf-8")
        _bound_nesting(text)
        document = json.loads(
            text, object_pairs_hook=_each_key_once, parse_constant=_no, parse_float=_decimal
        )
        if _SURROGATE.search(text):
            json.dumps(document, ensure_ascii=False, default=str).encode("utf-8")
    except (ValueError, RecursionError):
        raise RequestMalformed("The body is not JSON in UTF-8.", code="body_malformed") from None
    if not isinstance(document, dict):
        raise RequestMalformed("The body must be one JSON object.", code="body_not_an_object")
    return document


def _announced(headers: Headers) -> int:
    try:
        length = only(headers, b"content-length") or "0"
    except ValueError:
        length = ""
    if _LENGTH.match(length) is None:
        raise RequestMalformed("The Content-Length header is malformed.")
    return int(length)


def _too_large(limit_bytes: int) -> RequestTooLarge:
    return RequestTooLarge(
        f"The body is larger than {limit_bytes} bytes.", detail={"limit_bytes": limit_bytes}
    )


def _bound_nesting(text: str) -> None:
    if text.count("{") + text.count("[") <= DEEPEST_NESTING:
        return
    depth, within_text = 0, False
    for sign in _SIGN.findall(text):
        if sign == '"':
            within_text = not within_text
        elif not within_text:
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(sign, 0)
        if depth > DEEPEST_NESTING:
            raise RequestMalformed(
                f"The body is nested deeper than {DEEPEST_NESTING}.", code="body_too_deep"
            )


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise RequestMalformed("A key appears twice in one object.", code="body_duplicate_key")
    return document


def _no(constant: str) -> Any:
    raise ValueError(constant)


def _decimal(text: str) -> Decimal:
    number = Decimal(text)
    if not number.is_finite():
        raise ValueError(text)
    return number
