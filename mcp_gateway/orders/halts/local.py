"""The halts that this process knows without asking anybody: in memory, and the file.

An entry is held against them twice: with the rules, and once more right before its first
byte leaves, when the store's word is a moment old. What is here works with the store down.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Final

from mcp_gateway.clock import Clock
from mcp_gateway.errors import RequestInvalid
from mcp_gateway.orders.book.actor import Actor
from mcp_gateway.orders.halts.file import HaltFile, Identity
from mcp_gateway.orders.halts.freshness import Freshness
from mcp_gateway.orders.halts.records import FILE, OPERATOR, SIGNAL, HaltRecord, NewHalt
from mcp_gateway.risk.facts import Halt, Standing
from mcp_gateway.telemetry import logs

MOST_IN_FORCE: Final = 1000  # that people asked for
MOST_OF_A_CALLER: Final = 100  # of agents and pairs, so that no token takes up all of those
_log = logs.get(__name__)


class LocalHalts:
    """What stops entries in this process.

    May be asked from any thread: what it holds is replaced as a whole, never changed.

    Args:
        folder: the data folder, where the file is looked for.
    """

    def __init__(self, folder: Path | None = None, clock: Clock | None = None) -> None:
        self.file = HaltFile(folder)
        self._clock = clock or Clock()
        self.freshness = Freshness(self._clock)
        self._unwritten: tuple[NewHalt, ...] = ()
        self._written: tuple[HaltRecord, ...] = ()
        self._file_seen_at: datetime | None = None
        # The file that this process wrote, and the halt for which it did.
        self.own_file: tuple[Identity, NewHalt] | None = None

    def in_force(self) -> tuple[Halt, ...]:
        """Return every halt that is known here; one look at the file, no other waiting."""
        known = [one.halt for one in self._unwritten] + [one.halt for one in self._written]
        if self.file.seen() is None:
            self._file_seen_at = None
        elif not any(one.code == FILE and one.scope == "all" for one in known):
            self._file_seen_at = self._file_seen_at or self._clock.now()
            known.append(Halt("all", "", FILE, self._file_seen_at))
        return tuple(known)

    def binding(self, pair: str, *names: str) -> Halt | None:
        """Return a halt that stops this entry; None where it may go; names as ``Halt.binds``."""
        return next((one for one in self.in_force() if one.binds(pair, *names)), None)

    def with_own(self, standing: Standing) -> Standing:
        """Return what an entry is held against, these halts among it."""
        return replace(standing, halts=(*standing.halts, *self.in_force()))

    @property
    def is_global(self) -> bool:
        """Whether a halt stops everything."""
        return any(one.scope == "all" for one in self.in_force())

    @property
    def unwritten(self) -> tuple[NewHalt, ...]:
        """The halts that wait for the store."""
        return self._unwritten

    @property
    def written(self) -> tuple[HaltRecord, ...]:
        """The halts that the store has, by its last word."""
        return self._written

    def records(self) -> tuple[HaltRecord, ...]:
        """Return every halt that is known here, with what is known of it."""
        waiting = tuple(HaltRecord.unwritten(one) for one in self._unwritten)
        known = (*self._written, *waiting)
        seen = self.file.seen()
        is_own = self.own_file is not None and self.own_file[0] == seen
        if seen is None or is_own or any(one.code == FILE for one in known):
            return known
        at = self._file_seen_at or self._clock.now()
        here = HaltRecord(None, "all", "", FILE, at, FILE, self.file.reason())
        return (*known, here)

    def add(self, new: NewHalt) -> None:
        """Put a halt in force in this process, at once; it waits for the store from now on.

        Raises:
            RequestInvalid: too_many_halts; nothing was done.
        """
        if not self.waits(new):
            self._refuse_crowd(new)
            self._unwritten = (*self._unwritten, new)

    def _refuse_crowd(self, new: NewHalt) -> None:
        """Bound what is asked for: each halt in force is read before every entry.

        Those of everything are counted apart, and whoever owns the control socket is never
        refused one.
        """
        is_global = new.scope == "all"
        if new.code != OPERATOR or (is_global and new.who.principal is None):
            return
        known: tuple[HaltRecord | NewHalt, ...] = (*self._written, *self._unwritten)
        others = [
            one for one in known if one.code == OPERATOR and (one.scope == "all") == is_global
        ]
        own = sum(one.by == new.by for one in others)
        of_one = not is_global and new.who.principal is not None and own >= MOST_OF_A_CALLER
        crowded = of_one or len(others) >= MOST_IN_FORCE
        if crowded and not any(_same(one, new) for one in others):
            raise _crowd(MOST_OF_A_CALLER if of_one else MOST_IN_FORCE)

    def waits(self, new: NewHalt) -> bool:
        """Tell whether a halt, or one that says the same, waits for the store."""
        return any(_same(one, new) for one in self._unwritten)

    def wrote(self, new: NewHalt, record: HaltRecord | None) -> None:
        """Take note that a halt is written down, as ``record``; None: it was none."""
        if record is not None:
            others = tuple(one for one in self._written if one.row != record.row)
            self._written = (*others, record)
        self._unwritten = tuple(one for one in self._unwritten if not _same(one, new))

    def know(self, records: Iterable[HaltRecord], missing: Iterable[HaltRecord] = ()) -> None:
        """Take the store's word for what is in force.

        Args:
            missing: what was in force and is gone without a release: it waits to be written anew.
        """
        lost = [NewHalt.anew(one) for one in missing]
        self._unwritten = (*self._unwritten, *(one for one in lost if not self.waits(one)))
        self._written = tuple(records)

    def keep(self, new: NewHalt) -> HaltRecord:
        """Keep a halt that the store does not take down: in the file too, if it is of everything."""
        in_file = new.scope == "all" and self.keep_in_file(new)
        _log.error(
            "Trading halted by this process alone: the store is down", scope=new.scope,
            halted=new.name, code=new.code, reason=new.reason, in_file=in_file,
        )  # fmt: skip
        return HaltRecord.unwritten(new)

    def keep_in_file(self, new: NewHalt) -> bool:
        """Write a halt of everything into the file too, so that it outlives this process."""
        try:
            self.own_file = self.file.write(f"{new.who.name}: {new.reason}"), new
        except OSError:
            _log.exception("The file HALT can't be written; the halt is in memory alone")
            return False
        return True

    async def by_signal(self) -> None:
        """Halt everything, as a signal asks for; there is nothing to be waited for."""
        if any(one.code == SIGNAL for one in self._unwritten):
            return
        told = "SIGUSR1 was sent to the gateway."
        new = NewHalt("all", "", SIGNAL, told, Actor.watching(SIGNAL), self._clock.now())
        self.add(new)
        self.keep_in_file(new)


def _crowd(limit: int) -> RequestInvalid:
    return RequestInvalid(
        f"{limit} such halts are in force already; this one is not.",
        code="too_many_halts",
        hint="Halt everything instead: leave out agent and pair. Or release some of them first.",
    )


def _same(one: HaltRecord | NewHalt, other: NewHalt) -> bool:
    """Tell whether two halts are one: scope, name, code and reason."""
    return one.says == other.says
