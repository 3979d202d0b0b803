"""The preview_id: what a dry run saw, sealed, for one caller and one order, for a minute.

Nothing is stored when it is made: whoever has the key reads it back. That it lets one order
through and no second one is the ledger's to keep, by the random id inside.
"""

import base64
import hashlib
import hmac
import json
import secrets
import struct
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from mcp_gateway.clock import CLOCKS_APART, Clock, from_unix
from mcp_gateway.domain.orders import OrderRecord, canonical
from mcp_gateway.errors import PreviewRefused
from mcp_gateway.risk.facts import Previewed

PREVIEWS: Final = "previews"  # names the key among those that are made of one secret
LASTS_S: Final = 60  # long enough to think, too short for the market to become another one
LONGEST_CHARS: Final = 512
# Id, whom and what it is for, its last second (Unix), the policy's hash; the price follows.
_FORM: Final = struct.Struct(">12s16sQ6s")
_ID_BYTES: Final = 12
_BOUND_BYTES: Final = 16
_TAG_BYTES: Final = 16  # RFC 2104 section 5: no fewer than half of the hash


@dataclass(frozen=True, slots=True)
class Sealed:
    """A preview_id, and when it ends."""

    text: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Opened:
    """What a preview_id says: its random id, and what was seen."""

    preview_id: str
    previewed: Previewed


class Seals:
    """Makes and opens preview ids.

    Args:
        key: of this purpose alone; replicas share it.
    """

    def __init__(self, key: bytes, clock: Clock) -> None:
        self._key = key
        self._clock = clock

    def seal(self, record: OrderRecord, seen: Previewed) -> Sealed:
        """Return a new preview_id for the order of ``record`` and its caller."""
        ends = int((self._clock.now() + timedelta(seconds=LASTS_S)).timestamp())
        name = secrets.token_bytes(_ID_BYTES)
        head = _FORM.pack(name, _bound_to(record), ends, bytes.fromhex(seen.policy))
        body = head + canonical(seen.price).encode()
        return Sealed(_text(self._tag(body) + body), from_unix(ends))

    def open(self, text: str, record: OrderRecord) -> Opened:
        """Read a preview_id that came with an order.

        Raises:
            PreviewRefused: preview_invalid (altered, or not of this gateway's key),
                preview_mismatch (for another caller, order, bot or mode) or preview_expired.
        """
        sealed = _bytes(text)
        tag, body = sealed[:_TAG_BYTES], sealed[_TAG_BYTES:]
        if len(body) <= _FORM.size or not hmac.compare_digest(tag, self._tag(body)):
            raise PreviewRefused("The preview_id is none of this gateway's.")
        name, bound, ends, policy = _FORM.unpack_from(body)
        if not hmac.compare_digest(bound, _bound_to(record)):
            raise PreviewRefused(
                "The preview_id belongs to another order, or to another caller.",
                code="preview_mismatch",
            )
        now, made = self._clock.now(), from_unix(ends - LASTS_S)
        # One that was made later than now: the clock was set back, and it would last too long.
        if now >= from_unix(ends) or now < made - CLOCKS_APART:
            raise PreviewRefused("The preview_id has expired.", code="preview_expired")
        price = Decimal(body[_FORM.size :].decode("ascii"))
        return Opened(name.hex(), Previewed(price, policy.hex()))

    def _tag(self, body: bytes) -> bytes:
        return hmac.digest(self._key, body, "sha256")[:_TAG_BYTES]


def _bound_to(record: OrderRecord) -> bytes:
    """Digest the caller and the exact order; the bot and its mode are part of what was seen."""
    parts = [record.issuer, record.subject, record.fingerprint, record.bot, record.mode]
    text = json.dumps(parts, separators=(",", ":"))
    return hashlib.sha256(text.encode()).digest()[:_BOUND_BYTES]


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def _bytes(text: str) -> bytes:
    """Decode what ``_text`` has written, and nothing that merely decodes to the same."""
    try:
        raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        return b""
    return raw if hmac.compare_digest(_text(raw).encode(), text.encode()) else b""
