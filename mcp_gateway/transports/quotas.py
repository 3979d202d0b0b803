"""What is left of a caller's quotas, in the headers of an answer.

Source: draft-ietf-httpapi-ratelimit-headers-11; a bucket is a policy whose window is the time
in which it fills.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Final

from mcp_gateway.domain.quotas import Quota

WINDOW_S: Final = 60
Header = tuple[bytes, bytes]


def headers(quotas: Sequence[Quota]) -> Iterable[Header]:
    """Return RateLimit-Policy and RateLimit; nothing where no quota was asked.

    Names are the table's own words, which need no escaping in a structured field.
    """
    if not quotas:
        return ()
    policies = ", ".join(f'"{one.name}";q={one.per_minute};w={WINDOW_S}' for one in quotas)
    limits = ", ".join(map(_limit, quotas))
    return (b"ratelimit-policy", policies.encode()), (b"ratelimit", limits.encode())


def _limit(quota: Quota) -> str:
    """Write what is left, and the seconds until there is more: rounded up, so never too early."""
    told = f'"{quota.name}";r={quota.left}'
    return f"{told};t={math.ceil(quota.next_in_s)}" if quota.next_in_s else told
