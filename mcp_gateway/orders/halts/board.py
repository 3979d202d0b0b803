"""The kill switch as people reach it, whether the store is open or not.

Importing it costs no SQL library: whoever halts must not wait for the store to open.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import anyio

from mcp_gateway.clock import Clock
from mcp_gateway.errors import GatewayError, StoreUnavailable
from mcp_gateway.orders.book.actor import Actor
from mcp_gateway.orders.halts.local import LocalHalts
from mcp_gateway.orders.halts.records import (
    OPERATOR,
    HaltRecord,
    HaltRequest,
    NewHalt,
    Wanted,
    as_json,
    file_stays,
    no_such_halt,
)

if TYPE_CHECKING:
    from mcp_gateway.orders.halts.switch import Halts

SHOWN: Final = 20
LONGEST_WAIT_S: Final = 1.5  # for the store to open; halted is halted before that


@dataclass(frozen=True, slots=True)
class Board:
    """Sets, tells and releases halts; its answers are JSON-ready.

    Args:
        local: what stops entries in this process.
        opened: waits for the store, or refuses.
    """

    local: LocalHalts
    opened: Callable[[], Awaitable["Halts"]]
    clock: Clock

    async def set(self, asked: HaltRequest, who: Actor) -> dict[str, Any]:
        """Put what is asked for in force: at once in this process, then for good.

        Not ``stored`` where the store does not have it yet.

        Raises:
            RequestInvalid: too_many_halts.
        """
        new = NewHalt(asked.scope, asked.name, OPERATOR, asked.reason, who, self.clock.now())
        record = await self._set(new)
        return as_json(record) | {"stored": record.id is not None}

    async def list(self) -> dict[str, Any]:
        """Return the halts in force, and the newest that were released.

        With the store down it is those that this process knows.
        """
        try:
            halts = await self.opened()
            recent = await halts.recent(SHOWN)
            in_force = await halts.in_force()
        except GatewayError as error:
            known = self.local.records()
            told = {"released": [], "stored": False, "code": error.code}
            return {"in_force": [as_json(one) for one in known], **told}
        released = [one for one in recent if one.released_at is not None]
        return {
            "in_force": [as_json(one) for one in in_force],
            "released": [as_json(one) for one in released],
            "stored": True,
            "code": None,
        }

    async def release(self, wanted: Wanted, who: Actor, reason: str) -> tuple[dict[str, Any], ...]:
        """Release the halts that are wanted; raises as ``Halts.release`` does."""
        released = await (await self.opened()).release(wanted, who, reason)
        return tuple(as_json(one) for one in released)

    async def _set(self, new: NewHalt) -> HaltRecord:
        self.local.add(new)
        try:
            with anyio.fail_after(LONGEST_WAIT_S):
                halts = await self.opened()
        except (GatewayError, TimeoutError):
            return self.local.keep(new)
        return await halts.set(new) or HaltRecord.unwritten(new)


@dataclass(frozen=True, slots=True)
class FileBoard:
    """The same over the file HALT of a folder in which there is no store, and none is made.

    Args:
        without: why nothing else can be had here.
    """

    local: LocalHalts
    clock: Clock
    without: StoreUnavailable

    async def set(self, _asked: HaltRequest, _who: Actor) -> dict[str, Any]:
        """Refuse: what is not of everything has no place here, and that is written as the file."""
        raise self.without

    async def list(self) -> dict[str, Any]:
        """Return the halt of the file."""
        held = [as_json(one) for one in self.local.records()]
        return {"in_force": held, "released": [], "stored": False, "code": self.without.code}

    async def release(self, wanted: Wanted, who: Actor, reason: str) -> tuple[dict[str, Any], ...]:
        """Take the file away; there is nobody to write that down.

        Raises:
            NotFound: halt_unknown; it is not what is wanted.
            StoreUnavailable: halt_file_stays.
        """
        seen = self.local.file.seen()
        held = [one for one in self.local.records() if wanted(one)]
        if not held or seen is None:
            raise no_such_halt()
        if not self.local.file.remove(seen):
            raise file_stays()
        at = self.clock.now()
        made = (
            replace(one, released_at=at, released_by=who.name, release_reason=reason)
            for one in held
        )
        return tuple(as_json(one) for one in made)
