"""The simulation's ledger in memory promises what the database keeps, call by call."""

from collections.abc import Awaitable, Coroutine, Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any, Final, cast
from uuid import UUID

import pytest

from mcp_gateway.domain.orders import OrderRecord, State
from mcp_gateway.orders.book import protocol
from mcp_gateway.orders.book.ledger import Ledger, OrderClaimed, PlaceTaken, Received, Superseded
from mcp_gateway.orders.book.protocol import Event, IllegalMove
from mcp_gateway.orders.book.steps import Move, Origin, audit_event
from mcp_gateway.risk.facts import Standing
from mcp_gateway.storage.sql import Store
from tests.proofs.simulation.ledger import SimulatedLedger
from tests.support.clock import START, ManualClock

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

RUNS, CALLS = 4, 600
BOTS: Final = ("spot", "spot", "spot", "other")
ORIGIN: Final = Origin("http", "call")
ENDS_EARLY: Final = {Event.DENY, Event.HOLD, Event.INTERRUPT, Event.NOT_SENT}
REFUSALS: Final = (IllegalMove, OrderClaimed, PlaceTaken, Superseded)


def driven(call: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine of the simulation to its end: it waits for nobody."""
    try:
        while True:
            call.send(None)
    except StopIteration as ended:
        return ended.value


async def outcome(call: Awaitable[Any]) -> Any:
    """Return what a call came to: its value, or how it was refused."""
    try:
        return await call
    except REFUSALS as refusal:
        return type(refusal)


def simulated(call: Coroutine[Any, Any, Any]) -> Any:
    """Return what a call of the simulation came to."""
    try:
        return driven(call)
    except REFUSALS as refusal:
        return type(refusal)


class Twins:
    """The same calls to both ledgers, and the records as they were at any time."""

    def __init__(self, store: Store, seed: int) -> None:
        self.random = Random(seed)
        self.clock = ManualClock()
        self.real = Ledger(store, self.clock)
        self.simulated = SimulatedLedger(self.clock)
        self.known: list[OrderRecord] = []
        self.marks: list[tuple[int, int]] = [(0, 0)]
        self.refused: set[str] = set()

    def both(self, name: str, *args: Any) -> tuple[Awaitable[Any], Coroutine[Any, Any, Any]]:
        """Return one call of each ledger's."""
        return getattr(self.real, name)(*args), getattr(self.simulated, name)(*args)

    async def same(self, name: str, *args: Any) -> Any:
        """Make a call on both, and return what both came to."""
        real, simulation = self.both(name, *args)
        told, expected = await outcome(real), simulated(simulation)
        assert told == expected, name
        if isinstance(told, type):
            self.refused.add(told.__name__)
        return told

    def new(self) -> OrderRecord:
        """Draw an order; its key may be one that was used before."""
        random, number = self.random, len(self.known) + 1
        request_id = UUID(int=random.randint(1, 120))
        return OrderRecord(
            order_id=f"{number:032x}", issuer="tests", subject=random.choice("ab"),
            request_id=request_id, agent=random.choice("ab"), fingerprint="f" * 64,
            tag=f"gw:{number}", carrier="gateway-1", bot=random.choice(BOTS),
            pair=random.choice(("BTC/USDT", "BTC/USDT", "ETH/USDT")), side=random.choice(("buy", "sell")),
            amount=Decimal("0.5"), order_type="market", price=None, mode="dry-run",
            state=State.RECEIVED, created_at=self.clock.now(), updated_at=self.clock.now(),
        )  # fmt: skip

    def moves(self, record: OrderRecord) -> Sequence[Move]:
        """Draw what happens to an order: mostly what its state allows."""
        legal = [event for event in Event if protocol.says_something(record.state, event)]
        likely = [event for event in legal if event not in ENDS_EARLY]
        events = likely if likely and self.random.random() < 0.9 else list(Event)
        event = self.random.choice(events)
        changes: dict[str, Any] = {}
        if event is Event.RESERVE and record.side == "buy":
            changes["reserved_quote"] = Decimal(self.random.randint(1, 99))
        if event is Event.SEND and record.side == "sell":
            changes["trade_id"] = self.random.randint(1, 6)
        if event in {Event.CONFIRM, Event.SETTLE_PLACED}:
            changes["bot_order_id"] = f"sold {self.random.randint(1, 2)}"
        return [Move(event, "why", {"number": self.random.randint(0, 9)}, changes)]

    async def receive(self) -> None:
        record = self.new()
        real, simulation = self.both("receive", record, audit_event(record, ORIGIN))
        told, expected = cast(Received, await real), cast(Received, driven(simulation))
        assert told.record == expected.record
        assert (told.seen is None) == (expected.seen is None)
        self.known.append(told.record)
        if told.seen is not None and expected.seen is not None:
            self.marks.append((told.seen, expected.seen))

    async def move(self, record: OrderRecord) -> None:
        moved = await self.same("move", record, self.moves(record), ORIGIN)
        if isinstance(moved, OrderRecord):
            self.known.append(moved)

    async def weigh(self, record: OrderRecord) -> None:
        """What the decision sees is compared too."""
        seen, simulated_seen = self.random.choice(self.marks)
        stood: list[Standing] = []
        reserving = [
            Move(Event.RESERVE, changes={"reserved_quote": Decimal(7)}),
            Move(Event.SEND, changes={"quote_sent": Decimal(7)}),
        ]

        def decide(standing: Standing) -> Sequence[Move]:
            stood.append(standing)
            return reserving

        told = await outcome(self.real.weigh(record, seen, decide, ORIGIN))
        expected = simulated(self.simulated.weigh(record, simulated_seen, decide, ORIGIN))
        assert told == expected
        assert in_any_order(stood[0]) == in_any_order(stood[-1])
        if isinstance(told, OrderRecord):
            self.known.append(told)

    async def read(self, record: OrderRecord) -> None:
        await self.same("find", record.issuer, record.subject, record.request_id)
        await self.same("by_id", record.order_id)
        await self.same("by_tags", {record.tag, "gw:nobody's"})
        await self.same("history", record.order_id)
        for states in (protocol.IN_FLIGHT, protocol.RESTING, protocol.CARRIED):
            await self.same("in_states", record.bot, states)

    async def call(self) -> None:
        """Draw one call, of an order as it stands or as it stood once."""
        # Two steps of one moment would be told apart by their states alone.
        self.clock.advance(timedelta(seconds=1).total_seconds())
        kind = self.random.random()
        if kind < 0.25 or not self.known:
            return await self.receive()
        record = self.random.choice(self.known)
        if self.random.random() < 0.8:
            record = self.simulated.orders[record.order_id]
        if kind < 0.75:
            return await self.move(record)
        if kind < 0.9 and record.side == "buy" and record.state is State.RECEIVED:
            return await self.weigh(record)
        return await self.read(record)


def in_any_order(standing: Standing) -> Standing:
    """Return it with its parts sorted: no promise is made of their order."""
    parts: dict[str, Any] = {
        name: tuple(sorted(value, key=repr))
        for name in standing.__slots__
        if isinstance(value := getattr(standing, name), tuple)
    }
    return replace(standing, **parts)


@pytest.mark.parametrize("seed", range(RUNS))
async def test_the_simulated_ledger_answers_as_the_real_one(store: Store, seed: int) -> None:
    """The same records, the same refusals, the same history, on SQLite and on PostgreSQL."""
    twins = Twins(store, seed)
    for _ in range(CALLS):
        await twins.call()
    assert len(twins.simulated.steps) > CALLS // 3
    assert twins.refused == {refusal.__name__ for refusal in REFUSALS}
    for record in twins.simulated.orders.values():
        await twins.read(record)


def test_time_begins_where_the_tests_clock_begins() -> None:
    """Times are compared to the microsecond; they have to come from one clock."""
    assert ManualClock().now() == START
