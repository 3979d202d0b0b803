"""The raw pipe of a stdio server: lines in, lines out, nothing of an SDK between."""

import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from subprocess import PIPE
from typing import Any

import anyio
import orjson
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

LONGEST_LINE_BYTES = 4 * 1024 * 1024
PATIENCE_S = 30.0
HANDSHAKE: dict[str, Any] = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "tests", "version": "1"},
}


class Pipe:
    """A running server; every line that it wrote on stdout is kept as it came."""

    def __init__(self, process: Process, errors: Path) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process = process
        self.lines: list[bytes] = []
        self._errors = errors
        self._stdin = process.stdin
        self._stdout = BufferedByteReceiveStream(process.stdout)
        self._answers: dict[int, Any] = {}
        self._last_id = 0

    @property
    def stderr(self) -> str:
        """What it has said on stderr so far."""
        return self._errors.read_text()

    async def write(self, line: bytes) -> None:
        """Send one line as it is."""
        await self._stdin.send(line + b"\n")

    async def send(self, method: str, params: Any = None) -> int:
        """Send a request and return its id."""
        self._last_id += 1
        message = {"jsonrpc": "2.0", "id": self._last_id, "method": method}
        await self.write(orjson.dumps(message | ({} if params is None else {"params": params})))
        return self._last_id

    async def answer(self, request_id: int) -> Any:
        """Return the whole answer to a request, keeping what comes in between."""
        with anyio.fail_after(PATIENCE_S):
            while request_id not in self._answers:
                told = await self._told()
                if "id" in told:
                    self._answers[told["id"]] = told
        return self._answers.pop(request_id)

    async def ask(self, method: str, params: Any = None) -> Any:
        """Send a request and return its result, or its error."""
        told = await self.answer(await self.send(method, params))
        return told["result"] if "result" in told else told["error"]

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool and return its structured content."""
        result = await self.ask("tools/call", {"name": tool, "arguments": arguments})
        content: dict[str, Any] = result["structuredContent"]
        return content

    async def shake_hands(self) -> Any:
        """Initialize the session as a client of the handshake era does."""
        told = await self.ask("initialize", HANDSHAKE)
        await self.write(b'{"jsonrpc":"2.0","method":"notifications/initialized"}')
        return told

    async def hang_up(self) -> None:
        """Close its standard input."""
        await self._stdin.aclose()

    async def wait(self) -> int:
        """Read what it still has to say, wait for its end and return the exit code."""
        with anyio.fail_after(PATIENCE_S):
            try:
                while True:
                    await self._told()
            except anyio.IncompleteRead:
                return await self.process.wait()

    async def _told(self) -> dict[str, Any]:
        line = await self._stdout.receive_until(b"\n", LONGEST_LINE_BYTES)
        self.lines.append(line)
        told: dict[str, Any] = orjson.loads(line)
        return told


@asynccontextmanager
async def piped(*command: str, folder: Path, env: Mapping[str, str]) -> AsyncIterator[Pipe]:
    """Run a command of ``mcp-gateway`` on a pipe for as long as the block lasts."""
    errors = folder / "stderr.log"
    with errors.open("wb") as stderr:
        process = await anyio.open_process(
            [sys.executable, "-m", "mcp_gateway", *command],
            stdin=PIPE, stdout=PIPE, stderr=stderr, cwd=folder, env=dict(env),
        )  # fmt: skip
    try:
        yield Pipe(process, errors)
    finally:
        with anyio.CancelScope(shield=True):
            if process.returncode is None:
                process.kill()
            await process.aclose()
