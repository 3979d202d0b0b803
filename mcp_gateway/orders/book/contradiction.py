"""What the bot holds although we said that it was never done: the one falsehood we could tell."""

from mcp_gateway.domain.orders import OrderRecord
from mcp_gateway.orders.book.ledger import Ledger
from mcp_gateway.orders.book.protocol import Event
from mcp_gateway.orders.book.steps import Move, Origin
from mcp_gateway.telemetry import logs, metrics

_log = logs.get(__name__)


async def contradicted(ledger: Ledger, record: OrderRecord, origin: Origin) -> OrderRecord:
    """Hand an order that was told as rejected, and that the bot holds after all, to a person.

    Raises:
        Superseded: somebody else did so already.
    """
    late = Move(Event.CONTRADICT, "executed_late", changes={"message": None})
    moved = await ledger.move(record, [late], origin)
    _log.error("The bot holds an order that was told as rejected", order=record.order_id)
    metrics.orders_contradicted_total.inc()
    return moved
