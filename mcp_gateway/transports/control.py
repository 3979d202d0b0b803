"""The control socket: how the command line speaks to a running gateway.

One JSON line asks, one JSON line answers. Whoever may open the socket owns the process: it
lies in the data folder with mode 0600, and that is the whole check. Who it was the kernel
tells, not the asker. Each question says until when somebody waits for its answer.
"""

import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import anyio
import orjson
from anyio.abc import SocketAttribute, SocketListener, SocketStream, TaskStatus
from anyio.streams.buffered import BufferedByteReceiveStream

from mcp_gateway.errors import (
    GatewayError,
    InternalError,
    NotFound,
    RequestMalformed,
    RequestTimeout,
)
from mcp_gateway.gateway import Gateway
from mcp_gateway.telemetry import logs
from mcp_gateway.transports import body as bodies
from mcp_gateway.transports.asker import Asker, account_at, unix_now_ms

# The gateway, the arguments, and who asks.
Verb = Callable[[Gateway, dict[str, Any], Asker], Awaitable[Any]]
Verbs = Mapping[str, Verb]

LONGEST_REQUEST: Final = 65_536
LONGEST_ANSWER: Final = 16 * 1024 * 1024
REQUEST_DEADLINE_S: Final = 5.0
ANSWER_DEADLINE_S: Final = 12.0  # a gateway that starts says so within ten
TAKE_OVER_S: Final = 2.0
# sun_path holds 108 bytes on Linux and 104 on macOS, the closing zero included.
LONGEST_PATH: Final = 100
_OWN_FOLDERS: Final = Path("/proc/self/fd")
_TOLD: Final = ("message", "retryable")

log = logs.get(__name__)


class NoAnswer(GatewayError):
    """No answer came from the control socket.

    Args:
        is_sent: the request went out whole: what was done of it is not known.
    """

    default_code = "gateway_not_running"

    def __init__(self, message: str, *, is_sent: bool = False, **told: Any) -> None:
        super().__init__(message, **told)
        self.is_sent = is_sent


class GatewayNotRunning(NoAnswer):
    """There is nobody at the control socket."""

    default_hint = "Start it with `mcp-gateway serve`, with the same MCP_GATEWAY_DATA_DIR."


class GatewaySilent(NoAnswer):
    """A gateway is there, and does not answer in time."""

    default_code = "gateway_silent"
    default_hint = (
        "It hangs, or its machine is too busy. `mcp-gateway halt` stops its entries all the same: "
        "it writes a file that the gateway obeys."
    )


class AnswerLost(NoAnswer):
    """A gateway took the request and went away."""

    default_code = "answer_lost"
    default_hint = "Ask again: another one may be there by now."


class ControlRefused(GatewayError):
    """The running gateway refused the verb; code, message and hint are its own."""

    default_code = "control_refused"


def ask(
    path: Path,
    verb: str,
    args: Mapping[str, Any] | None = None,
    *,
    deadline_s: float = ANSWER_DEADLINE_S,
) -> Any:
    """Ask the gateway that runs at ``path``; blocks, for a command has nothing else to do.

    After the deadline the gateway does not begin what it was asked for.

    Returns:
        What the verb answered, as JSON values.

    Raises:
        GatewayNotRunning: there is no gateway.
        GatewaySilent: there is one, and it does not answer in time.
        AnswerLost: it went away midway.
        ControlRefused: the verb refused; with its code.
    """
    until_ms = unix_now_ms() + int(1000 * deadline_s)
    request = orjson.dumps({"verb": verb, "args": dict(args or {}), "until_ms": until_ms})
    detail = {"socket": str(path)}
    is_sent = False
    try:
        with _reachable(path) as address, socket.socket(socket.AF_UNIX) as wire:
            wire.settimeout(deadline_s)
            wire.connect(address)
            wire.sendall(request + b"\n")
            is_sent = True
            answer = orjson.loads(_line(wire))
    except (TimeoutError, BlockingIOError):  # the latter: its queue of askers is full
        told = f"The gateway does not answer: nothing within {deadline_s:g} s."
        raise GatewaySilent(told, is_sent=is_sent, detail=detail) from None
    except (OSError, orjson.JSONDecodeError):
        if is_sent:
            told = "The gateway took it, and went away before it answered."
            raise AnswerLost(told, is_sent=True, detail=detail) from None
        raise GatewayNotRunning("No gateway runs here.", detail=detail) from None
    if "error" in answer:
        raise _refused(answer["error"])
    return answer["result"]


def _refused(told: dict[str, Any]) -> ControlRefused:
    known = {name: told[name] for name in ("code", "hint", "retry_after_s") if name in told}
    detail = {name: one for name, one in told.items() if name not in {*known, *_TOLD}}
    return ControlRefused(told["message"], **known, detail=detail)


