"""The ledger refuses on SQLite and on a real PostgreSQL alike what must never happen twice."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import anyio
import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from mcp_gateway.audit.events import AuditEvent
from mcp_gateway.audit.log import AuditLog
from mcp_gateway.domain.orders import OrderRecord, Side, State
from mcp_gateway.errors import StoreUnavailable
from mcp_gateway.orders.ledger import Ledger, PlaceTaken, Superseded
from mcp_gateway.storage.sql import Store
from tests.support.clock import START, ManualClock

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

BOT = "http://127.0.0.1:8080"
CROWD = 64


@pytest.fixture
def clock() -> ManualClock:
    """Time stands still."""
    return ManualClock()


@pytest.fixture
def ledger(store: Store, clock: ManualClock) -> Ledger:
    """A ledger on each engine in turn."""
    return Ledger(store, clock)


def order(side: Side = "buy", **changes: Any) -> OrderRecord:
    """A new order of alice's."""
    number = uuid4()
    made = OrderRecord(
        order_id=number.hex,
        issuer="mcp-gateway",
        subject="alice",
        request_id=number,
        agent="alice",
        fingerprint="f" * 64,
        tag=f"gw:{number.hex}",
        bot=BOT,
        pair="BTC/USDT",
        side=side,
        amount=Decimal("0.001"),
        order_type="limit",
        price=Decimal("50000.10"),
        mode="dry-run",
        state=State.RECEIVED,
        created_at=START,
        updated_at=START,
    )
    return replace(made, **changes)


def event(word: str) -> AuditEvent:
    """An audit event of alice's."""
    return AuditEvent(event=word, at=START, subject="alice", operation="create_order")


async def received(ledger: Ledger, *path: State, **changes: Any) -> OrderRecord:
    """Write an order down and walk it through states."""
    record = order(**changes)
    await ledger.receive(record, event("order.received"))
    for state in path:
        record = await moved(ledger, record, state)
    return record


async def moved(ledger: Ledger, record: OrderRecord, to: State, **changes: Any) -> OrderRecord:
    """Move an order on from where it is."""
    return await ledger.move(
        record.order_id,
        expected=record.state,
        to=to,
        event=event(f"order.{to}"),
        changes=changes,
    )


async def at_once(*calls: Callable[[], Awaitable[object]]) -> list[object]:
    """Run calls that all start before any ends; return values and exceptions."""
    ready = 0
    start = anyio.Event()
    results: list[object] = []

    async def run(call: Callable[[], Awaitable[object]]) -> None:
        nonlocal ready
        ready += 1
        if ready == len(calls):
            start.set()
        await start.wait()
        try:
            results.append(await call())
        except (Superseded, PlaceTaken) as refusal:
            results.append(refusal)

    async with anyio.create_task_group() as group:
        for call in calls:
            group.start_soon(run, call)
    assert len(results) == len(calls)
    return results


async def test_a_received_order_comes_back_as_it_was(ledger: Ledger) -> None:
    """Every field survives both engines: decimals digit by digit, times to the microsecond."""
    full = order(
        amount=Decimal("123456789012345.123456789012345678"),
        price=None,
        created_at=START + timedelta(microseconds=1),
        sent_at=START,
        quote_sent=Decimal("1E+3"),
        trade_id=2**40,
        bot_order_id="dry_run_buy_1",
        actual_amount=Decimal("0.000000000000000001"),
        filled_amount=Decimal("0.0005"),
        average_price=Decimal("50000.1"),
        fee=Decimal("-0.1"),
        code="some_code",
        message="ünïcode ✓",
        answer={"z": 1.5, "a": [None, True, {"price": "0.10"}]},
    )
    stored, new = await ledger.receive(full, event("order.received"))
    assert new
    assert stored == full
    found = await ledger.find(full.issuer, full.subject, full.request_id)
    assert found == full
    assert found.answer is not None
    assert list(found.answer) == ["z", "a"]
    assert (found.created_at.tzinfo, str(found.amount)) == (START.tzinfo, str(full.amount))


async def test_an_unknown_request_id_is_not_found(ledger: Ledger) -> None:
    """The key is issuer, subject and request id: each of them counts."""
    known = await received(ledger)
    assert await ledger.find(known.issuer, known.subject, uuid4()) is None
    assert await ledger.find(known.issuer, "bob", known.request_id) is None
    assert await ledger.find("another", known.subject, known.request_id) is None


