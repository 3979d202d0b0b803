"""Secrets stay out of the audit log, whatever a caller's detail holds (pure)."""

import re
from collections.abc import Mapping
from math import isfinite
from typing import Any, Final

REDACTED: Final = "[redacted]"
_SECRET_NAMES: Final = re.compile(
    r"authorization|cookie|credential|hmac|passw|private|secret|signature|token|api_?key",
    re.IGNORECASE,
)
# A JSON Web Token anywhere in a text (RFC 7515: three base64url parts; the first begins '{"').
_JWT: Final = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]*")
_BEARER: Final = re.compile(r"\b(bearer|basic)\s+\S+", re.IGNORECASE)


def storable(value: Any) -> Any:
    """Return ``value`` as JSON without secrets: by the name of a key, or by the look of a text.

    What JSON does not know becomes text, so that no detail ever keeps a row from being
    written.
    """
    if isinstance(value, Mapping):
        return {
            word(str(name)): REDACTED if _SECRET_NAMES.search(str(name)) else storable(one)
            for name, one in value.items()
        }
    if isinstance(value, list | tuple | set | frozenset):
        return [storable(one) for one in value]
    if value is None or isinstance(value, int) or (isinstance(value, float) and isfinite(value)):
        return value
    return word(str(value))


def word(text: str) -> str:
    """Return a text that both engines store: no NUL, no half of a surrogate pair, no token."""
    plain = text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
    return _BEARER.sub(rf"\1 {REDACTED}", _JWT.sub(REDACTED, plain))
