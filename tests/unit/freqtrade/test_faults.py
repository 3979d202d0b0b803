"""A bot that misbehaves on a real socket: slow, torn, endless, silent."""

import socket
from decimal import Decimal

import anyio
import pytest

from mcp_gateway.clock import Clock
from mcp_gateway.domain.answers import Accepted, NotSent, Unanswered
from mcp_gateway.errors import BotUnavailable
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.freqtrade.orders import Entry, Exit
from tests.support.rogue import Answering, Connection, head, rogue

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

ENTRY = Entry("BTC/USDT", Decimal(50), "market", None, "gw:1")
WHITELIST = b'{"whitelist": ["BTC/USDT"]}'
RESULT = b'{"result": "Created exit order for trade 1."}'


def connect(url: str, *, timeout_s: float = 5.0, pool_size: int = 4) -> FreqtradeClient:
    return FreqtradeClient(
        url,
        "user",
        "password",
        pool_size=pool_size,
        read_timeout_s=timeout_s,
        order_timeout_s=timeout_s,
        clock=Clock(),
    )


async def code_of_read(freqtrade: FreqtradeClient) -> str:
    with pytest.raises(BotUnavailable) as caught:
        await freqtrade.pairs()
    return caught.value.code


async def drip(connection: Connection) -> None:
    """Send a byte every 20 ms for ever: each read succeeds, the answer never ends."""
    await connection.send(head(10**6))
    while True:
        await connection.send(b" ")
        await anyio.sleep(0.02)


async def half_open(connection: Connection) -> None:
    await connection.hang()


async def half_a_body(connection: Connection) -> None:
    await connection.send(head(500) + b'{"whitelist": [')
    await connection.hang()


@pytest.mark.parametrize("answering", [drip, half_open, half_a_body])
async def test_a_deadline_is_one_of_the_wall_clock(answering: Answering) -> None:
    """The library's time-outs start anew with each byte: one second took 18.7 on a drip."""
    async with rogue(answering) as bot, connect(bot.url, timeout_s=0.3) as freqtrade:
        with anyio.fail_after(3):
            assert await code_of_read(freqtrade) == "bot_timeout"
            assert await freqtrade.enter(ENTRY) == Unanswered("bot_timeout")


async def reset_at_once(connection: Connection) -> None:
    await connection.reset()


async def reset_after_the_head(connection: Connection) -> None:
    await connection.send(head(500))
    await connection.reset()


async def reset_in_the_body(connection: Connection) -> None:
    await connection.send(head(500) + b'{"whitelist": [')
    await connection.reset()


async def end_in_the_body(connection: Connection) -> None:
    await connection.send(head(500) + b'{"whitelist": [')
    await connection.end()


async def talk_gibberish(connection: Connection) -> None:
    await connection.send(b"SSH-2.0-OpenSSH_9.9\r\n\r\n")
    await connection.end()


@pytest.mark.parametrize(
    "answering",
    [reset_at_once, reset_after_the_head, reset_in_the_body, end_in_the_body, talk_gibberish],
)
async def test_a_torn_connection_leaves_an_order_unknown_and_sent_once(
    answering: Answering,
) -> None:
    """The order had left: whether the exchange has it is for reconciliation to find out."""
    async with rogue(answering) as bot, connect(bot.url) as freqtrade:
        assert await freqtrade.enter(ENTRY) == Unanswered("connection_lost")
        assert bot.paths == ["forceenter"]
        assert await code_of_read(freqtrade) == "bot_unreachable"


async def test_a_refused_connection_proves_that_nothing_was_sent() -> None:
    """No byte left, so the order may be tried again under a new id."""
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        async with connect(url) as freqtrade:
            assert await freqtrade.enter(ENTRY) == NotSent("bot_unreachable")
            assert await code_of_read(freqtrade) == "bot_unreachable"


async def test_an_endless_answer_is_cut() -> None:
    """Eight megabytes are more than the bot ever says; memory is bounded."""
    sent = 0

    async def endless(connection: Connection) -> None:
        nonlocal sent
        await connection.send(head(10**9) + b'{"whitelist": ["')
        while True:
            await connection.send(b"A" * 65536)
            sent += 65536

    async with rogue(endless) as bot, connect(bot.url) as freqtrade:
        assert await code_of_read(freqtrade) == "bot_nonsense"
        assert await freqtrade.enter(ENTRY) == Unanswered("bot_nonsense")
    assert sent < 100 * 10**6


