"""Halting over REST, for whoever watches from elsewhere; and resuming, for people alone."""

from typing import TYPE_CHECKING, Any, TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from mcp_gateway.domain.principals import Admission
from mcp_gateway.errors import NotPermitted
from mcp_gateway.gateway import Gateway
from mcp_gateway.orders.halts.records import HaltRequest, ReleaseRequest, Who, as_json
from mcp_gateway.orders.halts.verbs import Board, by_id, halted, listed
from mcp_gateway.transports.invalid import invalid
from mcp_gateway.transports.requests import Answer, Request
from mcp_gateway.transports.rest.queries import NoQuery

if TYPE_CHECKING:
    from mcp_gateway.orders.halts.switch import Halts

# Whoever has one of these trades, or lets trade; it may stop itself, and not let itself go again.
Body = TypeVar("Body", bound=BaseModel)


def board_of(gateway: Gateway) -> Board:
    """Return the kill switch of a gateway."""

    async def opened() -> "Halts":
        return (await gateway.books()).halts

    return Board(gateway.local_halts, opened, gateway.clock)


async def create(
    gateway: Gateway, admission: Admission, request: Request, _query: NoQuery
) -> Answer:
    """Answer POST /api/v1/halts: 200 where it is written down, 202 where the store is down."""
    asked = _read(HaltRequest, request)
    record = await halted(board_of(gateway), asked, Who.calling(admission))
    stored = record.id is not None
    return Answer(200 if stored else 202, orjson.dumps(as_json(record) | {"stored": stored}))


async def present(
    gateway: Gateway, _admission: Admission, _request: Request, _query: NoQuery
) -> Answer:
    """Answer GET /api/v1/halts: those in force, and the last that were released."""
    return Answer(200, orjson.dumps(await listed(board_of(gateway))))


async def release(
    gateway: Gateway, admission: Admission, request: Request, _query: NoQuery
) -> Answer:
    """Answer POST /api/v1/halts/{halt_id}/release."""
    if admission.principal.may_trade:
        raise NotPermitted(
            "Whoever may trade may not release a halt.",
            code="halt_needs_person",
            hint="A person releases it: `mcp-gateway resume`, or a token without orders:create.",
        )
    reason = _read(ReleaseRequest, request).reason
    halts = (await gateway.books()).halts
    wanted = by_id(request.variables["halt_id"])
    [released] = await halts.release(wanted, Who.calling(admission), reason)
    return Answer(200, orjson.dumps(as_json(released) | {"stored": True}))


def _read(shape: type[Body], request: Request) -> Body:
    document: dict[str, Any] = request.document
    try:
        return shape.model_validate(document)
    except ValidationError as error:
        raise invalid(error) from None
