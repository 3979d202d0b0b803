"""An order's way to the bot within one process: in its turn, and to an outcome."""

from dataclasses import dataclass, field
from typing import Final

import anyio

from mcp_gateway.domain.orders import OrderRecord, OrderRequest
from mcp_gateway.orders.book.ledger import Ledger, Superseded
from mcp_gateway.orders.book.steps import Origin
from mcp_gateway.orders.book.turns import Turns
from mcp_gateway.orders.sending.submission import Submission
from mcp_gateway.risk.facts import NO_GRANTS, Grants

LONGEST_WAIT_S: Final = 30.0  # for the orders of others; then the order is denied, unsent


@dataclass(frozen=True, slots=True)
class Carriage:
    """Takes orders to the bot one after the other."""

    ledger: Ledger
    submission: Submission
    turns: Turns = field(default_factory=Turns)

    async def run(
        self,
        record: OrderRecord,
        order: OrderRequest,
        seen: int,
        origin: Origin,
        grants: Grants = NO_GRANTS,
    ) -> OrderRecord:
        """Wait for the order's turn, and take it to an outcome; arguments as Submission.run's."""
        turn = self.turns.of(record)
        waits = turn.locked()
        with anyio.move_on_after(LONGEST_WAIT_S) as wait:
            await turn.acquire()
        if wait.cancelled_caught:
            return await self.submission.deny(record, origin, "bot_busy")
        try:
            if waits:  # the bot's word has in it what was placed meanwhile; once is enough
                seen = await self.ledger.mark()
            return await self.submission.run(record, order, seen, origin, grants)
        except Superseded:  # somebody else took it on; the row tells
            return await self.ledger.by_id(record.order_id) or record
        finally:
            turn.release()
