"""The orders of agents: at most one effect for one request_id, and an honest answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

import anyio

from mcp_gateway.domain.orders import OrderRecord, OrderRequest, Preview, State
from mcp_gateway.domain.positions import Mode
from mcp_gateway.domain.principals import Admission
from mcp_gateway.errors import (
    BotError,
    IdempotencyConflict,
    NotFound,
    StoreUnavailable,
)
from mcp_gateway.orders.approvals.decisions import Approvals
from mcp_gateway.orders.approvals.dispatch import Dispatch
from mcp_gateway.orders.book import answers, protocol
from mcp_gateway.orders.book.detached import Detached
from mcp_gateway.orders.book.ledger import Ledger, Superseded
from mcp_gateway.orders.book.steps import Origin, audit_event
from mcp_gateway.orders.sending.carriage import Carriage
from mcp_gateway.orders.sending.dry_run import dry_run
from mcp_gateway.orders.sending.intake import Intake
from mcp_gateway.orders.sending.preview import preview_of
from mcp_gateway.orders.sending.seals import Seals
from mcp_gateway.orders.sending.submission import Submission
from mcp_gateway.orders.settling.cancellation import Cancellation, cancel_unanswered
from mcp_gateway.orders.settling.follow import Follower
from mcp_gateway.orders.settling.reconcile import Reconciler
from mcp_gateway.risk.facts import NO_GRANTS, Grants
from mcp_gateway.telemetry import metrics

TWIN_WAIT_S = 10.0  # for another gateway's first call with the same request_id
TWIN_LOOK_S = 0.1
CANCEL_TRIES: Final = 10  # other gateways may be at the same order


@dataclass(frozen=True, slots=True)
class Created:
    """The receipt of a placed order; ``replayed`` when an earlier call placed it."""

    answer: dict[str, Any]
    replayed: bool


class OrderService:
    """Dry runs, orders and their present state, for admitted callers."""

    def __init__(
        self,
        ledger: Ledger,
        submission: Submission,
        reconciler: Reconciler,
        follower: Follower,
        work: Detached,
        *,
        bot_name: str,
        mode: Mode,
        seals: Seals,
    ) -> None:
        self._ledger = ledger
        self._submission = submission
        self._reconciler = reconciler
        self._follower = follower
        self._cancellation = Cancellation(ledger, submission.finder, follower, submission.bot)
        self._finder = submission.finder
        self._work = work
        self._clock = submission.clock
        self._intake = Intake(ledger, seals, self._clock, bot_name, mode)
        self._carriage = Carriage(ledger, submission)
        self.approvals = Approvals(ledger, self._clock, bot_name, submission.halts)
        self.dispatch = Dispatch(self.approvals, self._carriage, work, mode)
        self._running: dict[str, anyio.Event] = {}

    async def preview(self, admission: Admission, order: OrderRequest) -> Preview:
        """Tell what ``create`` would do now; nothing is sent and no request_id is used up.

        Raises:
            NotPermitted: the caller does not speak for the agent.
            BotUnavailable: the bot can't be asked.
        """
        record = self._intake.record(admission, order)
        made = await dry_run(self._submission, record, order)
        told = preview_of(order, made.facts, made.verdict)
        return self._intake.sealed(told, record, made.granted)

    async def create(
        self, admission: Admission, order: OrderRequest, preview_id: str | None = None
    ) -> Created:
        """Submit an order to the bot at most once.

        The ledger row is written before the bot is called, so a crash in between leaves an
        order that reconciliation can find.

        Args:
            order: amount in base units; price in quote per base, None for market.
            preview_id: of a dry run; the order is held to what that one saw.

        Returns:
            The receipt; for a repeated request_id the receipt of the first call.

        Raises:
            OrderDenied: a pre-trade check failed; the bot was not called.
            BotRejected: the bot refused; nothing happened.
            IdempotencyConflict: the request_id was used for another order.
            PreviewRefused: the preview does not fit; the request_id is unused.
            OutcomeUnknown: the bot did not answer; ask again by request_id.
            QuotaExceeded: only exits are left to this caller for now.
            StoreUnavailable: the ledger does not answer; nothing was sent.

        Source: Freqtrade REST POST /forceenter, POST /forceexit.
        """
        if admission.reserve is not None:  # the caller's quota is used up
            if order.side == "buy":
                raise admission.reserve.refusal
            await admission.reserve.spend()
        record = self._intake.record(admission, order)
        record, grants = await self._intake.with_grants(record, preview_id)
        origin = Origin.of(admission)
        try:
            settled, is_first = await self._work.run(
                lambda: self._submit(record, order, origin, grants)
            )
        except StoreUnavailable:  # it may still tell what it took before
            known = await self._ledger.find(record.issuer, record.subject, order.request_id)
            if known is None:
                raise
            settled, is_first = known, False
        if not is_first:
            settled = await self._earlier(settled, record.fingerprint)
        if settled.state in protocol.HELD:
            history = await self._ledger.history(settled.order_id)
            return Created(answers.held(settled, history), not is_first)
        return _told(settled, replayed=not is_first)

    async def get(self, admission: Admission, request_id: UUID) -> dict[str, Any]:
        """Tell where an order of the caller's stands, asking the bot when it is unsettled.

        Raises:
            NotFound: the caller never used this request_id for an order.
        """
        record = await self._own(admission, request_id)
        record = await self._refreshed(record)
        return answers.present_state(record, await self._ledger.history(record.order_id))

    async def cancel(self, admission: Admission, request_id: UUID) -> dict[str, Any]:
        """Cancel what still rests of an order of the caller's; answers as ``get`` does.

        Raises:
            NotFound: the caller never used this request_id for an order.
            OrderNotResting: nothing of it is left to cancel.
            OutcomeUnknown: it is not known yet whether it was placed.
            BotUnavailable: the bot did not answer; cancelling again is safe.

        Source: Freqtrade REST DELETE /trades/ID/open-order.
        """
        record = await self._own(admission, request_id)
        origin = Origin.of(admission)
        settled = await self._work.run(lambda: self._cancel(record, origin))
        return answers.present_state(settled, await self._ledger.history(settled.order_id))

    async def carry(self, record: OrderRecord, order: OrderRequest, origin: Origin) -> OrderRecord:
        """Take an operator's order to its outcome, as ``create`` does an agent's.

        Returns:
            The order; the earlier one where its request_id is known.
        """
        settled, _ = await self._work.run(lambda: self._submit(record, order, origin, NO_GRANTS))
        return settled

    async def take_back(self, record: OrderRecord, origin: Origin) -> OrderRecord:
        """Cancel an order in its agent's place; raises as ``cancel`` does."""
        return await self._work.run(lambda: self._cancel(record, origin))

    async def _cancel(self, record: OrderRecord, origin: Origin) -> OrderRecord:
        # An exit of the same trade, on its way just now, would be taken back with it.
        async with self._carriage.turns.of_exit(record):
            for _ in range(CANCEL_TRIES):
                with suppress(Superseded):  # filled meanwhile, or cancelled by another; look anew
                    return await self._cancellation.run(await self._latest(record), origin)
        raise cancel_unanswered()

    async def _own(self, admission: Admission, request_id: UUID) -> OrderRecord:
        principal = admission.principal
        record = await self._ledger.find(principal.issuer, principal.subject, request_id)
        if record is None:
            raise NotFound(
                "No order of yours has this request_id.",
                code="order_unknown",
                hint="Nothing was ever sent under it; it is safe to create the order.",
            )
        return record

    async def _submit(
        self, record: OrderRecord, order: OrderRequest, origin: Origin, grants: Grants
    ) -> tuple[OrderRecord, bool]:
        """Write the order down and take it to an outcome, unless its key is taken."""
        event = audit_event(record, origin)
        async with self._marked_running(record):
            with self._submission.carrying(record.order_id):
                received = await self._ledger.receive(record, event)
                if received.seen is None:
                    return received.record, False
                record = await self._carriage.run(record, order, received.seen, origin, grants)
            if record.state is State.PENDING_APPROVAL:
                record = await self.approvals.bounded(record)
            metrics.orders_total.labels(record.side, protocol.outcome(record.state)).inc()
        return record, True

    @asynccontextmanager
    async def _marked_running(self, record: OrderRecord) -> AsyncIterator[None]:
        key = _key(record)
        if key in self._running:  # a twin that came first is on its way; it holds the mark
            yield
            return
        self._running[key] = anyio.Event()
        try:
            yield
        finally:
            self._running.pop(key).set()

    async def _earlier(self, record: OrderRecord, print_of_this: str) -> OrderRecord:
        """Return the first call's order in its latest state, waiting for it if it runs here."""
        if record.fingerprint != print_of_this:
            raise IdempotencyConflict("This request_id was used for another order.")
        if (running := self._running.get(_key(record))) is not None:
            await running.wait()
        latest = await self._latest(record)
        with anyio.move_on_after(TWIN_WAIT_S):
            while latest.state in protocol.CARRIED:  # another gateway carries it
                await anyio.sleep(TWIN_LOOK_S)
                latest = await self._latest(record)
        return await self.approvals.looked_at(latest)

    async def _latest(self, record: OrderRecord) -> OrderRecord:
        found = await self._ledger.find(record.issuer, record.subject, record.request_id)
        return found or record

    async def _refreshed(self, record: OrderRecord) -> OrderRecord:
        try:
            if record.state in protocol.HELD:
                return await self.approvals.looked_at(record)
            if record.state is State.UNKNOWN:
                return await self._reconciler.resolve(record)
            return await self._follower.follow(record)
        except BotError:
            return record  # the row tells what is known; the bot is asked again later
        except Superseded:
            return await self._latest(record)


def _told(record: OrderRecord, *, replayed: bool) -> Created:
    error = answers.refusal(record)
    if error is not None:
        error.replayed = replayed
        raise error
    return Created(record.answer or answers.receipt(record), replayed)


def _key(record: OrderRecord) -> str:
    return f"{record.issuer}\n{record.subject}\n{record.request_id}"