async def test_a_repeated_request_id_gets_the_first_row_and_writes_nothing(
    ledger: Ledger, store: Store
) -> None:
    """At most one order for a key, whatever the second one says."""
    first = await received(ledger, State.RESERVED)
    again = order(request_id=first.request_id, amount=Decimal(7))
    assert await ledger.receive(again, event("order.received")) == (first, False)
    assert await ledger.history(again.order_id) == ()
    assert len(await AuditLog(store).tail(100)) == 2


async def test_the_same_request_id_of_another_caller_is_another_order(ledger: Ledger) -> None:
    """A caller can neither see nor block another's order."""
    first = await received(ledger)
    _, new = await ledger.receive(
        order(request_id=first.request_id, subject="bob"), event("order.received")
    )
    assert new


async def test_one_of_64_twins_is_new(ledger: Ledger, store: Store) -> None:
    """One request id from 64 tasks at once makes one order, one step, one audit row."""
    key = uuid4()
    twins = [order(request_id=key) for _ in range(CROWD)]
    results: list[Any] = await at_once(
        *[lambda twin=twin: ledger.receive(twin, event("order.received")) for twin in twins]
    )
    assert sum(new for _, new in results) == 1
    assert len({record.order_id for record, _ in results}) == 1
    assert len(await ledger.recent(limit=100)) == 1
    assert len(await AuditLog(store).tail(100)) == 1


async def test_a_tag_is_used_once(ledger: Ledger) -> None:
    """Two orders of one tag could not be told apart at the bot: a bug, and it is loud."""
    first = await received(ledger)
    with pytest.raises(IntegrityError):
        await ledger.receive(order(tag=first.tag), event("order.received"))


async def test_a_move_changes_state_history_and_audit_together(
    ledger: Ledger, store: Store, clock: ManualClock
) -> None:
    """Each state change has its audit row (invariant 8)."""
    record = await received(ledger, State.RESERVED)
    clock.advance(1.5)
    sent = await ledger.move(
        record.order_id,
        expected=State.RESERVED,
        to=State.SENT,
        event=event("order.sent"),
        changes={"quote_sent": Decimal("50.5")},
        code="why",
        detail={"attempt": 1},
    )
    now = clock.now()
    expected = replace(
        record, state=State.SENT, updated_at=now, sent_at=now, code="why",
        quote_sent=Decimal("50.5"),
    )  # fmt: skip
    assert sent == expected
    assert await ledger.find(record.issuer, record.subject, record.request_id) == expected
    steps = await ledger.history(record.order_id)
    assert [step.state for step in steps] == [State.RECEIVED, State.RESERVED, State.SENT]
    assert (steps[2].at, steps[2].code, steps[2].detail) == (now, "why", {"attempt": 1})
    rows = await AuditLog(store).tail(100, order_id=record.order_id)
    assert [row.event.event for row in rows] == ["order.received", "order.reserved", "order.sent"]


async def test_a_code_belongs_to_its_state(ledger: Ledger) -> None:
    """The reason of an earlier state does not stay on the order; the history keeps it."""
    record = await received(ledger, State.RESERVED, State.SENT)
    unknown = await ledger.move(
        record.order_id, expected=State.SENT, to=State.UNKNOWN,
        event=event("order.unknown"), code="no_answer",
    )  # fmt: skip
    placed = await moved(ledger, unknown, State.PLACED)
    assert (unknown.code, placed.code) == ("no_answer", None)
    assert [step.code for step in await ledger.history(record.order_id)][-2:] == ["no_answer", None]


async def test_an_order_that_was_moved_on_is_not_moved_again(ledger: Ledger, store: Store) -> None:
    """Compare and set: who comes too late changes nothing and learns the present state."""
    record = await received(ledger, State.RESERVED)
    with pytest.raises(Superseded) as late:
        await ledger.move(
            record.order_id, expected=State.RECEIVED, to=State.DENIED, event=event("order.denied")
        )
    assert late.value.present is State.RESERVED
    assert len(await ledger.history(record.order_id)) == 2
    assert len(await AuditLog(store).tail(100)) == 2


async def test_an_order_that_does_not_exist_is_superseded_by_nothing(ledger: Ledger) -> None:
    """There is no state to tell."""
    with pytest.raises(Superseded) as missing:
        await ledger.move(
            "nobody", expected=State.SENT, to=State.PLACED, event=event("order.placed")
        )
    assert missing.value.present is None


