"""A TCP proxy between the gateway's client and a bot, which spoils an order call as it is told.

Reads pass; each order and each cancel takes the next fault, if there is one.
"""

from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final

import anyio
from anyio.abc import SocketStream

from tests.support.rogue import Connection, rogue

DRIP_S: Final = 0.01
HEAD_END: Final = b"\r\n\r\n"
NOISE: Final = (
    b"SSH-2.0-OpenSSH_9.9\r\n\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n\x00\xff\x17ok\r\n",
    b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    b'HTTP/1.1 200 OK\r\ncontent-length: 15\r\n\r\n{"trade_id": 1}',
    b"HTTP/1.1 204 No Content\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nlocation: /api/v1/forceenter\r\ncontent-length: 0\r\n\r\n",
    b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 13\r\n\r\n<html></html>",
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 11\r\n\r\nno upstream",
    b"HTTP/1.1 404 Not Found\r\ncontent-length: 9\r\n\r\nnot found",
)


@dataclass(frozen=True, slots=True)
class WireFault:
    """What happens to one order call; ``moment`` (0 to 1) is where in its bytes it happens."""

    name: str
    moment: float = 0.5


@dataclass
class Proxy:
    """What passed, and what is still to go wrong.

    ``orders`` are the order calls that the client made, in its words; ``broken_reads`` is
    how many reads are reset once a fault has struck.
    """

    upstream_port: int
    url: str = ""
    faults: deque[WireFault] = field(default_factory=deque)
    orders: list[str] = field(default_factory=list)
    struck: list[str] = field(default_factory=list)
    broken_reads: int = 0
    released: anyio.Event = field(default_factory=anyio.Event)
    _under_way: int = 0
    _news: anyio.Event = field(default_factory=anyio.Event)

    def release(self) -> None:
        """Let a request go on to the bot that ``held`` has kept back."""
        self.released.set()

    async def settled(self) -> None:
        """Wait until the bot has answered all that was sent on to it."""
        while self._under_way:
            self._news = anyio.Event()
            await self._news.wait()

    async def serve(self, connection: Connection) -> None:
        """Carry one request to the bot and its answer back, or what a fault makes of them."""
        if connection.method == "GET":
            if self.struck and self.broken_reads:
                self.broken_reads -= 1
                await connection.reset()
            else:
                await self._pass(connection, 0)
            return
        self.orders.append(f"{connection.method} {connection.path}")
        if not self.faults:
            await self._pass(connection, 0)
            return
        fault = self.faults.popleft()
        self.struck.append(fault.name)
        await FAULTS[fault.name](self, connection, fault.moment)

    async def _pass(self, connection: Connection, _moment: float) -> None:
        await connection.send(await self._forwarded(connection.request))
        await connection.end()

    async def _reset_before(self, connection: Connection, _moment: float) -> None:
        await connection.reset()

    async def _reset_in_request(self, connection: Connection, moment: float) -> None:
        whole = connection.request
        with self._counted():
            async with await anyio.connect_tcp("127.0.0.1", self.upstream_port) as bot:
                await bot.send(whole[: _cut(whole, moment)])
        await connection.reset()

    async def _reset_after_request(self, connection: Connection, _moment: float) -> None:
        with self._counted():
            async with await anyio.connect_tcp("127.0.0.1", self.upstream_port) as bot:
                await bot.send(_closing(connection.request))
                await connection.reset()
                await _to_the_end(bot)

    async def _reset_after_headers(self, connection: Connection, _moment: float) -> None:
        answer = await self._forwarded(connection.request)
        await connection.send(answer[: answer.index(HEAD_END) + len(HEAD_END)])
        await connection.reset()

    async def _truncated(self, connection: Connection, moment: float) -> None:
        answer = await self._forwarded(connection.request)
        start = answer.index(HEAD_END) + len(HEAD_END)
        await connection.send(answer[: start + _cut(answer[start:], moment)])
        await connection.end()

    async def _slow_drip(self, connection: Connection, _moment: float) -> None:
        answer = await self._forwarded(connection.request)
        for place in range(len(answer)):
            await connection.send(answer[place : place + 1])
            await anyio.sleep(DRIP_S)

    async def _half_open(self, connection: Connection, _moment: float) -> None:
        await self._forwarded(connection.request)
        await connection.hang()

    async def _half_answered(self, connection: Connection, moment: float) -> None:
        answer = await self._forwarded(connection.request)
        await connection.send(answer[: _cut(answer, moment)])
        await connection.hang()

    async def _delayed(self, connection: Connection, _moment: float) -> None:
        answer = await self._forwarded(connection.request)
        await connection.hang()  # until the client's deadline has passed
        await connection.send(answer)

    async def _held(self, connection: Connection, _moment: float) -> None:
        with self._counted():
            await connection.hang()
            await self.released.wait()
            await self._forwarded(connection.request)

    async def _garbage(self, connection: Connection, moment: float) -> None:
        await self._forwarded(connection.request)
        await connection.send(NOISE[int(moment * len(NOISE)) % len(NOISE)])
        await connection.end()

    async def _duplicate(self, connection: Connection, _moment: float) -> None:
        answer = await self._forwarded(connection.request)
        await connection.send(answer + answer)
        await connection.end()

    async def _forwarded(self, request: bytes) -> bytes:
        """Return the bot's answer, whole; the bot carries the request out whoever listens."""
        answer = b""
        with self._counted(), anyio.CancelScope(shield=True):
            async with await anyio.connect_tcp("127.0.0.1", self.upstream_port) as bot:
                await bot.send(_closing(request))
                answer = await _to_the_end(bot)
        return answer

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1
            self._news.set()


FAULTS: Final[dict[str, Callable[[Proxy, Connection, float], Awaitable[None]]]] = {
    "none": Proxy._pass,
    "reset_before": Proxy._reset_before,
    "reset_in_request": Proxy._reset_in_request,
    "reset_after_request": Proxy._reset_after_request,
    "reset_after_headers": Proxy._reset_after_headers,
    "truncated": Proxy._truncated,
    "slow_drip": Proxy._slow_drip,
    "half_open": Proxy._half_open,
    "half_answered": Proxy._half_answered,
    "delayed": Proxy._delayed,
    "held": Proxy._held,
    "garbage": Proxy._garbage,
    "duplicate": Proxy._duplicate,
}


@asynccontextmanager
async def proxied(upstream_port: int) -> AsyncIterator[Proxy]:
    """Stand between a client and the bot on a port, for as long as the block lasts."""
    proxy = Proxy(upstream_port)
    async with rogue(proxy.serve) as front:
        proxy.url = front.url
        yield proxy


def _cut(whole: bytes, moment: float) -> int:
    """Return a place in the bytes, neither before the first nor after the last."""
    return 1 + int(moment * (len(whole) - 2))


def _closing(request: bytes) -> bytes:
    """Return the request with the wish that its answer be the connection's last."""
    first, _, rest = request.partition(b"\r\n")
    head, _, body = rest.partition(HEAD_END)
    kept = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"connection:")]
    return b"\r\n".join([first, b"connection: close", *kept]) + HEAD_END + body


async def _to_the_end(stream: SocketStream) -> bytes:
    answer = b""
    async for part in stream:
        answer += part
    return answer
