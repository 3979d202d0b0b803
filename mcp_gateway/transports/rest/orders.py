"""Dry runs, orders, their state and their cancel over REST."""

from typing import Any
from uuid import UUID

import orjson
from pydantic import ValidationError

from mcp_gateway.domain.orders import OrderRequest
from mcp_gateway.domain.principals import Admission
from mcp_gateway.errors import RequestInvalid
from mcp_gateway.gateway import Gateway
from mcp_gateway.transports import documents
from mcp_gateway.transports.invalid import invalid
from mcp_gateway.transports.refusals import REPLAYED
from mcp_gateway.transports.requests import Answer, Request
from mcp_gateway.transports.rest.queries import NoQuery


async def dry_run(
    gateway: Gateway, admission: Admission, request: Request, _query: NoQuery
) -> Answer:
    """Answer POST /api/v1/orders/dry-run; an order that would be denied is a 200 too."""
    order = _order(request)
    preview = await (await gateway.orders()).preview(admission, order)
    return Answer(200, orjson.dumps(documents.preview(preview)))


async def create(
    gateway: Gateway, admission: Admission, request: Request, _query: NoQuery
) -> Answer:
    """Answer POST /api/v1/orders: 200 where placed, a problem for every other outcome."""
    order = _order(request)
    created = await (await gateway.orders()).create(admission, order)
    body = orjson.dumps(created.answer)
    return Answer(200, body, headers=(REPLAYED,) if created.replayed else ())


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


def _order(request: Request) -> OrderRequest:
    document: dict[str, Any] = request.document
    try:
        return OrderRequest.model_validate(document)
    except ValidationError as error:
        raise invalid(error) from None
