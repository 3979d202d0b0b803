"""What waits for a person, and that person's word, over REST: signed, and never the requester's."""

from typing import TYPE_CHECKING

import orjson

from mcp_gateway.domain.invalid import read
from mcp_gateway.domain.orders import OrderRecord
from mcp_gateway.domain.principals import Admission
from mcp_gateway.errors import NotPermitted
from mcp_gateway.gateway import Gateway
from mcp_gateway.orders.book import answers
from mcp_gateway.orders.book.actor import Actor
from mcp_gateway.transports.requests import Answer, Request
from mcp_gateway.transports.rest.queries import NoQuery
from mcp_gateway.transports.rest.shapes import Approval, Decline

if TYPE_CHECKING:  # the SQL libraries behind it are imported when the store opens
    from mcp_gateway.orders.approvals.decisions import Approvals


async def pending(
    gateway: Gateway, _admission: Admission, _request: Request, _query: NoQuery
) -> Answer:
    """Answer GET /api/v1/approvals: what waits, oldest first, each with the text to be shown.

    ``total_count`` tells of those, too, that are not shown because too many wait.
    """
    approvals = (await gateway.orders()).approvals
    waiting = await approvals.waiting()
    shown = await approvals.questions(waiting)
    told = {"total_count": len(waiting), "approvals": [one.document() for one in shown]}
    return Answer(200, orjson.dumps(told))


async def approve(
    gateway: Gateway, admission: Admission, request: Request, _query: NoQuery
) -> Answer:
    """Answer POST /api/v1/approvals/{order_id}/approve: the order as it stands behind the yes."""
    body = read(Approval, request.document)
    orders = await gateway.orders()
    order_id, person = request.variables["order_id"], _person(admission)
    settled = await orders.dispatch.approve(order_id, person, body.reason)
    return await _told(orders.approvals, settled)


async def decline(
    gateway: Gateway, admission: Admission, request: Request, _query: NoQuery
) -> Answer:
    """Answer POST /api/v1/approvals/{order_id}/decline: the order, denied."""
    body = read(Decline, request.document)
    approvals = (await gateway.orders()).approvals
    order_id, person = request.variables["order_id"], _person(admission)
    return await _told(approvals, await approvals.decline(order_id, person, body.reason))


def _person(admission: Admission) -> Actor:
    """Return who decides: traders who approve each other's orders would be no second pair of eyes."""
    if admission.principal.may_trade:
        raise NotPermitted(
            "Whoever may trade may not decide on orders.",
            code="approval_needs_person",
            hint="A person decides: `mcp-gateway approvals`, or a token without orders:create.",
        )
    return Actor.calling(admission)


async def _told(approvals: "Approvals", record: OrderRecord) -> Answer:
    history = await approvals.ledger.history(record.order_id)
    return Answer(200, orjson.dumps(answers.present_state(record, history)))
