"""Signing keys as they are kept: whose, of what kind, from when until when, and what became of them.

A key id names one key for ever: what is revoked or has ended stays as a record without its
secret, so that the id is never given to another. Values only; ``file`` reads and writes them.
"""

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal

from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    SecretStr,
    StringConstraints,
    ValidationError,
    field_serializer,
    field_validator,
    model_validator,
)

from mcp_gateway.access.keyring import MOST_LIVE, Algorithm, Key, crowded, fits_a_header
from mcp_gateway.errors import ConfigurationError, NotFound, RequestInvalid

SHORTEST_SECRET_BYTES: Final = 32  # as HMAC_SECRET
PUBLIC_KEY_BYTES: Final = 32  # RFC 8032 section 5.1.5
LONGEST_NAME: Final = 128
LONGEST_REASON: Final = 200
State = Literal["waiting", "active", "retiring", "ended", "revoked"]
Name = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_NAME)]
Reason = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_REASON)]


class KeyRecord(BaseModel):
    """One key of the file.

    ``secret`` is an HMAC secret's text, gone once the key is revoked; ``public_key`` an Ed25519
    public key in base64url. ``replaced_by`` names the key that rotation made.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, hide_input_in_errors=True)

    key_id: str
    issuer: Name
    subject: Name
    algorithm: Algorithm
    secret: SecretStr | None = None
    public_key: str | None = None
    created_at: AwareDatetime
    not_before: AwareDatetime
    not_after: AwareDatetime | None = None
    replaced_by: str | None = None
    revoked_at: AwareDatetime | None = None
    reason: Reason | None = None

    @field_validator("key_id", "replaced_by")
    @classmethod
    def _nameable(cls, value: str | None) -> str | None:
        if value is not None and not fits_a_header(value):
            raise ValueError("a key id is printable ASCII of at most 128 characters")
        return value

    @model_validator(mode="after")
    def _whole(self) -> "KeyRecord":
        if self.not_after is not None and self.not_after < self.not_before:
            raise ValueError("not_after lies before not_before")
        if self.revoked_at is not None:
            return self
        is_public = self.algorithm == "ed25519"
        if (self.public_key is not None) != is_public or (self.secret is None) != is_public:
            raise ValueError("hmac-sha256 has a secret, ed25519 a public_key, and neither both")
        self._checked_material()
        return self

    @field_serializer("secret", when_used="unless-none")
    def _written(self, secret: SecretStr) -> str:
        return secret.get_secret_value()

    def _checked_material(self) -> bytes:
        """Return the key's bytes.

        Raises:
            ValueError: it is too short, or no public key.
        """
        if self.secret is not None:
            secret = self.secret.get_secret_value().encode()
            if len(secret) < SHORTEST_SECRET_BYTES:
                raise ValueError(f"secret: at least {SHORTEST_SECRET_BYTES} bytes")
            return secret
        try:
            public = base64.urlsafe_b64decode(f"{self.public_key}=")
        except ValueError:
            public = b""
        if len(public) != PUBLIC_KEY_BYTES or public_text(public) != self.public_key:
            raise ValueError("public_key: 32 bytes in base64url without padding")
        if is_weak(public):
            raise ValueError("public_key: anybody could sign for it (small order)")
        return public

    def key(self) -> Key:
        """Return it as the keyring holds it."""
        revoked = self.revoked_at is not None
        return Key(
            self.key_id, self.issuer, self.subject, b"" if revoked else self._checked_material(),
            self.algorithm, self.not_before, self.not_after, revoked,
        )  # fmt: skip

    def state(self, at: datetime) -> State:
        """Tell what the key is at that moment: the first three are live."""
        if self.revoked_at is not None:
            return "revoked"
        if self.not_after is not None and self.not_after <= at:
            return "ended"
        if at < self.not_before:
            return "waiting"
        return "active" if self.replaced_by is None else "retiring"

    def shown(self, at: datetime) -> dict[str, Any]:
        """Return what may be told of it: everything but the secret."""
        told = self.model_dump(mode="json", exclude={"secret"}, exclude_none=True)
        return {"key_id": told.pop("key_id"), "state": self.state(at), **told}


@dataclass(frozen=True, slots=True)
class KeySet:
    """Every key of the file, in the order they were made."""

    records: tuple[KeyRecord, ...] = ()

    def __post_init__(self) -> None:
        ids = [one.key_id for one in self.records]
        if twice := sorted({each for each in ids if ids.count(each) > 1}):
            raise ConfigurationError([f"{each}: the key id stands twice" for each in twice])

    def keys(self) -> list[Key]:
        """Return them as the keyring holds them."""
        return [one.key() for one in self.records]

    def named(self, key_id: str) -> KeyRecord:
        """Return the key of that id.

        Raises:
            NotFound: key_unknown.
        """
        for one in self.records:
            if one.key_id == key_id:
                return one
        raise NotFound(
            "The keys file has no such key.",
            code="key_unknown",
            hint="`mcp-gateway keys list` shows them; those of the environment are not in it.",
        )

    def with_new(self, record: KeyRecord, at: datetime, own: Sequence[Key] = ()) -> "KeySet":
        """Return the set with one key more.

        Args:
            own: the keys of the environment, which count too.

        Raises:
            RequestInvalid: keys_full, or key_known.
        """
        public = record.public_key
        if public is not None and any(one.public_key == public for one in self.records):
            raise RequestInvalid(
                "This public key is in the keys file already.",
                code="key_known",
                hint="Let the agent make a new pair; a key is used under one id only.",
            )
        keys = [*own, *self.keys(), record.key()]
        if (record.issuer, record.subject) in [owner for owner, _ in crowded(keys, at)]:
            raise RequestInvalid(
                f"{record.subject} has {MOST_LIVE} live keys already.",
                code="keys_full",
                hint="Revoke one, or wait until the retiring one has ended.",
            )
        return KeySet((*self.records, record))

    def rotated(
        self, old_id: str, new: KeyRecord, at: datetime, overlap: timedelta,
        own: Sequence[Key] = (),
    ) -> "KeySet":  # fmt: skip
        """Return the set in which ``new`` takes the place of a key, which ends after ``overlap``.

        Raises:
            NotFound: key_unknown.
            RequestInvalid: key_not_live, key_retiring, or as ``with_new``.
        """
        old = self.named(old_id)
        if (state := old.state(at)) != "active":
            raise RequestInvalid(
                f"The key is {state}.",
                code="key_retiring" if state == "retiring" else "key_not_live",
                hint="Rotate the key that took its place, or make one by `mcp-gateway keys new`.",
            )
        ends = at + overlap if old.not_after is None else min(old.not_after, at + overlap)
        retiring = old.model_copy(
            update={"not_after": max(ends, old.not_before), "replaced_by": new.key_id}
        )
        return self._changed(retiring).with_new(new, at, own)

    def revoked(self, key_id: str, at: datetime, reason: str) -> "KeySet":
        """Return the set in which a key never serves again; a second time changes nothing.

        Raises:
            NotFound: key_unknown.
        """
        old = self.named(key_id)
        if old.revoked_at is not None:
            return self
        # A public key stays: it must not come back under another id.
        gone = {"revoked_at": at, "reason": reason, "secret": None}
        return self._changed(old.model_copy(update=gone))

    def _changed(self, record: KeyRecord) -> "KeySet":
        return KeySet(tuple(record if one.key_id == record.key_id else one for one in self.records))


def record_faults(told: object, place: int) -> tuple[KeyRecord | None, list[str]]:
    """Return a record as the file tells it, or what is wrong with it, by field."""
    name = f"keys[{place}]"
    if isinstance(told, dict) and isinstance(told.get("key_id"), str):
        name += f" {told['key_id'][:LONGEST_NAME]!r}"
    try:
        return KeyRecord.model_validate_json(json.dumps(told)), []
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        return None, [f"{name}: {_said(fault)}" for fault in found]


def public_text(public: bytes) -> str:
    """Return 32 bytes in base64url without padding, as a JWK's ``x`` (RFC 8037)."""
    return base64.urlsafe_b64encode(public).rstrip(b"=").decode()


def is_weak(public: bytes) -> bool:
    """Tell whether an Ed25519 point has a small order: signatures for it can be made by anybody.

    Source: RFC 8032 section 5.1; the encodings of the points whose order divides 8, with either
    sign bit, canonical or not.
    """
    return public[:31] + bytes([public[31] & 0x7F]) in _SMALL_ORDER


def _said(fault: Any) -> str:
    place = ".".join(map(str, fault["loc"]))
    text = fault["msg"].removeprefix("Value error, ")
    return f"{place}: {text}" if place else text


_SMALL_ORDER: Final = frozenset(
    bytes.fromhex(point)
    for point in (
        "00" * 32,
        "01" + "00" * 31,
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "7f",
    )
)
