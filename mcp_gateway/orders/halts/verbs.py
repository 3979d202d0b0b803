"""What an operator asks of the kill switch, whether a gateway runs or not: JSON-ready answers."""

from collections.abc import Mapping
from typing import Any

from mcp_gateway.domain.invalid import read
from mcp_gateway.errors import RequestInvalid
from mcp_gateway.orders.book.actor import Actor
from mcp_gateway.orders.halts.board import Board
from mcp_gateway.orders.halts.records import HaltRequest, ReleaseRequest, Wanted, by_id


async def set_halt(board: Board, args: Mapping[str, Any], operator: str) -> dict[str, Any]:
    """Halt all trading, one ``agent`` or one ``pair``; tell whether the store has it."""
    return await board.set(read(HaltRequest, args), Actor.operating(operator, "halt"))


async def list_halts(board: Board, _args: Mapping[str, Any], _operator: str) -> dict[str, Any]:
    """Return the halts in force, and the newest that were released."""
    return await board.list()


async def release_halts(
    board: Board, args: Mapping[str, Any], operator: str
) -> tuple[dict[str, Any], ...]:
    """Release the halt of an ``id``, of an ``agent``, of a ``pair``, or (``all``) every one."""
    reason = read(ReleaseRequest, {"reason": args.get("reason")}).reason
    return await board.release(_wanted(args), Actor.operating(operator, "resume"), reason)


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
