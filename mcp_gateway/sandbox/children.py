"""Processes that end with this one, however it ends."""

import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext, suppress
from pathlib import Path

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

LONGEST_LINE_BYTES = 65_536
STDERR = 2
GRACE_S = 10.0  # Freqtrade takes 2 s after SIGTERM


class Child:
    """A command under the watcher; its pid and its exit code are the command's own.

    Args:
        process: its stdin is the leash: closed, the watcher ends the whole process group.
    """

    def __init__(self, process: Process) -> None:
        self._process = process
        self._lines = BufferedByteReceiveStream(process.stdout) if process.stdout else None
        self.pid = process.pid

    @property
    def exit_code(self) -> int | None:
        """Its exit code (negative: the signal that ended it), None while it runs."""
        return self._process.returncode

    async def line(self) -> str | None:
        """Return the next line of its stdout, None at the end of it."""
        if self._lines is None:
            return None
        try:
            return (await self._lines.receive_until(b"\n", LONGEST_LINE_BYTES)).decode()
        except (anyio.IncompleteRead, anyio.DelimiterNotFound):
            return None

    async def wait(self) -> int:
        """Wait for its end and return the exit code."""
        return await self._process.wait()

    async def kill(self) -> None:
        """End it at once (SIGKILL)."""
        with suppress(ProcessLookupError):
            self._process.kill()
        await self.stop()

    async def stop(self) -> None:
        """End it in good order (SIGTERM), by force when it does not; harmless when it has ended."""
        with anyio.CancelScope(shield=True):
            if self.exit_code is None:
                with suppress(ProcessLookupError):
                    self._process.terminate()
                with anyio.move_on_after(GRACE_S):
                    await self._process.wait()
            if self.exit_code is None:
                with suppress(ProcessLookupError):
                    self._process.kill()
            await self._process.aclose()


async def start_child(
    command: Sequence[str | Path],
    *,
    folder: Path,
    environment: Mapping[str, str] | None,
    log: Path | None = None,
    talks: bool = False,
) -> Child:
    """Start a command under the watcher, in its own process group.

    Args:
        folder: its working folder.
        environment: None: all of ours.
        log: file, written anew, for what it says; None: where ``talks``, ``Child.line`` tells
            its stderr too, else all it says goes to our stderr, for our stdout is an answer.
        talks: its stdout is read by ``Child.line``.
    """
    watched = [sys.executable, "-m", "mcp_gateway.sandbox.watcher", *map(str, command)]
    unlogged = subprocess.STDOUT if talks else STDERR
    with log.open("wb") if log else nullcontext(unlogged) as messages:
        process = await anyio.open_process(
            watched,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE if talks else messages,
            stderr=messages,
            cwd=folder,
            env=environment,
            start_new_session=True,
        )
    return Child(process)
