"""One order on its way through the bot: checked, written down, sent once, understood.

Every step is committed before the next begins, so whatever ends the process leaves a row
that tells how far the order came.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from mcp_gateway.clock import Clock
from mcp_gateway.domain.orders import OrderRecord, OrderRequest, State
from mcp_gateway.domain.positions import Trade
from mcp_gateway.errors import BotError, GatewayError
from mcp_gateway.freqtrade.client import (
    Accepted,
    Answer,
    Entry,
    Exit,
    FreqtradeClient,
    NotSent,
    Refused,
    Unanswered,
    quote_for,
)
from mcp_gateway.orders import answers, marks, protocol, risk
from mcp_gateway.orders.facts import FactFinder
from mcp_gateway.orders.ledger import Ledger, PlaceTaken, Superseded
from mcp_gateway.orders.protocol import Event
from mcp_gateway.orders.risk import Facts
from mcp_gateway.orders.steps import Origin, audit_event
from mcp_gateway.telemetry import logs

Ask = Callable[[], Awaitable[tuple[Answer, marks.Execution | None]]]
_log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Submission:
    """Takes orders from ``received`` to an outcome.

    ``running`` holds the orders that are under way in this process, which recovery leaves
    alone whatever the clock says; ``left`` those whose way ended without an outcome (the
    store failed, the gateway stopped), which it takes up at once.
    """

    ledger: Ledger
    finder: FactFinder
    bot: FreqtradeClient
    clock: Clock
    running: set[str] = field(default_factory=set)
    left: set[str] = field(default_factory=set)

    @contextlib.contextmanager
    def carrying(self, order_id: str) -> Iterator[None]:
        """Mark an order as under way for as long as the block lasts."""
        self.running.add(order_id)
        try:
            yield
        except BaseException:
            self.left.add(order_id)
            raise
        finally:
            self.running.discard(order_id)

    async def run(self, record: OrderRecord, order: OrderRequest, origin: Origin) -> OrderRecord:
        """Check the order, send it once and record what became of it."""
        try:
            facts = await self.finder.facts(record.agent, record.issuer, record.pair)
        except BotError as error:
            return await self.deny(record, origin, "bot_unavailable", cause=error.code)
        verdict = risk.judge(order, facts)
        if verdict.failed:
            return await self._deny_by_rule(record, origin, verdict)
        record = await self.move(record, Event.RESERVE, origin)
        if order.side == "buy":
            return await self._enter(record, facts, origin)
        return await self._exit(record, facts, origin)

    async def move(
        self,
        record: OrderRecord,
        event: Event,
        origin: Origin,
        *,
        changes: Mapping[str, Any] | None = None,
        code: str | None = None,
        detail: Mapping[str, Any] | None = None,
    ) -> OrderRecord:
        """Commit one step: state, history and audit row in one transaction.

        Raises:
            Superseded: somebody else has moved the order meanwhile.
            PlaceTaken: another order of this bot is in flight.
        """
        to = protocol.after(record.state, event)
        return await self.ledger.move(
            record.order_id,
            expected=record.state,
            to=to,
            event=audit_event(record, to, origin, self.clock, code=code, detail=detail),
            changes=changes or {},
            code=code,
            detail=detail or {},
        )

    async def deny(
        self, record: OrderRecord, origin: Origin, code: str, *, cause: str | None = None
    ) -> OrderRecord:
        """Close an order that was never sent."""
        return await self.move(
            record, Event.DENY, origin,
            changes={"message": answers.denial_message(code)},
            code=code, detail={"cause": cause} if cause else {},
        )  # fmt: skip

    async def _deny_by_rule(
        self, record: OrderRecord, origin: Origin, verdict: risk.Verdict
    ) -> OrderRecord:
        first = verdict.failed[0]
        failed = [{"rule": c.rule, "limit": c.limit, "value": c.value} for c in verdict.failed]
        return await self.move(
            record, Event.DENY, origin,
            changes={"message": first.message, "answer": failed[0]},
            code=first.rule, detail={"failed": failed},
        )  # fmt: skip

    async def _enter(self, record: OrderRecord, facts: Facts, origin: Origin) -> OrderRecord:
        price = record.price or (facts.price.value if facts.price else None)
        if price is None:  # the checks deny an order without a price
            raise AssertionError("an entry passed its checks without a price")
        quote = quote_for(record.amount, price, facts.lot_step)
        sent = await self._send(record, origin, {"quote_sent": quote}, _before(facts))
        if sent.state is not State.SENT:
            return sent
        entry = Entry(record.pair, quote, record.order_type, record.price, record.tag)

        async def ask() -> tuple[Answer, marks.Execution | None]:
            answer = await self.bot.enter(entry)
            if isinstance(answer, Accepted) and answer.trade is not None:
                return answer, marks.find_entry((answer.trade,), record.tag)
            return answer, None

        return await self._carried_out(sent, ask, origin)

    async def _exit(self, record: OrderRecord, facts: Facts, origin: Origin) -> OrderRecord:
        held = facts.held
        if held is None:  # the checks deny a sell of nothing
            raise AssertionError("an exit passed its checks with nothing held")
        amount = None if risk.is_full_exit(record.amount, held) else record.amount
        before = marks.exit_marks(held)
        detail = _before(facts) | {"sells_before": before, "trade_tag": held.tag}
        sent = await self._send(record, origin, {"trade_id": held.trade_id}, detail)
        if sent.state is not State.SENT:
            return sent
        leave = Exit(held.trade_id, amount, record.order_type, record.price)

        async def ask() -> tuple[Answer, marks.Execution | None]:
            if (trouble := await self._moved_on(held)) is not None:
                return trouble, None
            answer = await self.bot.exit(leave)
            if isinstance(answer, Accepted):
                return answer, await self._sold(held, frozenset(before))
            return answer, None

        return await self._carried_out(sent, ask, origin)

    async def _send(
        self,
        record: OrderRecord,
        origin: Origin,
        changes: Mapping[str, Any],
        detail: Mapping[str, Any],
    ) -> OrderRecord:
        """Commit ``sent`` before the first byte goes out; the one place in flight is taken here."""
        try:
            return await self.move(record, Event.SEND, origin, changes=changes, detail=detail)
        except PlaceTaken:
            return await self.deny(record, origin, "bot_busy")

    async def _moved_on(self, held: Trade) -> NotSent | None:
        """Look at the trade again, now that no other exit of it can be on its way.

        What was read before the place was taken may be older than another gateway's exit;
        an order sized by it would sell too much, or be told another's numbers.
        """
        try:
            trade = await self.bot.trade(held.trade_id)
        except GatewayError as error:
            return NotSent(error.code)
        same = trade is not None and trade.is_open and trade.tag == held.tag
        if trade is None or not same or trade.amount != held.amount:
            return NotSent("position_changed")
        if marks.exit_marks(trade) != marks.exit_marks(held):
            return NotSent("position_changed")
        return None

    async def _sold(self, held: Trade, before: frozenset[str]) -> marks.Execution | None:
        try:
            trade = await self.bot.trade(held.trade_id)
        except GatewayError:
            return None  # the answer proves nothing without it; reconciliation asks again
        return None if trade is None else marks.find_exit(trade, before)

    async def _carried_out(self, sent: OrderRecord, ask: Ask, origin: Origin) -> OrderRecord:
        """Ask the bot once and record the outcome.

        From here on nothing may be told but the outcome, or that it is unknown: a store
        that fails now, or a bug, must not read like "nothing was done".

        Raises:
            OutcomeUnknown: what the bot did could not be recorded; recovery will find it.
        """
        try:
            answer, execution = await ask()
            self.finder.forget_positions()  # who trades sees the trade at once
            try:
                return await self._outcome(sent, answer, execution, origin)
            except Superseded:  # recovery took it for lost; what the bot said still counts
                return await self._outcome(await self._now(sent), answer, execution, origin)
        except Exception as error:
            _log.exception("An order was sent and its outcome not recorded", order=sent.order_id)
            with contextlib.suppress(GatewayError, Superseded):
                return await self.move(sent, Event.LOSE, origin, code="not_recorded")
            raise answers.unknown(sent) from error

    async def _now(self, record: OrderRecord) -> OrderRecord:
        return await self.ledger.by_id(record.order_id, None) or record

    async def _outcome(
        self,
        sent: OrderRecord,
        answer: Answer,
        execution: marks.Execution | None,
        origin: Origin,
    ) -> OrderRecord:
        """Turn the bot's answer into the order's outcome."""
        if protocol.is_final(sent.state):
            return sent
        if execution is not None:
            return await self.confirm(sent, execution, origin)
        if isinstance(answer, NotSent):
            code = answer.code if answer.code == "position_changed" else "bot_unavailable"
            return await self.move(
                sent, Event.NOT_SENT, origin, code=code, detail={"cause": answer.code},
                changes={"message": answers.denial_message(code)},
            )  # fmt: skip
        if isinstance(answer, Refused):
            return await self.reject(sent, answer.code, origin)
        if sent.state is State.UNKNOWN:
            return sent
        # No answer, or one that describes another trade than ours.
        cause = answer.code if isinstance(answer, Unanswered) else "mark_missing"
        return await self.move(sent, Event.LOSE, origin, code=cause)

    async def confirm(
        self, record: OrderRecord, execution: marks.Execution, origin: Origin
    ) -> OrderRecord:
        """Record that the bot has an order with our mark.

        The receipt is stored with the state, for every repetition of the request.
        """
        changes = marks.changes(execution)
        placed = replace(record, state=protocol.after(record.state, Event.CONFIRM), **changes)
        changes["answer"] = answers.receipt(placed)
        return await self.move(record, Event.CONFIRM, origin, changes=changes)

    async def reject(self, record: OrderRecord, code: str, origin: Origin) -> OrderRecord:
        """Record that the bot refused, or is proven not to have acted."""
        changes = {"message": answers.rejection_message(code)}
        return await self.move(record, Event.REJECT, origin, changes=changes, code=code)


def _before(facts: Facts) -> dict[str, Any]:
    """Return what reconciliation compares with: which run of the bot the order went to."""
    started = facts.bot_started_at
    return {"bot_started_at": None if started is None else started.isoformat()}
