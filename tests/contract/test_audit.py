"""The audit log is append-only and complete on SQLite and on a real PostgreSQL alike."""

from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from mcp_gateway.audit.events import AuditEvent
from mcp_gateway.audit.log import PAUSE_S, RETRY_S, AuditLog, flush, insert_events, run_flusher
from mcp_gateway.audit.trail import Trail
from mcp_gateway.errors import StoreUnavailable
from mcp_gateway.storage.sql import Store
from mcp_gateway.telemetry.metrics import REGISTRY
from tests.support.clock import START, ManualClock
from tests.support.servers import Child

pytestmark = [pytest.mark.integration, pytest.mark.anyio]


@pytest.fixture
def log(store: Store) -> AuditLog:
    """A log on each engine in turn."""
    return AuditLog(store)


def refusal(number: int = 0, **changes: Any) -> AuditEvent:
    """A refused call of alice's."""
    facts: dict[str, Any] = {"event": "call.refused", "at": START, "subject": "alice"}
    return AuditEvent(**(facts | {"code": "scope_missing", "call_id": str(number)} | changes))


def rows(result: str) -> float:
    """Read the metric that counts rows."""
    return REGISTRY.get_sample_value("mcp_gateway_audit_rows_total", {"result": result}) or 0.0


async def test_an_event_comes_back_as_it_was(log: AuditLog) -> None:
    """Every field is kept, the time to the microsecond."""
    full = AuditEvent(
        event="call.refused", at=START + timedelta(microseconds=7), issuer="i", subject="s",
        agent="a", channel="http", operation="create_order", call_id="c", request_id="r",
        order_id="o", code="scope_missing", detail={"rule": "x", "limit": 1.5, "of": [1, None]},
    )  # fmt: skip
    await log.write([full])
    (row,) = await log.tail(10)
    assert row.event == full


async def test_the_last_rows_come_oldest_first(log: AuditLog) -> None:
    """``tail`` reads like a log file, and goes on after a row."""
    await log.write([refusal(number) for number in range(5)])
    last = await log.tail(2)
    assert [row.event.call_id for row in last] == ["3", "4"]
    following = await log.tail(2, after_id=last[0].id - 2)
    assert [row.event.call_id for row in following] == ["2", "3"]
    assert await log.tail(2, after_id=last[1].id) == ()


async def test_rows_are_found_by_what_they_are_about(log: AuditLog) -> None:
    """Filters narrow; each of them counts."""
    wanted: dict[str, Any] = {
        "event": "call.read",
        "subject": "bob",
        "request_id": "r",
        "order_id": "o",
    }
    await log.write([refusal(), refusal(1, **wanted)])
    for name, value in wanted.items():
        (row,) = await log.tail(10, **{name: value})
        assert row.event.call_id == "1"


async def test_a_row_inside_a_transaction_goes_with_it(log: AuditLog, store: Store) -> None:
    """Both happen or neither does."""

    def undone(connection: Connection) -> None:
        insert_events(connection, [refusal()])
        raise LookupError

    with pytest.raises(LookupError):
        await store.write(undone)
    assert await log.tail(10) == ()


async def test_no_secret_reaches_a_row(log: AuditLog) -> None:
    """Whatever a detail holds: by the name of its key, or by the look of its text."""
    jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2lnbmF0dXJl"
    await log.write([
        refusal(
            code=f"odd {jwt}",
            detail={
                "Authorization": "Bearer abc",
                "deep": [{"password": "hunter2", "note": f"sent {jwt} twice"}],
                "header": "Basic aHVudGVyMg==",
                "kept": "a price of 5",
            },
        )
    ])  # fmt: skip
    (row,) = await log.tail(10)
    written = f"{row.event.code} {row.event.detail}"
    for secret in ("eyJ", "abc", "hunter2", "aHVudGVyMg"):
        assert secret not in written
    assert row.event.detail["kept"] == "a price of 5"


async def test_no_text_keeps_a_row_from_being_written(log: AuditLog) -> None:
    """NUL, half a surrogate pair, and what JSON does not know would block all rows behind them."""
    await log.write([refusal(subject="a\0\ud800", detail={"\0": float("nan"), "set": {START}})])
    (row,) = await log.tail(10)
    assert row.event.subject is not None
    assert row.event.subject.startswith("a")


UPSERT = """
INSERT INTO audit_log SELECT * FROM audit_log WHERE id = 1
ON CONFLICT (id) DO UPDATE SET event = 'x'
"""


