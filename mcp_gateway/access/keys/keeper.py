"""The keys in force: read at the start, and again whenever their file changes.

A new key serves and a revoked one is refused within a second, without a restart. A file with
faults changes nothing: the last good set stays, and log, metric and health say so.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from mcp_gateway.access.keyring import Keyring
from mcp_gateway.access.keys import file
from mcp_gateway.clock import Clock
from mcp_gateway.errors import ConfigurationError, StoreUnavailable
from mcp_gateway.telemetry import logs, metrics

LOOK_EVERY_S: Final = 0.5  # a revoked key is refused within a second
_log = logs.get(__name__)


class KeyKeeper:
    """Keeps the keyring as the file says.

    Args:
        path: of the keys file; it need not be there, then there are no keys but the
            environment's.
    """

    def __init__(self, path: Path, keyring: Keyring, clock: Clock) -> None:
        self.path: Final = path
        self.keyring: Final = keyring
        self.faults: tuple[str, ...] = ()
        self._clock = clock
        self._seen: file.Mark | None = None
        self._looked_at = clock.monotonic()
        self._taken = 0
        self._looking = anyio.Lock()

    def load(self) -> None:
        """Read the keys that the gateway starts with; no earlier ones are known.

        Raises:
            ConfigurationError: every fault of the file.
        """
        self._seen = file.mark(self.path)  # before it is read: what is written meanwhile is news
        self.keyring.hold(file.read(self.path).keys(), self._clock.now())

    @asynccontextmanager
    async def watched(self) -> AsyncIterator[None]:
        """Keep the keyring as the file says for as long as the context lasts; raises as ``load``."""
        self.load()
        async with anyio.create_task_group() as group:
            group.start_soon(self._watch)
            yield
            group.cancel_scope.cancel()

    async def _watch(self) -> None:
        while True:
            await self._clock.sleep(LOOK_EVERY_S)
            try:
                await self.look()
            except Exception:  # noqa: BLE001  (a bug in here must not end the watch, nor the gateway)
                _log.exception("The keys file could not be looked at")

    async def seek(self) -> bool:
        """Look at once, for a key that is not known; tell whether other keys are in force now.

        Callers decide how often this is asked: all who ask during one look share the next, and
        a look at a file that has not changed costs no reading.
        """
        before, asked_at = self._taken, self._clock.monotonic()
        async with self._looking:
            if self._looked_at <= asked_at:
                await self._look()
        return self._taken != before

    async def look(self) -> None:
        """Read the file if it has changed since."""
        async with self._looking:
            await self._look()

    async def _look(self) -> None:
        self._looked_at = self._clock.monotonic()
        mark = await anyio.to_thread.run_sync(file.mark, self.path)
        if mark != self._seen:
            await self._take(mark)
            self._seen = mark

    async def ping(self) -> None:
        """Return if the file is as it should be.

        Raises:
            StoreUnavailable: it has faults; what was in force stays.
        """
        if self.faults:
            raise StoreUnavailable("The keys file has faults.", code="keys_faulty")

    async def _take(self, mark: file.Mark | None) -> None:
        try:
            if mark is None:
                raise ConfigurationError([f"MCP_GATEWAY_KEYS_FILE: {self.path}: is gone"])
            keys = await anyio.to_thread.run_sync(file.read, self.path)
            self.keyring.hold(keys.keys(), self._clock.now())
        except ConfigurationError as error:
            self._tell(tuple(error.faults))
            return
        self._taken += 1
        self._tell(())
        _log.info("The signing keys were read anew", keys=len(keys.records))

    def _tell(self, faults: tuple[str, ...]) -> None:
        metrics.keys_faulty.set(bool(faults))
        if faults and faults != self.faults:
            _log.error("The keys file has faults; the keys in force stay", faults=faults)
        elif self.faults and not faults:
            _log.info("The keys file has no more faults")
        self.faults = faults
