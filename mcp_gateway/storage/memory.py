"""The key-value store of one process: plain dictionaries, every one of them bounded."""

import heapq
import math
from collections.abc import Sequence
from typing import Literal

from mcp_gateway.clock import Clock
from mcp_gateway.errors import StoreUnavailable
from mcp_gateway.storage.buckets import Bucket, Taken, decide, ensure_distinct
from mcp_gateway.storage.nonces import Spent

# Some 400 answers of 500 candles; the whole process is to stay under 140 MB.
LARGEST_VALUES_BYTES = 16 * 1024 * 1024
# A signed order leaves one nonce for a minute by default: 1,600 orders a second.
MOST_NONCES = 100_000
MOST_BUCKETS = 100_000
# Looking through them all takes some 10 ms, which no flood of new names shall cost at each call.
LOOK_AGAIN_US = 1_000_000


class Counts:
    """What callers have spent of their limits, in this process; never more than so many of them."""

    def __init__(self, clock: Clock, *, most_buckets: int = MOST_BUCKETS) -> None:
        self._clock = clock
        self._most = most_buckets
        self._arrivals: dict[str, int] = {}
        self._look_again_at_us = 0

    def take(self, buckets: Sequence[Bucket]) -> Taken:
        """Spend from all these limits, or from none of them.

        Raises:
            StoreUnavailable: more callers at once than are ever kept.
        """
        ensure_distinct(buckets)
        now_us = int(self._clock.monotonic() * 1e6)
        if len(self._arrivals) + len(buckets) > self._most:
            self._make_room(now_us, buckets)
        taken, kept = decide(buckets, self._arrivals, now_us)
        self._arrivals.update(kept)
        return taken

    def clear(self) -> None:
        """Forget everybody."""
        self._arrivals.clear()

    def _make_room(self, now_us: int, wanted: Sequence[Bucket]) -> None:
        """Drop the buckets that are full again: they say what an absent one says."""
        new = sum(bucket.key not in self._arrivals for bucket in wanted if bucket.cost)
        if len(self._arrivals) + new <= self._most:
            return
        if now_us >= self._look_again_at_us:
            self._look_again_at_us = now_us + LOOK_AGAIN_US
            self._arrivals = {key: at for key, at in self._arrivals.items() if at > now_us}
        if len(self._arrivals) + new > self._most:
            raise StoreUnavailable("The limiter is full.", code="limiter_full")


class MemoryKeyValue:
    """Values are evicted oldest first; nonces never before their time, for that allows replay."""

    backend: Literal["memory", "redis"] = "memory"

    def __init__(
        self,
        clock: Clock,
        *,
        largest_values_bytes: int = LARGEST_VALUES_BYTES,
        most_nonces: int = MOST_NONCES,
        most_buckets: int = MOST_BUCKETS,
    ) -> None:
        self._clock = clock
        self._largest_values_bytes = largest_values_bytes
        self._most_nonces = most_nonces
        self._counts = Counts(clock, most_buckets=most_buckets)
        self._values: dict[str, tuple[float, bytes]] = {}
        self._values_bytes = 0
        self._since = int(clock.now().timestamp())
        self._nonces: set[str] = set()
        self._nonce_ends: list[tuple[float, str]] = []

    async def get(self, key: str) -> bytes | None:
        """Return the value, None where it is absent, expired or evicted."""
        ends_at, value = self._values.get(key, (-math.inf, b""))
        return value if ends_at > self._clock.monotonic() else None

    async def set(self, key: str, value: bytes, ttl_s: float) -> None:
        """Keep a value for at most ``ttl_s`` seconds, evicting older ones for it."""
        self._forget(key)
        if len(value) > self._largest_values_bytes:
            return
        self._values[key] = (self._clock.monotonic() + ttl_s, value)
        self._values_bytes += len(value)
        while self._values_bytes > self._largest_values_bytes:
            self._forget(next(iter(self._values)))

    async def delete(self, key: str) -> None:
        """Forget a value."""
        self._forget(key)

    async def add_if_absent(self, key: str, ttl_s: float) -> bool:
        """Remember a nonce for ``ttl_s`` seconds; False where it is known already.

        Raises:
            StoreUnavailable: too many live nonces; forgetting one would allow a replay.
        """
        now = self._clock.monotonic()
        while self._nonce_ends and self._nonce_ends[0][0] <= now:
            self._nonces.remove(heapq.heappop(self._nonce_ends)[1])
        if key in self._nonces:
            return False
        if len(self._nonces) >= self._most_nonces:
            raise StoreUnavailable("The nonce store is full.", code="nonce_store_full")
        self._nonces.add(key)
        heapq.heappush(self._nonce_ends, (now + ttl_s, key))
        return True

    async def spend(self, nonce: str, ttl_s: float, now_s: int) -> Spent:  # noqa: ARG002 - KeyValue's
        """Use a nonce and remember it; nothing is remembered from before this process.

        Raises:
            StoreUnavailable: too many live nonces.
        """
        return Spent(await self.add_if_absent(nonce, ttl_s), self._since)

    async def take(self, buckets: Sequence[Bucket]) -> Taken:
        """Spend from all these limits, or from none of them.

        Raises:
            StoreUnavailable: more callers at once than are ever kept.
        """
        return self._counts.take(buckets)

    async def ping(self) -> None:
        """Return; memory always answers."""

    async def eviction(self) -> str | None:
        """Return None: of nonces nothing is forgotten early."""
        return None

    async def close(self) -> None:
        """Forget everything."""
        self._values.clear()
        self._values_bytes = 0
        self._nonces.clear()
        self._nonce_ends.clear()
        self._counts.clear()

    def _forget(self, key: str) -> None:
        _, value = self._values.pop(key, (0.0, b""))
        self._values_bytes -= len(value)
