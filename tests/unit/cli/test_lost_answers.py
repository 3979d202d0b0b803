"""A gateway that takes a command and goes away before it answers: what is told of it."""

import json
import os
import pwd
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from mcp_gateway.cli.control import reach
from mcp_gateway.cli.control.reach import ask, ask_store
from mcp_gateway.cli.control.verbs import VERBS
from mcp_gateway.settings import Settings
from mcp_gateway.transports.control import ANSWER_DEADLINE_S, AnswerLost, GatewaySilent
from mcp_gateway.transports.control import ask as ask_at
from tests.support.asking import asking, waiting
from tests.support.clock import ManualClock
from tests.support.commands import Outcome, command, trading_bot
from tests.support.desk import open_desk
from tests.support.gateway import settings_for
from tests.support.processes import serving

pytestmark = pytest.mark.integration

ME = pwd.getpwuid(os.getuid()).pw_name


def left_waiting(folder: Path) -> str:
    """Leave an order that waits in the store of a folder; return its request id."""
    bot = trading_bot()

    async def ask_for_it() -> str:
        clock = ManualClock(bot.clock.now())
        bot.clock = clock
        async with open_desk(folder, bot, clock, policy=asking()) as desk:
            return str((await waiting(desk)).request_id)

    return anyio.run(ask_for_it)


@contextmanager
def dying(settings: Settings, verb: str) -> Iterator[None]:
    """Serve the store as a gateway does, until it has done ``verb``: then it is gone, unheard."""
    path = settings.control_socket
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()

        def serve() -> None:
            while True:
                wire, _ = listening.accept()
                with wire:
                    asked = json.loads(wire.makefile("rb").readline())
                    told = ask_store(settings, asked["verb"], asked["args"])
                    if asked["verb"] == verb:
                        path.unlink()
                        return
                    wire.sendall(json.dumps({"result": told}).encode() + b"\n")

        served = threading.Thread(target=serve)
        served.start()
        yield
        served.join(10)
        assert not served.is_alive()


def told_of(folder: Path, *words: str) -> Outcome:
    """Return what a command says whose gateway dies with its approve or decline."""
    return command(folder, "approvals", *words)


def test_a_yes_whose_answer_is_lost_is_told_with_whose_it_was(tmp_path: Path) -> None:
    """It was given: a second one, refused for the first, must not say that nothing was changed."""
    request_id = left_waiting(tmp_path)
    with dying(settings_for(tmp_path), "approvals.approve"):
        told = told_of(tmp_path, "approve", request_id, "--yes")
    assert (told.code, told.err.partition(":")[0]) == (1, "outcome_unknown")
    assert f"The order is approved; {ME} approved it." in told.err
    assert "Nothing was changed" not in told.err


def test_a_no_whose_answer_is_lost_is_told_with_its_state(tmp_path: Path) -> None:
    """The same of a decline."""
    request_id = left_waiting(tmp_path)
    with dying(settings_for(tmp_path), "approvals.decline"):
        told = told_of(tmp_path, "decline", request_id, "--reason", "no")
    assert (told.code, told.err.partition(":")[0]) == (1, "outcome_unknown")
    assert "The order is denied." in told.err


def test_what_only_reads_is_asked_of_the_store_instead(tmp_path: Path) -> None:
    """Repeating it does no harm."""
    left_waiting(tmp_path)
    settings = settings_for(tmp_path)
    with dying(settings, "approvals.list"):
        [told] = ask(settings, "approvals.list", {})
    assert told["agent"] == "agent-a"


def test_a_release_whose_answer_is_lost_is_not_done_twice(tmp_path: Path) -> None:
    """The second one would say that no such halt is in force."""
    settings = settings_for(tmp_path)
    left_waiting(tmp_path)
    ask(settings, "halt.set", {"reason": "x"})
    with dying(settings, "halt.release"), pytest.raises(AnswerLost):
        ask(settings, "halt.release", {"all": True, "reason": "y"})


@contextmanager
def hanging(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Be a gateway that takes questions and answers none; nobody waits long for it."""
    hasty = {verb: replace(row, deadline_s=0.2) for verb, row in VERBS.items()}
    monkeypatch.setattr(reach, "VERBS", hasty)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(folder / "control.sock"))
        listening.listen()
        yield


@pytest.mark.parametrize(
    ("words", "code", "look"),
    [
        (("policy", "accept", "0123456789ab"), "outcome_unknown", "policy show"),
        (("resume", "--all", "--reason", "x"), "outcome_unknown", "halt list"),
        (("halt", "--agent", "a", "--reason", "x"), "outcome_unknown", "halt list"),
        (("policy", "show"), "gateway_silent", ""),
        (("halt", "list"), "gateway_silent", ""),
        (("orders", "list"), "gateway_silent", ""),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_of_a_gateway_that_hangs_nothing_is_claimed(
    words: tuple[str, ...], code: str, look: str,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Neither that none runs, nor that it was not done; and where to look is told."""
    with hanging(tmp_path, monkeypatch):
        told = command(tmp_path, *words)
    assert (told.code, told.out, told.err.partition(":")[0]) == (1, "", code)
    assert f"mcp-gateway {look}" in told.err
    assert "No gateway" not in told.err


def test_commands_wait_for_seconds_only() -> None:
    """But where the bot is asked about much, or sells are seen through."""
    long = {verb for verb, row in VERBS.items() if (row.deadline_s or 0) > 30}
    assert long == {"orders.reconcile", "halt.flatten"}
    assert ANSWER_DEADLINE_S <= 12


def test_what_a_frozen_process_was_asked_is_not_done_when_it_goes_on(tmp_path: Path) -> None:
    """A release that was told as not known must not let entries go later."""
    with serving(tmp_path) as gateway:
        path = gateway.data_dir / "control.sock"
        ask_at(path, "halt.set", {"reason": "x"})
        gateway.process.send_signal(signal.SIGSTOP)
        try:
            with pytest.raises(GatewaySilent) as silent:
                ask_at(path, "halt.release", {"all": True, "reason": "y"}, deadline_s=0.3)
        finally:
            gateway.process.send_signal(signal.SIGCONT)
        assert silent.value.is_sent
        [held] = ask_at(path, "halt.list")["in_force"]  # behind it in the queue
    assert held["reason"] == "x"