async def test_one_of_64_moves_wins(ledger: Ledger) -> None:
    """However many processes settle one order, one does."""
    record = await received(ledger, State.RESERVED)
    results = await at_once(*[lambda: moved(ledger, record, State.DENIED)] * CROWD)
    assert sum(isinstance(result, OrderRecord) for result in results) == 1
    assert sum(isinstance(result, Superseded) for result in results) == CROWD - 1
    assert len(await ledger.history(record.order_id)) == 3


@pytest.mark.parametrize("name", ["order_id", "request_id", "state", "amount", "tag", "nonsense"])
async def test_what_makes_the_order_never_changes(ledger: Ledger, name: str) -> None:
    """Key, owner and terms are fixed when the order is written down."""
    record = await received(ledger)
    with pytest.raises(ValueError, match=name):
        await moved(ledger, record, State.DENIED, **{name: "x"})


async def test_one_of_64_entries_is_in_flight(ledger: Ledger) -> None:
    """The bot's own check races: the ledger lets one entry of a bot out at a time."""
    waiting = [await received(ledger, State.RESERVED) for _ in range(CROWD)]
    results = await at_once(*[lambda one=one: moved(ledger, one, State.SENT) for one in waiting])
    assert sum(isinstance(result, OrderRecord) for result in results) == 1
    assert sum(isinstance(result, PlaceTaken) for result in results) == CROWD - 1
    states = [record.state for record in await ledger.unresolved(BOT)]
    assert (states.count(State.SENT), states.count(State.RESERVED)) == (1, CROWD - 1)


async def test_an_unknown_entry_keeps_its_place(ledger: Ledger) -> None:
    """Nothing new is sent while the fate of the last entry is not known."""
    first = await received(ledger, State.RESERVED, State.SENT, State.UNKNOWN)
    second = await received(ledger, State.RESERVED)
    with pytest.raises(PlaceTaken):
        await moved(ledger, second, State.SENT)
    assert len(await ledger.history(second.order_id)) == 2
    await moved(ledger, first, State.PLACED)
    assert (await moved(ledger, second, State.SENT)).state is State.SENT


async def test_another_bot_has_a_place_of_its_own(ledger: Ledger) -> None:
    """The place belongs to a bot, for it is the bot that races."""
    await received(ledger, State.RESERVED, State.SENT)
    other = await received(ledger, State.RESERVED, bot="http://127.0.0.1:8081")
    assert (await moved(ledger, other, State.SENT)).state is State.SENT


async def test_one_exit_of_a_trade_is_in_flight(ledger: Ledger) -> None:
    """Two partial exits at once would both sell; exits of other trades go on."""
    sells = [await received(ledger, State.RESERVED, side="sell") for _ in range(3)]
    await moved(ledger, sells[0], State.SENT, trade_id=1)
    with pytest.raises(PlaceTaken):
        await moved(ledger, sells[1], State.SENT, trade_id=1)
    assert (await moved(ledger, sells[2], State.SENT, trade_id=2)).trade_id == 2


async def test_an_entry_in_flight_never_holds_an_exit(ledger: Ledger) -> None:
    """Exits are never trapped."""
    await received(ledger, State.RESERVED, State.SENT)
    exits = await received(ledger, State.RESERVED, side="sell")
    assert (await moved(ledger, exits, State.SENT, trade_id=1)).state is State.SENT


async def test_an_exit_without_its_trade_is_not_sent(ledger: Ledger) -> None:
    """It would hold no place, for NULL equals nothing: a bug, and it is loud."""
    exits = await received(ledger, State.RESERVED, side="sell")
    with pytest.raises(IntegrityError):
        await moved(ledger, exits, State.SENT)


async def test_what_recovery_looks_after(ledger: Ledger, clock: ManualClock) -> None:
    """Every order of this bot that no answer has settled, oldest first, and no other."""
    late, later = (START + timedelta(seconds=after) for after in (1, 2))
    new = await received(ledger, created_at=later)
    reserved = await received(ledger, State.RESERVED, created_at=late)
    sent = await received(ledger, State.RESERVED, State.SENT)
    await received(ledger, State.DENIED)
    await received(ledger, State.RESERVED, bot="another")
    assert [one.order_id for one in await ledger.unresolved(BOT)] == [
        sent.order_id, reserved.order_id, new.order_id,
    ]  # fmt: skip


