"""How often: one quota for each caller and kind of call, and one for the whole server.

Both are decided in one step of the shared store, all or nothing. When that store is down,
reads go on under this process's own count; what writes is refused. What gets a caller out of
a position has a reserve of its own.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

from mcp_gateway.clock import Clock
from mcp_gateway.domain.operations import Operation
from mcp_gateway.domain.principals import Principal
from mcp_gateway.errors import QuotaExceeded, StoreUnavailable
from mcp_gateway.storage.kv import Bucket, KeyValue, Taken, open_kv
from mcp_gateway.telemetry import logs, metrics

SERVER_KEY: Final = "quota:server"
ASK_AGAIN_S: Final = 1.0  # a store that is down costs its time-out; one read a second pays it

_log = logs.get(__name__)


class Limiter:
    """Spends quotas.

    Args:
        kv: where the counts lie, shared by every process.
        per_minute: calls a minute for each caller and quota; as many may come at once.
        server_per_minute: calls a minute for all callers together.
    """

    def __init__(
        self, kv: KeyValue, *, per_minute: int, server_per_minute: int, clock: Clock
    ) -> None:
        self._kv = kv
        self._own = open_kv(None, clock)
        self._per_minute = per_minute
        self._server_per_minute = server_per_minute
        self._clock = clock
        self._ask_again_at: float | None = None

    @property
    def degraded(self) -> bool:
        """Whether the shared store failed lately, so that reads are counted here alone."""
        return self._ask_again_at is not None

    async def spend(self, principal: Principal, operation: Operation) -> None:
        """Count one call.

        Raises:
            QuotaExceeded: with the seconds after which the same call may succeed.
            StoreUnavailable: the shared store is down and the operation writes.
        """
        own = self._bucket(principal, operation.quota)
        buckets = [own, Bucket(SERVER_KEY, self._server_per_minute, self._server_per_minute)]
        if operation.writes:
            taken = await self._kv.take(buckets)
        else:
            taken = await self._take_for_a_read(buckets)
        if taken.exceeded == SERVER_KEY:
            raise _exceeded("The server's", "server", taken)
        if not taken.allowed:
            raise _exceeded("Your", operation.quota, taken)

    async def spend_reserve(self, principal: Principal, quota: str) -> None:
        """Count one call that only the caller's reserve lets pass.

        The server's quota is not asked: others who flood it must not keep anyone from getting
        out of a position.

        Raises:
            QuotaExceeded: the reserve is used up too.
            StoreUnavailable: the shared store is down.
        """
        taken = await self._kv.take([self._bucket(principal, quota)])
        if not taken.allowed:
            raise _exceeded("Your", quota, taken)

    async def left(self, principal: Principal, operations: Iterable[Operation]) -> dict[str, int]:
        """Return the calls left of each operation's quota and reserve; spends nothing."""
        quotas = [one for each in operations for one in (each.quota, each.reserve) if one]
        return {
            quota: (await self._take_for_a_read([self._bucket(principal, quota, 0)])).remaining
            for quota in quotas
        }

    async def _take_for_a_read(self, buckets: list[Bucket]) -> Taken:
        if self._ask_again_at is None or self._clock.monotonic() >= self._ask_again_at:
            try:
                taken = await self._kv.take(buckets)
            except StoreUnavailable as trouble:
                self._degrade(trouble)
            else:
                self._recover()
                return taken
        return await self._own.take(buckets)

    def _bucket(self, principal: Principal, quota: str, cost: int = 1) -> Bucket:
        # A digest, so that no subject can be spelt to share or to flood another's bucket.
        identity = f"{principal.issuer}\0{principal.subject}".encode()
        caller = hashlib.sha256(identity).hexdigest()[:32]
        return Bucket(f"quota:{caller}:{quota}", self._per_minute, self._per_minute, cost)

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


def _exceeded(whose: str, quota: str, taken: Taken) -> QuotaExceeded:
    return QuotaExceeded(
        f"{whose} quota is used up for now.",
        retry_after_s=taken.retry_after_s,
        detail={"quota": quota},
    )
