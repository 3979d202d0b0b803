"""The key-value store on Redis or Valkey: shared between processes, on the server's clock."""

import math
from collections.abc import Awaitable, Sequence
from typing import Any, Literal

import anyio
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from mcp_gateway.errors import ConfigurationError, StoreUnavailable
from mcp_gateway.storage.buckets import Bucket, Taken, ensure_distinct
from mcp_gateway.storage.nonces import SPEND, Spent
from mcp_gateway.telemetry import logs

PREFIX = "mcp-gateway:"
# The library waits 5 s by default and repeats; behind it stands a caller with a deadline.
SOCKET_TIMEOUT_S = 0.4
# A time-out is per answer, and one call may wait for a connection, make one, log in, load the
# script and run it. When many come at once to a pool that is empty yet, making takes longest.
DEADLINE_S = 1.0
MOST_CONNECTIONS = 64
NO_EVICTION = "noeviction"

SERVER_TIME = """
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
"""
# ``buckets.decide`` in Lua: ARGV holds interval, burst and cost of each key. Doubles carry
# these integers exactly (below 2^53). A bucket outlives its use by a minute, so that a key
# never expires while its arrival time still says something.
DECIDE = """
local owed, ahead, after, most, wait, exceeded = {}, {}, {}, {}, 0, 0
for i = 1, #KEYS do
  local interval, burst, cost = tonumber(ARGV[3*i-2]), tonumber(ARGV[3*i-1]), tonumber(ARGV[3*i])
  local arrival = tonumber(redis.call('GET', KEYS[i]) or now)
  most[i] = interval * burst
  owed[i] = math.max(arrival - now, 0)
  ahead[i] = math.min(owed[i], most[i])
  after[i] = ahead[i] + interval * cost
  if after[i] - most[i] > wait then
    wait, exceeded = after[i] - most[i], i
  end
end
local spent = exceeded == 0 and after or ahead
for i = 1, #KEYS do
  if tonumber(ARGV[3*i]) > 0 and (exceeded == 0 or owed[i] > most[i]) then
    local lifetime = math.ceil(spent[i] / 1000) + 60000
    redis.call('SET', KEYS[i], string.format('%.0f', now + spent[i]), 'PX', lifetime)
  end
end
return {exceeded, wait, unpack(spent)}
"""

_log = logs.get(__name__)


class RedisKeyValue:
    """One pool of connections; any trouble is ``redis_unavailable``, at once and unretried."""

    backend: Literal["memory", "redis"] = "redis"

    def __init__(self, url: str) -> None:
        try:
            pool = BlockingConnectionPool.from_url(
                url,
                max_connections=MOST_CONNECTIONS,
                timeout=DEADLINE_S,
                socket_timeout=SOCKET_TIMEOUT_S,
                socket_connect_timeout=DEADLINE_S,
                # Nothing is asked of a new connection but to be let in: with a server that takes
                # a quarter of a second, the library's introduction would outlast the deadline.
                protocol=2,
                driver_info=None,
                retry=Retry(NoBackoff(), 0),
            )
        except ValueError as error:
            # The URL may hold a password: it is not repeated.
            raise ConfigurationError(["REDIS_URL: a redis:// or rediss:// URL"]) from error
        self._client: Redis = Redis.from_pool(pool)
        self._spend = self._client.register_script(SPEND)
        self._decide = self._client.register_script(SERVER_TIME + DECIDE)

    async def get(self, key: str) -> bytes | None:
        """Return the value, None where it is absent, expired or evicted."""
        value: bytes | None = await _answer(self._client.get(_value(key)))
        return value

    async def set(self, key: str, value: bytes, ttl_s: float) -> None:
        """Keep a value for at most ``ttl_s`` seconds."""
        await _answer(self._client.set(_value(key), value, px=_milliseconds(ttl_s)))

    async def delete(self, key: str) -> None:
        """Forget a value."""
        await _answer(self._client.delete(_value(key)))

    async def add_if_absent(self, key: str, ttl_s: float) -> bool:
        """Remember a nonce for ``ttl_s`` seconds; False where it is known already."""
        name = f"{PREFIX}once:{key}"
        return bool(await _answer(self._client.set(name, b"", px=_milliseconds(ttl_s), nx=True)))

    async def spend(self, nonce: str, ttl_s: float, now_s: int) -> Spent:
        """Use a nonce and remember it for ``ttl_s`` seconds, with the mark in one script."""
        keys = [f"{PREFIX}once:{nonce}", f"{PREFIX}nonces-since"]
        args = [_milliseconds(ttl_s), now_s]
        first, since = await _answer(self._spend(keys=keys, args=args))
        return Spent(bool(first), since)

    async def take(self, buckets: Sequence[Bucket]) -> Taken:
        """Spend from all these limits in one script, or from none of them."""
        ensure_distinct(buckets)
        keys = [f"{PREFIX}rate:{bucket.key}" for bucket in buckets]
        numbers = [n for one in buckets for n in (one.interval_us, one.burst, one.cost)]
        return taken(buckets, await _answer(self._decide(keys=keys, args=numbers)))

    async def ping(self) -> None:
        """Return if the server answers."""
        await _answer(self._client.ping())

    async def eviction(self) -> str | None:
        """Name its ``maxmemory-policy`` unless that is noeviction; None where it tells nothing."""
        try:
            told = await _answer(self._client.info("memory"))
        except StoreUnavailable:  # an account may not be allowed to ask
            return None
        policy = str(told.get("maxmemory_policy", NO_EVICTION))
        return None if policy == NO_EVICTION else policy

    async def close(self) -> None:
        """Close every connection."""
        await self._client.aclose()


def taken(buckets: Sequence[Bucket], answer: Sequence[int]) -> Taken:
    """Read the script's answer: who said no (counted from 1, 0 for nobody), the wait, the rest."""
    exceeded, wait_us, *ahead_us = answer
    refused_by = buckets[exceeded - 1].key if exceeded else None
    return Taken(tuple(buckets), tuple(ahead_us), wait_us, refused_by)


def _value(key: str) -> str:
    return f"{PREFIX}value:{key}"


def _milliseconds(seconds: float) -> int:
    return max(1, math.ceil(seconds * 1000))


async def _answer(command: Awaitable[Any]) -> Any:
    """Await a command, turning every trouble of the server or the way to it into our word."""
    try:
        with anyio.fail_after(DEADLINE_S):
            return await command
    except (RedisError, OSError) as error:  # TimeoutError is an OSError
        _log.warning("redis does not serve", trouble=type(error).__name__)
        raise StoreUnavailable("Redis does not answer.", code="redis_unavailable") from error
