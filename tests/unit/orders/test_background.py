"""Work behind the calls: no failure ends it, and no order of many holds up the others."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from decimal import Decimal
from uuid import UUID

import anyio
import anyio.lowlevel
import pytest

from mcp_gateway.domain.orders import OrderRecord, State
from mcp_gateway.errors import BotUnavailable, GatewayError, RequestInvalid, StoreUnavailable
from mcp_gateway.orders.book import background
from mcp_gateway.orders.book.background import NONSENSE, for_each, forever
from mcp_gateway.orders.book.ledger import Superseded
from tests.support.clock import START, ManualClock
from tests.support.heard import heard

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


def record(order_id: str) -> OrderRecord:
    return OrderRecord(
        order_id=order_id, issuer="i", subject="alice", request_id=UUID(int=1), agent="alice",
        fingerprint="f", tag="gw:1", carrier="g", bot="b", pair="BTC/USDT", side="buy",
        amount=Decimal(1), order_type="market", price=None, mode="dry-run", state=State.UNKNOWN,
        created_at=START, updated_at=START,
    )  # fmt: skip


ORDERS = tuple(record(order_id) for order_id in ("first", "bad", "last"))


@dataclass
class Work:
    """Work on orders, of which the one called ``bad`` fails."""

    failure: Exception
    done: list[str] = field(default_factory=list)

    async def __call__(self, order: OrderRecord) -> None:
        if order.order_id == "bad":
            raise self.failure
        self.done.append(order.order_id)


@pytest.mark.parametrize(
    ("failure", "told"),
    [
        (ZeroDivisionError(), ["bad"]),
        (RequestInvalid("It can't be read."), ["bad"]),
        (BotUnavailable("It can't be read.", code=NONSENSE), ["bad"]),
        (Superseded("bad"), []),
    ],
    ids=["bug", "refusal", "nonsense", "moved_by_another_gateway"],
)
async def test_one_bad_order_does_not_hold_up_the_others(
    failure: Exception, told: list[str]
) -> None:
    """What fails for itself is told with its id; that another gateway was quicker is no news."""
    work = Work(failure)
    with heard(background) as logged:
        await for_each(ORDERS, work)
    assert work.done == ["first", "last"]
    assert [line["order"] for line in logged if line["log_level"] == "error"] == told


@pytest.mark.parametrize(
    "failure",
    [BotUnavailable("It is down."), StoreUnavailable("It is down.")],
    ids=["bot", "store"],
)
async def test_what_is_down_for_one_order_is_not_asked_for_the_next(failure: GatewayError) -> None:
    """A bot that is down is not asked once for each order: the round ends."""
    work = Work(failure)
    with pytest.raises(type(failure)):
        await for_each(ORDERS, work)
    assert work.done == ["first"]


Step = Callable[[], Awaitable[None]]


async def fine() -> None:
    """Work that goes well."""
    await anyio.lowlevel.checkpoint()


async def down() -> None:
    """Work that waits for a bot."""
    raise BotUnavailable("It is down.", code="bot_timeout")


async def bug() -> None:
    """Work that nobody foresaw to fail."""
    raise ZeroDivisionError


@pytest.mark.parametrize(
    ("fails", "level", "told"),
    [(down, "warning", "Following waits"), (bug, "error", "Following failed")],
)
async def test_work_goes_on_whatever_fails(
    clock: ManualClock, fails: Step, level: str, told: str
) -> None:
    """After each failure the pause, and then again; what is down is told with its code."""
    steps, done = iter((fails, fails, fine)), []

    async def work() -> None:
        step = next(steps)
        done.append(step)
        await step()

    with heard(background) as logged:
        async with anyio.create_task_group() as group:
            group.start_soon(forever, "Following", work, lambda: clock.sleep(5.0))
            for count in (1, 2, 3):
                await clock.sleeping()
                assert len(done) == count
                if count < 3:
                    clock.advance(5.0)
            group.cancel_scope.cancel()
    assert [(line["log_level"], line["event"]) for line in logged] == [(level, told)] * 2
    assert [line.get("code") for line in logged] == ["bot_timeout" if fails is down else None] * 2


async def test_work_that_is_cancelled_ends(clock: ManualClock) -> None:
    """The gateway stops: nothing is done any more, in the work or in the pause."""
    begun: list[float] = []

    async def work() -> None:
        begun.append(clock.monotonic())
        await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        group.start_soon(forever, "Following", work, lambda: clock.sleep(5.0))
        while not begun:
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    assert begun == [0.0]
