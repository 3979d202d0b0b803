"""Tasks over virtual time: coroutines that are driven by hand, one step at a time."""

import heapq
import types
from collections.abc import Coroutine, Generator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from mcp_gateway.clock import Clock
from tests.proofs.simulation.tape import Tape

START: Final = datetime(2025, 11, 18, 10, 0, tzinfo=UTC)
GO_ON, LET_OTHERS, CRASH = range(3)


@types.coroutine
def step() -> Generator[float, None, None]:
    """Let the scheduler decide who goes on."""
    yield 0.0


@types.coroutine
def pause(seconds: float) -> Generator[float, None, None]:
    """Sleep in virtual time."""
    yield seconds


class VirtualClock(Clock):
    """Time that passes when everybody sleeps; the wall may be set apart from it."""

    def __init__(self) -> None:
        self.elapsed = 0.0
        self.wall_ahead = 0.0

    def now(self) -> datetime:
        return START + timedelta(seconds=self.elapsed + self.wall_ahead)

    def monotonic(self) -> float:
        return self.elapsed

    async def sleep(self, seconds: float) -> None:
        await pause(seconds)


class Task:
    """A coroutine of one process; ``order_id`` names the order that it carries."""

    __slots__ = ("alive", "begun", "order_id", "process", "work")

    def __init__(self, process: int, work: Coroutine[Any, None, None]) -> None:
        self.process = process
        self.work = work
        self.alive = True
        self.begun = False
        self.order_id: str | None = None


class Scheduler:
    """Runs one task until it sleeps or ends, unless the tape says otherwise.

    At every step of a task the tape may let another one run first, or end the task's whole
    process as SIGKILL would: nothing of it runs on, not even what stands in a ``finally``.
    """

    def __init__(self, tape: Tape, clock: VirtualClock) -> None:
        self._tape = tape
        self._clock = clock
        self._ready: list[Task] = []
        self._asleep: list[tuple[float, int, Task]] = []
        self._count = 0
        self.now_running: Task | None = None
        self.crashed: list[int] = []
        self.killed: list[Coroutine[Any, None, None]] = []

    def start(self, process: int, work: Coroutine[Any, None, None]) -> Task:
        """Add a task; it runs when its turn comes."""
        task = Task(process, work)
        self._ready.append(task)
        return task

    def kill(self, process: int) -> None:
        """End every task of a process on the spot."""
        for task in (*self._ready, *(entry[2] for entry in self._asleep)):
            if task.process == process:
                self._drop(task)
        self._ready = [task for task in self._ready if task.alive]

    def _drop(self, task: Task) -> None:
        task.alive = False
        if task.begun:
            self.killed.append(task.work)  # kept: closing it would run its finally blocks
        else:
            task.work.close()

    def run_for(self, seconds: float) -> None:
        """Let virtual time pass, and everything happen in it; returns at once after a crash."""
        until = self._clock.elapsed + seconds
        while not self.crashed:
            if self._ready:
                self._run(self._ready.pop(0))
            elif self._asleep and self._asleep[0][0] <= until:
                wakes_at, _, task = heapq.heappop(self._asleep)
                self._clock.elapsed = max(self._clock.elapsed, wakes_at)
                if task.alive:
                    self._ready.append(task)
            else:
                self._clock.elapsed = max(self._clock.elapsed, until)
                return

    def _run(self, task: Task) -> None:
        self.now_running = task
        task.begun = True
        while True:
            try:
                delay = task.work.send(None)
            except StopIteration:
                task.alive = False
                return
            if delay:
                self._count += 1
                heapq.heappush(self._asleep, (self._clock.elapsed + delay, self._count, task))
                return
            choice = self._tape.choose("step", 3)
            if choice == LET_OTHERS:
                self._ready.append(task)
                return
            if choice == CRASH and task.process >= 0:
                self._drop(task)
                self.kill(task.process)
                self.crashed.append(task.process)
                return
