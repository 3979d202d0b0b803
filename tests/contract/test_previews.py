"""A preview lets one order through, on SQLite and on PostgreSQL, however many try at once."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import anyio
import pytest

from mcp_gateway.domain.orders import OrderRecord
from mcp_gateway.domain.principals import Principal
from mcp_gateway.errors import GatewayError, PreviewRefused
from mcp_gateway.orders.book.ledger import Ledger, Received
from mcp_gateway.orders.book.steps import Origin, audit_event
from mcp_gateway.orders.sending.intake import new_record
from mcp_gateway.storage.sql import Store
from tests.support.clock import START, ManualClock
from tests.support.desk import PAIR, Desk, open_desk, order
from tests.support.previews import known, placed, preview_id
from tests.support.tradingbot import TradingBot

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

CROWD = 16
ORIGIN = Origin("http", "call-1")
CALLER = Principal("tests", "agent-a", frozenset())


@pytest.fixture
def ledger(store: Store) -> Ledger:
    """A ledger on each engine in turn."""
    return Ledger(store, ManualClock())


def record(preview: str | None) -> OrderRecord:
    """Return a new order that was seen in this dry run."""
    made = new_record(
        order(), "agent-a", CALLER, carrier="c", bot="freqtrade", mode="dry-run", now=START
    )
    return replace(made, preview_id=preview)


async def received(ledger: Ledger, wanted: OrderRecord) -> Received:
    return await ledger.receive(wanted, audit_event(wanted, ORIGIN))


async def test_a_second_order_with_the_same_preview_is_refused_and_not_written(
    ledger: Ledger,
) -> None:
    """The database refuses it: nobody has to look first."""
    first, second = record("p1"), record("p1")
    await received(ledger, first)
    with pytest.raises(PreviewRefused) as refused:
        await received(ledger, second)
    assert refused.value.code == "preview_used"
    assert await ledger.by_id(second.order_id) is None
    assert await ledger.history(second.order_id) == ()


async def test_the_same_request_again_is_known_and_has_not_used_its_preview_twice(
    ledger: Ledger,
) -> None:
    """Its key comes first, also where both indexes would refuse it."""
    first = record("p1")
    await received(ledger, first)
    again = replace(record("p1"), request_id=first.request_id)
    assert await received(ledger, again) == Received(first, None)


async def test_orders_without_a_preview_do_not_meet(ledger: Ledger) -> None:
    """Nothing is equal to nothing."""
    for _ in range(3):
        assert (await received(ledger, record(None))).seen is not None


async def test_another_conflict_is_not_taken_for_a_used_preview(ledger: Ledger) -> None:
    """Two orders with one tag are a bug, and crash as one."""
    first = record("p1")
    for one in (first, record(None)):
        await received(ledger, one)
    for preview in ("p2", None):
        with pytest.raises(Exception) as crashed:  # noqa: PT011 - the database's own
            await received(ledger, replace(record(preview), tag=first.tag))
        assert not isinstance(crashed.value, GatewayError)


async def test_of_a_crowd_with_one_preview_one_is_written(ledger: Ledger) -> None:
    """All of them have looked before any has written."""
    wanted = [record("p1") for _ in range(CROWD)]
    told: list[str] = []

    async def send(one: OrderRecord) -> None:
        try:
            told.append("new" if (await received(ledger, one)).seen is not None else "known")
        except PreviewRefused as refused:
            told.append(refused.code)

    async with anyio.create_task_group() as group:
        for one in wanted:
            group.start_soon(send, one)
    assert sorted(told) == ["new", *(CROWD - 1) * ["preview_used"]]


@pytest.fixture
async def two_desks(postgres_url: str, tmp_path: Path) -> AsyncIterator[tuple[Desk, Desk]]:
    """Two gateways over one PostgreSQL and one bot, with one key."""
    clock = ManualClock()
    bot = TradingBot(clock)
    async with AsyncExitStack() as stack:
        desks = [
            await stack.enter_async_context(
                open_desk(tmp_path / str(n), bot, clock, url=postgres_url)
            )
            for n in range(2)
        ]
        yield desks[0], desks[1]


async def test_two_gateways_let_one_order_through(two_desks: tuple[Desk, Desk]) -> None:
    """One preview, two request_ids, two processes' desks, at the same time."""
    preview = await preview_id(two_desks[0], order())
    wanted = [order(), order()]
    told: list[str] = []

    async def send(n: int) -> None:
        try:
            created = await placed(two_desks[n], wanted[n], preview)
            told.append(created.answer["outcome"])
        except GatewayError as error:
            told.append(error.code)

    async with anyio.create_task_group() as group:
        for n in range(2):
            group.start_soon(send, n)
    assert sorted(told) == ["placed", "preview_used"]
    assert [await known(two_desks[0], one) for one in wanted].count(True) == 1
    assert len(two_desks[0].bot.posts) == 1
    assert two_desks[0].bot.posts[0]["pair"] == PAIR


async def test_two_gateways_told_the_same_request_are_one_order(
    two_desks: tuple[Desk, Desk],
) -> None:
    """A client that tries the other replica gets the first one's answer."""
    wanted = order(request_id=uuid4())
    preview = await preview_id(two_desks[1], wanted)
    first = await placed(two_desks[0], wanted, preview)
    again = await placed(two_desks[1], wanted, preview)
    assert (again.replayed, again.answer) == (True, first.answer)
