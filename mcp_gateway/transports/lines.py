"""The lines of the stdio wire: bounded and checked before the SDK reads them.

The SDK reads standard input by itself: lines of any length, keys twice, a message that is none
without a word of answer. It takes ``sys.stdin`` and ``sys.stdout`` as it finds them, so what it
finds is laid here: the checks of the HTTP door on the way in, codes on every error on the way
out. What a library prints goes to standard error.
"""

import fcntl
import io
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any, Final

from mcp_gateway.errors import GatewayError, RequestTooLarge
from mcp_gateway.transports import body as bodies
from mcp_gateway.transports import rpc
from mcp_gateway.transports.faults import explained_message
from mcp_gateway.transports.refusals import rpc_refusal

STDIN, STDOUT, STDERR = 0, 1, 2
_SKIPPED_AT_ONCE: Final = 65_536


class Incoming(io.RawIOBase):
    """Good lines of a source; the bad ones are answered and left out.

    Args:
        limit_bytes: of one line; a longer one is never held in memory.
        refuse: takes the line that answers a bad one.
    """

    def __init__(
        self, source: IO[bytes], *, limit_bytes: int, refuse: Callable[[bytes], None]
    ) -> None:
        self._source = source
        self._limit_bytes = limit_bytes
        self._refuse = refuse
        self._pending = memoryview(b"")

    def readable(self) -> bool:
        """Tell that it can be read."""
        return True

    def readinto(self, buffer: Any, /) -> int:
        """Fill the buffer with what is next, waiting for it; 0 at the end."""
        if not self._pending:
            self._pending = memoryview(self._next())
        target = memoryview(buffer).cast("B")
        taken = min(len(target), len(self._pending))
        target[:taken] = self._pending[:taken]
        self._pending = self._pending[taken:]
        return taken

    def _next(self) -> bytes:
        """Return the next good line, empty at the end."""
        while line := self._source.readline(self._limit_bytes + 1):
            if len(line) > self._limit_bytes and not line.endswith(b"\n"):
                self._skip()
                self._refuse(rpc_refusal(self._too_large(), None))
            elif line.strip() and self._is_good(line):
                # White space to JSON, the end of a line to the SDK's reader.
                return line.rstrip(b"\r\n").replace(b"\r", b" ") + b"\n"
        return b""

    def _is_good(self, line: bytes) -> bool:
        message: dict[str, Any] = {}
        try:
            message = bodies.parse(line)
            rpc.check(message, awaits_answers=True)
        except GatewayError as error:
            self._refuse(rpc_refusal(error, rpc.usable_id(message)))
            return False
        return True

    def _skip(self) -> None:
        """Read to the end of a line without keeping it."""
        while part := self._source.readline(_SKIPPED_AT_ONCE):
            if part.endswith(b"\n"):
                return

    def _too_large(self) -> RequestTooLarge:
        return RequestTooLarge(
            f"The line is larger than {self._limit_bytes} bytes.",
            hint="Send a smaller message.",
            detail={"limit_bytes": self._limit_bytes},
        )


class Outgoing(io.RawIOBase):
    """Whole lines to a target, whoever writes them, each error of the SDK's in our words."""

    def __init__(self, target: IO[bytes]) -> None:
        self._target = target
        self._begun = b""
        self._lock = threading.Lock()

    def writable(self) -> bool:
        """Tell that it can be written."""
        return True

    def write(self, data: Any, /) -> int:
        """Take a part of a line, or of several; a line goes out when it is whole."""
        part = bytes(data)
        *whole, self._begun = (self._begun + part).split(b"\n")
        for line in whole:
            self.send(explained_message(line))
        return len(part)

    def send(self, line: bytes) -> None:
        """Write one line as it is."""
        with self._lock:
            self._target.write(line + b"\n")
            self._target.flush()


class _Prints(io.TextIOWrapper):
    """``sys.stdout`` to whoever prints, on standard error; the wire to whoever asks for bytes."""

    def __init__(self, wire: Any) -> None:
        super().__init__(io.FileIO(STDERR, "w", closefd=False), write_through=True)
        self._wire = wire

    @property
    def buffer(self) -> Any:
        """What the SDK takes."""
        return self._wire


class _Reads(io.TextIOWrapper):
    """``sys.stdin`` to whoever reads text: empty; the wire to whoever asks for bytes."""

    def __init__(self, wire: Any) -> None:
        super().__init__(io.BytesIO())
        self._wire = wire

    @property
    def buffer(self) -> Any:
        """What the SDK takes."""
        return self._wire


@contextmanager
def checked_lines(limit_bytes: int) -> Iterator[None]:
    """Take standard input and output for the protocol for as long as the context lasts.

    Children and strays read nothing and print to standard error. The SDK serves in place a
    ``sys.stdin`` and ``sys.stdout`` that are not the process's own descriptors.
    """
    # Never closed: a thread may still wait for input on it when the server has ended.
    private_in, private_out = _above_standard(STDIN), _above_standard(STDOUT)
    before = sys.stdin, sys.stdout
    sys.stdout.flush()
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a device, no file of ours
        os.dup2(nothing.fileno(), STDIN)
    os.dup2(STDERR, STDOUT)
    outgoing = Outgoing(os.fdopen(private_out, "wb", closefd=False))
    source = os.fdopen(private_in, "rb", closefd=False)
    incoming = Incoming(source, limit_bytes=limit_bytes, refuse=outgoing.send)
    sys.stdin, sys.stdout = _Reads(incoming), _Prints(outgoing)
    try:
        yield
    finally:
        sys.stdin, sys.stdout = before
        os.dup2(private_in, STDIN)
        os.dup2(private_out, STDOUT)


def _above_standard(descriptor: int) -> int:
    return fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, STDERR + 1)
