"""The control socket: its mode, its bounds, and what becomes of stale and busy ones."""

import json
import os
import pwd
import socket
import stat
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.to_thread
import pytest

from mcp_gateway.errors import GatewayError, NotFound
from mcp_gateway.gateway import Gateway
from mcp_gateway.transports.asker import Asker, unix_now_ms
from mcp_gateway.transports.control import (
    LONGEST_REQUEST,
    TAKE_OVER_S,
    ControlRefused,
    GatewayNotRunning,
    GatewaySilent,
    ask,
    control_socket,
)
from tests.support.gateway import ToldGateway, settings_for

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


async def echo(_gateway: Gateway, args: dict[str, Any], _asker: Asker) -> Any:
    return {"args": args}


async def refuse(_gateway: Gateway, _args: dict[str, Any], _asker: Asker) -> Any:
    detail = {"order_ids": ["a", "b"]}
    raise NotFound("No such order.", code="order_unknown", hint="Look again.", detail=detail)


async def crash(_gateway: Gateway, _args: dict[str, Any], _asker: Asker) -> Any:
    raise RuntimeError("secret-canary")


async def who(_gateway: Gateway, _args: dict[str, Any], asker: Asker) -> Any:
    return asker.account


VERBS = {"who": who, "echo": echo, "refuse": refuse, "crash": crash}


@pytest.fixture
def told(tmp_path: Path) -> ToldGateway:
    return ToldGateway(settings_for(tmp_path / "data"))


async def asked(path: Path, verb: str, **args: Any) -> Any:
    return await anyio.to_thread.run_sync(ask, path, verb, args)


async def is_silent(path: Path) -> bool:
    try:
        await asked(path, "echo")
    except GatewayNotRunning:
        return True
    return False


async def refusal_of(path: Path, verb: str, kind: type[GatewayError]) -> str:
    with pytest.raises(kind) as caught:
        await asked(path, verb)
    return caught.value.code


async def test_a_verb_is_answered_and_the_socket_is_the_owner_s_alone(told: ToldGateway) -> None:
    """Mode 0600 is the whole check; the folder is made with 0700; nothing stays behind."""
    path = told.settings.control_socket
    async with control_socket(cast("Gateway", told), VERBS, path):
        assert await asked(path, "echo", limit=3) == {"args": {"limit": 3}}
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert not path.exists()
    assert await refusal_of(path, "echo", GatewayNotRunning) == "gateway_not_running"


async def test_refusals_and_bugs_come_back_as_codes(told: ToldGateway) -> None:
    """The command says what the gateway said; a bug is told in one word."""
    path = told.settings.control_socket
    async with control_socket(cast("Gateway", told), VERBS, path):
        assert await refusal_of(path, "refuse", ControlRefused) == "order_unknown"
        assert await refusal_of(path, "crash", ControlRefused) == "internal_error"
        assert await refusal_of(path, "nonsense", ControlRefused) == "verb_unknown"
        assert await asked(path, "echo") == {"args": {}}


async def test_a_refusal_comes_back_whole(told: ToldGateway) -> None:
    """Code, message, hint and detail: what a command needs to say what is wrong."""
    path = told.settings.control_socket
    async with control_socket(cast("Gateway", told), VERBS, path):
        with pytest.raises(ControlRefused) as caught:
            await asked(path, "refuse")
    error = caught.value
    assert (error.code, error.message) == ("order_unknown", "No such order.")
    assert (error.hint, error.detail) == ("Look again.", {"order_ids": ["a", "b"]})


@pytest.mark.parametrize(
    "line",
    [b"\n", b"{}\n", b"nonsense\n", b'{"verb": 1, "args": {}}\n', b'{"verb": "echo"}\n',
     b'{"verb": "echo", "verb": "crash", "args": {}}\n', b"a" * (LONGEST_REQUEST + 2)],
)  # fmt: skip
async def test_a_malformed_request_is_refused(told: ToldGateway, line: bytes) -> None:
    """One line, bounded, one object with verb and args."""
    path = told.settings.control_socket
    async with (
        control_socket(cast("Gateway", told), VERBS, path),
        await anyio.connect_unix(path) as stream,
    ):
        await stream.send(line)
        with anyio.fail_after(5):
            assert b'"error"' in await stream.receive()


async def test_a_stale_socket_is_replaced(told: ToldGateway) -> None:
    """What a killed gateway left is no obstacle."""
    path = told.settings.control_socket
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    assert path.exists()
    async with control_socket(cast("Gateway", told), VERBS, path):
        assert await asked(path, "echo") == {"args": {}}


