"""The kill switch: what stops entries at once, over replicas and restarts, and never an exit.

A halt is in force in this process the moment it is set, and a row right behind it, which
every gateway reads in the transaction that sends an entry. Where the store is down the row
follows later.
"""

import logging
from collections import Counter
from functools import partial
from typing import Final

import anyio

from mcp_gateway.clock import Clock
from mcp_gateway.errors import NotFound, StoreUnavailable
from mcp_gateway.orders.book.actor import Actor
from mcp_gateway.orders.book.background import forever
from mcp_gateway.orders.halts import rows as halt_rows
from mcp_gateway.orders.halts.file import Identity
from mcp_gateway.orders.halts.local import LocalHalts
from mcp_gateway.orders.halts.records import FILE, OPERATOR, HaltRecord, NewHalt, Wanted
from mcp_gateway.storage.sql import Store
from mcp_gateway.telemetry import logs, metrics

# How soon a gateway knows what another one on the same PostgreSQL has set, beside the look
# in each entry's own transaction.
SHARED_LOOK_S: Final = 0.05
RETRY_S: Final = 2.0
OWN_LOOK_S: Final = 1.0  # SQLite: nobody else writes; the file may come
LONGEST_WRITE_S: Final = 1.5  # what the process itself knows is in force before that
MOST_TOLD: Final = 200
_log = logs.get(__name__)


class Halts:
    """Sets, releases and tells halts.

    Args:
        local: what this process knows of them by itself.
    """

    def __init__(self, store: Store, clock: Clock, local: LocalHalts) -> None:
        self.local = local
        self._store = store
        self._clock = clock
        self._look_s = OWN_LOOK_S if store.name == "sqlite" else SHARED_LOOK_S
        # So that no older answer of the store's takes the place of a newer one.
        self._turn = anyio.Lock()
        self._answered = True
        self._file: tuple[Identity, int | None] | None = None  # and the row that stands for it

    async def set(self, new: NewHalt) -> HaltRecord | None:
        """Put a halt in force: at once here, then for good.

        Returns:
            The halt; without an id where the store does not take it down yet, the one that is
            in force already where it is the same, and None where it was released by a person
            and its cause has not gone since.

        Raises:
            RequestInvalid: too_many_halts.
        """
        self.local.add(new)
        try:
            with anyio.fail_after(LONGEST_WRITE_S):
                async with self._turn:
                    return await self._written(new)
        except (StoreUnavailable, TimeoutError):
            return self.local.keep(new)

    async def release(self, wanted: Wanted, who: Actor, reason: str) -> tuple[HaltRecord, ...]:
        """Release the halts in force that are wanted: a person's act, and nobody else's.

        Raises:
            NotFound: none of them is in force.
            StoreUnavailable: the store does not answer, or (``halt_file_stays``) the file HALT
                can't be removed: everything is halted still.
        """
        now = self._clock.now()
        async with self._turn:
            await self._settle()
            held = await self._store.read(halt_rows.in_force)
            released: list[HaltRecord] = []
            for one in filter(wanted, held):
                act = partial(halt_rows.release, halt=one, who=who, at=now, reason=reason)
                gone = await self._store.write(act)
                released += [gone] if gone else []
            await self._know()
            self._follow_file()
        if not released:
            raise NotFound(
                "No such halt is in force.",
                code="halt_unknown",
                hint="`mcp-gateway halt list` shows those that are.",
            )
        for one in released:
            _log.warning("Trading resumed", scope=one.scope, halted=one.name, by=one.released_by)
        if self._file is not None and self._file[1] in {one.id for one in released}:
            raise _file_stays()
        return tuple(released)

    async def in_force(self) -> tuple[HaltRecord, ...]:
        """Return the halts in force, by the store's word and this process's own.

        With the store down it is what this process knows.
        """
        try:
            async with self._turn:
                await self._know()
        except StoreUnavailable as error:
            _log.warning("The store does not tell the halts in force", code=error.code)
        return self.local.records()

    async def recent(self, limit: int = MOST_TOLD) -> tuple[HaltRecord, ...]:
        """Return the newest halts, released or not, newest first; raises StoreUnavailable."""
        return await self._store.read(lambda connection: halt_rows.recent(connection, limit))

    async def refresh(self) -> None:
        """Take the store's word, and let rows follow what was set without it.

        Raises:
            StoreUnavailable: the store does not answer; what is known stays in force.
        """
        async with self._turn:
            await self._settle()

    async def keep(self) -> None:
        """Refresh until cancelled; a store that is down is asked again, and not as often."""
        await forever("The look at halts", self._look, lambda: self._clock.sleep(self.pause_s))

    @property
    def pause_s(self) -> float:
        """How long it is to the next look."""
        return self._look_s if self._answered else RETRY_S

    async def _look(self) -> None:
        self._answered = False
        await self.refresh()
        self._answered = True

    async def _settle(self) -> None:
        for new in self.local.unwritten:
            await self._written(new)
        await self._know()
        self._follow_file()
        seen = self.local.file.seen()
        if seen is not None and (self._file is None or self._file[0] != seen):
            reason = self.local.file.reason()
            new = NewHalt("all", "", FILE, reason, Actor.watching(FILE), self._clock.now())
            record = await self._written(new)
            self._file = seen, record.id if record else None

    async def _written(self, new: NewHalt) -> HaltRecord | None:
        """Write a halt down, and let this process know it as a row from now on."""
        record, is_new = await self._store.write(lambda connection: halt_rows.add(connection, new))
        self.local.written(new, record)
        own = self.local.own_file
        if own is not None and own[1] is new and record is not None:
            self._file = own[0], record.id
        if is_new and record is not None:
            metrics.halts_total.labels(record.code).inc()
            by_watch = record.code not in {OPERATOR, FILE}
            _log.log(
                logging.ERROR if by_watch else logging.WARNING, "Trading halted",
                scope=record.scope, halted=record.name, code=record.code, by=record.by,
                reason=record.reason,
            )  # fmt: skip
        self._count()
        return record

    async def _know(self) -> None:
        self.local.know(await self._store.read(halt_rows.in_force))
        self._count()

    def _follow_file(self) -> None:
        """Take the file away with its row, whoever released that."""
        if self._file is None:
            return
        seen, row = self._file
        if self.local.file.seen() != seen:
            self._file = None  # gone, or another one
        elif row not in {one.id for one in self.local.records()} and self.local.file.remove(seen):
            self._file = None

    def _count(self) -> None:
        held = Counter(one.scope for one in self.local.records())
        for scope in ("all", "agent", "pair"):
            metrics.halts_in_force.labels(scope).set(held[scope])


def _file_stays() -> StoreUnavailable:
    return StoreUnavailable(
        "The file HALT is still in the data folder: everything is halted still.",
        code="halt_file_stays",
        hint="Remove the file by hand; nothing else is left to be released of it.",
    )
