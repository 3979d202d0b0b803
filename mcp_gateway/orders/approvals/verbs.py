"""What an operator asks and decides about orders that wait: JSON-ready answers.

The operator is the account that owns the control socket, by the system's word.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from mcp_gateway.domain.orders import OrderRecord
from mcp_gateway.errors import RequestInvalid
from mcp_gateway.orders.approvals.decisions import Approvals
from mcp_gateway.orders.book import answers
from mcp_gateway.orders.book.actor import LONGEST_REASON, Actor
from mcp_gateway.orders.book.question import Question

Approve = Callable[[str, Actor, str | None], Awaitable[OrderRecord]]


@dataclass(frozen=True, slots=True)
class Approver:
    """What waits, and how a yes is given: sent at once by a gateway, else written down."""

    approvals: Approvals
    approve: Approve


async def list_approvals(
    approver: Approver, _args: Mapping[str, Any], _operator: str
) -> list[dict[str, Any]]:
    """Return what waits for a person, oldest first."""
    return [_shown(approver, one) for one in await approver.approvals.pending()]


async def show_approval(
    approver: Approver, args: Mapping[str, Any], _operator: str
) -> dict[str, Any]:
    """Return one order that waits, by its ``id`` (order id or request id)."""
    found = await approver.approvals.find(await _order_id(approver, args))
    return _shown(approver, found)


async def approve(approver: Approver, args: Mapping[str, Any], operator: str) -> dict[str, Any]:
    """Approve one order by its ``id``; return it as it stands then."""
    person = Actor.operating(operator, "approve_order")
    order_id = await _order_id(approver, args)
    record = await approver.approve(order_id, person, _reason(args))
    return await _told(approver, record, person)


async def decline(approver: Approver, args: Mapping[str, Any], operator: str) -> dict[str, Any]:
    """Decline one order by its ``id``, for a ``reason``; return it, denied."""
    person, reason = Actor.operating(operator, "decline_order"), _reason(args)
    if reason is None:
        raise RequestInvalid("A reason is needed.", detail={"field": "reason"})
    record = await approver.approvals.decline(await _order_id(approver, args), person, reason)
    return await _told(approver, record, person)


async def _order_id(approver: Approver, args: Mapping[str, Any]) -> str:
    """Return the order id that an operator means; callers choose their request ids.

    One that waits is meant before those that are decided.
    """
    wanted, approvals = str(args.get("id", "")).lower(), approver.approvals
    pending = await approvals.waiting()
    ids = [one.order_id for one in pending if wanted in {one.order_id, str(one.request_id)}]
    if not ids and await approvals.ledger.by_id(wanted) is None:
        ids = [one.order_id for one in await _with_request_id(approver, wanted)]
    if len(ids) > 1:
        raise ambiguous(ids)
    return ids[0] if ids else wanted


async def _with_request_id(approver: Approver, wanted: str) -> list[OrderRecord]:
    approvals = approver.approvals
    try:
        found = await approvals.ledger.by_uuid(UUID(wanted))
    except ValueError:
        return []
    return [one for one in found if one.bot == approvals.bot_name]


def _shown(approver: Approver, one: Question) -> dict[str, Any]:
    """Return what a person is asked, and the halt that would stop the order."""
    halt = approver.approvals.halted(one.record)
    told = None if halt is None else {"scope": halt.scope, "name": halt.name, "code": halt.code}
    return one.document() | {"halted": told}


def ambiguous(order_ids: Sequence[str]) -> RequestInvalid:
    """Return the refusal of an id that callers have chosen more than once."""
    return RequestInvalid(
        f"More than one order has this id: {', '.join(order_ids)}.",
        code="order_ambiguous",
        hint="Name one by its order id, as it is written here.",
        detail={"order_ids": list(order_ids)},
    )


async def _told(approver: Approver, record: OrderRecord, person: Actor) -> dict[str, Any]:
    history = await approver.approvals.ledger.history(record.order_id)
    return answers.present_state(record, history) | {"state": str(record.state), "by": person.name}


def _reason(args: Mapping[str, Any]) -> str | None:
    reason = args.get("reason")
    if reason is None:
        return None
    if not isinstance(reason, str) or not 0 < len(reason.strip()) <= LONGEST_REASON:
        limit = f"1 to {LONGEST_REASON} characters"
        raise RequestInvalid(f"A reason has {limit}.", detail={"field": "reason"})
    return reason.strip()
