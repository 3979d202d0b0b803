"""Dry runs, orders, their state and their cancel over REST."""

from uuid import UUID

import orjson

from mcp_gateway.domain.invalid import read
from mcp_gateway.domain.orders import OrderRequest
from mcp_gateway.domain.principals import Admission
from mcp_gateway.errors import RequestInvalid
from mcp_gateway.gateway import Gateway
from mcp_gateway.transports import documents
from mcp_gateway.transports.refusals import REPLAYED
from mcp_gateway.transports.requests import Answer, Request
from mcp_gateway.transports.rest import shapes
from mcp_gateway.transports.rest.queries import NoQuery


async def dry_run(
    gateway: Gateway, admission: Admission, request: Request, _query: NoQuery
) -> Answer:
    """Answer POST /api/v1/orders/dry-run; an order that would be denied is a 200 too."""
    order = read(OrderRequest, request.document)
    preview = await (await gateway.orders()).preview(admission, order)
    return Answer(200, orjson.dumps(documents.preview(preview)))


async def create(
    gateway: Gateway, admission: Admission, request: Request, _query: NoQuery
) -> Answer:
    """Answer POST /api/v1/orders: 200 where placed, 202 where a person is asked, else a problem."""
    order = read(shapes.NewOrder, request.document)
    created = await (await gateway.orders()).create(admission, order, order.preview_id)
    status = 202 if created.answer["outcome"] == "pending_approval" else 200
    body = orjson.dumps(created.answer)
    return Answer(status, body, headers=(REPLAYED,) if created.replayed else ())


async def present_state(
    gateway: Gateway, admission: Admission, request: Request, _query: NoQuery
) -> Answer:
    """Answer GET /api/v1/orders/{request_id}."""
    request_id = _request_id(request)
    told = await (await gateway.orders()).get(admission, request_id)
    return Answer(200, orjson.dumps(told))


async def cancel(
    gateway: Gateway, admission: Admission, request: Request, _query: NoQuery
) -> Answer:
    """Answer DELETE /api/v1/orders/{request_id}: the order's state after its cancel."""
    request_id = _request_id(request)
    told = await (await gateway.orders()).cancel(admission, request_id)
    return Answer(200, orjson.dumps(told))


def _request_id(request: Request) -> UUID:
    try:
        return UUID(request.variables["request_id"])
    except ValueError:
        raise RequestInvalid("request_id must be a UUID.", detail={"field": "request_id"}) from None
