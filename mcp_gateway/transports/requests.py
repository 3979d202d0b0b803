"""One HTTP request and its answer as values, between the door and the rooms behind it."""

from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import Any

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"


def stripped(headers: list[tuple[bytes, bytes]]) -> Headers:
    """Return ASGI headers without white space around the values.

    RFC 9110 section 5.5 says that it is no part of a value; httptools leaves it there, and
    the MCP SDK then refuses the request.
    """
    return tuple((name.lower(), value.strip(b" \t")) for name, value in headers)


def only(headers: Headers, name: bytes) -> str | None:
    """Return the value of a header that appears once, None where it appears not at all.

    Raises:
        ValueError: it appears more than once; readers would differ in which one counts.
    """
    values = [value for key, value in headers if key == name]
    if len(values) > 1:
        raise ValueError(name.decode("latin-1"))
    return values[0].decode("latin-1") if values else None


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole HTTP answer; the body's bytes are ready to be sent."""

    status: int
    body: bytes
    media_type: str = JSON
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Request:
    """A request that has passed the door: bounded, parsed once, its caller known.

    ``variables`` is what the route's template captured of the path; ``document`` the JSON body
    (numbers with a fraction as Decimal), None where there is none. ``peer`` is the address that
    it came from.
    """

    query: str
    headers: Headers
    call_id: str
    body: bytes = b""
    document: Any = None
    variables: Mapping[str, str] = field(default_factory=dict)
    peer: str = ""
