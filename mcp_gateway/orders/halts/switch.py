"""The kill switch: what stops entries at once, over replicas and restarts, and never an exit.

A halt is in force in this process the moment it is set, and a row right behind it, which
every gateway reads in the transaction that sends an entry. Where the store is down the row
follows later.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import anyio

from mcp_gateway.clock import Clock
from mcp_gateway.errors import StoreUnavailable
from mcp_gateway.orders.book.actor import Actor
from mcp_gateway.orders.book.background import forever
from mcp_gateway.orders.halts import rows as halt_rows
from mcp_gateway.orders.halts.file import Identity
from mcp_gateway.orders.halts.local import LocalHalts
from mcp_gateway.orders.halts.records import (
    FILE,
    OPERATOR,
    HaltRecord,
    NewHalt,
    Says,
    Wanted,
    file_stays,
    no_such_halt,
)
from mcp_gateway.storage.sql import Store
from mcp_gateway.telemetry import logs, metrics

# How soon a gateway knows what another one on the same PostgreSQL has set, beside the look
# in each entry's own transaction.
SHARED_LOOK_S: Final = 0.05
RETRY_S: Final = 2.0
OWN_LOOK_S: Final = 1.0  # SQLite: nobody else writes; the file may come
LONGEST_WRITE_S: Final = 1.5  # what the process itself knows is in force before that
# Of a release, from when it is asked for: whoever asked is told by then that nothing was done.
RELEASE_WITHIN_S: Final = 4.0
WRITTEN_AT_ONCE: Final = 50  # of the halts that wait for the store
MOST_TOLD: Final = 200
_log = logs.get(__name__)


@dataclass(slots=True)
class _FileRow:
    """The file HALT as it was seen, what the row says that stands for it, and its release."""

    seen: Identity
    says: Says
    released: bool = False


class Halts:
    """Sets, releases and tells halts.

    Args:
        local: what this process knows of them by itself.
    """

    def __init__(self, store: Store, clock: Clock, local: LocalHalts) -> None:
        self.local = local
        self._store = store
        self._clock = clock
        self._is_shared = store.name != "sqlite"
        self._look_s = SHARED_LOOK_S if self._is_shared else OWN_LOOK_S
        # So that no older answer of the store's takes the place of a newer one.
        self._turn = anyio.Lock()
        self._answered = True
        self._file: _FileRow | None = None
        # The sign of the store's last word, and what was made of it.
        self._told: tuple[halt_rows.Sign, tuple[HaltRecord, ...]] | None = None

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
                    [record] = await self._write([new])
                    return record
        except (StoreUnavailable, TimeoutError):
            return self.local.keep(new)

    async def release(self, wanted: Wanted, who: Actor, reason: str) -> tuple[HaltRecord, ...]:
        """Release the halts in force that are wanted: a person's act, and nobody else's.

        All of them or none, in one transaction: another gateway's halt waits for no second one.

        Raises:
            NotFound: none of them is in force.
            StoreUnavailable: the store does not answer; ``release_too_late``, it took so long
                that nothing was released; ``release_unknown``; or ``halt_file_stays``: the file
                HALT can't be removed, and everything is halted still.
        """
        begun = self._clock.monotonic()
        act = partial(
            halt_rows.release, wanted=wanted, who=who, at=self._clock.now(), reason=reason,
            is_late=lambda: self._clock.monotonic() - begun > RELEASE_WITHIN_S,
        )  # fmt: skip
        async with self._turn:
            await self._settle()
            try:
                released = await self._store.write(act)
            except halt_rows.TooLate:
                raise _too_late() from None
            except StoreUnavailable as error:
                raise _not_known() from error
            await self._know()
            self._follow_file()
        if not released:
            raise no_such_halt()
        for one in released:
            _log.warning("Trading resumed", scope=one.scope, halted=one.name, by=one.released_by)
        if self._file is not None and self._file.released:
            raise file_stays()
        return released

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
        self.local.freshness.watched = self._is_shared
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
        await self._know()  # first: what the store has lost is written anew right behind it
        waiting = self.local.unwritten
        for begin in range(0, len(waiting), WRITTEN_AT_ONCE):
            await self._write(waiting[begin : begin + WRITTEN_AT_ONCE])
        if waiting:
            await self._know()
        self._follow_file()
        seen = self.local.file.seen()
        if seen is not None and (self._file is None or self._file.seen != seen):
            reason = self.local.file.reason()
            new = NewHalt("all", "", FILE, reason, Actor.watching(FILE), self._clock.now())
            await self._write([new])
            self._file = _FileRow(seen, new.says)

    async def _write(self, waiting: Sequence[NewHalt]) -> list[HaltRecord | None]:
        """Write halts down, and let this process know them as rows from now on."""
        written = await self._store.write(
            lambda connection: [halt_rows.add(connection, new) for new in waiting]
        )
        for new, (record, is_new) in zip(waiting, written, strict=True):
            self.local.wrote(new, record)
            own = self.local.own_file
            if own is not None and own[1] is new and record is not None:
                self._file = _FileRow(own[0], new.says)
            if record is None:  # a person has released it meanwhile
                self._let_go([new])
            elif is_new:
                _tell_of(record)
        self._count()
        return [record for record, _ in written]

    async def _know(self) -> None:
        """Take the store's word; what it has lost is in force still, and waits for it again."""
        asked_at, local = self._clock.monotonic(), self.local
        told, self._told = self._told, None  # none, where this fails
        sign = told[0] if told is not None and told[1] is local.written else None
        known = local.written
        word = await self._store.read(lambda connection: halt_rows.word(connection, known, sign))
        if word is None:
            self._told = told
        else:
            if word.missing:
                _tell_of_lost(word.missing)
            local.know(word.in_force, word.missing)
            self._told = word.sign, local.written
            self._let_go(word.released)
            self._count()
        local.freshness.took(asked_at)

    def _let_go(self, released: Iterable[HaltRecord | NewHalt]) -> None:
        """Remember that the halt of the file was released; the file goes with it."""
        if self._file is not None and self._file.says in {one.says for one in released}:
            self._file.released = True

    def _follow_file(self) -> None:
        """Take the file away where its halt was released, by whomever.

        That there is no row of it says nothing: a database that was restored has none either.
        """
        if self._file is None:
            return
        if self.local.file.seen() != self._file.seen:
            self._file = None  # gone, or another one
        elif self._file.released and self.local.file.remove(self._file.seen):
            self._file = None

    def _count(self) -> None:
        held = Counter(one.scope for one in self.local.records())
        for scope in ("all", "agent", "pair"):
            metrics.halts_in_force.labels(scope).set(held[scope])


def _tell_of(record: HaltRecord) -> None:
    metrics.halts_total.labels(record.code).inc()
    by_watch = record.code not in {OPERATOR, FILE}
    _log.log(
        logging.ERROR if by_watch else logging.WARNING, "Trading halted",
        scope=record.scope, halted=record.name, code=record.code, by=record.by,
        reason=record.reason,
    )  # fmt: skip


def _tell_of_lost(missing: Sequence[HaltRecord]) -> None:
    _log.error(
        "The store has lost halts that nobody released; they stay in force and are written anew",
        count=len(missing), first=f"{missing[0].scope} {missing[0].name}".strip(),
        reason=missing[0].reason,
    )  # fmt: skip


def _too_late() -> StoreUnavailable:
    return StoreUnavailable(
        "The store took too long: nothing was released.",
        code="release_too_late",
        hint="Release it again when the store answers; `mcp-gateway halt list` tells.",
    )


def _not_known() -> StoreUnavailable:
    return StoreUnavailable(
        "The store failed amid the release: whether anything was released is not known.",
        code="release_unknown",
        hint="Look at `mcp-gateway halt list` when the store answers, and release it again.",
    )
