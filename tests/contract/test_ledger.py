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
from mcp_gateway.orders.book.ledger import (
    LONGEST_WINDOW,
    Ledger,
    OrderClaimed,
    PlaceTaken,
    Received,
    Superseded,
)
from mcp_gateway.orders.book.protocol import Event, after, says_something
from mcp_gateway.orders.book.steps import Move, Origin
from mcp_gateway.risk.facts import Sent, Standing
from mcp_gateway.storage.sql import Store
from tests.support.clock import START, ManualClock

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

BOT = "http://127.0.0.1:8080"
CROWD = 64
ORIGIN = Origin("control", "test")


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
        carrier="gateway-1",
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
    """Move an order on from where it is, by the first event that leads there."""
    leads = (one for one in Event if says_something(record.state, one))
    led = next(one for one in leads if after(record.state, one) is to)
    return await ledger.move(record, [Move(led, changes=changes)], ORIGIN)


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
    stored = await ledger.receive(full, event("order.received"))
    assert stored.seen
    assert stored.record == full
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
    assert await ledger.receive(again, event("order.received")) == Received(first, None)
    assert await ledger.history(again.order_id) == ()
    assert len(await AuditLog(store).tail(100)) == 2


async def test_the_same_request_id_of_another_caller_is_another_order(ledger: Ledger) -> None:
    """A caller can neither see nor block another's order."""
    first = await received(ledger)
    others = order(request_id=first.request_id, subject="bob")
    assert (await ledger.receive(others, event("order.received"))).seen


async def test_one_of_64_twins_is_new(ledger: Ledger, store: Store) -> None:
    """One request id from 64 tasks at once makes one order, one step, one audit row."""
    key = uuid4()
    twins = [order(request_id=key) for _ in range(CROWD)]
    results: list[Any] = await at_once(
        *[lambda twin=twin: ledger.receive(twin, event("order.received")) for twin in twins]
    )
    assert sum(result.seen is not None for result in results) == 1
    assert len({result.record.order_id for result in results}) == 1
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
    """Each state change has its audit row (docs/orders.md, 7)."""
    record = await received(ledger, State.RESERVED)
    clock.advance(1.5)
    sending = Move(Event.SEND, "why", {"attempt": 1}, {"quote_sent": Decimal("50.5")})
    sent = await ledger.move(record, [sending], ORIGIN)
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
    unknown = await ledger.move(record, [Move(Event.LOSE, "no_answer")], ORIGIN)
    placed = await moved(ledger, unknown, State.PLACED)
    assert (unknown.code, placed.code) == ("no_answer", None)
    assert [step.code for step in await ledger.history(record.order_id)][-2:] == ["no_answer", None]


async def test_an_order_that_was_moved_on_is_not_moved_again(ledger: Ledger, store: Store) -> None:
    """Compare and set: who comes too late changes nothing."""
    stale = await received(ledger)
    record = await moved(ledger, stale, State.RESERVED)
    with pytest.raises(Superseded):
        await ledger.move(stale, [Move(Event.DENY)], ORIGIN)
    assert len(await ledger.history(record.order_id)) == 2
    assert len(await AuditLog(store).tail(100)) == 2


async def test_an_order_that_does_not_exist_is_not_moved(ledger: Ledger) -> None:
    """There is nothing to move."""
    with pytest.raises(Superseded):
        await ledger.move(order(), [Move(Event.DENY)], ORIGIN)


async def test_an_order_that_changed_within_its_state_is_not_moved_from_an_older_look(
    ledger: Ledger, clock: ManualClock
) -> None:
    """Two followers see a fill: the second has to look again before it writes."""
    placed = await received(ledger, State.RESERVED, State.SENT, State.PLACED)
    resting = await moved(ledger, placed, State.PARTIALLY_FILLED, filled_amount=Decimal("0.0002"))
    clock.advance(1)
    await moved(ledger, resting, State.PARTIALLY_FILLED, filled_amount=Decimal("0.0004"))
    with pytest.raises(Superseded):
        await moved(ledger, resting, State.PARTIALLY_FILLED, filled_amount=Decimal("0.0003"))


async def test_one_of_64_moves_wins(ledger: Ledger) -> None:
    """However many processes settle one order, one does."""
    record = await received(ledger, State.RESERVED)
    results = await at_once(*[lambda: moved(ledger, record, State.DENIED)] * CROWD)
    assert sum(isinstance(result, OrderRecord) for result in results) == 1
    assert sum(isinstance(result, Superseded) for result in results) == CROWD - 1
    assert len(await ledger.history(record.order_id)) == 3


@pytest.mark.parametrize("name", ["order_id", "request_id", "amount", "tag"])
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
    assert len(await ledger.in_states(BOT, {State.SENT})) == 1
    assert len(await ledger.in_states(BOT, {State.RESERVED})) == CROWD - 1


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


async def test_orders_are_found_by_their_state(ledger: Ledger) -> None:
    """What recovery looks after: every order of this bot in these states, oldest first."""
    late, later = (START + timedelta(seconds=after) for after in (1, 2))
    new = await received(ledger, created_at=later)
    reserved = await received(ledger, State.RESERVED, created_at=late)
    sent = await received(ledger, State.RESERVED, State.SENT)
    await received(ledger, State.DENIED)
    await received(ledger, State.RESERVED, bot="another")
    unsettled = {State.RECEIVED, State.RESERVED, State.SENT}
    assert [one.order_id for one in await ledger.in_states(BOT, unsettled)] == [
        sent.order_id, reserved.order_id, new.order_id,
    ]  # fmt: skip


