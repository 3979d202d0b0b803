"""Orders above the policy's line, and the people who decide about them."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

from mcp_gateway.domain.operations import OPERATIONS
from mcp_gateway.domain.orders import OrderRecord, OrderRequest
from mcp_gateway.domain.principals import Admission, Principal, admission_by_the_gate
from mcp_gateway.errors import GatewayError
from mcp_gateway.orders.book.actor import Actor
from mcp_gateway.risk.policy import Limits, Policy
from tests.support.desk import Desk, admission, order, stored
from tests.support.policy import POLICY, POLICY_FILE

LINE = Decimal(50)  # an order of the desk's costs a hundred
CONSOLE = Actor.operating("root", "approve_order")


def asking(**limits: Any) -> Policy:
    """Return a policy under which the desk's plain order needs a person."""
    return replace(POLICY, defaults=Limits(**{"approval_above": LINE} | limits))


def approver(
    subject: str = "operator", *, issuer: str = "tests", act_for: tuple[str, ...] = ()
) -> Actor:
    """Return a caller of the signed REST route."""
    return Actor.calling(approving(subject, issuer=issuer, act_for=act_for))


def approving(
    subject: str = "operator", *, issuer: str = "tests", act_for: tuple[str, ...] = ()
) -> Admission:
    """Return what the gate would have made for an approver."""
    principal = Principal(issuer, subject, frozenset({"orders:approve"}), frozenset(act_for))
    return admission_by_the_gate(
        principal, OPERATIONS["approve_order"], "rest", "call-9", f"key-of-{subject}"
    )


async def waiting(desk: Desk, subject: str = "agent-a", **changes: Any) -> OrderRequest:
    """Send an order that has to wait for a person."""
    wanted = order(**changes)
    created = await desk.orders.create(admission(subject), wanted)
    if created.answer["outcome"] != "pending_approval":
        raise AssertionError(f"does not wait: {created}")
    return wanted


async def id_of(desk: Desk, wanted: OrderRequest, subject: str = "agent-a") -> str:
    """Return the gateway's id of an order."""
    return (await stored(desk, wanted, subject)).order_id


async def approved(desk: Desk, wanted: OrderRequest, person: Actor = CONSOLE) -> OrderRecord:
    """Approve an order and return it as it stands then."""
    return await desk.orders.dispatch.approve(await id_of(desk, wanted), person)


async def declined(desk: Desk, wanted: OrderRequest, person: Actor = CONSOLE) -> OrderRecord:
    """Decline an order and return it as it stands then."""
    return await desk.orders.approvals.decline(await id_of(desk, wanted), person, "not today")


async def not_approved(desk: Desk, wanted: OrderRequest, person: Actor = CONSOLE) -> GatewayError:
    """Return the error with which an approval is answered."""
    try:
        record = await approved(desk, wanted, person)
    except GatewayError as error:
        return error
    raise AssertionError(f"approved: {record}")


def policy_file(folder: Path, *, asks_client: bool = False, line: Decimal = LINE) -> Path:
    """Write a policy with a line above which a person is asked, and return its place."""
    path = folder / "asking.toml"
    head = f'[defaults]\napproval_above = "{line}"\nasks_client = {str(asks_client).lower()}\n\n'
    path.write_text(head + POLICY_FILE.read_text(encoding="utf-8"), encoding="utf-8")
    return path
