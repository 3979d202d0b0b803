"""How often: a quota for each caller and kind of call, one for the caller, one for the server.

All are decided in one step of the shared store, all or nothing. When that store is down, reads
go on under this process's own count; what writes is refused. What gets a caller out of a
position has a quota of its own, which nobody else's flood can reach.
"""

import hashlib
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

from mcp_gateway.clock import Clock
from mcp_gateway.domain.operations import ALL_CALLS, SERVER, Operation
from mcp_gateway.domain.principals import Principal
from mcp_gateway.domain.quotas import Meter, Quota
from mcp_gateway.errors import QuotaExceeded, StoreUnavailable
from mcp_gateway.storage.kv import Bucket, KeyValue, Taken, open_kv
from mcp_gateway.telemetry import logs, metrics

SERVER_KEY: Final = "quota:server"
ASK_AGAIN_S: Final = 1.0  # while the store fails, one read a second asks it
MOST_REMEMBERED: Final = 4096  # callers and operations whose keys need not be made anew

_log = logs.get(__name__)


class Limiter:
    """Spends quotas.

    Args:
        kv: where the counts lie, shared by every process.
        per_minute: calls a minute for each caller and quota; as many may come at once.
        caller_per_minute: calls a minute for each caller in all.
        server_per_minute: calls a minute for all callers together.
    """

    def __init__(
        self,
        kv: KeyValue,
        *,
        per_minute: int,
        caller_per_minute: int,
        server_per_minute: int,
        clock: Clock,
    ) -> None:
        self._kv = kv
        self._own = open_kv(None, clock)
        self._per_minute = per_minute
        self._caller_per_minute = caller_per_minute
        self._server = Bucket(SERVER_KEY, server_per_minute, server_per_minute)
        self._clock = clock
        self._ask_again_at: float | None = None
        self._buckets = lru_cache(MOST_REMEMBERED)(self._asked)

    @property
    def degraded(self) -> bool:
        """Whether the shared store failed lately, so that reads are counted here alone."""
        return self._ask_again_at is not None

    async def spend(
        self, principal: Principal, operation: Operation, meter: Meter | None = None
    ) -> None:
        """Count one call.

        Args:
            meter: where to note what is left.

        Raises:
            QuotaExceeded: with the seconds after which the same call may succeed.
            StoreUnavailable: the shared store is down and the operation writes.
        """
        buckets = self._buckets(
            principal.issuer, principal.subject, operation.quota, operation.shares
        )
        take = self._kv.take if operation.writes else self._take_for_a_read
        _settle(await take(buckets), (operation.quota, *operation.shares), meter)

    async def spend_reserve(
        self, principal: Principal, quota: str, meter: Meter | None = None
    ) -> None:
        """Count one call that only the caller's reserve lets pass.

        No wider quota is asked: others who flood the server must not keep anyone from getting
        out of a position, nor must the caller's own reads.

        Raises:
            QuotaExceeded: the reserve is used up too.
            StoreUnavailable: the shared store is down.
        """
        buckets = self._buckets(principal.issuer, principal.subject, quota, ())
        _settle(await self._kv.take(buckets), (quota,), meter)

    async def left(self, principal: Principal, operations: Iterable[Operation]) -> dict[str, int]:
        """Return the calls left of each operation's quotas and reserve; spends nothing."""
        names = dict.fromkeys(
            name
            for one in operations
            for name in (one.quota, one.reserve, *one.shares)
            if name not in {None, SERVER}
        )
        own = [self._bucket(principal.issuer, principal.subject, str(name), 0) for name in names]
        taken = await self._take_for_a_read(own)
        return dict(zip(map(str, names), taken.left, strict=True))

    async def _take_for_a_read(self, buckets: Sequence[Bucket]) -> Taken:
        now = self._clock.monotonic()
        if self._ask_again_at is not None:
            if now < self._ask_again_at:
                return await self._own.take(buckets)
            self._ask_again_at = now + ASK_AGAIN_S  # so that no other read waits meanwhile
        try:
            taken = await self._kv.take(buckets)
        except StoreUnavailable as trouble:
            self._degrade(trouble)
            return await self._own.take(buckets)
        self._recover()
        return taken

    def _asked(
        self, issuer: str, subject: str, quota: str, shares: tuple[str, ...]
    ) -> tuple[Bucket, ...]:
        own = (quota, ALL_CALLS) if ALL_CALLS in shares else (quota,)
        buckets = tuple(self._bucket(issuer, subject, name) for name in own)
        return (*buckets, self._server) if SERVER in shares else buckets

    def _bucket(self, issuer: str, subject: str, quota: str, cost: int = 1) -> Bucket:
        # A digest, so that no subject can be spelt to share or to flood another's bucket.
        caller = hashlib.sha256(f"{issuer}\0{subject}".encode()).hexdigest()[:32]
        most = self._caller_per_minute if quota == ALL_CALLS else self._per_minute
        return Bucket(f"quota:{caller}:{quota}", most, most, cost)

    def _degrade(self, trouble: StoreUnavailable) -> None:
        if self._ask_again_at is None:
            _log.warning("limiter degraded", degraded=True, code=trouble.code)
            metrics.limiter_degraded.set(1)
        self._ask_again_at = self._clock.monotonic() + ASK_AGAIN_S

    def _recover(self) -> None:
        if self._ask_again_at is not None:
            _log.info("limiter recovered", degraded=False)
            metrics.limiter_degraded.set(0)
        self._ask_again_at = None


def _settle(taken: Taken, names: Sequence[str], meter: Meter | None) -> None:
    """Note what is left, and refuse where a quota was exceeded."""
    if meter is not None:
        meter.quotas = tuple(_quotas(taken, names))
    if taken.exceeded is None:
        return
    name = names[[one.key for one in taken.buckets].index(taken.exceeded)]
    whose = "The server's" if name == SERVER else "Your"
    raise QuotaExceeded(
        f"{whose} quota is used up for now.",
        retry_after_s=taken.retry_after_s,
        detail={"quota": name},
    )


def _quotas(taken: Taken, names: Sequence[str]) -> Iterable[Quota]:
    """Tell how a caller's quotas stand; of the server's only that it is used up."""
    for place, (name, left) in enumerate(zip(names, taken.left, strict=True)):
        if name != SERVER or taken.exceeded == SERVER_KEY:
            yield Quota(name, taken.buckets[place].per_minute, left, taken.next_in_s(place))
