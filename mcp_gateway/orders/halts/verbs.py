"""What an operator asks of the kill switch, whether a gateway runs or not: JSON-ready answers."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import anyio
from pydantic import BaseModel, ValidationError

from mcp_gateway.clock import Clock
from mcp_gateway.errors import GatewayError, RequestInvalid
from mcp_gateway.orders.halts.local import LocalHalts
from mcp_gateway.orders.halts.records import (
    OPERATOR,
    HaltRecord,
    HaltRequest,
    NewHalt,
    ReleaseRequest,
    Wanted,
    Who,
    as_json,
)

if (
    TYPE_CHECKING
):  # it stands on the SQL libraries, which a gateway imports behind its first answers
    from mcp_gateway.orders.halts.switch import Halts

Asked = TypeVar("Asked", bound=BaseModel)
SHOWN: Final = 20
LONGEST_WAIT_S: Final = 1.5  # for the store to open; halted is halted before that


@dataclass(frozen=True, slots=True)
class Board:
    """The kill switch as an operator reaches it.

    Args:
        opened: waits for the store, or refuses.
    """

    local: LocalHalts
    opened: Callable[[], Awaitable["Halts"]]
    clock: Clock


async def set_halt(board: Board, args: Mapping[str, Any], operator: str) -> dict[str, Any]:
    """Halt all trading, one ``agent`` or one ``pair``; tell whether the store has it."""
    asked = _read(HaltRequest, args)
    record = await halted(board, asked, Who.operating(operator, "halt"))
    return as_json(record) | {"stored": record.id is not None}


async def halted(board: Board, asked: HaltRequest, who: Who) -> HaltRecord:
    """Put what is asked for in force, whether the store opens or not.

    It is in force in this process at once, then for good.
    """
    new = NewHalt(asked.scope, asked.name, OPERATOR, asked.reason, who, board.clock.now())
    board.local.add(new)
    try:
        with anyio.fail_after(LONGEST_WAIT_S):
            halts = await board.opened()
    except (GatewayError, TimeoutError):
        return board.local.keep(new)
    return await halts.set(new) or HaltRecord.unwritten(new)


async def list_halts(board: Board, _args: Mapping[str, Any], _operator: str) -> dict[str, Any]:
    """Return the halts in force, and the newest that were released."""
    return await listed(board)


async def listed(board: Board) -> dict[str, Any]:
    """Return the halts in force; with the store down those that this process knows."""
    try:
        halts = await board.opened()
        recent = await halts.recent(SHOWN)
        in_force = await halts.in_force()
    except GatewayError as error:
        known = board.local.records()
        told = {"released": [], "stored": False, "code": error.code}
        return {"in_force": [as_json(one) for one in known], **told}
    released = [one for one in recent if one.released_at is not None]
    return {
        "in_force": [as_json(one) for one in in_force],
        "released": [as_json(one) for one in released],
        "stored": True,
        "code": None,
    }


async def release_halts(
    board: Board, args: Mapping[str, Any], operator: str
) -> list[dict[str, Any]]:
    """Release the halt of an ``id``, of an ``agent``, of a ``pair``, or (``all``) every one."""
    reason = _read(ReleaseRequest, {"reason": args.get("reason")}).reason
    halts = await board.opened()
    who = Who.operating(operator, "resume")
    released = await halts.release(_wanted(args), who, reason)
    return [as_json(one) for one in released]


def by_id(halt_id: str) -> Wanted:
    """Return what picks the halt of this id."""
    if not (halt_id.isascii() and halt_id.isdigit()):
        raise RequestInvalid("id is the number of a halt.", detail={"field": "id"})
    return lambda one: str(one.id) == str(int(halt_id))


def _wanted(args: Mapping[str, Any]) -> Wanted:
    named = {key: args.get(key) for key in ("id", "agent", "pair", "all") if args.get(key)}
    if len(named) != 1:
        raise RequestInvalid("Name one of id, agent, pair or all.")
    (what, name), *_ = named.items()
    if what == "all":
        return lambda _one: True
    if what == "id":
        return by_id(str(name))
    return lambda one: (one.scope, one.name) == (what, name)


def _read(shape: type[Asked], args: Mapping[str, Any]) -> Asked:
    try:
        return shape.model_validate(args)
    except ValidationError as error:
        faults = error.errors(include_url=False, include_input=False, include_context=False)
        told = (": ".join([*map(str, fault["loc"]), fault["msg"]]) for fault in faults)
        raise RequestInvalid(f"The halt has faults: {'; '.join(told)}.") from None


Verb = Callable[[Board, Mapping[str, Any], str], Awaitable[Any]]
VERBS: Final[Mapping[str, Verb]] = {
    "halt.set": set_halt,
    "halt.list": list_halts,
    "halt.release": release_halts,
}
