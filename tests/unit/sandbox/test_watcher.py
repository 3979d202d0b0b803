"""No child outlives the process that started it."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest

pytestmark = [pytest.mark.integration]

LONG_S = 30.0
WATCHER = [sys.executable, "-m", "mcp_gateway.sandbox.watcher"]

# A parent that starts a shell under the watcher; the shell starts a child of its own, and
# every one of them holds the write end of the test's pipe (descriptor in argv).
PARENT = """
import subprocess, sys
pipe, *watched = sys.argv[1:]
child = subprocess.Popen(watched, stdin=subprocess.PIPE, pass_fds=[int(pipe)])
print(child.pid, flush=True)
child.wait()
"""
OBEDIENT = "sleep 1000 & echo ready; wait"
STUBBORN = "trap '' TERM; sleep 1000 & echo ready; wait; wait; sleep 1000"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe whose read end sees the end once nobody is left who holds the write end."""
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        with suppress(OSError):
            os.close(descriptor)


def start_parent(writer: int, *watched: str) -> tuple[subprocess.Popen[bytes], int]:
    """Start the parent and return it with the pid of its child, once the child runs."""
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(writer), *watched],
        stdout=subprocess.PIPE,
        pass_fds=[writer],
    )
    os.close(writer)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert parent.stdout.readline() == b"ready\n"
    return parent, pid


def all_gone(reader: int) -> bool:
    """Wait until no process holds the pipe any more; False when one still does."""
    readable, _, _ = select.select([reader], [], [], LONG_S)
    return bool(readable) and os.read(reader, 1) == b""


def test_all_are_gone_when_the_parent_is_killed(pipe: tuple[int, int]) -> None:
    """SIGKILL leaves the parent no chance to clean up; the guard ends the whole group."""
    reader, writer = pipe
    parent, _ = start_parent(writer, *WATCHER, "sh", "-c", OBEDIENT)
    with parent:
        parent.kill()
    assert all_gone(reader)


def test_a_group_that_ignores_sigterm_is_killed(pipe: tuple[int, int]) -> None:
    """After the grace comes SIGKILL, for the child and for the child's children."""
    reader, writer = pipe
    parent, _ = start_parent(writer, *WATCHER, "--grace", "0.2", "sh", "-c", STUBBORN)
    with parent:
        parent.kill()
    assert all_gone(reader)


def test_children_of_a_child_that_died_are_ended_too(pipe: tuple[int, int]) -> None:
    """A crashed child leaves nothing behind once its starter lets go."""
    reader, writer = pipe
    parent, pid = start_parent(writer, *WATCHER, "sh", "-c", OBEDIENT)
    with parent:
        os.kill(pid, signal.SIGKILL)
        assert parent.wait(LONG_S) == 0
    assert all_gone(reader)


def test_the_exit_code_is_the_childs_own() -> None:
    """The process becomes the command, so nothing stands between it and its starter."""
    with subprocess.Popen([*WATCHER, "sh", "-c", "exit 7"], stdin=subprocess.PIPE) as child:
        assert child.wait(LONG_S) == 7


def test_a_command_that_is_not_there_is_told_in_a_line() -> None:
    """What ends in a log that a user reads is a sentence, no traceback."""
    with subprocess.Popen(
        [*WATCHER, "/no/such/command"], stdin=subprocess.PIPE, stderr=subprocess.PIPE
    ) as child:
        assert child.stderr is not None
        assert child.stderr.read() == b"/no/such/command: No such file or directory\n"
        assert child.wait(LONG_S) == 1


def test_the_pid_and_the_group_are_the_childs_own() -> None:
    """Whoever signals the pid that it started reaches the command, and it leads its group."""
    tell = "import os; print(os.getpid(), os.getpgrp())"
    with subprocess.Popen(
        [*WATCHER, sys.executable, "-c", tell], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.stdout is not None
        told = child.stdout.read()
    assert told.split() == [str(child.pid).encode()] * 2


def test_the_child_cannot_read_the_leash() -> None:
    """The pipe belongs to the guard; a command that reads stdin finds its end at once."""
    with subprocess.Popen(
        [*WATCHER, "cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as child:
        assert child.wait(LONG_S) == 0
