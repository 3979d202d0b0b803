"""Asking the person at the client about an order that waits; off unless the policy trusts it.

A client that an agent owns would say yes to itself, so only an agent whose policy has
``asks_client`` is asked this way. It is a courtesy and never a condition: a client that can't
be asked, that does not answer, or that answers nonsense leaves the order waiting for a person
at another door. In protocol 2026-07-28 the tool's first answer is the question and the client
calls again with its response; before, the question goes out while the call is running.
"""

import json
import secrets
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import anyio
from mcp import MCPError
from mcp.server import ServerRequestContext
from mcp.server.mcpserver import Context, RequestStateSecurity
from mcp.types import ElicitRequest, ElicitRequestFormParams, ElicitResult, InputRequiredResult

from mcp_gateway.domain.orders import OrderRecord, State
from mcp_gateway.domain.principals import Admission
from mcp_gateway.errors import NotPending, NotPermitted
from mcp_gateway.gateway import Gateway
from mcp_gateway.orders.book.actor import Actor
from mcp_gateway.orders.halts.records import TradingHalted
from mcp_gateway.telemetry import logs
from mcp_gateway.transports.credentials import shown

if TYPE_CHECKING:  # the SQL libraries behind it are imported when the store opens
    from mcp_gateway.orders.service import OrderService

ROUNDS_SINCE: Final = "2026-07-28"  # answers come with a second call; versions are dates
LONGEST_WAIT_S: Final = 120.0  # of a running call; clients give up not much later
KEY: Final = "approval"
SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {"approve": {"type": "boolean", "title": "Approve this order"}},
    "required": ["approve"],
}
_log = logs.get(__name__)


def state_security(gateway: Gateway) -> RequestStateSecurity:
    """Return how a question's state is sealed on its way through the client.

    It fits one caller and one call with these very arguments, on any replica, for as long as
    an order waits.
    """

    def caller(_context: ServerRequestContext[Any, Any]) -> str:
        principal = gateway.gate.recognise(shown())
        return f"{principal.issuer}\n{principal.subject}"

    return RequestStateSecurity(
        keys=[gateway.gate.keyring.derived("request state")],
        ttl=gateway.settings.approval_wait_s,
        bind_principal=caller,
    )


class ClientApproval:
    """Puts the question before whoever sits at the requester's client."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def asked(
        self, context: Context[Any, Any], admission: Admission, request_id: UUID
    ) -> InputRequiredResult | bool:
        """Ask about an order that waits, and do what the answer says.

        Returns:
            The question, where it is the answer of this round; else whether anything was
            decided, so that the order stands elsewhere now.

        Raises:
            NotPermitted: answer_used, an answer to this question came before.
        """
        orders = await self._gateway.orders()
        principal = admission.principal
        ledger = orders.approvals.ledger
        record = await ledger.find(principal.issuer, principal.subject, request_id)
        if record is None or record.state is not State.PENDING_APPROVAL:
            return False
        if not self._trusts(record) or not _can_be_asked(context):
            return False
        if (context.protocol_version or "") < ROUNDS_SINCE:
            answer = await self._asked_now(context, orders, record)
        elif context.request_state is None:
            return await self._question(orders, record)
        else:
            answer = await self._answer_to(context, record)
        if not self._trusts(record):  # the policy changed while the question was open
            return False
        return await _decided(orders, record, answer, Actor.at_the_client(admission))

    def _trusts(self, record: OrderRecord) -> bool:
        """Tell whether the person at this client may decide: a client, and no name that it uses."""
        trusted = self._gateway.policies.current.limits(record.subject).asks_client
        return trusted and record.agent == record.subject

    async def _question(self, orders: "OrderService", record: OrderRecord) -> InputRequiredResult:
        text = (await orders.approvals.question(record)).text
        state = {"order_id": record.order_id, "once": secrets.token_hex(16)}
        return InputRequiredResult(
            input_requests={KEY: _form(text)}, request_state=json.dumps(state)
        )

    async def _answer_to(
        self, context: Context[Any, Any], record: OrderRecord
    ) -> ElicitResult | None:
        """Return the client's answer to the question of an earlier round.

        The state has been unsealed before: it is ours, this caller's, and of this very call.
        """
        answer = (context.input_responses or {}).get(KEY)
        state = json.loads(context.request_state or "{}")
        if not isinstance(answer, ElicitResult) or state.get("order_id") != record.order_id:
            return None
        ttl_s = self._gateway.settings.approval_wait_s
        if not await self._gateway.kv.add_if_absent(f"asked:{state['once']}", ttl_s):
            raise NotPermitted(
                "This question was answered before.",
                code="answer_used",
                hint="Nothing was changed. Ask get_order; another person may still decide.",
            )
        return answer

    async def _asked_now(
        self, context: Context[Any, Any], orders: "OrderService", record: OrderRecord
    ) -> ElicitResult | None:
        """Ask while the call runs; None where the client can't, won't, or takes too long."""
        text = (await orders.approvals.question(record)).text
        answer: ElicitResult | None = None
        async with anyio.create_task_group() as group:

            async def give_up() -> None:
                await self._gateway.clock.sleep(LONGEST_WAIT_S)
                group.cancel_scope.cancel()

            group.start_soon(give_up)
            try:
                answer = await context.session.elicit_form(
                    text, SCHEMA, related_request_id=context.request_context.request_id
                )
            except MCPError as error:  # no way back to it, or an error of its own
                _log.info("The client could not be asked", code=error.code)
            group.cancel_scope.cancel()
        return answer


def _form(text: str) -> ElicitRequest:
    return ElicitRequest(params=ElicitRequestFormParams(message=text, requested_schema=SCHEMA))


def _can_be_asked(context: Context[Any, Any]) -> bool:
    """Tell whether the client says that it shows forms; before there were modes, all did."""
    told = context.client_capabilities
    asks = None if told is None else told.elicitation
    return asks is not None and (asks.form is not None or asks.url is None)


async def _decided(
    orders: "OrderService", record: OrderRecord, answer: ElicitResult | None, person: Actor
) -> bool:
    """Do what an answer says: only a plain yes approves, and only a plain no declines."""
    if answer is None or answer.action == "cancel":
        return False
    said = (answer.content or {}).get("approve") if answer.action == "accept" else False
    if said is not True and said is not False:
        return False
    # Decided elsewhere meanwhile, or it waits for the end of a halt: the order tells.
    with suppress(NotPending, TradingHalted):
        if said:
            await orders.dispatch.approve(record.order_id, person)
        else:
            await orders.approvals.decline(record.order_id, person, "declined at the client")
    return True
