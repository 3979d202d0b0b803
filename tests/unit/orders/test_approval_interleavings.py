"""Whatever people, agents, time and crashes do to orders that wait: no yes, no order, and never two."""

import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_gateway.domain.orders import OrderRequest, State
from mcp_gateway.errors import GatewayError
from mcp_gateway.orders.book import protocol
from mcp_gateway.orders.sending.submission import APPROVAL_WAIT
from tests.support.asking import CONSOLE, approver, asking, waiting
from tests.support.clock import ManualClock
from tests.support.desk import Desk, admission, open_desk
from tests.support.tradingbot import TradingBot

pytestmark = pytest.mark.unit

PAIRS: Final = ("BTC/USDT", "ETH/USDT")
CANCEL: Final = admission(operation="cancel_order")
WORDS: Final = (
    "approve", "approve as requester", "yes and crash", "decline", "withdraw", "repeat", "look",
    "wait", "wait long", "restart", "lose", "two yeses",
)  # fmt: skip
Play = list[tuple[str, int]]
Act = Callable[[], Awaitable[object]]


async def act(desk: Desk, word: str, wanted: OrderRequest, order_id: str) -> None:
    """Do one thing to one order; most of them are refused most of the time."""
    approvals, dispatch = desk.orders.approvals, desk.orders.dispatch
    acts: dict[str, Act] = {
        "approve": lambda: dispatch.approve(order_id, CONSOLE),
        "approve as requester": lambda: dispatch.approve(order_id, approver("agent-a")),
        "yes and crash": lambda: approvals.approve(order_id, CONSOLE),
        "decline": lambda: approvals.decline(order_id, CONSOLE, "no"),
        "withdraw": lambda: desk.orders.cancel(CANCEL, wanted.request_id),
        "repeat": lambda: desk.orders.create(admission(), wanted),
        "look": dispatch.look,
        "wait": lambda: passed(desk, 7),
        "wait long": lambda: passed(desk, 70),
        "lose": lambda: faulty(desk),
        "two yeses": lambda: at_once(dispatch.approve, order_id),
    }
    with suppress(GatewayError):
        await acts[word]()


async def passed(desk: Desk, seconds: float) -> None:
    """Let time pass, in which the bot's candles go on."""
    desk.clock.advance(seconds)
    newest = int(desk.clock.now().timestamp()) // 300 * 300 - 300
    desk.bot.candles = {(pair, "5m"): newest for pair in desk.bot.pairs}


async def faulty(desk: Desk) -> None:
    """Let the bot's next answer be lost, with the order done."""
    desk.bot.faults.append("lose_done")


async def at_once(approve: Callable[..., Awaitable[object]], order_id: str) -> None:
    """Say yes twice at the same time."""

    async def say() -> None:
        with suppress(GatewayError):
            await approve(order_id, CONSOLE)

    async with anyio.create_task_group() as group:
        group.start_soon(say)
        group.start_soon(say)


async def played(folder: Path, play: Play) -> None:
    """Let two orders wait, do what the play says, and hold the end against the promises."""
    clock = ManualClock()
    bot = TradingBot(clock)
    asked: list[tuple[OrderRequest, str]] = []
    done = 0
    while True:
        async with open_desk(folder, bot, clock, policy=asking()) as desk:
            for pair in PAIRS[len(asked) :]:
                wanted = await waiting(desk, pair=pair)
                record = await desk.ledger.find("tests", "agent-a", wanted.request_id)
                assert record is not None
                asked.append((wanted, record.order_id))
            await desk.reconciler.recover()
            while done < len(play) and play[done][0] != "restart":
                word, which = play[done]
                done += 1
                await act(desk, word, *asked[which])
            done += 1
            if done > len(play):
                clock.advance(APPROVAL_WAIT.total_seconds())
                await desk.orders.dispatch.look()
                for _, order_id in asked:
                    await judged(desk, order_id)
                assert sent_once(bot)
                return


def sent_once(bot: TradingBot) -> bool:
    """No order reached the bot twice: each carries a tag of its own."""
    return all(count == 1 for count in Counter(post["entry_tag"] for post in bot.posts).values())


async def judged(desk: Desk, order_id: str) -> None:
    """Hold one order's life against what must be true of every one."""
    record = await desk.ledger.by_id(order_id)
    assert record is not None
    states = [step.state for step in await desk.ledger.history(order_id)]
    was_sent = any(post["entry_tag"] == record.tag for post in desk.bot.posts)
    assert record.state not in protocol.HELD, "nothing waits for ever"
    assert was_sent == (State.SENT in states)
    if was_sent:
        assert states.index(State.PENDING_APPROVAL) < states.index(State.APPROVED)
        assert states.index(State.APPROVED) < states.index(State.SENT)
        assert State.DENIED not in states, "what was said no to is never sent"
    else:
        assert record.state is State.DENIED
        assert record.code in {"declined", "withdrawn", "approval_expired", "bot_busy"}
    assert states.count(State.APPROVED) <= 1


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(WORDS), st.integers(0, len(PAIRS) - 1)), min_size=1, max_size=12
    )
)
def test_no_order_is_sent_without_a_yes_nor_twice(play: Play) -> None:
    """Over people, agents, time, lost answers, crashes between yes and order, and restarts."""
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(played, Path(folder), play)