@pytest.mark.parametrize("statement", [
    "UPDATE audit_log SET subject = 'bob'",
    "DELETE FROM audit_log",
    "DELETE FROM audit_log WHERE id = 1",
    "INSERT OR REPLACE INTO audit_log (id, event, at, detail) VALUES (1, 'x', 1, '{}')",
    UPSERT,
    "TRUNCATE audit_log",
])  # fmt: skip
async def test_the_database_keeps_the_log_append_only(
    log: AuditLog, store: Store, statement: str
) -> None:
    """The engine itself refuses, whoever asks; each statement on the engine that knows it."""
    await log.write([refusal()])
    before = await log.tail(10)
    own = {"INSERT OR REPLACE": "sqlite", "TRUNCATE": "postgresql"}
    knows = all(store.name == name for word, name in own.items() if statement.startswith(word))
    with pytest.raises(IntegrityError if knows else StoreUnavailable):
        await store.write(lambda connection: connection.execute(text(statement)))
    assert await log.tail(10) == before


async def test_an_id_is_never_used_again(log: AuditLog, store: Store) -> None:
    """A row that was undone leaves a gap or nothing, never its id to another row."""
    await log.write([refusal()])
    (first,) = await log.tail(1)
    await log.write([refusal(1)])
    (second,) = await log.tail(1)
    assert second.id > first.id


async def test_noted_events_are_written_behind_the_answer(log: AuditLog) -> None:
    """Noting waits for nothing; a pause later everything noted is one batch in the log."""
    trail, clock = Trail(), ManualClock()
    async with anyio.create_task_group() as group:
        group.start_soon(run_flusher, trail, log, clock)
        for number in range(3):
            trail.note(refusal(number))
        assert len(trail) == 3
        await clock.sleeping()
        trail.note(refusal(3))
        clock.advance(PAUSE_S)
        with anyio.fail_after(5):
            while len(await log.tail(10)) < 4:
                await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    assert len(await log.tail(10)) == 4


async def test_what_waits_is_written_at_the_end(log: AuditLog) -> None:
    """Ending the flusher loses nothing and writes nothing twice, however much is waiting."""
    trail, clock = Trail(), ManualClock()
    async with anyio.create_task_group() as group:
        group.start_soon(run_flusher, trail, log, clock)
        for number in range(1200):
            trail.note(refusal(number))
        await clock.sleeping()
        clock.advance(PAUSE_S)
        await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    assert len(trail) == 0
    written = [row.event.call_id for row in await log.tail(5000)]
    assert written == [str(number) for number in range(1200)]


async def test_a_store_that_is_away_keeps_the_batch_waiting(log: AuditLog, store: Store) -> None:
    """Rows wait for the store in their order; nothing is lost while there is room."""
    trail, clock = Trail(), ManualClock()
    trail.note(refusal(0))
    await store.close()
    async with anyio.create_task_group() as group:
        group.start_soon(run_flusher, trail, log, clock)
        await clock.sleeping()
        clock.advance(PAUSE_S)
        await clock.sleeping()
        assert len(trail) == 1
        await store.open()
        clock.advance(RETRY_S)
        await clock.sleeping()
        clock.advance(PAUSE_S)
        with anyio.fail_after(5):
            while len(trail):
                await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    assert [row.event.call_id for row in await log.tail(10)] == ["0"]


async def test_rows_that_no_store_takes_are_counted_as_lost(store: Store, log: AuditLog) -> None:
    """At the end a store that is gone costs rows, and the metric says how many."""
    trail = Trail()
    trail.note(refusal())
    await store.close()
    before = rows("lost")
    async with anyio.create_task_group() as group:
        group.start_soon(run_flusher, trail, log, ManualClock())
        await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    assert rows("lost") == before + 1


async def test_a_postgres_that_returns_gets_the_waiting_rows(
    own_postgres: Child, tmp_path: Path
) -> None:
    """A restart of the database costs no audit row."""
    store = Store(own_postgres.url, data_dir=tmp_path)
    await store.open(migrates=True)
    log, trail = AuditLog(store), Trail()
    own_postgres.stop()
    trail.note(refusal())
    before = rows("written")
    assert not await flush(trail, log)
    assert (len(trail), rows("written")) == (1, before)
    own_postgres.start()
    assert await flush(trail, log)
    assert (len(trail), rows("written")) == (0, before + 1)
    assert len(await log.tail(10)) == 1
    await store.close()
