"""A person's word on both engines: once, whoever gives it, over processes and restarts."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import anyio
import pytest
from sqlalchemy import update

from mcp_gateway.domain.orders import State
from mcp_gateway.errors import GatewayError
from mcp_gateway.orders.approvals.decisions import APPROVED_LASTS
from mcp_gateway.orders.approvals.dispatch import NOT_OURS_YET
from mcp_gateway.orders.sending.submission import APPROVAL_WAIT
from mcp_gateway.storage.schema import orders as orders_table
from tests.support.asking import CONSOLE, approver, asking, id_of, waiting
from tests.support.clock import ManualClock
from tests.support.desk import Desk, admission, open_desk, refused, stored
from tests.support.tradingbot import TradingBot

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

ROUNDS = 5


@pytest.fixture
async def desk(
    database_url: str, tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> AsyncIterator[Desk]:
    """The order floor over each engine in turn, under a policy that asks a person."""
    async with open_desk(tmp_path, bot, clock, url=database_url, policy=asking()) as opened:
        yield opened


@asynccontextmanager
async def gateways(
    url: str, folder: Path, bot: TradingBot, clock: ManualClock, count: int = 2
) -> AsyncIterator[list[Desk]]:
    """Open several gateways over one ledger."""
    async with AsyncExitStack() as opened:
        yield [
            await opened.enter_async_context(
                open_desk(folder, bot, clock, url=url, policy=asking())
            )
            for _ in range(count)
        ]  # fmt: skip


async def test_what_waits_is_kept_with_what_a_person_agrees_to(desk: Desk) -> None:
    """Quote and end come back exactly, in each engine's own types."""
    record = await stored(desk, await waiting(desk))
    assert record.state is State.PENDING_APPROVAL
    assert record.expires_at == record.updated_at + APPROVAL_WAIT
    [question] = await desk.orders.approvals.pending()
    assert question.record == record
    assert question.worst_price is not None
    spent = question.worst_price * record.amount
    assert record.approved_quote is not None
    assert spent < record.approved_quote < spent * 2


async def test_an_approved_order_is_sent_once(desk: Desk) -> None:
    """Again and again approved, by people and by the loop."""
    wanted = await waiting(desk)
    order_id = await id_of(desk, wanted)
    assert (await desk.orders.dispatch.approve(order_id, CONSOLE)).state is State.FILLED
    for _ in range(2):
        with pytest.raises(GatewayError) as caught:
            await desk.orders.dispatch.approve(order_id, approver())
        assert caught.value.code == "not_pending"
        desk.clock.advance(NOT_OURS_YET.total_seconds())
        await desk.orders.dispatch.look()
    assert len(desk.bot.posts) == 1


async def test_a_row_that_was_altered_while_it_waited_is_not_sent(desk: Desk) -> None:
    """The fingerprint is over what was asked for: whoever writes to the database cannot exchange it."""
    wanted = await waiting(desk)
    order_id = await id_of(desk, wanted)
    more = update(orders_table).where(orders_table.c.order_id == order_id).values(amount=5)
    await desk.store.write(lambda connection: connection.execute(more))
    record = await desk.orders.dispatch.approve(order_id, CONSOLE)
    assert (record.state, record.code) == (State.DENIED, "order_altered")
    assert (await refused(desk, wanted)).code == "order_altered"
    assert desk.bot.posts == []


async def test_what_is_over_is_denied_on_each_engine(desk: Desk) -> None:
    """Pending after its wait, approved after its minute."""
    pending, yes = await waiting(desk), await waiting(desk, amount="2")
    await desk.orders.approvals.approve(await id_of(desk, yes), CONSOLE)
    desk.clock.advance(APPROVED_LASTS.total_seconds())
    await desk.orders.dispatch.look()
    assert (await stored(desk, yes)).code == "approval_expired"
    desk.clock.advance(APPROVAL_WAIT.total_seconds())
    await desk.orders.dispatch.look()
    assert (await stored(desk, pending)).code == "approval_expired"
    assert desk.bot.posts == []


async def test_two_gateways_that_approve_at_once_have_one_effect(
    postgres_url: str, tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> None:
    """Both were under way together; the ledger takes one yes, and the bot gets one order."""
    async with gateways(postgres_url, tmp_path, bot, clock) as (one, two):
        for number in range(1, ROUNDS + 1):
            wanted = await waiting(one, pair=("BTC/USDT", "ETH/USDT")[number % 2])
            order_id = await id_of(one, wanted)
            ends: list[str] = []

            async def approve(desk: Desk, order_id: str = order_id, ends: list[str] = ends) -> None:
                try:
                    ends.append((await desk.orders.dispatch.approve(order_id, CONSOLE)).state)
                except GatewayError as error:
                    ends.append(error.code)

            async with anyio.create_task_group() as group:
                group.start_soon(approve, one)
                group.start_soon(approve, two)
            assert sorted(ends) == ["filled", "not_pending"]
            assert len(bot.posts) == number
            bot.status.clear()


async def test_two_gateways_that_take_up_a_yes_at_once_send_it_once(
    postgres_url: str, tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> None:
    """The process that took the yes has ended; every other one sees the order."""
    async with gateways(postgres_url, tmp_path, bot, clock) as desks:
        for number in range(1, ROUNDS + 1):
            wanted = await waiting(desks[0])
            await desks[0].orders.approvals.approve(await id_of(desks[0], wanted), CONSOLE)
            clock.advance(NOT_OURS_YET.total_seconds())
            async with anyio.create_task_group() as group:
                for desk in desks:
                    group.start_soon(desk.orders.dispatch.look)
            assert (await stored(desks[1], wanted)).state is State.FILLED
            assert len(bot.posts) == number
            bot.status.clear()


async def test_a_yes_at_one_gateway_is_seen_at_the_other(
    postgres_url: str, tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> None:
    """Whoever is asked tells the same: what waits, and what became of it."""
    async with gateways(postgres_url, tmp_path, bot, clock) as (one, two):
        wanted = await waiting(one)
        [question] = await two.orders.approvals.pending()
        await two.orders.dispatch.approve(question.record.order_id, CONSOLE)
        assert await one.orders.approvals.pending() == ()
        again = await one.orders.create(admission(), wanted)
        assert (again.replayed, again.answer["outcome"]) == (True, "placed")


async def trying(work: Callable[[], Awaitable[object]]) -> None:
    """Do something that the others in the race may have made impossible."""
    with suppress(GatewayError):
        await work()


async def test_a_no_and_a_yes_at_once_are_one_of_both(
    postgres_url: str, tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> None:
    """And a withdrawal with them: never a sent order that was declined or withdrawn."""
    async with gateways(postgres_url, tmp_path, bot, clock) as (one, two):
        for _ in range(ROUNDS):
            wanted = await waiting(one)
            order_id, before = await id_of(one, wanted), len(bot.posts)
            cancel = admission(operation="cancel_order")
            racing = (
                partial(one.orders.dispatch.approve, order_id, CONSOLE),
                partial(two.orders.approvals.decline, order_id, CONSOLE, "no"),
                partial(two.orders.cancel, cancel, wanted.request_id),
            )
            async with anyio.create_task_group() as group:
                for work in racing:
                    group.start_soon(trying, work)
            record = await stored(one, wanted)
            was_sent = len(bot.posts) > before
            assert was_sent == (record.state is State.FILLED)
            assert was_sent or record.code in {"declined", "withdrawn"}
            bot.status.clear()
