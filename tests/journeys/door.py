"""A door between gateway and bot: what passes has its time, and a shut one makes connecting slow.

An entry that was let through by the rules leaves a few milliseconds later: too few to hit them
with a halt. A shut door makes a second of them, with nothing changed in the gateway: the
kernel drops the first packet of a new connection, and the gateway's own sends it again.
"""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import anyio
from anyio.abc import SocketStream, TaskGroup

from tests.support.proxy import Proxy
from tests.support.rogue import Connection

AGAIN_S = 1.0  # when Linux sends the first packet again
FILLED_S = 0.2
LOOK_S = 0.005
BACKLOG = 128
CLOSES, STAYS = b"\r\nConnection: close\r\n", b"\r\nConnection: keep-alive\r\n"


@dataclass(kw_only=True)
class Door(Proxy):
    """Passes everything on, and notes each order call with the moment at which it came.

    That is when this thread last looked, a few milliseconds before the call was whole. On a
    machine that let the thread wait it is longer ago: what came may have come right then.
    """

    listening: socket.socket
    tasks: TaskGroup
    came: list[tuple[str, float]] = field(default_factory=list)
    _place: socket.socket | None = None
    _looked_at: float = 0.0

    def times(self, path: str) -> list[float]:
        """Return when calls of a kind came (``time.monotonic``)."""
        return [at for one, at in self.came if one == path]

    def open(self) -> None:
        """Let connections in; those that were kept waiting come when they knock again."""
        if self._place is not None:
            self._place.close()
            self._place = None
        self.listening.listen(BACKLOG)
        asyncio.get_running_loop().add_reader(self.listening, self._let_in)

    def shut(self) -> None:
        """Let no new connection in; those that stand go on.

        The queue of the socket has one place left, and that is taken here: had anybody else
        taken it, who would be connected without being heard, we would not get it.
        """
        asyncio.get_running_loop().remove_reader(self.listening)
        self.listening.listen(0)
        while self._place is None:
            self._let_in()
            with suppress(TimeoutError):
                self._place = socket.create_connection(self.listening.getsockname(), FILLED_S)

    async def look(self) -> None:
        """Keep the time until cancelled."""
        while True:
            self._looked_at = time.monotonic()
            await anyio.sleep(LOOK_S)

    def _let_in(self) -> None:
        with suppress(BlockingIOError):
            while True:
                self.tasks.start_soon(self._converse, self.listening.accept()[0])

    async def _converse(self, accepted: socket.socket) -> None:
        async with await SocketStream.from_socket(accepted) as stream:
            connection = Connection(0, stream)
            with suppress(anyio.IncompleteRead, anyio.BrokenResourceError):
                while True:
                    await connection.next_request()
                    await self.serve(connection)

    async def serve(self, connection: Connection) -> None:
        """Pass one call; reads keep their connection, so that a shut door does not stop them."""
        if connection.method == "POST":
            self.came.append((connection.path, self._looked_at))
        answer = await self._forwarded(connection.request)
        await connection.send(answer.replace(CLOSES, STAYS, 1))


@asynccontextmanager
async def door_before(port: int) -> AsyncIterator[Door]:
    """Stand, open, before a bot on a port; asyncio only."""
    with socket.socket() as listening:
        listening.setblocking(False)
        listening.bind(("127.0.0.1", 0))
        async with anyio.create_task_group() as tasks:
            url = f"http://127.0.0.1:{listening.getsockname()[1]}"
            door = Door(port, url, listening=listening, tasks=tasks)
            door.open()
            tasks.start_soon(door.look)
            try:
                yield door
            finally:
                door.open()
                asyncio.get_running_loop().remove_reader(listening)
                tasks.cancel_scope.cancel()
