"""The server that carries the door: ports, readiness, failure at start, and a clean end."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import pytest

from mcp_gateway.transports.http import CannotListen, Lifespan, bound
from mcp_gateway.transports.requests import ASGIApp, Message
from tests.support.gateway import JWT_SECRET

pytestmark = [pytest.mark.integration, pytest.mark.anyio]


def test_a_busy_port_is_told_in_words() -> None:
    """Before anything is opened, so that no gateway starts for nothing."""
    with socket.create_server(("127.0.0.1", 0)) as other, pytest.raises(CannotListen) as caught:
        bound("127.0.0.1", other.getsockname()[1])
    assert caught.value.code == "port_busy"


def test_an_address_of_another_machine_is_told_in_words() -> None:
    """TEST-NET-1 (RFC 5737) is nobody's address."""
    with pytest.raises(CannotListen) as caught:
        bound("192.0.2.1", 0)
    assert caught.value.code == "listen_failed"


async def test_a_gateway_that_does_not_open_fails_the_start() -> None:
    """The server is told, and the failure is kept for whoever called serve."""

    async def store() -> None:
        raise CannotListen("No.")

    @asynccontextmanager
    async def opener() -> AsyncIterator[ASGIApp]:
        await store()
        yield Lifespan(opener)

    app, sent = Lifespan(opener), []

    async def receive() -> Message:
        return {"type": "lifespan.startup"}

    async def send(message: Message) -> None:
        sent.append(message["type"])

    await app({"type": "lifespan"}, receive, send)
    assert sent == ["lifespan.startup.failed"]
    assert isinstance(app.failure, CannotListen)


async def test_a_gateway_that_collapses_stops_the_server() -> None:
    """A server without its gateway would answer nonsense."""

    @asynccontextmanager
    async def opener() -> AsyncIterator[ASGIApp]:
        async with anyio.create_task_group() as group:

            async def collapse() -> None:
                raise RuntimeError

            group.start_soon(collapse)
            yield Lifespan(opener)

    stopped = anyio.Event()
    app, sent = Lifespan(opener), []
    app.when_lost = stopped.set
    first = [{"type": "lifespan.startup"}]

    async def receive() -> Message:
        if first:
            return first.pop()
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message["type"])

    with anyio.fail_after(5):
        await app({"type": "lifespan"}, receive, send)
    assert stopped.is_set()
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.failed"]


@pytest.mark.parametrize("caught", [signal.SIGTERM, signal.SIGINT])
def test_serve_answers_on_a_free_port_and_ends_cleanly(
    tmp_path: Path, caught: signal.Signals
) -> None:
    """Port 0, the real URL in the log, exit 0 after a signal, no socket left behind."""
    with started(tmp_path, "--port", "0") as process:
        url = ready_url(process)
        port = int(url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=5) as wire:
            wire.sendall(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            assert wire.recv(4096).startswith(b"HTTP/1.1 200 ")
        assert (tmp_path / "data" / "control.sock").exists()
        process.send_signal(caught)
        assert process.wait(20) == 0
    assert not (tmp_path / "data" / "control.sock").exists()


def test_serve_on_a_busy_port_exits_one_with_its_code(tmp_path: Path) -> None:
    """Exit codes: 1 failed, 2 misuse or configuration."""
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with started(tmp_path, "--port", str(port)) as process:
            _, told = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "port_busy" in told
    assert "Traceback" not in told


def test_a_second_serve_on_one_store_exits_one_and_says_who_holds_it(tmp_path: Path) -> None:
    """SQLite belongs to one process; what wraps the refusal on its way out is taken off."""
    with started(tmp_path, "--port", "0") as first:
        ready_url(first)
        with started(tmp_path, "--port", "0") as second:
            _, told = second.communicate(timeout=20)
        assert second.returncode == 1
        assert "store_held" in told
        assert "Traceback" not in told
        assert first.poll() is None


def test_serve_without_a_secret_exits_two_and_names_it(tmp_path: Path) -> None:
    """Before anything starts, by the variable's name."""
    with started(tmp_path, environment={"JWT_SECRET": ""}) as process:
        _, told = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "JWT_SECRET" in told


STUBBORN = """
import asyncio
from mcp_gateway.settings import Settings
from mcp_gateway.transports import http

async def stay():
    while True:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

def ready(url):
    kept.append(asyncio.get_running_loop().create_task(stay()))
    print("ready", flush=True)

kept = []
http.serve(Settings.load("serve", port=0), on_ready=ready)
"""


def test_work_that_cannot_be_cancelled_does_not_hold_the_process(tmp_path: Path) -> None:
    """After the drain nothing is worth waiting for; a supervisor waits for the exit."""
    with run([sys.executable, "-c", STUBBORN], tmp_path) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0


def started(
    folder: Path, *arguments: str, environment: dict[str, str] | None = None
) -> AbstractContextManager[subprocess.Popen[str]]:
    """Run ``mcp-gateway serve`` in a folder of its own, before a bot that is not there."""
    command = [sys.executable, "-m", "mcp_gateway.cli.main", "serve", *arguments]
    return run(command, folder, environment)


@contextmanager
def run(
    command: list[str], folder: Path, environment: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[str]]:
    """Run a program and end it, whatever the test found."""
    told = {
        "PATH": os.environ["PATH"], "JWT_SECRET": JWT_SECRET, "LOG_LEVEL": "INFO",
        "MCP_GATEWAY_DATA_DIR": str(folder / "data"), "FREQTRADE_URL": "http://127.0.0.1:9",
    }  # fmt: skip
    process = subprocess.Popen(
        command, cwd=folder, env=told | (environment or {}), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            process.kill()


def ready_url(process: subprocess.Popen[str]) -> str:
    """Return the URL that the server says it listens at."""
    assert process.stderr is not None
    for line in process.stderr:
        told = json.loads(line)
        if told["message"] == "Listening":
            return str(told["url"])
    raise AssertionError("the server ended before it listened")