async def test_a_redirect_is_not_followed() -> None:
    """Credentials and orders go to the configured bot and nowhere else."""

    async def elsewhere(connection: Connection) -> None:
        location = b"location: /api/v1/elsewhere\r\n"
        await connection.send(
            b"HTTP/1.1 307 Temporary Redirect\r\n" + location + b"content-length: 0\r\n\r\n"
        )

    async with rogue(elsewhere) as bot, connect(bot.url) as freqtrade:
        assert await code_of_read(freqtrade) == "bot_nonsense"
        assert await freqtrade.enter(ENTRY) == Unanswered("bot_nonsense")
        assert bot.paths == ["whitelist", "forceenter"]


async def test_no_proxy_of_the_environment_sees_the_bots_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The bot is where FREQTRADE_URL says, whatever other programs are told to use."""
    for name in ("HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("NO_PROXY", raising=False)

    async def whole(connection: Connection) -> None:
        await connection.answer(WHITELIST)

    async with rogue(whole) as bot, connect(bot.url) as freqtrade:
        assert await freqtrade.pairs() == ("BTC/USDT",)


async def test_a_read_survives_the_connection_that_a_500_poisoned() -> None:
    """Freqtrade drops the kept connection after each 500; the next read gets a new one."""

    async def after_a_500(connection: Connection) -> None:
        if connection.number == 1 and connection.path == "balance":
            await connection.answer(b"Internal Server Error", "500 Internal Server Error")
            await connection.next_request()  # takes the next request, and goes
            await connection.reset()
        else:
            await connection.answer(WHITELIST)

    async with rogue(after_a_500) as bot, connect(bot.url) as freqtrade:
        with pytest.raises(BotUnavailable) as caught:
            await freqtrade.balance()
        assert caught.value.code == "bot_failed"
        assert await freqtrade.pairs() == ("BTC/USDT",)
        assert bot.connections == 2


async def test_reads_share_connections_and_orders_never_do() -> None:
    """An order on a kept connection could meet one that the bot is about to drop."""

    async def whole(connection: Connection) -> None:
        await connection.answer(WHITELIST if connection.path == "whitelist" else RESULT)

    async with rogue(whole) as bot, connect(bot.url) as freqtrade:
        for _ in range(3):
            await freqtrade.pairs()
        assert bot.connections == 1
        for _ in range(3):
            assert await freqtrade.exit(Exit(1, None, "market", None)) == Accepted(None)
        assert bot.connections == 4
        await freqtrade.pairs()
        assert bot.connections == 4


async def test_a_caller_who_leaves_does_not_take_a_connection_with_him() -> None:
    """With a pool of one, a connection that was lost to a cancelled call would block all."""
    reached = anyio.Event()

    async def slow_once(connection: Connection) -> None:
        if connection.path == "status":
            reached.set()
            await connection.hang()
        else:
            await connection.answer(WHITELIST)

    async with rogue(slow_once) as bot, connect(bot.url, pool_size=1) as freqtrade:
        for _ in range(3):
            reached = anyio.Event()
            async with anyio.create_task_group() as callers:
                callers.start_soon(freqtrade.open_trades)
                callers.start_soon(freqtrade.open_trades)  # waits for the pool, leaves too
                await reached.wait()
                callers.cancel_scope.cancel()
            assert await freqtrade.pairs() == ("BTC/USDT",)


async def test_a_slow_answer_holds_up_nobody_else() -> None:
    """One hanging read takes one connection; other reads and orders go on."""
    reached = anyio.Event()

    async def one_is_slow(connection: Connection) -> None:
        if connection.path == "status":
            reached.set()
            await connection.hang()
        await connection.answer(WHITELIST if connection.path == "whitelist" else RESULT)

    async with (
        rogue(one_is_slow) as bot,
        connect(bot.url, pool_size=2) as freqtrade,
        anyio.create_task_group() as callers,
    ):
        callers.start_soon(freqtrade.open_trades)
        await reached.wait()
        with anyio.fail_after(2):
            assert await freqtrade.pairs() == ("BTC/USDT",)
            assert await freqtrade.exit(Exit(1, None, "market", None)) == Accepted(None)
        callers.cancel_scope.cancel()


async def test_a_full_pool_times_out_reads_and_leaves_orders_alone() -> None:
    """Reads beyond the pool wait no longer than their deadline; orders have their own way."""

    async def reads_hang(connection: Connection) -> None:
        if connection.path == "forceexit":
            await connection.answer(RESULT)
        else:
            await connection.hang()

    async with (
        rogue(reads_hang) as bot,
        connect(bot.url, timeout_s=0.5, pool_size=1) as freqtrade,
        anyio.create_task_group() as callers,
    ):
        for _ in range(3):
            callers.start_soon(code_of_read, freqtrade)
        assert await freqtrade.exit(Exit(1, None, "market", None)) == Accepted(None)
