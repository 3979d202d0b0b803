"""A compact JWT taken apart, strictly, before anything in it is believed.

Two readers that understand the same bytes differently see different callers, so there is one
spelling of everything: base64url without padding or spare bits, JSON without duplicate names.

Source: RFC 7515 section 7.1 (compact form), RFC 8725 sections 2.3 and 3.11 (practices).
"""

import base64
import binascii
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from mcp_gateway.errors import NotAuthenticated

LONGEST_TOKEN_CHARS: Final = 8192
LONGEST_KEY_ID: Final = 256
# RFC 8725 section 3.11: a token made for something else is no access token.
TYPES: Final = frozenset({"jwt", "at+jwt", "application/at+jwt"})
# Three parts, none empty: no encrypted (five), detached (b"") or unsigned token comes further.
_THREE_PARTS: Final = re.compile(r"([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]+)\Z")


@dataclass(frozen=True, slots=True)
class Compact:
    """The parts of a token, none of them proven yet."""

    algorithm: str
    key_id: str | None
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes


def take_apart(token: str) -> Compact:
    """Read a token without believing it.

    Headers that name or carry a key (jwk, jku, x5c, x5u) are not looked at.

    Raises:
        NotAuthenticated: token_invalid.
    """
    if len(token) > LONGEST_TOKEN_CHARS:
        invalid("longer than a token may be")
    parts = _THREE_PARTS.match(token)
    if parts is None:
        invalid("not a signed token")
    try:
        header, claims = strict_object(_decode(parts[1])), strict_object(_decode(parts[2]))
        signature = _decode(parts[3])
    except (ValueError, RecursionError):
        invalid("not a token of this server")
    algorithm, key_id = _header(header)
    signed = token[: parts.start(3) - 1].encode("ascii")
    return Compact(algorithm, key_id, claims, signed, signature)


def strict_object(raw: bytes) -> dict[str, Any]:
    """Return a JSON object.

    Raises:
        ValueError: not JSON in UTF-8, not an object, or a name twice at any depth.
        RecursionError: nested too deeply.
    """
    parsed = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_not_json)
    if not isinstance(parsed, dict):
        raise ValueError("not an object")
    return parsed


def invalid(why: str) -> NoReturn:
    """Refuse a token; ``why`` is ours and repeats nothing of it.

    Raises:
        NotAuthenticated: token_invalid.
    """
    raise NotAuthenticated(f"The token is not acceptable: {why}.", code="token_invalid")


def _header(header: Mapping[str, Any]) -> tuple[str, str | None]:
    algorithm, key_id, kind = header.get("alg"), header.get("kid"), header.get("typ", "jwt")
    # RFC 7515 section 4.1.11: a critical extension that is not understood refuses the token.
    if not isinstance(algorithm, str) or "crit" in header or "b64" in header:
        invalid("with a header that this server does not take")
    if not isinstance(kind, str) or kind.lower() not in TYPES:
        invalid("of another type")
    if "kid" in header and not (isinstance(key_id, str) and 0 < len(key_id) <= LONGEST_KEY_ID):
        invalid("with an unusable kid")
    return algorithm, key_id


def _decode(part: str) -> bytes:
    try:
        raw = base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error as error:
        raise ValueError("not base64url") from error
    # Spare bits that count for nothing would make many spellings of one token.
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != part:
        raise ValueError("not the one spelling")
    return raw


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # RFC 8725 section 2.3: two parsers that pick different twins see different callers.
    unique = dict(pairs)
    if len(unique) != len(pairs):
        raise ValueError("duplicate names")
    return unique


def _not_json(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")