async def test_entries_are_found_by_their_tags(ledger: Ledger) -> None:
    """The bot tells tags: the ledger says whose they are."""
    first, second = [await received(ledger) for _ in range(2)]
    found = await ledger.by_tags({first.tag, second.tag, "gw:nobody"})
    assert {record.order_id for record in found} == {first.order_id, second.order_id}
    assert await ledger.by_tags(()) == ()


async def test_one_order_at_the_bot_stands_for_one_request(ledger: Ledger) -> None:
    """Two sells that were taken for the same one would hide that the other never happened."""

    async def sold(bot_order_id: str, trade_id: int, **changes: Any) -> OrderRecord:
        record = await received(ledger, State.RESERVED, side="sell", **changes)
        record = await moved(ledger, record, State.SENT, trade_id=trade_id)
        return await moved(ledger, record, State.PLACED, bot_order_id=bot_order_id)

    await sold("b1", 1)
    with pytest.raises(OrderClaimed):
        await sold("b1", 2)
    # Exchanges count their ids anew for each pair; entries carry a mark of their own.
    assert (await sold("b1", 3, pair="ETH/USDT")).bot_order_id == "b1"
    entry = await received(ledger, State.RESERVED, State.SENT)
    assert (await moved(ledger, entry, State.PLACED, bot_order_id="b1")).bot_order_id == "b1"


def reserving(free: Decimal, pair: str = "BTC/USDT") -> Callable[[Standing], list[Move]]:
    """Weigh an entry of 10 quote against what others have set aside."""
    cost = Decimal(10)

    def weigh(standing: Standing) -> list[Move]:
        if standing.reserved() + cost > free or standing.entries(pair=pair):
            return [Move(Event.DENY, "balance_too_small")]
        return [Move(Event.RESERVE, changes={"reserved_quote": cost})]

    return weigh


async def test_no_crowd_reserves_more_than_there_is(ledger: Ledger) -> None:
    """64 entries at once see each other's reservations (docs/orders.md, 5 and 6)."""
    waiting = [await received(ledger, pair=f"P{n}/USDT") for n in range(CROWD)]
    results: list[Any] = await at_once(
        *[
            lambda one=one: ledger.weigh(one, 0, reserving(Decimal(50), one.pair), ORIGIN)
            for one in waiting
        ]
    )
    states = [result.state for result in results]
    assert (states.count(State.RESERVED), states.count(State.DENIED)) == (5, CROWD - 5)


async def test_a_reservation_ends_with_its_order(ledger: Ledger) -> None:
    """What was rejected, or is held by the bot itself since, sets nothing aside (docs/orders.md, 5)."""
    free = Decimal(10)
    first = await ledger.weigh(await received(ledger), 0, reserving(free), ORIGIN)
    other = await received(ledger, pair="ETH/USDT")
    assert (await ledger.standing(other, 0)).reserved() == Decimal(10)
    denied = await moved(ledger, first, State.DENIED)
    assert denied.reserved_quote == Decimal(10)
    assert await ledger.standing(other, 0) == Standing()


async def test_what_was_placed_after_the_facts_were_read_still_counts(ledger: Ledger) -> None:
    """The bot's word on its wallet may be older than an order that has just been settled."""
    seen = await ledger.mark()
    first = await ledger.weigh(await received(ledger), 0, reserving(Decimal(50)), ORIGIN)
    await moved(ledger, await moved(ledger, first, State.SENT), State.PLACED)
    other = await received(ledger, pair="ETH/USDT")
    assert (await ledger.standing(other, seen)).entries() == 1
    assert (await ledger.standing(other, await ledger.mark())).entries() == 0


async def test_an_order_under_review_holds_its_agent_and_pair(ledger: Ledger) -> None:
    """Nobody else is held by it, and it sets no money aside."""
    first = await ledger.weigh(await received(ledger), 0, reserving(Decimal(10)), ORIGIN)
    lost = await moved(ledger, await moved(ledger, first, State.SENT), State.UNKNOWN)
    await moved(ledger, lost, State.NEEDS_REVIEW)
    assert (await ledger.standing(order(), 0)).under_review
    others: list[dict[str, Any]] = [{"agent": "bob"}, {"pair": "ETH/USDT"}]
    for other in others:
        standing = await ledger.standing(order(**other), 0)
        assert (standing.holdings, standing.under_review) == ((), False)
        assert [(one.pair, one.agent) for one in standing.doubtful] == [(lost.pair, lost.agent)]
        assert standing.exposed() == Decimal(10)
    assert await ledger.standing(order(bot="another"), 0) == Standing()


async def test_what_was_sent_within_a_day_is_told(ledger: Ledger, clock: ManualClock) -> None:
    """Whatever became of it, and nobody else's bot's; limits of a minute and of a day count it."""
    first = await ledger.weigh(await received(ledger), 0, reserving(Decimal(10)), ORIGIN)
    sent = await moved(ledger, first, State.SENT)
    await received(ledger, State.DENIED)
    rejected = await moved(ledger, sent, State.REJECTED)
    told = Sent(
        State.REJECTED, rejected.pair, rejected.agent, rejected.subject, rejected.fingerprint,
        START, Decimal(10),
    )  # fmt: skip
    assert (await ledger.standing(order(), 0)).sent == (told,)
    assert (await ledger.standing(rejected, 0)).sent == ()  # its own is no other's
    assert (await ledger.standing(order(bot="another"), 0)).sent == ()
    clock.advance(LONGEST_WINDOW.total_seconds())
    assert (await ledger.standing(order(), 0)).sent == (told,)
    clock.advance(0.001)
    assert (await ledger.standing(order(), 0)).sent == ()


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
    drop = text("DROP TABLE audit_log")
    await store.write(lambda connection: connection.execute(drop).close())
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
        await store.write(lambda c: c.execute(text(statement), {"order_id": record.order_id}))
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
    assert sum(result.seen is not None for result in results) == 1
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
