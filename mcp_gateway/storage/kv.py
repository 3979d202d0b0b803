"""Keys and values, nonces and limits: memory or Redis, chosen once.

A Redis that is configured and down is an error that names it. It is never replaced by
memory in silence: a nonce store that forgets lets an order be replayed.
"""

from collections.abc import Sequence
from typing import Literal, Protocol

from mcp_gateway.clock import Clock
from mcp_gateway.storage.buckets import Bucket, Taken
from mcp_gateway.storage.memory import MemoryKeyValue
from mcp_gateway.storage.nonces import Spent

__all__ = ["Bucket", "KeyValue", "Taken", "open_kv"]


class KeyValue(Protocol):
    """What both engines do; every method but ``close`` may raise StoreUnavailable.

    Values, nonces and buckets are three spaces: a key in one never meets one in another.
    """

    backend: Literal["memory", "redis"]

    async def get(self, key: str) -> bytes | None:
        """Return the value, None where it is absent, expired or evicted."""
        ...

    async def set(self, key: str, value: bytes, ttl_s: float) -> None:
        """Keep a value for at most ``ttl_s`` seconds; it may be evicted earlier."""
        ...

    async def delete(self, key: str) -> None:
        """Forget a value."""
        ...

    async def add_if_absent(self, key: str, ttl_s: float) -> bool:
        """Remember a nonce for ``ttl_s`` seconds; False where it is known already."""
        ...

    async def spend(self, nonce: str, ttl_s: float, now_s: int) -> Spent:
        """Use a nonce and remember it for ``ttl_s`` seconds; now is the caller's Unix second."""
        ...

    async def take(self, buckets: Sequence[Bucket]) -> Taken:
        """Spend from all these limits, or from none of them."""
        ...

    async def ping(self) -> None:
        """Return if the engine answers."""
        ...

    async def eviction(self) -> str | None:
        """Name the rule by which a full engine forgets early; None: it refuses, or tells nothing."""
        ...

    async def close(self) -> None:
        """Let go of every connection."""
        ...


def open_kv(redis_url: str | None, clock: Clock) -> KeyValue:
    """Choose the engine; nothing is connected yet, so this never waits.

    Args:
        redis_url: ``redis://`` or ``rediss://``; None keeps everything in this process.

    Raises:
        ConfigurationError: the URL is not one of Redis.
    """
    if redis_url is None:
        return MemoryKeyValue(clock)
    # The client library costs 0.1 s of start-up, which only its users should pay.
    from mcp_gateway.storage.redis import RedisKeyValue  # noqa: PLC0415 - see above

    return RedisKeyValue(redis_url)