@asynccontextmanager
async def control_socket(gateway: Gateway, verbs: Verbs, path: Path) -> AsyncIterator[None]:
    """Answer verbs at ``path`` for as long as the context lasts.

    A socket that a dead gateway left is replaced; one that a living gateway holds is waited
    for. A gateway whose socket cannot be made runs on without it, and says so in its log.
    """
    async with anyio.create_task_group() as group:
        await group.start(_keep, gateway, verbs, path)
        yield
        group.cancel_scope.cancel()


async def _keep(
    gateway: Gateway, verbs: Verbs, path: Path, *, task_status: TaskStatus[None]
) -> None:
    if await anyio.to_thread.run_sync(_is_answered, path):
        log.warning("Another gateway holds the control socket", path=str(path))
        task_status.started()
        task_status = anyio.TASK_STATUS_IGNORED
        while await anyio.to_thread.run_sync(_is_answered, path):
            await gateway.clock.sleep(TAKE_OVER_S)
    try:
        listener, made = await _listen(path)
    except OSError:
        log.exception("There is no control socket", path=str(path))
        task_status.started()
        return
    task_status.started()
    try:
        async with listener:
            await listener.serve(lambda stream: _converse(gateway, verbs, stream))
    finally:
        _remove(path, made)


def _remove(path: Path, made: tuple[int, int]) -> None:
    with suppress(OSError):
        if _identity(path) == made:  # not the one of a successor
            path.unlink()


def _identity(path: Path) -> tuple[int, int]:
    told = path.stat()
    return told.st_ino, told.st_mtime_ns  # the number alone is soon given out again


async def _listen(path: Path) -> tuple[SocketListener, tuple[int, int]]:
    await anyio.Path(path.parent).mkdir(mode=0o700, parents=True, exist_ok=True)
    with _reachable(path) as address:
        # It replaces a socket that is there, and sets the mode after binding; in between the
        # folder (0700) keeps others out.
        listener = await anyio.create_unix_listener(address, mode=0o600)
    return listener, _identity(path)


async def _converse(gateway: Gateway, verbs: Verbs, stream: SocketStream) -> None:
    async with stream:
        # The asker may hang up at any time; that is no failure of ours.
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream):
            await stream.send(await _answer(gateway, verbs, stream) + b"\n")


async def _answer(gateway: Gateway, verbs: Verbs, stream: SocketStream) -> bytes:
    try:
        request = await _request(stream)
        verb = verbs.get(request["verb"])
        if verb is None:
            raise NotFound(
                "The running gateway knows no such verb.",
                code="verb_unknown",
                hint="It may be older than this command: restart it.",
            )
        asker = _asker(stream, request.get("until_ms"))
        asker.must_wait()
        answer = await verb(gateway, request["args"], asker)
        return orjson.dumps({"result": answer}, default=str)
    except RequestTimeout as error:
        log.warning("A command was found too late; nothing was done for it", verb=request["verb"])
        return orjson.dumps({"error": error.public()})
    except GatewayError as error:
        return orjson.dumps({"error": error.public()}, default=str)
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        raise
    except Exception:
        log.exception("A verb failed")
        return orjson.dumps({"error": InternalError("The gateway failed; see its log.").public()})


def _asker(stream: SocketStream, until_ms: Any) -> Asker:
    if not isinstance(until_ms, int | None):
        raise RequestMalformed("until_ms is a Unix time in milliseconds.")
    wire = stream.extra_attributes[SocketAttribute.raw_socket]()
    return Asker(account_at(wire), until_ms, wire)


async def _request(stream: SocketStream) -> dict[str, Any]:
    line = None
    with anyio.move_on_after(REQUEST_DEADLINE_S):
        try:
            line = await BufferedByteReceiveStream(stream).receive_until(b"\n", LONGEST_REQUEST)
        except (anyio.DelimiterNotFound, anyio.IncompleteRead):
            line = None
    request = bodies.parse(line) if line is not None else {}
    if not isinstance(request.get("verb"), str) or not isinstance(request.get("args"), dict):
        raise RequestMalformed("A request is one line with verb and args.")
    return request


def _line(wire: socket.socket) -> bytes:
    with wire.makefile("rb") as reader:
        line = reader.readline(LONGEST_ANSWER)
    if not line.endswith(b"\n"):
        raise OSError("the answer was cut off")
    return line


def _is_answered(path: Path) -> bool:
    try:
        with _reachable(path) as address, socket.socket(socket.AF_UNIX) as wire:
            wire.settimeout(1.0)
            wire.connect(address)
    except OSError:
        return False
    return True


@contextmanager
def _reachable(path: Path) -> Iterator[str]:
    """Yield a name for ``path`` that fits into a socket address.

    A data folder may lie deep. On Linux an open folder has a short name of its own; a socket
    in a shared temporary folder instead would stand where others can put theirs first.

    Raises:
        OSError: the path is too long and the system knows no such names.
    """
    if len(os.fsencode(path)) <= LONGEST_PATH or not _OWN_FOLDERS.is_dir():
        yield str(path)
        return
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield str(_OWN_FOLDERS / str(folder) / path.name)
    finally:
        os.close(folder)
