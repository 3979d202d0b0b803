"""Revocations on both engines: written with their audit row, known to every process, and cleaned."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import delete, insert

from mcp_gateway.access.tokens.board import RevokeRequest, TokenBoard
from mcp_gateway.access.tokens.issuers import one_box
from mcp_gateway.access.tokens.revocation_rows import MOST_AT_ONCE
from mcp_gateway.access.tokens.revocation_watch import CLEAN_S, RETRY_S, RevocationWatch
from mcp_gateway.access.tokens.revocations import Revocation, Revocations, next_second
from mcp_gateway.access.tokens.verifier import TokenVerifier
from mcp_gateway.audit.log import AuditLog
from mcp_gateway.domain.principals import Principal
from mcp_gateway.errors import RequestInvalid, StoreUnavailable
from mcp_gateway.storage.schema import revocations
from mcp_gateway.storage.sql import Store
from tests.support.clock import START, ManualClock

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

OURS = "mcp-gateway"
AGENT = "signal-agent"
DAY_S = 86_400


def new(token_id: str | None = None, *, at: datetime = START, ends_s: float = DAY_S) -> Revocation:
    """Return a revocation that is not written yet: of one token, or of all the agent's."""
    return Revocation(
        None, OURS, None if token_id else AGENT, token_id, None if token_id else next_second(at),
        at, at + timedelta(seconds=ends_s), "alice", "stolen",
    )  # fmt: skip


def values_of(rows: list[Revocation]) -> list[dict[str, Any]]:
    """Return rows as the table takes them, without ids."""
    columns = [column.name for column in revocations.c if column.name != "id"]
    return [{name: getattr(one, name) for name in columns} for one in rows]


async def watch_of(store: Store, clock: ManualClock | None = None) -> RevocationWatch:
    watch = RevocationWatch(Revocations(), clock or ManualClock())
    await watch.begin(store)
    return watch


def knows(watch: RevocationWatch, token_id: str | None, issued_at: datetime = START) -> bool:
    return watch.known.is_revoked(OURS, AGENT, token_id, issued_at)


@asynccontextmanager
async def two(url: str, folder: Path) -> AsyncIterator[list[Store]]:
    """Open one PostgreSQL for two gateways with folders of their own."""
    async with AsyncExitStack() as stack:
        stores = []
        for name in ("one", "other"):
            store = Store(url, data_dir=folder / name)
            await store.open(migrates=True)
            stack.push_async_callback(store.close)
            stores.append(store)
        yield stores


@pytest.mark.parametrize("token_id", ["t-1", None], ids=["jti", "subject"])
async def test_a_revocation_is_a_row_and_an_audit_row(store: Store, token_id: str | None) -> None:
    """Both or neither; who revoked why is known for good, and the next process knows it, too."""
    watch = await watch_of(store)
    record = await watch.revoke(new(token_id))
    assert record.id == 1
    assert knows(watch, "t-1")
    assert knows(await watch_of(store), "t-1")
    [row] = await AuditLog(store).tail(10)
    assert (row.event.event, row.event.subject) == ("token.revoked", record.subject)
    assert row.event.detail["reason"] == "stolen"
    assert row.event.detail["by"] == "alice"
    assert row.event.detail.get("jti") == token_id


async def test_another_gateway_knows_with_its_next_look(postgres_url: str, tmp_path: Path) -> None:
    """No word passes between them but the row."""
    async with two(postgres_url, tmp_path) as stores:
        one, other = [await watch_of(store) for store in stores]
        await one.revoke(new("t-1"))
        assert knows(one, "t-1")
        assert not knows(other, "t-1")
        await other.look()
        assert knows(other, "t-1")


async def test_none_is_missed_where_many_are_revoked_at_once(
    postgres_url: str, tmp_path: Path
) -> None:
    """Whoever asks for what comes after the last row must not be overtaken by an older one."""
    names = [f"t-{number}" for number in range(60)]
    async with two(postgres_url, tmp_path) as stores:
        writers = [await watch_of(store) for store in stores]
        reader = await watch_of(stores[1])
        done = anyio.Event()

        async def read() -> None:
            while not done.is_set():
                await reader.look()

        async with anyio.create_task_group() as group:
            group.start_soon(read)
            async with anyio.create_task_group() as writing:
                for place, name in enumerate(names):
                    writing.start_soon(writers[place % 2].revoke, new(name))
            done.set()
        await reader.look()
    assert all(knows(reader, name) for name in names)


async def test_ten_thousand_are_read_in_parts(store: Store) -> None:
    """A fleet that changed its issuer; each is found, and a token beside them is not."""
    names = [f"t-{number}" for number in range(10_000)]
    assert len(names) > 2 * MOST_AT_ONCE

    values = values_of([new(name) for name in names])
    await store.write(lambda connection: connection.execute(insert(revocations), values))
    watch = await watch_of(store)
    assert all(knows(watch, name) for name in names)
    assert not knows(watch, "t-10000")


async def test_what_is_over_is_forgotten_and_its_audit_row_is_not(store: Store) -> None:
    """After the longest life of a token there is none left to be stopped."""
    clock = ManualClock()
    watch = await watch_of(store, clock)
    for each in (new("short", ends_s=60), new("long"), new(ends_s=60)):
        await watch.revoke(each)
    async with anyio.create_task_group() as group:
        group.start_soon(watch.keep)
        await clock.sleeping()
        clock.advance(CLEAN_S)
        await clock.sleeping()
        group.cancel_scope.cancel()
    left = await watch_of(store)
    assert [knows(one, "short") for one in (watch, left)] == [False, False]
    assert [knows(one, "long") for one in (watch, left)] == [True, True]
    assert len(await AuditLog(store).tail(10)) == 3


