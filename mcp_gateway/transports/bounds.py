"""What the wire itself bounds: the head of a request, in size and in time.

uvicorn's fast protocol bounds neither: a head that never ends fills the memory, and one that
never comes holds a connection for good. The door sees a request only when its head is whole.
"""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

LARGEST_HEAD_BYTES: Final = 65_536  # the door's own bound is half of it and says so politely
HEAD_DEADLINE_S: Final = 15.0

_TOO_LARGE: Final = b"HTTP/1.1 431 Request Header Fields Too Large\r\n"
_TOO_SLOW: Final = b"HTTP/1.1 408 Request Timeout\r\n"
_NO_MORE: Final = b"content-length: 0\r\nconnection: close\r\n\r\n"


class BoundedProtocol(HttpToolsProtocol):
    """uvicorn's httptools protocol with bounds on the head.

    Only callbacks of httptools and asyncio are extended; a test over a real socket fails the
    day an upgrade calls others.
    """

    head_deadline_s = HEAD_DEADLINE_S
    _head_bytes = 0
    _in_head = True
    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Begin to wait for the first head."""
        super().connection_made(transport)
        self._wait()

    def data_received(self, data: bytes) -> None:
        """Count what belongs to a head, and hang up where it has no end."""
        if self._in_head:
            self._head_bytes += len(data)
            self._wait()
        super().data_received(data)
        if self._in_head and self._head_bytes > LARGEST_HEAD_BYTES:
            self._hang_up(_TOO_LARGE)

    def on_headers_complete(self) -> None:
        """End the wait: from here on the door bounds what comes."""
        self._in_head = False
        self._relax()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Expect the next head on this connection."""
        self._in_head, self._head_bytes = True, 0
        super().on_message_complete()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the wait."""
        self._relax()
        super().connection_lost(exc)

    def _wait(self) -> None:
        if self._patience is None:
            self._patience = self.loop.call_later(self.head_deadline_s, self._lose_patience)

    def _relax(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _lose_patience(self) -> None:
        self._patience = None
        if self._is_answering():
            self._wait()  # the answer before it is still on its way: let it out first
        elif self._in_head:
            self._hang_up(_TOO_SLOW)

    def _hang_up(self, status_line: bytes) -> None:
        if self.transport.is_closing():
            return
        if not self._is_answering():
            self.transport.write(status_line + _NO_MORE)
        self.transport.close()

    def _is_answering(self) -> bool:
        cycle: Any = self.cycle  # None before the first head, whatever its type says
        return cycle is not None and not cycle.response_complete
