"""The client of the bot's websocket against a real websocket server on loopback."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from http import HTTPStatus

import anyio
import anyio.lowlevel
import pytest

from mcp_gateway.clock import Clock
from mcp_gateway.freqtrade import events as module
from mcp_gateway.freqtrade.events import BotEvent, BotEvents
from mcp_gateway.telemetry import logs, metrics
from tests.support.clock import ManualClock
from tests.support.heard import logging_as_it_was
from tests.support.messenger import PATIENCE_S, TOKEN, Messenger, messenger

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

RECONNECTED = BotEvent("reconnected")
SHORT_S = 0.2


def message(trade_id: int = 1, kind: str = "entry") -> dict[str, object]:
    """Return a message about a trade."""
    return {"type": kind, "trade_id": trade_id, "pair": "BTC/USDT", "enter_tag": "gw:1"}


def entry(trade_id: int = 1) -> BotEvent:
    """Return the event that ``message`` tells."""
    return BotEvent("entry", trade_id, "BTC/USDT", "gw:1")


@pytest.fixture
async def bot() -> AsyncIterator[Messenger]:
    """The bot's end of the wire."""
    async with messenger() as told:
        yield told


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """What a test configures ends with it."""
    with logging_as_it_was():
        yield


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    """Return the lines that the client wrote since it was last asked."""
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    return [line for line in told if line["name"].startswith(module.__name__)]


@asynccontextmanager
async def listening(
    bot: Messenger, *, token: str = TOKEN, clock: Clock | None = None, patience_s: float = 5.0
) -> AsyncIterator[BotEvents]:
    """Keep a client connected for as long as the block lasts."""
    events = BotEvents(bot.url, token, clock=clock or Clock(), patience_s=patience_s)
    async with anyio.create_task_group() as group:
        group.start_soon(events.keep)
        try:
            yield events
        finally:
            group.cancel_scope.cancel()


async def heard(events: BotEvents, count: int = 1) -> list[BotEvent]:
    """Return the next events."""
    with anyio.fail_after(PATIENCE_S):
        return [await anext(events) for _ in range(count)]


async def until(true: Callable[[], bool]) -> None:
    """Let the other tasks run until something is true."""
    with anyio.fail_after(PATIENCE_S):
        while not true():
            await anyio.lowlevel.checkpoint()


def gauge() -> float | None:
    return metrics.REGISTRY.get_sample_value("mcp_gateway_bot_events_connected")


def counted(kind: str) -> float:
    """Return how many events of a kind were counted."""
    name = "mcp_gateway_bot_events_total"
    return metrics.REGISTRY.get_sample_value(name, {"kind": kind}) or 0.0


async def test_events_come_in_their_order_once_the_subscription_stands(bot: Messenger) -> None:
    """The first event says that nothing is missed from now on, the rest is what the bot told."""
    before = counted("entry")
    async with listening(bot) as events:
        assert not events.connected
        assert await heard(events) == [RECONNECTED]
        assert (events.connected, gauge()) == (True, 1.0)
        await bot.tell(*(message(number) for number in range(5)))
        assert await heard(events, 5) == [entry(number) for number in range(5)]
    assert (events.connected, gauge()) == (False, 0.0)
    assert counted("entry") == before + 5
    assert len(bot.subscriptions) == 1


@pytest.mark.parametrize("ending", ["hang up", "cut"])
async def test_a_lost_connection_is_made_again_and_told(bot: Messenger, ending: str) -> None:
    """What happened in between is unknown: the event says that a look at the bot is due."""
    clock = ManualClock()
    async with listening(bot, clock=clock) as events:
        await heard(events)
        await (bot.hang_up() if ending == "hang up" else bot.cut())
        await clock.sleeping()
        assert (events.connected, gauge()) == (False, 0.0)
        clock.advance(module.FIRST_PAUSE_S)
        assert await heard(events) == [RECONNECTED]
        assert events.connected
        await bot.tell(message())
        assert await heard(events) == [entry()]
    assert len(bot.subscriptions) == 2


async def test_the_pauses_between_tries_grow_to_a_bound(bot: Messenger) -> None:
    """A bot that is down for hours is asked twice a minute, one that restarts at once."""
    bot.refuses, clock = HTTPStatus.BAD_GATEWAY, ManualClock()
    async with listening(bot, clock=clock) as events:
        for tries, pause_s in enumerate([0.5, 1, 2, 4, 8, 16, 30, 30, 30], start=1):
            await bot.tried(tries)
            await clock.sleeping()
            clock.advance(pause_s - 0.01)
            await anyio.wait_all_tasks_blocked()
            assert bot.tries == tries
            clock.advance(0.01)
        bot.refuses = None  # before the tenth try has begun
        assert await heard(events) == [RECONNECTED]


