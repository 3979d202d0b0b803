"""Who is calling: credentials (shown), principal (proven), admission (allowed, for one thing)."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from mcp_gateway.domain.operations import Operation
from mcp_gateway.domain.quotas import Meter, Reserve

Channel = Literal["stdio", "http", "rest", "control"]


@dataclass(frozen=True, slots=True)
class Signed:
    """An RFC 9421 signature that fits the bytes; the gate still has to spend its nonce."""

    key_id: str
    nonce: str
    created: int


@dataclass(frozen=True, slots=True)
class PlainSigned:
    """The predecessor's body signature, fitting; it has no nonce and can be replayed."""

    key_id: str


@dataclass(frozen=True, slots=True)
class Unsigned:
    """No usable signature: signature_missing, signature_invalid or signature_expired.

    ``no_key`` says that it names a key of which nothing is known, yet or any more.
    """

    code: Literal["signature_missing", "signature_invalid", "signature_expired"]
    no_key: bool = field(default=False, compare=False)


Evidence = Signed | PlainSigned | Unsigned


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a caller showed at the door; proves nothing yet.

    ``token`` is the compact JWT, None where none was sent. On stdio without a token the
    process's own environment names the principal. ``call_id`` ties logs and audit rows.
    ``meter`` is where the gate notes what the door wants to know; None where there is no door.
    """

    channel: Channel
    token: str | None
    evidence: Evidence
    call_id: str
    meter: Meter | None = field(default=None, repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Principal:
    """A proven caller: (issuer, subject) is its identity, everything else what it may do.

    ``issued_at`` and ``expires_at`` are its token's; None where it showed none.
    """

    issuer: str
    subject: str
    scopes: frozenset[str]
    act_for: frozenset[str] = frozenset()
    token_id: str | None = None
    expires_at: datetime | None = None
    issued_at: datetime | None = None

    @property
    def may_trade(self) -> bool:
        """Whether it can place orders: then it is no person who watches those who do."""
        return bool(self.scopes & {"orders:create", "orders:live"})

    def speaks_for(self, agent: str) -> bool:
        """Tell whether an order may name ``agent``: the subject itself or one of act_for."""
        return agent == self.subject or agent in self.act_for


_GATE = object()


@dataclass(frozen=True, slots=True)
class Admission:
    """The gate's word that one principal may do one operation, once.

    Only ``access/gate.py`` makes one: every service method takes an admission first, so a
    forgotten check is a type error. Where it has a ``reserve``, the caller's quota is used up:
    an entry gets the refusal in it, an exit spends from it.
    """

    principal: Principal
    operation: Operation
    channel: Channel
    call_id: str
    key_id: str | None = None
    reserve: Reserve | None = None
    made_by: object = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.made_by is not _GATE:
            raise TypeError("an admission is made by the gate alone")


def admission_by_the_gate(
    principal: Principal,
    operation: Operation,
    channel: Channel,
    call_id: str,
    key_id: str | None = None,
    reserve: Reserve | None = None,
) -> Admission:
    """Make an admission; ``access/gate.py`` is the only caller (a test of the house says so)."""
    return Admission(principal, operation, channel, call_id, key_id, reserve, made_by=_GATE)
