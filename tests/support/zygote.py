"""Gateway processes that start in no time: one process imports everything and forks the rest.

Each is a process of its own, with its own pid, sockets and store; only the second and a half
of imports is shared. Started as ``python -m tests.support.zygote DESCRIPTOR``, where the
descriptor is a socket; with that socket's other end, it and all its processes end.
"""

import asyncio
import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio

ROOT: Final = Path(__file__).resolve().parents[2]
LARGEST_ORDER: Final = 65536
PATIENCE_S: Final = 60.0
# What a gateway imports only when it serves.
MODULES: Final = (
    "alembic.command", "anyio._backends._asyncio", "httpcore2._async.http11",
    "mcp_gateway.cli.main", "mcp_gateway.cli.control.verbs", "mcp_gateway.cli.serve",
    "mcp_gateway.orders.books", "mcp_gateway.orders.records", "mcp_gateway.transports.http",
    "psycopg.pq", "sqlalchemy.dialects.postgresql.psycopg", "sqlalchemy.dialects.sqlite.pysqlite",
    "tests.support.failpoints", "uvicorn.lifespan.on", "uvicorn.loops.asyncio",
)  # fmt: skip


@dataclass
class Forked:
    """``mcp-gateway serve`` in a forked process.

    ``code`` is what it ended with, a signal as a negative number; ``log`` what it has said on
    stderr so far.
    """

    pid: int
    log: list[str] = field(default_factory=list)
    url: str = ""
    code: int | None = None
    listens: anyio.Event = field(default_factory=anyio.Event)
    silent: anyio.Event = field(default_factory=anyio.Event)
    ended: anyio.Event = field(default_factory=anyio.Event)

    def kill(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send it a signal, unless it has ended."""
        if self.code is None:
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(self.pid, number)

    async def end(self) -> int:
        """Wait for its end and return its code; all that it said is in the log then."""
        with anyio.fail_after(PATIENCE_S):
            await self.ended.wait()
            await self.silent.wait()
        assert self.code is not None
        return self.code

    async def listening(self) -> bool:
        """Wait until it listens, and tell whether it does; it may have ended before."""
        with anyio.fail_after(PATIENCE_S):
            await self.listens.wait()
        return bool(self.url)

    async def listen(self, stderr: int) -> None:
        """Read what it says until nobody is left to say anything."""
        reader = asyncio.StreamReader(limit=1 << 20)
        loop = asyncio.get_running_loop()
        protocol = asyncio.StreamReaderProtocol(reader)
        transport, _ = await loop.connect_read_pipe(lambda: protocol, os.fdopen(stderr, "rb"))
        try:
            while line := (await reader.readline()).decode():
                self.log.append(line.rstrip("\n"))
                if '"Listening"' in line:
                    self.url = json.loads(line)["url"]
                    self.listens.set()
        finally:
            transport.close()
            self.listens.set()
            self.silent.set()


class Zygote:
    """The process that forks, seen from the one that gives the orders."""

    def __init__(self, control: socket.socket, tasks: anyio.abc.TaskGroup) -> None:
        self._control = control
        self._tasks = tasks
        self._turn = anyio.Lock()
        self._told: list[int] = []
        self._news = anyio.Event()
        self._running: dict[int, Forked] = {}

    async def serve(
        self, folder: Path, env: Mapping[str, str], failpoint: tuple[str, int] | None = None
    ) -> Forked:
        """Start ``mcp-gateway serve`` on a free port.

        Args:
            failpoint: where it ends by itself, and at which passage.
        """
        read, write = os.pipe()
        order = {"folder": str(folder), "env": dict(env), "failpoint": failpoint}
        async with self._turn:
            socket.send_fds(self._control, [json.dumps(order).encode()], [write])
            os.close(write)
            with anyio.fail_after(PATIENCE_S):
                while not self._told:
                    self._news = anyio.Event()
                    await self._news.wait()
            child = self._running[self._told.pop()]
        self._tasks.start_soon(child.listen, read)
        return child

    def heard(self) -> None:
        """Take in what the zygote says: a process has begun, or has ended."""
        try:
            told = json.loads(self._control.recv(LARGEST_ORDER))
        except BlockingIOError:
            return
        if "began" in told:
            self._running[told["began"]] = Forked(told["began"])
            self._told.append(told["began"])
            self._news.set()
        else:
            child = self._running.pop(told["ended"])
            child.code = told["code"]
            child.ended.set()


@asynccontextmanager
async def zygote() -> AsyncIterator[Zygote]:
    """Run a zygote for as long as the block lasts; asyncio only."""
    process, ours = _begun()
    loop = asyncio.get_running_loop()
    try:
        async with anyio.create_task_group() as tasks:
            parent = Zygote(ours, tasks)
            ours.setblocking(False)
            loop.add_reader(ours, parent.heard)
            try:
                yield parent
            finally:
                loop.remove_reader(ours)
                ours.close()
    finally:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(process.wait)


def _begun() -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.zygote", str(theirs.fileno())],
            cwd=ROOT, pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
        )  # fmt: skip
    return process, ours


class _Nursery:
    """The zygote's own side."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._children: set[int] = set()
        self._woken, self._waker = socket.socketpair()

    def run(self) -> None:
        """Fork what is ordered and tell what ends, until the other side is gone."""
        self._woken.setblocking(False)
        self._waker.setblocking(False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self._waker.fileno())
        with selectors.DefaultSelector() as events:
            events.register(self._control, selectors.EVENT_READ)
            events.register(self._woken, selectors.EVENT_READ)
            while self._serve({key.fileobj for key, _ in events.select()}):
                pass
        for pid in self._children:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

    def _serve(self, ready: set[Any]) -> bool:
        if self._woken in ready:
            self._woken.recv(LARGEST_ORDER)
            self._tell_ends()
        if self._control not in ready:
            return True
        order, descriptors, *_ = socket.recv_fds(self._control, LARGEST_ORDER, 1)
        if order:
            self._fork(json.loads(order), descriptors[0])
        return bool(order)

    def _tell_ends(self) -> None:
        for pid in list(self._children):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                self._children.discard(pid)
                code = os.waitstatus_to_exitcode(status)
                with contextlib.suppress(OSError):  # nobody wants to know any more
                    self._control.send(json.dumps({"ended": pid, "code": code}).encode())

    def _fork(self, order: dict[str, Any], stderr: int) -> None:
        pid = os.fork()
        if pid == 0:
            self._become_a_gateway(order, stderr)
        os.close(stderr)
        self._children.add(pid)
        self._control.send(json.dumps({"began": pid}).encode())

    def _become_a_gateway(self, order: dict[str, Any], stderr: int) -> None:
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for ours in (self._control, self._woken, self._waker):
                ours.close()
            os.dup2(stderr, 1)
            os.dup2(stderr, 2)
            os.close(stderr)
            os.environ.clear()
            os.environ.update(order["env"])
            os.chdir(order["folder"])
            code = _serve(order["failpoint"])
        except BaseException:  # noqa: BLE001  (a child must never return into its parent's loop)
            sys.excepthook(*sys.exc_info())
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)


def _serve(failpoint: tuple[str, int] | None) -> int:
    from mcp_gateway.cli.main import run  # noqa: PLC0415  (the other side needs none of it)
    from tests.support import failpoints  # noqa: PLC0415  (the same)

    failpoints.hurry()
    if failpoint is not None:
        failpoints.arm(*failpoint)
    return run(["serve", "--port", "0"])


if __name__ == "__main__":
    for module in MODULES:
        importlib.import_module(module)
    gc.collect()
    gc.freeze()
    _Nursery(socket.socket(fileno=int(sys.argv[1]))).run()
