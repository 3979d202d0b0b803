"""Dry runs, and orders that bring one along."""

from collections.abc import Mapping

from mcp_gateway.domain.orders import OrderRequest
from mcp_gateway.errors import GatewayError
from mcp_gateway.orders.service import Created
from tests.support.desk import Desk, admission


async def preview_id(desk: Desk, wanted: OrderRequest, subject: str = "agent-a") -> str:
    """Return the preview_id of an order against which nothing speaks."""
    told = await desk.orders.preview(admission(subject, "dry_run_order"), wanted)
    if told.preview_id is None:
        raise AssertionError(f"no preview: {told.errors}")
    return told.preview_id


async def placed(
    desk: Desk, wanted: OrderRequest, preview: str | None, subject: str = "agent-a"
) -> Created:
    """Place an order with a preview."""
    return await desk.orders.create(admission(subject), wanted, preview)


async def refused_with(
    desk: Desk, wanted: OrderRequest, preview: str | None, subject: str = "agent-a"
) -> GatewayError:
    """Return the error with which an order and its preview are answered."""
    try:
        created = await placed(desk, wanted, preview, subject)
    except GatewayError as error:
        return error
    raise AssertionError(f"not refused: {created}")


async def known(desk: Desk, wanted: OrderRequest, subject: str = "agent-a") -> bool:
    """Tell whether the ledger has an order, and so whether its request_id is used up."""
    return await desk.ledger.find("tests", subject, wanted.request_id) is not None


def failed(error: GatewayError) -> Mapping[str, object]:
    """Return the rule, the limit and the value of a denial."""
    told = error.public()
    return {name: told.get(name) for name in ("rule", "limit", "value")}