async def test_a_connection_that_never_lasts_is_not_made_again_without_pause(
    bot: Messenger,
) -> None:
    """A server that takes a connection and closes it would be hammered otherwise."""
    clock = ManualClock()
    async with listening(bot, clock=clock) as events:
        for pause_s in (0.5, 1, 2):
            await heard(events)
            await bot.hang_up()
            await clock.sleeping()
            tries = bot.tries
            clock.advance(pause_s - 0.01)
            await anyio.wait_all_tasks_blocked()
            assert bot.tries == tries
            clock.advance(0.01)
        await heard(events)
        clock.advance(module.LONGEST_PAUSE_S)  # this one has lasted
        await bot.hang_up()
        await clock.sleeping()
        clock.advance(module.FIRST_PAUSE_S)
        assert await heard(events) == [RECONNECTED]


async def test_a_wrong_token_is_an_error_that_names_the_setting_and_is_tried_slowly(
    bot: Messenger, capsys: pytest.CaptureFixture[str]
) -> None:
    """Only an operator mends it: told once, tried each minute, connected when it is right."""
    logs.configure("DEBUG", "json")
    clock = ManualClock()
    async with listening(bot, token="wrong", clock=clock):
        for tries in (1, 2, 3):
            await bot.tried(tries)
            await clock.sleeping()
            clock.advance(module.REFUSED_PAUSE_S - 0.01)
            await anyio.wait_all_tasks_blocked()
            assert bot.tries == tries
            clock.advance(0.01)
        await bot.tried(4)
    [line] = lines(capsys)
    assert (line["level"], line["status"]) == ("ERROR", 403)
    assert "FREQTRADE_WS_TOKEN" in str(line["message"])
    assert "ws_token" in str(line["hint"])


async def test_no_token_reaches_the_log(bot: Messenger, capsys: pytest.CaptureFixture[str]) -> None:
    """The address holds it, and the library writes request lines at DEBUG."""
    logs.configure("DEBUG", "json")
    clock = ManualClock()
    async with listening(bot, clock=clock) as events:
        await heard(events)
        bot.refuses = HTTPStatus.FORBIDDEN
        await bot.hang_up()
        await clock.sleeping()
        clock.advance(1)
        await bot.tried(2)
        await clock.sleeping()
    err = capsys.readouterr().err
    assert "FREQTRADE_WS_TOKEN" in err
    assert "canary" not in err
    assert "token=" not in err


async def test_a_trouble_is_logged_when_it_begins_and_not_at_each_try(
    capsys: pytest.CaptureFixture[str], bot: Messenger
) -> None:
    """A bot that is down for a night must not fill the log."""
    logs.configure("DEBUG", "json")
    clock = ManualClock()
    async with listening(bot, clock=clock) as events:
        await heard(events)
        bot.refuses = HTTPStatus.SERVICE_UNAVAILABLE
        await bot.hang_up()
        for tries in (2, 3, 4):
            await clock.sleeping()
            clock.advance(module.LONGEST_PAUSE_S)
            await bot.tried(tries)
    assert [(line["level"], line.get("status")) for line in lines(capsys)] == [
        ("INFO", None), ("WARNING", None), ("WARNING", 503),
    ]  # fmt: skip


async def test_a_bot_that_is_not_there_is_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
    """A refused connection raises nothing and is one more reason to wait."""
    logs.configure("DEBUG", "json")
    nobody, clock = Messenger(url="http://127.0.0.1:9"), ManualClock()
    async with listening(nobody, clock=clock) as events:
        for _try in range(3):
            await clock.sleeping()
            assert not events.connected
            clock.advance(module.LONGEST_PAUSE_S)
    assert [line["reason"] for line in lines(capsys)] == ["ConnectionRefusedError"]


@pytest.mark.parametrize("to", ["http://[", "ws://127.0.0.1:{port}/elsewhere", "/elsewhere", ""])
async def test_a_redirect_is_a_refusal_and_never_followed(
    bot: Messenger, capsys: pytest.CaptureFixture[str], to: str
) -> None:
    """Its address may be nonsense, or name somebody who must not learn the token."""
    logs.configure("DEBUG", "json")
    clock = ManualClock()
    bot.refuses, bot.sends_to = HTTPStatus.FOUND, to.format(port=bot.url.rpartition(":")[2])
    async with listening(bot, clock=clock) as events:
        await clock.sleeping()
        assert bot.tries == 1
        bot.refuses = None
        clock.advance(1)
        assert await heard(events) == [RECONNECTED]
    assert [(line["level"], line.get("status")) for line in lines(capsys)] == [
        ("WARNING", 302), ("INFO", None),
    ]  # fmt: skip


