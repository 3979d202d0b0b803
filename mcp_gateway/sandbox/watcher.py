"""Run a command that cannot outlive the process that started it.

``python -m mcp_gateway.sandbox.watcher [--grace S] COMMAND …``, with stdin the read end of
a pipe whose write end the starter holds. The process becomes the command itself, so its pid
and exit code are the command's; a guard is left behind that waits for the pipe to close,
as it does however the starter ends, and then ends the command's whole process group.

Standard library only: it must be quick, and it stands between a fork and an exec.
"""

import argparse
import contextlib
import os
import signal
import sys
import threading
from typing import NoReturn

GRACE_S = 8.0  # Freqtrade takes 2 s after SIGTERM
LOOK_S = 0.05
STDIN, STDOUT, STDERR = 0, 1, 2


def main(arguments: list[str]) -> NoReturn:
    """Leave a guard behind and become the command."""
    parser = argparse.ArgumentParser(prog="mcp_gateway.sandbox.watcher")
    parser.add_argument("--grace", type=float, default=GRACE_S)
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    if not options.command:
        parser.error("which command?")
    if os.getpgrp() != os.getpid():
        os.setpgid(0, 0)
    group = os.getpid()
    if os.fork() == 0:
        _guard(group, options.grace)
    _replace(STDIN)
    try:
        os.execvp(options.command[0], options.command)  # noqa: S606 - the command is the caller's
    except OSError as error:
        sys.exit(f"{options.command[0]}: {error.strerror}")


def _guard(group: int, grace_s: float) -> NoReturn:
    """Wait for the starter's end, then end the group; never returns into the command."""
    os.setsid()  # out of the group that it will end, and off the terminal's signals
    _replace(STDOUT)
    _replace(STDERR)
    while os.read(STDIN, 1024):
        pass
    _end(group, grace_s)
    os._exit(0)


def _end(group: int, grace_s: float) -> None:
    pause = threading.Event()
    with contextlib.suppress(ProcessLookupError, PermissionError):  # the group is gone already
        os.killpg(group, signal.SIGTERM)
        for _ in range(round(grace_s / LOOK_S)):
            pause.wait(LOOK_S)
            os.killpg(group, 0)
        os.killpg(group, signal.SIGKILL)


def _replace(descriptor: int) -> None:
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, descriptor)
    os.close(nothing)


if __name__ == "__main__":
    main(sys.argv[1:])
