"""Standard input and output as the bridge's wire: lines in, lines out, and nothing else on it."""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final, Self

import anyio

CHUNK_BYTES: Final = 65_536
LONGEST_LINE_BYTES: Final = 4 * 1024 * 1024


class Pipe:
    """Two file descriptors, line by line.

    Args:
        read_from: a pipe, a terminal or a file.
    """

    def __init__(self, read_from: int, write_to: int) -> None:
        self._read_from = read_from
        self._write_to = write_to
        self._one_at_a_time = anyio.Lock()

    @classmethod
    def standard(cls) -> Self:
        """Take standard input and output for the protocol.

        Whatever else is printed from then on goes to standard error: one stray line would break
        the app's end of the wire.
        """
        sys.stdout.flush()
        pipe = cls(os.dup(sys.stdin.fileno()), os.dup(sys.stdout.fileno()))
        os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
        return pipe

    async def lines(self) -> AsyncIterator[bytes | None]:
        """Yield every line without its end, None for one that is too long, until the input ends."""
        kept, skipping = bytearray(), False
        while chunk := await self._chunk():
            *whole, rest = chunk.split(b"\n")
            for part in whole:
                kept += part
                if skipping or len(kept) > LONGEST_LINE_BYTES:
                    yield None
                else:
                    yield bytes(kept)
                kept.clear()
                skipping = False
            kept += rest
            if len(kept) > LONGEST_LINE_BYTES:
                kept.clear()
                skipping = True
        if kept and not skipping:
            yield bytes(kept)

    async def write(self, line: bytes) -> None:
        """Write one line; the whole of it, whoever hangs up meanwhile."""
        async with self._one_at_a_time:
            await anyio.to_thread.run_sync(self._write_all, line + b"\n")

    async def _chunk(self) -> bytes:
        with suppress(
            PermissionError
        ):  # a file, or /dev/null: epoll takes neither, nor is it needed
            await anyio.wait_readable(self._read_from)
        return os.read(self._read_from, CHUNK_BYTES)

    def _write_all(self, line: bytes) -> None:
        rest = memoryview(line)
        while rest:
            rest = rest[os.write(self._write_to, rest) :]
