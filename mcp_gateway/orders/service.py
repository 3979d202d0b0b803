"""The orders of agents: at most one effect for one request_id, and an honest answer."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID
from weakref import WeakValueDictionary

import anyio

from mcp_gateway.domain.orders import OrderRecord, OrderRequest, Preview, State, fingerprint
from mcp_gateway.domain.positions import Mode
from mcp_gateway.domain.principals import Admission
from mcp_gateway.errors import (
    BotError,
    IdempotencyConflict,
    NotFound,
    NotPermitted,
    StoreUnavailable,
)
from mcp_gateway.orders import answers, marks, protocol, risk
from mcp_gateway.orders.cancellation import Cancellation, cancel_unanswered
from mcp_gateway.orders.detached import Detached
from mcp_gateway.orders.follow import Follower
from mcp_gateway.orders.ledger import Ledger, Superseded
from mcp_gateway.orders.preview import preview_of
from mcp_gateway.orders.reconcile import Reconciler
from mcp_gateway.orders.steps import Origin, audit_event
from mcp_gateway.orders.submission import Submission
from mcp_gateway.telemetry import metrics

TWIN_WAIT_S = 10.0  # for another gateway's first call with the same request_id
TWIN_LOOK_S = 0.1
CANCEL_TRIES: Final = 10  # other gateways may be at the same order
LONGEST_WAIT_S = 30.0  # for the orders of others; then the order is denied, unsent


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
    ) -> None:
        self._ledger = ledger
        self._submission = submission
        self._reconciler = reconciler
        self._follower = follower
        self._cancellation = Cancellation(ledger, submission.finder, follower, submission.bot)
        self._finder = submission.finder
        self._work = work
        self._clock = submission.clock
        self._bot_name = bot_name
        self._mode = mode
        # Entries one after the other, for the bot checks its slots before it takes its lock.
        # Exits have locks of their own: nothing else must hold them up.
        self._entry_turn = anyio.Lock()
        self._exit_turns: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()
        self._running: dict[str, anyio.Event] = {}

    async def preview(self, admission: Admission, order: OrderRequest) -> Preview:
        """Tell what ``create`` would do now; nothing is sent and no request_id is used up.

        Raises:
            NotPermitted: the caller does not speak for the agent.
            BotUnavailable: the bot can't be asked.
        """
        record = self._new_record(admission, order)
        seen = await self._ledger.mark()  # before the bot is asked: nothing may fall in between
        facts = await self._finder.facts(record)
        standing = await self._ledger.standing(record, seen)
        return preview_of(order, facts, risk.judge(order, facts, standing))

    async def create(self, admission: Admission, order: OrderRequest) -> Created:
        """Submit an order to the bot at most once.

        The ledger row is written before the bot is called, so a crash in between leaves an
        order that reconciliation can find.

        Args:
            order: amount in base units; price in quote per base, None for market.

        Returns:
            The receipt; for a repeated request_id the receipt of the first call.

        Raises:
            OrderDenied: a pre-trade check failed; the bot was not called.
            BotRejected: the bot refused; nothing happened.
            IdempotencyConflict: the request_id was used for another order.
            OutcomeUnknown: the bot did not answer; ask again by request_id.
            QuotaExceeded: only exits are left to this caller for now.
            StoreUnavailable: the ledger does not answer; nothing was sent.

        Source: Freqtrade REST POST /forceenter, POST /forceexit.
        """
        if admission.exits_only is not None and order.side == "buy":
            raise admission.exits_only
        record = self._new_record(admission, order)
        origin = Origin.of(admission)
        try:
            settled, is_first = await self._work.run(lambda: self._submit(record, order, origin))
        except StoreUnavailable:  # it may still tell what it took before
            known = await self._ledger.find(record.issuer, record.subject, order.request_id)
            if known is None:
                raise
            settled, is_first = known, False
        if not is_first:
            settled = await self._earlier(settled, record.fingerprint)
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

    async def _cancel(self, record: OrderRecord, origin: Origin) -> OrderRecord:
        # An exit of the same trade, on its way just now, would be taken back with it.
        async with self._exit_turn(record):
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

    def _new_record(self, admission: Admission, order: OrderRequest) -> OrderRecord:
        now = self._clock.now()
        agent = _agent(admission, order)
        return OrderRecord(
            order_id=uuid.uuid4().hex,
            issuer=admission.principal.issuer,
            subject=admission.principal.subject,
            request_id=order.request_id,
            agent=agent,
            fingerprint=fingerprint(order, agent),
            tag=marks.new_tag(),
            carrier=self._ledger.holder,
            bot=self._bot_name,
            pair=order.pair,
            side=order.side,
            amount=order.amount,
            order_type=order.order_type,
            price=order.price,
            mode=self._mode,
            state=State.RECEIVED,
            created_at=now,
            updated_at=now,
        )

    async def _submit(
        self, record: OrderRecord, order: OrderRequest, origin: Origin
    ) -> tuple[OrderRecord, bool]:
        """Write the order down and take it to an outcome, unless its key is taken."""
        event = audit_event(record, origin)
        async with self._marked_running(record):
            with self._submission.carrying(record.order_id):
                received = await self._ledger.receive(record, event)
                if received.seen is None:
                    return received.record, False
                record = await self._in_turn(record, order, received.seen, origin)
            metrics.orders_total.labels(record.side, protocol.outcome(record.state)).inc()
        return record, True

    def _turn(self, record: OrderRecord) -> anyio.Lock:
        if record.side == "buy":
            return self._entry_turn
        return self._exit_turn(record)

    def _exit_turn(self, record: OrderRecord) -> anyio.Lock:
        # Nobody else's sells hold up an agent's own: they are of other trades.
        key = f"{record.issuer}\n{record.agent}\n{record.pair}"
        return self._exit_turns.setdefault(key, anyio.Lock())

    async def _in_turn(
        self, record: OrderRecord, order: OrderRequest, seen: int, origin: Origin
    ) -> OrderRecord:
        turn = self._turn(record)
        waits = turn.locked()
        with anyio.move_on_after(LONGEST_WAIT_S) as wait:
            await turn.acquire()
        if wait.cancelled_caught:
            return await self._submission.deny(record, origin, "bot_busy")
        try:
            if waits:  # the bot's word has in it what was placed meanwhile; once is enough
                seen = await self._ledger.mark()
            return await self._submission.run(record, order, seen, origin)
        except Superseded:  # recovery took it for an orphan; the row tells
            return await self._latest(record)
        finally:
            turn.release()

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
        return latest

    async def _latest(self, record: OrderRecord) -> OrderRecord:
        found = await self._ledger.find(record.issuer, record.subject, record.request_id)
        return found or record

    async def _refreshed(self, record: OrderRecord) -> OrderRecord:
        try:
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


def _agent(admission: Admission, order: OrderRequest) -> str:
    agent = order.agent or admission.principal.subject
    if not admission.principal.speaks_for(agent):
        raise NotPermitted(
            "The token does not speak for this agent.",
            code="agent_not_allowed",
            hint="Leave agent out, or use a token whose act_for lists it.",
        )
    return agent


def _key(record: OrderRecord) -> str:
    return f"{record.issuer}\n{record.subject}\n{record.request_id}"
