"""An order as it comes in: whose it is, and what the preview that it brings along grants it."""

import uuid
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from mcp_gateway.clock import Clock
from mcp_gateway.domain.orders import OrderRecord, OrderRequest, Preview, State, fingerprint
from mcp_gateway.domain.positions import Mode
from mcp_gateway.domain.principals import Admission, Principal
from mcp_gateway.errors import NotPermitted
from mcp_gateway.orders.book import marks
from mcp_gateway.orders.sending.seals import Seals
from mcp_gateway.risk.facts import NO_GRANTS, Grants

if TYPE_CHECKING:  # it would take the SQL libraries along
    from mcp_gateway.orders.book.ledger import Ledger


@dataclass(frozen=True, slots=True)
class Intake:
    """Makes the ledger's record of what a caller asks for."""

    ledger: "Ledger"
    seals: Seals
    clock: Clock
    bot_name: str
    mode: Mode

    def record(self, admission: Admission, order: OrderRequest) -> OrderRecord:
        """Return a new order as the ledger keeps it.

        Raises:
            NotPermitted: the caller does not speak for the agent.
        """
        return new_record(
            order, _agent(admission, order), admission.principal, carrier=self.ledger.holder,
            bot=self.bot_name, mode=self.mode, now=self.clock.now(),
        )  # fmt: skip

    async def with_grants(
        self, record: OrderRecord, preview_id: str | None
    ) -> tuple[OrderRecord, Grants]:
        """Return a new order with the name of its preview, and what that preview grants it.

        A request_id that is known is told what it was told before, whatever the preview is
        by now: it may have expired, and by its own first use it is used up.

        Raises:
            PreviewRefused: it does not fit the order; nothing was written.
            StoreUnavailable: the ledger does not tell whether the request_id is known.
        """
        if preview_id is None:
            return record, NO_GRANTS
        known = await self.ledger.find(record.issuer, record.subject, record.request_id)
        if known is not None:
            return record, NO_GRANTS
        opened = self.seals.open(preview_id, record)
        return replace(record, preview_id=opened.preview_id), Grants(previewed=opened.previewed)

    def sealed(self, told: Preview, record: OrderRecord, granted: Grants) -> Preview:
        """Lay a preview_id into the answer of a dry run that found nothing against its order."""
        if not told.valid or granted.previewed is None:
            return told
        seal = self.seals.seal(record, granted.previewed)
        return replace(told, preview_id=seal.text, expires_at=seal.expires_at)


def new_record(
    order: OrderRequest,
    agent: str,
    principal: Principal,
    *,
    carrier: str,
    bot: str,
    mode: Mode,
    now: datetime,
) -> OrderRecord:
    """Return an order that was just received, under an id and a tag of its own."""
    return OrderRecord(
        order_id=uuid.uuid4().hex,
        issuer=principal.issuer,
        subject=principal.subject,
        request_id=order.request_id,
        agent=agent,
        fingerprint=fingerprint(order, agent),
        tag=marks.new_tag(),
        carrier=carrier,
        bot=bot,
        pair=order.pair,
        side=order.side,
        amount=order.amount,
        order_type=order.order_type,
        price=order.price,
        mode=mode,
        state=State.RECEIVED,
        created_at=now,
        updated_at=now,
    )


def _agent(admission: Admission, order: OrderRequest) -> str:
    agent = order.agent or admission.principal.subject
    if not admission.principal.speaks_for(agent):
        raise NotPermitted(
            "The token does not speak for this agent.",
            code="agent_not_allowed",
            hint="Leave agent out, or use a token whose act_for lists it.",
        )
    return agent
