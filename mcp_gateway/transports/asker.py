"""Whoever asks at the control socket: which account it is, and whether it still waits.

A gateway may stand still between a question and its answer: a process that is stopped, a machine
that stalls. By then the command has told its person that it got no answer, and what it asked for
must not be done behind that person's back. So a question says until when it counts, and nothing
is done for an asker that has hung up.
"""

import os
import pwd
import socket
import struct
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from mcp_gateway.clock import Clock
from mcp_gateway.errors import RequestTimeout

_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid: unix(7), SO_PEERCRED


@dataclass(frozen=True, slots=True)
class Asker:
    """One command at the other end of the wire.

    Args:
        account: who runs it, by the system's word.
        until_ms: Unix time in milliseconds up to which it waits, by the clock that two processes
            of one machine share; None: it does not say.
        wire: the connection, not blocking.
    """

    account: str
    until_ms: int | None
    wire: socket.socket

    def must_wait(self) -> None:
        """Refuse what nobody waits for any more; nothing is done yet.

        Raises:
            RequestTimeout: ``asked_too_late``.
        """
        is_over = self.until_ms is not None and unix_now_ms() > self.until_ms
        if is_over or self._has_hung_up():
            raise RequestTimeout(
                "The command no longer waits for an answer; nothing was done.",
                code="asked_too_late",
                hint="Give the command again.",
            )

    def _has_hung_up(self) -> bool:
        with suppress(BlockingIOError, InterruptedError):  # it is there, and says nothing more
            try:
                return not self.wire.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT)
            except ConnectionError:
                return True
        return False


def unix_now_ms() -> int:
    """Return the time that a question's end is told in: the system's, whatever clock one keeps."""
    return int(Clock().now().timestamp() * 1000)


def account_at(wire: socket.socket) -> str:
    """Return the account at the other end of a Unix socket, by the kernel's word."""
    if not hasattr(socket, "SO_PEERCRED"):  # elsewhere than on Linux
        return account_name(os.getuid())  # the mode lets in nobody else
    told = wire.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _pid, uid, _gid = _CREDENTIALS.unpack(told)
    return account_name(uid)


def account_name(uid: int) -> str:
    """Return the name of an account, or its number where it has none, as in a container."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"
