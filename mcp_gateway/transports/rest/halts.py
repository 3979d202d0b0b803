"""Halting over REST, for whoever watches from elsewhere; and resuming, for people alone."""

import orjson

from mcp_gateway.domain.invalid import read
from mcp_gateway.domain.principals import Admission
from mcp_gateway.errors import NotPermitted
from mcp_gateway.gateway import Gateway
from mcp_gateway.orders.book.actor import Actor
from mcp_gateway.orders.halts.records import HaltRequest, ReleaseRequest, by_id
from mcp_gateway.transports.requests import Answer, Request
from mcp_gateway.transports.rest.queries import NoQuery


async def create(
    gateway: Gateway, admission: Admission, request: Request, _query: NoQuery
) -> Answer:
    """Answer POST /api/v1/halts: 200 where it is written down, 202 where the store is down."""
    asked = read(HaltRequest, request.document)
    told = await gateway.board.set(asked, Actor.calling(admission))
    return Answer(200 if told["stored"] else 202, orjson.dumps(told))


async def present(
    gateway: Gateway, _admission: Admission, _request: Request, _query: NoQuery
) -> Answer:
    """Answer GET /api/v1/halts: those in force, and the last that were released."""
    return Answer(200, orjson.dumps(await gateway.board.list()))


async def release(
    gateway: Gateway, admission: Admission, request: Request, _query: NoQuery
) -> Answer:
    """Answer POST /api/v1/halts/{halt_id}/release."""
    # Whoever trades, or lets trade, may stop itself, and not let itself go again.
    if admission.principal.may_trade:
        raise NotPermitted(
            "Whoever may trade may not release a halt.",
            code="halt_needs_person",
            hint="A person releases it: `mcp-gateway resume`, or a token without orders:create.",
        )
    reason = read(ReleaseRequest, request.document).reason
    wanted = by_id(request.variables["halt_id"])
    [released] = await gateway.board.release(wanted, Actor.calling(admission), reason)
    return Answer(200, orjson.dumps(released | {"stored": True}))
