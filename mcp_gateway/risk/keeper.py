"""The policy in force: read at the start, and again whenever its file changes.

What a new file tightens holds at once. What it loosens waits until a person says so by the
new policy's hash; until then holds what both let through. A file with faults changes nothing.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import anyio
import anyio.to_thread

from mcp_gateway.audit.events import AuditEvent
from mcp_gateway.audit.trail import Trail
from mcp_gateway.clock import Clock
from mcp_gateway.errors import ConfigurationError, RequestInvalid
from mcp_gateway.risk.changes import Changes, compare, stricter
from mcp_gateway.risk.document import load_policy
from mcp_gateway.risk.policy import Policy
from mcp_gateway.telemetry import logs

LOOK_EVERY_S: Final = 2.0
# A file that is being written changes again within; half of one may read like a whole one.
SETTLED_S: Final = 0.2
MOST_WAITS: Final = 10
MOST_LINES: Final = 50  # of changes, in one row of the audit log
NO_CHANGES: Final = Changes()
Mark = tuple[int, int, int]
_log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Pending:
    """A policy that waits for a person, and how it differs from the one in force."""

    policy: Policy
    changes: Changes


@dataclass(frozen=True, slots=True)
class _News:
    """What a file changes: what holds at once, and what waits for a person."""

    holds: Policy | None = None
    changes: Changes = NO_CHANGES
    waits: Pending | None = None


def _read(path: Path | None, current: Policy) -> _News:
    """Read a file and hold it against the policy in force: seconds of work for a large one.

    Done in a thread, for entries and halts must not wait for it. Every hash that is asked for
    later is worked out here.

    Raises:
        ConfigurationError: every fault of the file.
    """
    told = load_policy(path)
    if told.hash == current.hash:
        return _News()
    changes = compare(current, told)
    if not changes.loosened:
        return _News(told, changes)
    held = stricter(current, told)
    if not changes.tightened or held.hash == current.hash:
        return _News(waits=Pending(told, changes))
    return _News(held, Changes((), changes.tightened), Pending(told, compare(held, told)))


class PolicyKeeper:
    """Holds the policy that decisions are made by.

    Args:
        path: the file that it was read from; None: it never changes.
    """

    def __init__(
        self,
        policy: Policy,
        path: Path | None = None,
        *,
        clock: Clock | None = None,
        trail: Trail | None = None,
    ) -> None:
        self.path: Final = path
        self.pending: Pending | None = None
        self.faults: tuple[str, ...] = ()
        self._current = policy
        self._clock = clock or Clock()
        self._trail = Trail() if trail is None else trail  # an empty one is false
        self._seen: Mark | None = None
        self._looking = anyio.Lock()

    @classmethod
    def of_file(cls, path: Path | None, clock: Clock, trail: Trail) -> "PolicyKeeper":
        """Read the policy that an operator starts with; no earlier one is known.

        Raises:
            ConfigurationError: every fault of the file.
        """
        seen = _mark(path)  # before it is read: what is written meanwhile is news
        keeper = cls(load_policy(path), path, clock=clock, trail=trail)
        keeper._seen = seen
        return keeper

    @property
    def current(self) -> Policy:
        """The policy in force."""
        return self._current

    async def watch(self) -> None:
        """Look at the file again and again, until cancelled."""
        while self.path is not None:
            await self._clock.sleep(LOOK_EVERY_S)
            try:
                await self.look()
            except Exception:  # noqa: BLE001  (a bug in here must not end the watch, nor the gateway)
                _log.exception("The policy file could not be looked at")

    async def look(self, *, again: bool = False) -> None:
        """Read the file if it has changed since, and put into force what may be.

        Args:
            again: read it even if it looks the same.
        """
        async with self._looking:
            mark = await self._settled(again)
            if mark == self._seen and not again:
                return
            try:
                news = await anyio.to_thread.run_sync(_read, self.path, self._current)
            except ConfigurationError as error:
                self._refuse(tuple(error.faults))
            else:
                self._take(news)
            self._seen = mark

    async def accept(self, wanted: str, operator: str) -> Changes:
        """Put the waiting policy into force, as a person says; return what that changed.

        Args:
            wanted: the hash of that policy, so that nobody agrees to what was not seen.
            operator: the account that agreed, by the system's word.

        Raises:
            RequestInvalid: the file has faults (``policy_faulty``), nothing waits
                (``nothing_pending``), or what waits is another policy (``policy_differs``).
        """
        await self.look(again=True)
        if self.faults:
            raise RequestInvalid(
                "The policy file has faults.",
                code="policy_faulty",
                hint="Mend it; `mcp-gateway policy check` names them.",
            )
        if self.pending is None:
            raise RequestInvalid(
                "No change of the policy waits.",
                code="nothing_pending",
                hint="`mcp-gateway policy show` tells what is in force.",
            )
        found = self.pending
        if found.policy.hash != wanted:
            raise RequestInvalid(
                f"What waits is the policy {found.policy.hash}.",
                code="policy_differs",
                hint="`mcp-gateway policy show` tells what it loosens.",
            )
        self.pending = None
        self._put_in_force(found.policy, found.changes, operator)
        return found.changes

    async def _settled(self, again: bool) -> Mark | None:
        """Return the file's mark once it has stopped changing."""
        mark = await anyio.to_thread.run_sync(_mark, self.path)
        if mark == self._seen and not again:
            return mark
        for _ in range(MOST_WAITS):
            await self._clock.sleep(SETTLED_S)
            before, mark = mark, await anyio.to_thread.run_sync(_mark, self.path)
            if mark == before:
                break
        return mark

    def _refuse(self, faults: tuple[str, ...]) -> None:
        if faults == self.faults:
            return
        self.faults = faults
        _log.error("The policy file has faults; what was in force stays", faults=faults)
        self._note("policy.refused", self._current.hash, None, faults=list(faults))

    def _take(self, news: _News) -> None:
        if self.faults:
            _log.info("The policy file has no more faults")
        self.faults = ()
        waited, self.pending = self.pending, news.waits
        if news.holds is not None:
            self._put_in_force(news.holds, news.changes)
        pending = self.pending
        if pending is not None and (waited is None or waited.policy.hash != pending.policy.hash):
            self._tell_of(pending)

    def _tell_of(self, pending: Pending) -> None:
        told = pending.policy.hash
        _log.warning(
            "The policy file loosens; that waits for a person",
            accept=f"mcp-gateway policy accept {told}",
            loosened=pending.changes.loosened[:MOST_LINES],
        )
        loosened = list(pending.changes.loosened[:MOST_LINES])
        self._note("policy.pending", self._current.hash, told, loosened=loosened)

    def _put_in_force(self, policy: Policy, changes: Changes, operator: str | None = None) -> None:
        before, self._current = self._current.hash, policy
        told: dict[str, Any] = {
            "loosened": list(changes.loosened[:MOST_LINES]),
            "tightened": list(changes.tightened[:MOST_LINES]),
        }
        if operator is not None:
            told["operator"] = operator
        _log.warning("Another policy is in force", old=before, new=policy.hash, **told)
        self._note("policy.changed", before, policy.hash, **told)

    def _note(self, event: str, old: str, new: str | None, **told: Any) -> None:
        detail = {"old": old, "new": new, **told}
        now = self._clock.now()
        self._trail.note(AuditEvent(event=event, at=now, channel="control", detail=detail))


def _mark(path: Path | None) -> Mark | None:
    """Return what changes with every writing of a file; None where there is none."""
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
