"""Where a gateway process may end by itself: named moments of an order's way, in one table.

The package knows nothing of this. In a process that is to end, one of its functions is
wrapped, and the process kills itself with SIGKILL at that function's n-th passage.
"""

import functools
import importlib
import inspect
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Literal

Told = dict[str, Any]
Words = frozenset[str]


@dataclass(frozen=True, slots=True)
class Failpoint:
    """A moment: before or after a function, when its arguments read as ``only`` says.

    Args:
        target: ``module:name`` or ``module:Class.name``.
        only: words of an argument, or of an attribute or item of one (``steps.0.record``),
            to which the passages are narrowed.
        begins: ``sent`` where an earlier process has to leave an order that was sent;
            ``stopping`` where the process is told to stop with an order on its way.
    """

    target: str
    moment: Literal["before", "after"]
    only: Mapping[str, Words] = field(default_factory=dict)
    begins: Literal["received", "sent", "stopping"] = "received"


LEDGER: Final = "mcp_gateway.orders.book.ledger:Ledger"
COMMITTED: Final = "mcp_gateway.orders.book.ledger:_written"
BEGIN: Final = "mcp_gateway.orders.book.rows:begin"  # within a transaction: a new order, whole
APPLY: Final = "mcp_gateway.orders.book.rows:apply"  # within a transaction: the order's row
NOTE: Final = "mcp_gateway.orders.book.rows:note"  # behind it: history and audit rows
EXCHANGE: Final = "mcp_gateway.freqtrade.connections:_exchange"
WIRE: Final = "httpcore2._async.http11:AsyncHTTP11Connection"


def _is(*words: str) -> Words:
    return frozenset(words)


def _first(*states: str) -> Mapping[str, Words]:
    """Return what is true of a transaction whose first step leads to one of these states."""
    return {"steps.0.record.state": _is(*states)}


_OUTCOME: Final = _first("placed", "rejected", "unknown")
_POST: Final = {"method": _is("POST")}
_POSTED: Final = {"request.method": _is("POST")}

FAILPOINTS: Final[dict[str, Failpoint]] = {
    "before received": Failpoint(f"{LEDGER}.receive", "before"),
    "received, uncommitted": Failpoint(BEGIN, "after"),
    "received": Failpoint(f"{LEDGER}.receive", "after"),
    "facts gathered": Failpoint("mcp_gateway.orders.sending.facts:FactFinder.facts", "after"),
    "weighed": Failpoint(APPLY, "before", _first("reserved")),
    "sent, half written": Failpoint(NOTE, "before", _first("reserved")),
    "sent, uncommitted": Failpoint(NOTE, "after", _first("reserved")),
    "sent": Failpoint(COMMITTED, "before", _first("reserved")),
    "before connecting": Failpoint(EXCHANGE, "before", _POST),
    "connected": Failpoint(f"{WIRE}._send_request_headers", "before", _POSTED),
    "half the request": Failpoint(f"{WIRE}._send_request_headers", "after", _POSTED),
    "the whole request": Failpoint(f"{WIRE}._send_request_body", "after", _POSTED),
    "answered": Failpoint(EXCHANGE, "after", _POST),
    "before the outcome": Failpoint(
        f"{LEDGER}.move", "before", {"moves.0.event": _is("confirm", "refuse", "lose")}
    ),
    "outcome, uncommitted": Failpoint(NOTE, "after", _OUTCOME),
    "outcome": Failpoint(COMMITTED, "before", _OUTCOME),
    "before telling": Failpoint("mcp_gateway.orders.service:OrderService.create", "after"),
    "recovery, uncommitted": Failpoint(NOTE, "after", _first("unknown"), begins="sent"),
    "resolved, uncommitted": Failpoint(
        NOTE, "after", _first("placed", "rejected"), begins="sent"
    ),
    "drain": Failpoint("mcp_gateway.orders.book.detached:Detached.drain", "before", begins="stopping"),
}  # fmt: skip

# Waits of the gateway that no setting scales, as they are in these processes.
PACES: Final[dict[str, Any]] = {
    "mcp_gateway.orders.settling.reconcile:INTERVAL_S": 0.2,
    "mcp_gateway.orders.books:CYCLE_S": 0.4,
}
END: Final = "failpoint reached: "


def arm(name: str, passage: int) -> None:
    """Let this process end at the n-th passage of a failpoint."""
    point = FAILPOINTS[name]
    owner, attribute = _place(point.target)
    function = getattr(owner, attribute)
    left = [passage]

    def pass_by() -> None:
        left[0] -= 1
        if left[0] == 0:
            os.write(2, f"{END}{name}\n".encode())
            os.kill(os.getpid(), signal.SIGKILL)

    setattr(owner, attribute, _wrapped(function, point, pass_by))


def hurry() -> None:
    """Scale the waits that no setting scales."""
    for target, value in PACES.items():
        owner, attribute = _place(target)
        if not hasattr(owner, attribute):
            raise AttributeError(f"{target} is gone")
        setattr(owner, attribute, value)


def _place(target: str) -> tuple[Any, str]:
    module, _, path = target.partition(":")
    *owners, attribute = path.split(".")
    return functools.reduce(getattr, owners, importlib.import_module(module)), attribute


def _wrapped(
    function: Callable[..., Any], point: Failpoint, pass_by: Callable[[], None]
) -> Callable[..., Any]:
    signature = inspect.signature(function)

    @contextmanager
    def passing(args: tuple[Any, ...], kwargs: Told) -> Iterator[None]:
        given = signature.bind(*args, **kwargs).arguments
        counts = all(_read(given, path) in words for path, words in point.only.items())
        if counts and point.moment == "before":
            pass_by()
        try:
            yield
        finally:  # after an error too: somebody is told of it
            if counts and point.moment == "after":
                pass_by()

    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def passed_later(*args: Any, **kwargs: Any) -> Any:
            with passing(args, kwargs):
                return await function(*args, **kwargs)

        return passed_later

    @functools.wraps(function)
    def passed(*args: Any, **kwargs: Any) -> Any:
        with passing(args, kwargs):
            return function(*args, **kwargs)

    return passed


def _read(given: Told, path: str) -> str:
    """Return an argument, or what it has under further names or places, as a word."""
    name, *names = path.split(".")
    value = given[name]
    for further in names:
        value = value[int(further)] if further.isdigit() else getattr(value, further)
    return value.decode() if isinstance(value, bytes) else str(value)