async def test_what_an_agent_opened(ledger: Ledger) -> None:
    """A sell closes only what this agent's own entries may still hold, in this pair."""

    async def settled(*path: State, **changes: Any) -> str:
        record = await received(ledger, State.RESERVED, State.SENT, *path, **changes)
        return record.order_id

    mine = {
        await settled(State.PLACED),
        await settled(State.PLACED, State.FILLED),
        await settled(State.PLACED, State.PARTIALLY_FILLED),
        await settled(State.PLACED, State.CANCELLED),  # perhaps after a part of it was filled
    }
    await settled(State.REJECTED)
    for other in ({"agent": "bob"}, {"issuer": "other"}, {"bot": "other"}, {"pair": "ETH/USDT"}):
        await settled(State.PLACED, **other)
    exits = await received(ledger, State.RESERVED, side="sell")
    await moved(ledger, await moved(ledger, exits, State.SENT, trade_id=1), State.PLACED)
    found = await ledger.opened_by("alice", "mcp-gateway", BOT, "BTC/USDT")
    assert {record.order_id for record in found} == mine


async def test_recent_orders_come_newest_first(ledger: Ledger) -> None:
    """Operators see the last ones first, by agent and by state."""
    for second in range(3):
        await received(ledger, created_at=START + timedelta(seconds=second), agent=f"a{second}")
    await received(ledger, State.DENIED, created_at=START - timedelta(seconds=1))
    assert [one.agent for one in await ledger.recent(limit=2)] == ["a2", "a1"]
    assert [one.agent for one in await ledger.recent(limit=9, agent="a0")] == ["a0"]
    assert [one.agent for one in await ledger.recent(limit=9, state=State.DENIED)] == ["alice"]


async def test_a_state_change_without_its_audit_row_does_not_happen(
    ledger: Ledger, store: Store
) -> None:
    """No audit row, no order: whatever fails in the transaction undoes all of it."""
    record = await received(ledger, State.RESERVED)
    async with store.write() as connection:
        await connection.execute(text("ALTER TABLE audit_log RENAME TO elsewhere"))
    with pytest.raises(StoreUnavailable):
        await moved(ledger, record, State.SENT)
    with pytest.raises(StoreUnavailable):
        await ledger.receive(order(), event("order.received"))
    assert await ledger.recent(limit=9) == (record,)
    assert len(await ledger.history(record.order_id)) == 2


@pytest.mark.parametrize("statement", [
    "UPDATE order_history SET code = 'forged'",
    "DELETE FROM order_history",
    "INSERT OR REPLACE INTO order_history VALUES (1, :order_id, 'sent', 1, NULL, '{}')",
    "TRUNCATE order_history",
    "DELETE FROM orders",
])  # fmt: skip
async def test_history_can_not_be_rewritten(ledger: Ledger, store: Store, statement: str) -> None:
    """The database itself refuses, whoever asks; each statement on the engine that knows it."""
    record = await received(ledger, State.RESERVED)
    before = await ledger.history(record.order_id)
    own = {"INSERT OR REPLACE": "sqlite", "TRUNCATE": "postgresql"}
    knows = all(store.name == name for word, name in own.items() if statement.startswith(word))
    with pytest.raises(IntegrityError if knows else StoreUnavailable):
        async with store.write() as connection:
            await connection.execute(text(statement), {"order_id": record.order_id})
    assert await ledger.history(record.order_id) == before


async def test_two_processes_agree_on_one_winner(postgres_url: str, tmp_path: Path) -> None:
    """On PostgreSQL two gateways share one ledger: one key, one order; one place, one entry."""
    stores = [Store(postgres_url, data_dir=tmp_path) for _ in range(2)]
    for store in stores:
        await store.open(migrates=True)
    ledgers = [Ledger(store, ManualClock()) for store in stores]
    key = UUID(int=1)
    results: list[Any] = await at_once(
        *[
            lambda one=one: one.receive(order(request_id=key), event("order.received"))
            for one in ledgers * (CROWD // 2)
        ]
    )
    assert sum(new for _, new in results) == 1
    entries = [await received(ledgers[0], State.RESERVED) for _ in range(2)]
    results = await at_once(
        *[
            lambda one=one, entry=entry: moved(one, entry, State.SENT)
            for one, entry in zip(ledgers, entries, strict=True)
        ]
    )
    assert sum(isinstance(result, PlaceTaken) for result in results) == 1
    for store in stores:
        await store.close()