async def test_whatever_fails_is_logged_once_and_tried_again(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The store lives beside it: a name that no resolver takes must not end the gateway."""
    logs.configure("DEBUG", "json")
    nobody, clock = Messenger(url="http://bot..test"), ManualClock()
    async with listening(nobody, clock=clock) as events:
        for _try in range(3):
            await clock.sleeping()
            assert not events.connected
            clock.advance(module.LONGEST_PAUSE_S)
    [line] = lines(capsys)
    assert (line["level"], line["reason"]) == ("WARNING", "UnicodeError")
    assert "canary" not in str(line)


async def test_what_makes_no_sense_is_counted_logged_once_and_passed_over(
    bot: Messenger, capsys: pytest.CaptureFixture[str]
) -> None:
    """A newer Freqtrade may say anything: the connection and its next event are not lost."""
    logs.configure("DEBUG", "json")
    before = counted("nonsense")
    async with listening(bot) as events:
        await heard(events)
        await bot.tell("{", b"\xff", {"type": "canary"}, {"type": "entry"}, "[]", "")
        await bot.tell(message())
        assert await heard(events) == [entry()]
        assert len(bot.subscriptions) == 1
    assert counted("nonsense") == before + 6
    assert [line["level"] for line in lines(capsys)] == ["INFO", "WARNING"]


async def test_a_message_without_end_ends_the_connection_alone(bot: Messenger) -> None:
    """The largest message is bounded; what follows comes over a new connection."""
    clock = ManualClock()
    async with listening(bot, clock=clock) as events:
        await heard(events)
        await bot.tell("x" * (module.LARGEST_MESSAGE_BYTES + 1))
        await clock.sleeping()
        clock.advance(1)
        assert await heard(events) == [RECONNECTED]


async def test_a_slow_listener_learns_that_it_missed_events(bot: Messenger) -> None:
    """What waits is bounded; after a flood the first thing told is to look at the bot."""
    more, before = 7, counted("missed")
    async with listening(bot) as events:
        await heard(events)
        await bot.tell(*(message(number) for number in range(module.MOST_WAITING + more)))
        await until(lambda: counted("missed") == before + more)
        told = await heard(events, module.MOST_WAITING + 1)
        assert told[0] == BotEvent("missed")
        assert told[1:] == [entry(number) for number in range(module.MOST_WAITING)]
        await bot.tell(message(9))
        assert await heard(events) == [entry(9)]


async def test_a_subscription_without_an_answer_is_no_connection(bot: Messenger) -> None:
    """Freqtrade ignores a subscription that it does not like: polling goes on, it is tried again."""
    bot.answers, clock = False, ManualClock()
    async with listening(bot, clock=clock, patience_s=SHORT_S) as events:
        await clock.sleeping()
        assert (bot.tries, events.connected) == (1, False)
        bot.answers = True
        clock.advance(1)
        assert await heard(events) == [RECONNECTED]


async def test_a_quiet_bot_is_kept(bot: Messenger) -> None:
    """Nothing happens for hours at night: silence alone is no reason to connect anew."""
    async with listening(bot, patience_s=SHORT_S) as events:
        await heard(events)
        with anyio.move_on_after(3 * SHORT_S):  # real time: the deadlines are the library's
            await anext(events)
            raise AssertionError("a bot that said nothing was heard")
        assert (events.connected, bot.tries) == (True, 1)


async def test_a_bot_that_answers_no_ping_is_given_up(bot: Messenger) -> None:
    """A half-open connection looks alive for hours: silence would be taken for peace."""
    clock = ManualClock()
    async with listening(bot, clock=clock, patience_s=SHORT_S) as events:
        await heard(events)
        bot.fall_silent()
        with anyio.fail_after(PATIENCE_S):
            await clock.sleeping()
        assert not events.connected
        clock.advance(1)
        assert await heard(events) == [RECONNECTED]


async def test_the_iteration_ends_when_the_connection_is_kept_no_longer(bot: Messenger) -> None:
    """A gateway that stops leaves no listener waiting; what waited is still told."""
    async with listening(bot) as events:
        await heard(events)
        await bot.tell(message())
        await until(lambda: bool(events._waiting))
    assert [event async for event in events] == [entry()]
