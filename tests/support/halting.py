"""What tests of the kill switch do over and over: a halt set, a halt released, a store that is gone."""

from pathlib import Path

from mcp_gateway.orders.book.actor import Actor
from mcp_gateway.orders.halts.local import LocalHalts
from mcp_gateway.orders.halts.records import OPERATOR, HaltRecord, HaltRequest, NewHalt
from mcp_gateway.orders.halts.switch import Halts
from mcp_gateway.risk.facts import Standing
from tests.support.clock import START
from tests.support.desk import Desk

OPERATING = Actor.operating("alice", "halt")
REASON = "the agent buys tops"


def new_halt(
    agent: str | None = None,
    pair: str | None = None,
    reason: str = REASON,
    who: Actor = OPERATING,
) -> NewHalt:
    """Return a halt as a person asks for it."""
    asked = HaltRequest(agent=agent, pair=pair, reason=reason)
    return NewHalt(asked.scope, asked.name, OPERATOR, asked.reason, who, START)


async def halted(
    desk: Desk | Halts, agent: str | None = None, pair: str | None = None
) -> HaltRecord:
    """Put a halt in force."""
    halts = desk if isinstance(desk, Halts) else desk.halts
    record = await halts.set(new_halt(agent, pair))
    assert record is not None
    return record


async def resumed(desk: Desk | Halts, halt_id: int | None = None) -> tuple[HaltRecord, ...]:
    """Release one halt, or all of them."""
    halts = desk if isinstance(desk, Halts) else desk.halts
    return await halts.release(
        lambda one: halt_id in {None, one.id}, Actor.operating("bob", "resume"), "it is over"
    )


async def codes(desk: Desk) -> list[str]:
    """Return the codes of the halts in force, sorted."""
    return sorted(one.code for one in await desk.halts.in_force())


class LateHalt(LocalHalts):
    """Halts as another thread would: right behind the look that the rules take, before the send."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.looks = 0

    def with_own(self, standing: Standing) -> Standing:
        told = super().with_own(standing)
        self.looks += 1
        self.add(new_halt())
        return told
