"""What becomes of a person's yes: the approved order is checked again, and sent once.

Whoever writes the yes down sends the order at once. What was approved elsewhere, or by a
process that ended in between, is taken up here within seconds. That two do so at the same
time is harmless: the ledger lets one of them take the order on, by its state.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import anyio
from pydantic import ValidationError

from mcp_gateway.domain.orders import OrderRecord, OrderRequest, State, fingerprint
from mcp_gateway.domain.positions import Mode
from mcp_gateway.errors import Draining, GatewayError, OutcomeUnknown
from mcp_gateway.orders.approvals.decisions import ORIGIN, Approvals
from mcp_gateway.orders.book import protocol
from mcp_gateway.orders.book.actor import Actor
from mcp_gateway.orders.book.background import for_each, forever
from mcp_gateway.orders.book.detached import Detached
from mcp_gateway.orders.book.ledger import Superseded
from mcp_gateway.orders.book.steps import Origin
from mcp_gateway.orders.sending.carriage import Carriage
from mcp_gateway.risk.facts import Grants
from mcp_gateway.telemetry import logs, metrics

INTERVAL_S: Final = 1.0
# Left to the process that took the yes, which may reach the bot where this one does not.
NOT_OURS_YET: Final = timedelta(seconds=2)
LONGEST_ANSWER_S: Final = 20.0  # for whoever approves; the order goes on behind it
_log = logs.get(__name__)


@dataclass(slots=True)
class Dispatch:
    """Takes approved orders to an outcome.

    Args:
        mode: the declared one; an order that was shown in another is not sent.
    """

    approvals: Approvals
    carriage: Carriage
    work: Detached
    mode: Mode
    _announced: set[str] = field(default_factory=set)

    async def approve(self, order_id: str, person: Actor, reason: str | None = None) -> OrderRecord:
        """Approve an order, send it, and return it as it stands then.

        Raises:
            as Approvals.approve; what becomes of the order then stands in the record.
        """
        record = await self.work.run(lambda: self.approvals.approve(order_id, person, reason))
        with anyio.move_on_after(LONGEST_ANSWER_S), suppress(Draining, OutcomeUnknown):
            return await self.work.run(lambda: self.send(record, person.origin))
        return await self._latest(record)

    async def run(self) -> None:
        """Work until cancelled; a store that is down is asked again."""
        clock = self.approvals.clock
        await forever("Approvals", self.look, lambda: clock.sleep(INTERVAL_S))

    async def look(self) -> None:
        """Deny what is over, and take up what was approved and nobody sends."""
        approvals = self.approvals
        held = await approvals.ledger.in_states(approvals.bot_name, protocol.HELD)
        self._announce(held)
        await for_each(held, self._look_at)

    async def send(self, record: OrderRecord, origin: Origin) -> OrderRecord:
        """Take one approved order to an outcome, unless this process is at it already."""
        submission = self.carriage.submission
        if record.order_id in submission.running:
            return record
        try:
            with submission.carrying(record.order_id):
                record = await self._carried(record, origin)
        except Superseded:
            return await self._latest(record)
        except GatewayError as error:  # the yes stands: the next look, or recovery, takes it on
            _log.warning("An approved order waits", order=record.order_id, code=error.code)
            return await self._latest(record)
        metrics.orders_total.labels(record.side, protocol.outcome(record.state)).inc()
        return record

    async def _carried(self, record: OrderRecord, origin: Origin) -> OrderRecord:
        order = _asked_for(record)
        if order is None:
            return await self.carriage.submission.deny(record, origin, "order_altered")
        if record.mode != self.mode:
            return await self.carriage.submission.deny(record, origin, "mode_changed")
        seen = await self.approvals.ledger.mark()
        grants = Grants(approved=record.approved_quote)
        return await self.carriage.run(record, order, seen, origin, grants)

    async def _look_at(self, record: OrderRecord) -> None:
        record = await self.approvals.looked_at(record)
        if record.state is not State.APPROVED:
            return
        if self.approvals.clock.now() - record.updated_at >= NOT_OURS_YET:
            with suppress(Draining):
                await self.work.run(lambda: self.send(record, ORIGIN))

    async def _latest(self, record: OrderRecord) -> OrderRecord:
        with suppress(GatewayError):
            return await self.approvals.ledger.by_id(record.order_id) or record
        return record

    def _announce(self, held: tuple[OrderRecord, ...]) -> None:
        """Tell the operator's log of each order that waits, once."""
        waiting = {one.order_id for one in held if one.state is State.PENDING_APPROVAL}
        for order_id in sorted(waiting - self._announced):
            _log.warning("An order waits for a person's approval", order=order_id)
        self._announced = waiting


def _asked_for(record: OrderRecord) -> OrderRequest | None:
    """Return the order that was approved; None where the row is not what was asked for."""
    try:
        order = OrderRequest(
            request_id=record.request_id, agent=record.agent, pair=record.pair, side=record.side,
            amount=record.amount, order_type=record.order_type, price=record.price,
        )  # fmt: skip
    except ValidationError:
        return None
    whole = record.approved_quote is not None
    return order if whole and fingerprint(order, record.agent) == record.fingerprint else None