async def test_a_living_gateway_keeps_its_socket_until_it_ends(told: ToldGateway) -> None:
    """A second process waits for its turn; it takes nothing away."""
    path = told.settings.control_socket
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as living:
        living.bind(str(path))
        living.listen()
        held = path.stat().st_ino
        async with control_socket(cast("Gateway", told), VERBS, path):
            await told.clock.sleeping()
            assert path.stat().st_ino == held
            living.close()
            told.clock.advance(TAKE_OVER_S)
            with anyio.fail_after(5):
                while await is_silent(path):
                    await anyio.lowlevel.checkpoint()
            assert await asked(path, "echo") == {"args": {}}


async def test_a_deep_data_folder_is_reached_all_the_same(tmp_path: Path) -> None:
    """A socket address holds 108 bytes; the folder's path may be longer."""
    told = ToldGateway(settings_for(tmp_path / ("deep" * 20) / ("deeper" * 20)))
    path = told.settings.control_socket
    assert len(str(path)) > 200
    async with control_socket(cast("Gateway", told), VERBS, path):
        assert await asked(path, "echo") == {"args": {}}
    assert not path.exists()


async def test_a_socket_that_cannot_be_made_does_not_stop_the_gateway(tmp_path: Path) -> None:
    """Orders matter more than the command line; the log says so."""
    (tmp_path / "file").write_text("")
    told = ToldGateway(settings_for(tmp_path / "file"))
    async with control_socket(cast("Gateway", told), VERBS, told.settings.control_socket):
        code = await refusal_of(told.settings.control_socket, "echo", GatewayNotRunning)
    assert code == "gateway_not_running"


async def test_who_asks_is_the_kernel_s_word(
    told: ToldGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing that the asker sends, sets or says of itself counts."""
    path = told.settings.control_socket
    for name in ("USER", "LOGNAME", "SUDO_USER"):
        monkeypatch.setenv(name, "mallory")
    me = pwd.getpwuid(os.getuid()).pw_name
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_001)
    async with control_socket(cast("Gateway", told), VERBS, path):
        assert await asked(path, "who", operator="mallory", account="mallory") == me


def asked_by_hand(path: Path, *, for_ms: int | None, hangs_up: bool) -> socket.socket:
    """Ask a verb that leaves a trace, and read no answer; nothing runs in between."""
    wire = socket.socket(socket.AF_UNIX)
    wire.connect(str(path))
    request: dict[str, Any] = {"verb": "trace", "args": {}}
    if for_ms is not None:
        request["until_ms"] = unix_now_ms() + for_ms
    wire.sendall(json.dumps(request).encode() + b"\n")
    if hangs_up:
        wire.close()
    return wire


@pytest.mark.parametrize(
    ("for_ms", "hangs_up", "done"),
    [(60_000, False, 1), (None, False, 1), (-1, False, 0), (60_000, True, 0), (None, True, 0)],
    ids=["in time", "no end", "over", "hung up", "hung up without end"],
)
async def test_a_thawed_gateway_does_nothing_that_nobody_waits_for(
    for_ms: int | None, hangs_up: bool, done: int, told: ToldGateway
) -> None:
    """The command has told its person that it got no answer; doing it now would be a lie."""
    path, traces = told.settings.control_socket, []

    async def trace(_gateway: Gateway, _args: dict[str, Any], _asker: Asker) -> Any:
        traces.append(1)

    async with control_socket(cast("Gateway", told), {**VERBS, "trace": trace}, path):
        wire = asked_by_hand(path, for_ms=for_ms, hangs_up=hangs_up)
        assert await asked(path, "echo") == {"args": {}}  # behind it in the queue
        await anyio.wait_all_tasks_blocked()
        with wire:
            told_by_hand = b"" if hangs_up else wire.recv(1000)
        assert len(traces) == done
        assert (b"asked_too_late" in told_by_hand) == (not hangs_up and not done)


async def test_what_waited_too_long_for_its_part_is_not_begun(told: ToldGateway) -> None:
    """A verb may look again: the store took its time to open."""
    refusals: list[str] = []

    async def slow(_gateway: Gateway, _args: dict[str, Any], asker: Asker) -> Any:
        asker.must_wait()
        wire.close()
        try:
            asker.must_wait()
        except GatewayError as error:
            refusals.append(error.code)

    path = told.settings.control_socket
    async with control_socket(cast("Gateway", told), {**VERBS, "trace": slow}, path):
        wire = asked_by_hand(path, for_ms=60_000, hangs_up=False)
        assert await asked(path, "echo") == {"args": {}}
        await anyio.wait_all_tasks_blocked()
    assert refusals == ["asked_too_late"]


def test_a_gateway_that_is_there_and_silent_is_not_told_as_none(told: ToldGateway) -> None:
    """Whether the question went out whole is told too."""
    path = told.settings.control_socket
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as hanging:
        hanging.bind(str(path))
        hanging.listen()
        with pytest.raises(GatewaySilent) as caught:
            ask(path, "echo", deadline_s=0.1)
    assert (caught.value.code, caught.value.is_sent) == ("gateway_silent", True)
