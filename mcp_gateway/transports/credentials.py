"""What a caller showed: the bearer token of a request, and who is calling just now."""

import re
import uuid
from collections.abc import Iterable
from contextvars import ContextVar
from dataclasses import replace

from mcp_gateway.domain.principals import Credentials
from mcp_gateway.errors import NotAuthenticated

# Set at the HTTP door for each request, and once at the start of stdio; both languages read it.
caller: ContextVar[Credentials] = ContextVar("caller")

# RFC 6750 section 2.1 (b64token). The scheme alone is without regard to case (RFC 9110, 11.1).
_BEARER = re.compile(r"[Bb][Ee][Aa][Rr][Ee][Rr] +([A-Za-z0-9\-._~+/]+=*)\Z")


def shown() -> Credentials:
    """Return what the present caller showed; a stdio connection gets a new id for each call."""
    credentials = caller.get()
    if credentials.channel == "stdio":
        return replace(credentials, call_id=uuid.uuid4().hex)
    return credentials


def bearer(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the bearer token of a request, None where no Authorization header was sent.

    Args:
        headers: ASGI header pairs, names in lower case.

    Raises:
        NotAuthenticated: token_invalid for a second Authorization header (a proxy and we might
            read different ones), another scheme, or characters no token has.

    Source: RFC 6750 section 2.1.
    """
    shown = [value for name, value in headers if name == b"authorization"]
    if not shown:
        return None
    match = _BEARER.match(shown[0].decode("latin-1").strip())
    if len(shown) > 1 or match is None:
        raise NotAuthenticated("The Authorization header is malformed.", code="token_invalid")
    return match.group(1)
