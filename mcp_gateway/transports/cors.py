"""What a browser wants to hear before a page may call this server, and read its answers.

Only pages of origins that ``Hosts`` has let pass get any of it; no cookie is ever involved.

Source: the Fetch standard, section 3.3 (CORS protocol).
"""

from typing import Final

from mcp_gateway.errors import RequestMalformed
from mcp_gateway.transports.requests import Answer, Headers, only

KEPT_S: Final = 600  # seconds a browser may remember the answer to its question
_NAMED: Final = frozenset({"authorization", "content-type", "content-digest", "x-signature"})
_FAMILIES: Final = ("mcp-", "signature")
_EXPOSED: Final = (
    b"Mcp-Session-Id, WWW-Authenticate, Retry-After, RateLimit, RateLimit-Policy, "
    b"Idempotent-Replayed"
)


def preflight(headers: Headers) -> Answer | None:
    """Answer the question before a call, None where the request asks no such question."""
    try:
        method = only(headers, b"access-control-request-method")
        wanted = only(headers, b"access-control-request-headers") or ""
    except ValueError as error:
        raise RequestMalformed(f"The header {error} was sent twice.") from None
    if method is None:
        return None
    names = [name.strip().lower() for name in wanted.split(",")]
    allowed = [name for name in names if name in _NAMED or name.startswith(_FAMILIES)]
    told = (
        ("access-control-allow-methods", "GET, POST, DELETE"),
        ("access-control-allow-headers", ", ".join(allowed)),
        ("access-control-max-age", str(KEPT_S)),
    )
    return Answer(204, b"", headers=told)


def readable_by(origin: str) -> tuple[tuple[bytes, bytes], ...]:
    """Return the headers that let a page of this origin read an answer."""
    return (
        (b"access-control-allow-origin", origin.encode("latin-1")),
        (b"access-control-expose-headers", _EXPOSED),
        (b"vary", b"Origin"),
    )
