"""Brings what any gateway on the same store has revoked to this process, and writes new ones."""

from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Final

import anyio

from mcp_gateway.access.tokens.revocations import Revocation, Revocations
from mcp_gateway.clock import Clock
from mcp_gateway.errors import GatewayError, StoreUnavailable
from mcp_gateway.telemetry import logs, metrics

if TYPE_CHECKING:
    from mcp_gateway.storage.sql import Store

# How soon a gateway knows what another one on the same PostgreSQL has revoked.
SHARED_LOOK_S: Final = 0.5
OWN_LOOK_S: Final = 1.0  # SQLite: nobody else writes
RETRY_S: Final = 1.0
CLEAN_S: Final = 3600.0
_log = logs.get(__name__)


class RevocationWatch:
    """Keeps the revocations of a process and those of its store one.

    Args:
        known: what this process goes by; with the store down the last list holds.
    """

    def __init__(self, known: Revocations, clock: Clock) -> None:
        self.known: Final = known
        self._clock = clock
        self._store: Store | None = None
        self._last_id = 0
        self._turn = anyio.Lock()
        self._cleaned_at = clock.monotonic()

    async def begin(self, store: "Store") -> None:
        """Take up a store that has just opened: whoever waits for its list goes on."""
        self._store = store
        with suppress(GatewayError):  # it is asked again
            await self.look()
        self.known.settle()

    async def look(self) -> None:
        """Take over what was revoked since the last look.

        Raises:
            StoreUnavailable: what is known already goes on being refused.
        """
        # Only now: the SQL libraries take 0.2 s, and whoever opened a store has them.
        from mcp_gateway.access.tokens.revocation_rows import after  # noqa: PLC0415 - see above

        async with self._turn:
            while found := await self._opened().read(partial(after, last_id=self._last_id)):
                self.known.add(found)
                self._last_id = max(one.id or 0 for one in found)

    async def keep(self) -> None:
        """Look until cancelled, from when there is a store."""
        while True:
            pause_s = OWN_LOOK_S if self._store is None else await self._looked()
            await self._clock.sleep(pause_s)

    async def revoke(self, new: Revocation) -> Revocation:
        """Write a revocation down; in this process it holds at once.

        Raises:
            StoreUnavailable: nothing was written, and nothing is revoked.
        """
        from mcp_gateway.access.tokens.revocation_rows import add  # noqa: PLC0415 - see look

        record = await self._opened().write(partial(add, new=new))
        self.known.add([record])
        _log.warning(
            "Revoked", issuer=record.issuer, subject=record.subject, jti=record.token_id,
            by=record.by,
        )  # fmt: skip
        return record

    async def find(
        self, issuer: str, subject: str | None, token_id: str | None, issued_at: datetime | None
    ) -> Revocation | None:
        """Return what has revoked a token, by the store's word; None: nothing."""
        from mcp_gateway.access.tokens.revocation_rows import stopping  # noqa: PLC0415 - see look

        return await self._opened().read(
            lambda connection: stopping(connection, issuer, subject, token_id, issued_at)
        )

    async def _looked(self) -> float:
        """Look once; return how long it is to the next look."""
        try:
            await self.look()
            await self._clean()
        except GatewayError as error:
            _log.warning("The store does not tell the revocations", code=error.code)
        except Exception:  # noqa: BLE001  (a bug in here must not leave revoked tokens believed for ever)
            _log.exception("The look at revocations failed")
        else:
            metrics.revocations_stale.set(0)
            return OWN_LOOK_S if self._opened().name == "sqlite" else SHARED_LOOK_S
        metrics.revocations_stale.set(1)
        return RETRY_S

    async def _clean(self) -> None:
        """Forget what is over, here and in the store, and read all that is left once more."""
        if self._clock.monotonic() < self._cleaned_at + CLEAN_S:
            return
        from mcp_gateway.access.tokens.revocation_rows import remove_over  # noqa: PLC0415 - see look

        now = self._clock.now()
        await self._opened().write(partial(remove_over, now=now))
        self.known.forget(now)
        self._last_id = 0  # a database that was restored may have given ids out anew
        self._cleaned_at = self._clock.monotonic()

    def _opened(self) -> "Store":
        if self._store is None:
            raise StoreUnavailable("The store is not open.", code="database_unavailable")
        return self._store
