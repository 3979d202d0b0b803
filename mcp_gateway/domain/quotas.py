"""How much of a caller's quotas is left, as the gate tells it, and what is kept for exits."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import NamedTuple

from mcp_gateway.errors import QuotaExceeded


class Quota(NamedTuple):
    """One quota of a caller's, as it stands.

    Args:
        name: of the operation or of what several share, as in ``domain.operations``.
        per_minute: calls that come back in a minute; as many may be made at once.
        left: calls that would pass now.
        next_in_s: seconds until one more is there; 0 where none is missing.
    """

    name: str
    per_minute: int
    left: int
    next_in_s: float


@dataclass(slots=True)
class Meter:
    """What the gate notes of one request: whether it became a call, and what is left after it.

    The door reads it when the answer leaves; the request in between may run in another task.
    """

    passed: bool = field(default=False)
    quotas: tuple[Quota, ...] = ()


@dataclass(frozen=True, slots=True)
class Reserve:
    """What lets a caller out whose quota is used up.

    Args:
        refusal: what an entry gets; it spends nothing of the reserve.
        spend: count one exit; raises QuotaExceeded, StoreUnavailable.
    """

    refusal: QuotaExceeded
    spend: Callable[[], Awaitable[None]]