async def test_a_database_from_a_backup_takes_nothing_back_and_is_read_anew(store: Store) -> None:
    """What was revoked since the backup still holds here; ids that are given out anew count."""
    clock = ManualClock()
    watch = await watch_of(store, clock)
    await watch.revoke(new("t-1"))
    await watch.revoke(new("t-2"))
    await watch.look()
    again = values_of([new("t-3")])[0] | {"id": 1}
    await store.write(lambda connection: connection.execute(delete(revocations)))
    await store.write(lambda connection: connection.execute(insert(revocations), [again]))
    async with anyio.create_task_group() as group:
        group.start_soon(watch.keep)
        for pause_s in (CLEAN_S, RETRY_S):
            await clock.sleeping()
            clock.advance(pause_s)
        await clock.sleeping()
        group.cancel_scope.cancel()
    assert [knows(watch, name) for name in ("t-1", "t-2", "t-3")] == [True] * 3


async def test_with_the_store_closed_nothing_is_revoked_and_the_list_holds(store: Store) -> None:
    """The operator is told; nobody thinks a token revoked that the next start would believe."""
    clock = ManualClock()
    watch = await watch_of(store, clock)
    await watch.revoke(new("t-1"))
    await store.close()
    with pytest.raises(StoreUnavailable):
        await watch.revoke(new("t-2"))
    assert (knows(watch, "t-1"), knows(watch, "t-2")) == (True, False)
    async with anyio.create_task_group() as group:
        group.start_soon(watch.keep)
        await clock.sleeping()
        assert knows(watch, "t-1")
        await store.open(migrates=False)
        await (await watch_of(store)).revoke(new("t-3"))
        clock.advance(RETRY_S)
        await clock.sleeping()
        group.cancel_scope.cancel()
    assert knows(watch, "t-3")


@pytest.fixture
def board(store: Store) -> TokenBoard:
    """What an operator's commands work on."""
    clock = ManualClock()
    box = one_box(b"0" * 32, OURS, OURS, 3600)
    watch = RevocationWatch(Revocations(), clock)
    return TokenBoard(watch, TokenVerifier([box], clock), OURS, clock)


async def revoke(board: TokenBoard, **request: Any) -> Revocation:
    """Revoke, letting the second that it takes pass in virtual time."""
    assert isinstance(board.clock, ManualClock)
    told: list[Revocation] = []
    async with anyio.create_task_group() as group:

        async def ask() -> None:
            asked = RevokeRequest(**{"reason": "stolen", **request})
            told.append(await board.revoke(asked, "alice"))

        group.start_soon(ask)
        if "subject" in request:
            await board.clock.sleeping()
            board.clock.advance(1)
    return told[0]


async def test_a_token_asked_for_after_the_revocation_is_good(
    store: Store, board: TokenBoard
) -> None:
    """The command ends when the second is over in which older tokens may have been issued."""
    await board.watch.begin(store)
    record = await revoke(board, subject=AGENT)
    assert record.issued_before == board.clock.now() == START + timedelta(seconds=1)
    assert knows(board.watch, "t-1", START)
    assert not knows(board.watch, "t-1", board.clock.now())
    # 3600 s is the longest life of such a token; leeway and the margin of clocks come on top.
    assert record.expires_at > START + timedelta(seconds=3600 + 5)


async def test_an_issuer_that_nobody_believes_is_no_revocation(
    store: Store, board: TokenBoard
) -> None:
    """A slip of the pen would revoke nothing, and look as if it had."""
    await board.watch.begin(store)
    with pytest.raises(RequestInvalid) as refused:
        await board.revoke(RevokeRequest(jti="t-1", issuer="mcp-gatway", reason="x"), "alice")
    assert refused.value.code == "issuer_unknown"
    assert await AuditLog(store).tail(10) == ()


@pytest.mark.parametrize(
    ("subject", "token_id", "issued_s", "found"),
    [
        (AGENT, "t-1", -60, "both"), (AGENT, "t-9", -60, "subject"), (AGENT, "t-9", 60, None),
        ("another", "t-1", 60, "jti"), ("another", "t-9", -60, None), ("another", None, -60, None),
        (None, None, -60, None), (AGENT, None, None, "subject"), (None, "t-1", 0, "jti"),
    ],
)  # fmt: skip
async def test_what_has_revoked_a_token_is_found(
    store: Store, subject: str | None, token_id: str | None, issued_s: int | None, found: str | None
) -> None:
    """The look into the store says what the process goes by; an absent word matches nothing."""
    watch = await watch_of(store)
    whole, one = await watch.revoke(new()), await watch.revoke(new("t-1"))
    issued_at = None if issued_s is None else START + timedelta(seconds=issued_s)
    told = await watch.find(OURS, subject, token_id, issued_at)
    wanted = {"both": one, "jti": one, "subject": whole, None: None}
    assert told == wanted[found]
    if subject is not None:
        principal = Principal(OURS, subject, frozenset(), token_id=token_id, issued_at=issued_at)
        assert (told is not None) == watch.known.is_revoked(
            OURS, principal.subject, principal.token_id, principal.issued_at
        )
