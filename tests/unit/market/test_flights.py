"""One question for many who ask at once, however the one who asks it fares."""

import anyio
import anyio.abc
import pytest

from mcp_gateway.errors import BotUnavailable
from mcp_gateway.market.flights import Flights, Told
from tests.support.clock import START, ManualClock

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


class Question:
    """Counts how often it is asked; each time waits until it is let go."""

    def __init__(self) -> None:
        self.asked = 0
        self.waiting = anyio.Event()
        self.let_go = anyio.Event()
        self.failure: Exception | None = None

    async def __call__(self) -> int:
        self.asked += 1
        number = self.asked
        self.waiting.set()
        await self.let_go.wait()
        if self.failure is not None:
            raise self.failure
        return number


async def all_waiting(count: int, flights: Flights[str, int]) -> None:
    """Yield until ``count`` callers stand behind the one flight."""
    flight = flights._flights["key"]
    while flight.landed.statistics().tasks_waiting < count:
        await anyio.lowlevel.checkpoint()


async def test_many_who_ask_at_once_are_told_by_one_question() -> None:
    """Sixty-four agents that want the same candles cost the bot one call."""
    clock, question = ManualClock(), Question()
    flights: Flights[str, int] = Flights(clock, 0)
    told: list[Told[int]] = []

    async def ask() -> None:
        told.append(await flights.ask("key", question))

    async with anyio.create_task_group() as callers:
        for _ in range(64):
            callers.start_soon(ask)
        await question.waiting.wait()
        await all_waiting(63, flights)
        clock.advance(3)
        question.let_go.set()
    assert told == [Told(1, START, "live")] * 64


async def test_two_keys_are_two_questions() -> None:
    """A slow pair holds up no other pair."""
    flights: Flights[str, int] = Flights(ManualClock(), 0)
    slow, quick = Question(), Question()
    quick.let_go.set()
    async with anyio.create_task_group() as callers:
        callers.start_soon(flights.ask, "slow", slow)
        await slow.waiting.wait()
        assert (await flights.ask("quick", quick)).value == 1
        slow.let_go.set()


async def test_a_failure_is_told_to_all_who_waited_and_to_each_by_itself() -> None:
    """They asked the same thing of the same bot; a shared exception would mix tracebacks."""
    question = Question()
    question.failure = BotUnavailable("down", code="bot_unreachable", detail={"field": "x"})
    flights: Flights[str, int] = Flights(ManualClock(), 5)
    caught: list[BotUnavailable] = []

    async def ask() -> None:
        try:
            await flights.ask("key", question)
        except BotUnavailable as error:
            caught.append(error)

    async with anyio.create_task_group() as callers:
        for _ in range(3):
            callers.start_soon(ask)
        await question.waiting.wait()
        await all_waiting(2, flights)
        question.let_go.set()
    assert question.asked == 1
    assert len({id(error) for error in caught}) == 3
    assert all(error.public() == question.failure.public() for error in caught)


async def test_a_failure_is_kept_for_two_seconds_and_no_longer() -> None:
    """A bot that is down is not asked by everybody in turn, and soon asked again."""
    clock, question = ManualClock(), Question()
    question.failure = BotUnavailable("down")
    question.let_go.set()
    flights: Flights[str, int] = Flights(clock, 60)
    for seconds, asked in ((0, 1), (1.9, 1), (0.2, 2)):
        clock.advance(seconds)
        with pytest.raises(BotUnavailable):
            await flights.ask("key", question)
        assert question.asked == asked
    question.failure = None
    clock.advance(2.1)
    assert (await flights.ask("key", question)).value == 3


async def test_a_cancelled_leader_does_not_fail_the_others() -> None:
    """A client that hangs up takes nobody along: one of those who wait asks in its place."""
    question = Question()
    flights: Flights[str, int] = Flights(ManualClock(), 0)
    told: list[int] = []
    leading = anyio.CancelScope()

    async def lead() -> None:
        with leading:
            await flights.ask("key", question)

    async def follow() -> None:
        told.append((await flights.ask("key", question)).value)

    async with anyio.create_task_group() as callers:
        callers.start_soon(lead)
        await question.waiting.wait()
        for _ in range(5):
            callers.start_soon(follow)
        await all_waiting(5, flights)
        question.waiting = anyio.Event()
        leading.cancel()
        await question.waiting.wait()
        question.let_go.set()
    assert told == [2] * 5


async def test_a_crash_is_not_shared() -> None:
    """A bug in one call is that call's; the next asks for itself."""
    question = Question()
    question.failure = ZeroDivisionError()
    question.let_go.set()
    flights: Flights[str, int] = Flights(ManualClock(), 60)
    with pytest.raises(ZeroDivisionError):
        await flights.ask("key", question)
    question.failure = None
    assert (await flights.ask("key", question)).value == 2


async def test_an_answer_is_kept_as_long_as_it_was_told_to() -> None:
    """The age that is told is that of the question, not of the reading."""
    clock, question = ManualClock(), Question()
    question.let_go.set()
    flights: Flights[str, int] = Flights(clock, 5)
    assert await flights.ask("key", question) == Told(1, START, "live")
    clock.advance(4.9)
    assert await flights.ask("key", question) == Told(1, START, "cache")
    clock.advance(0.2)
    assert (await flights.ask("key", question)).value == 2


async def test_anew_takes_nothing_that_is_kept() -> None:
    """use_cache=false means the bot, after a failure too."""
    clock, question = ManualClock(), Question()
    question.let_go.set()
    flights: Flights[str, int] = Flights(clock, 5)
    assert (await flights.ask("key", question)).value == 1
    assert (await flights.ask("key", question, anew=True)).value == 2
    question.failure = BotUnavailable("down")
    with pytest.raises(BotUnavailable):
        await flights.ask("key", question, anew=True)
    question.failure = None
    assert (await flights.ask("key", question, anew=True)).value == 4


async def test_what_nobody_asks_for_again_is_forgotten() -> None:
    """Keys come from callers: memory must not grow with them."""
    clock, question = ManualClock(), Question()
    question.let_go.set()
    flights: Flights[str, int] = Flights(clock, 5)
    for number in range(100):
        await flights.ask(f"key {number}", question)
        clock.advance(1)
    assert len(flights._kept) <= 6
    assert flights._flights == {}
