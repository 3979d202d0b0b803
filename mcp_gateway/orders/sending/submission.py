"""One order on its way through the bot: weighed, written down, sent once, understood.

What is due and what follows is the protocol's; here it is done. Every step is committed
before the next begins, so whatever ends the process leaves a row that tells how far the
order came.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from mcp_gateway.clock import Clock
from mcp_gateway.domain.answers import Accepted, Answer, NotSent, Refused, Unanswered
from mcp_gateway.domain.orders import OrderRecord, OrderRequest, State
from mcp_gateway.domain.positions import Trade
from mcp_gateway.errors import BotError, GatewayError
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.freqtrade.orders import Entry, Exit
from mcp_gateway.orders.book import answers, marks, moves, protocol
from mcp_gateway.orders.book.contradiction import contradicted
from mcp_gateway.orders.book.ledger import Ledger, OrderClaimed, PlaceTaken, Superseded
from mcp_gateway.orders.book.moves import Noted
from mcp_gateway.orders.book.protocol import Due, Event
from mcp_gateway.orders.book.steps import Move, Origin
from mcp_gateway.orders.evidence.search import Search, TradeGone
from mcp_gateway.orders.halts.local import LocalHalts
from mcp_gateway.orders.sending.facts import FactFinder
from mcp_gateway.risk.case import Asked
from mcp_gateway.risk.checks.exits import is_full_exit
from mcp_gateway.risk.facts import NO_GRANTS, NOTHING_STANDS, Facts, Grants, Standing
from mcp_gateway.risk.judge import judge
from mcp_gateway.risk.keeper import PolicyKeeper
from mcp_gateway.telemetry import logs

Heard = tuple[Answer, marks.Execution | None]
# What the bot says of an order when it was carried out a moment ago.
DOUBTFUL_REFUSALS: Final = frozenset({"position_exists", "no_free_slot", "trade_not_open"})
# A process that was paused behind `sent` may have been taken for dead meanwhile.
LATEST_SEND_S: Final = 15.0
APPROVAL_WAIT: Final = timedelta(minutes=15)
Ask = Callable[[], Awaitable[Heard]]
_log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Submission:
    """Takes orders from ``received`` to an outcome.

    ``running`` holds the orders that are under way in this process, which recovery leaves
    alone; ``left`` those whose way ended without an outcome (the store failed, the gateway
    stopped), which it takes up at once. ``approval_wait`` is how long an order waits for a
    person. ``halts`` are those that this process knows without the store; ``throttled`` is
    told of an order that was denied because its agent repeats itself.
    """

    ledger: Ledger
    finder: FactFinder
    bot: FreqtradeClient
    clock: Clock
    policies: PolicyKeeper
    running: set[str] = field(default_factory=set)
    left: set[str] = field(default_factory=set)
    approval_wait: timedelta = APPROVAL_WAIT
    halts: LocalHalts = field(default_factory=LocalHalts)
    throttled: Callable[[OrderRecord], Awaitable[object]] | None = None

    @property
    def search(self) -> Search:
        """Where lost orders are looked for."""
        return Search(self.bot)

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

    async def run(
        self,
        record: OrderRecord,
        order: OrderRequest,
        seen: int,
        origin: Origin,
        grants: Grants = NO_GRANTS,
    ) -> OrderRecord:
        """Weigh the order, send it once and record what became of it.

        Args:
            seen: how far the ledger was written when the order was received.
            grants: what it brings along: a preview, a person's word.
        """
        try:
            facts = await self.finder.facts(record)
        except BotError as error:
            return await self.deny(record, origin, "bot_unavailable", cause=error.code)
        latest = self.clock.monotonic() + LATEST_SEND_S
        failed: set[str] = set()

        def decide() -> Asked:  # by the policy of the moment in which it is written down
            return self.asked(record, order, grants)

        try:
            moved = await self._weighed(record, decide, facts, seen, origin, failed)
        except PlaceTaken:
            return await self.deny(record, origin, "bot_busy")
        if "repeat_throttle" in failed and self.throttled is not None:
            await self.throttled(moved)
        if protocol.due(moved.state) is not Due.ASK:
            return moved
        record = moved
        ask = (
            self._entry(record, latest)
            if order.side == "buy"
            else self._exit(record, facts, latest)
        )
        return await self._carried_out(record, ask, origin)

    def asked(self, record: OrderRecord, order: OrderRequest, grants: Grants) -> Asked:
        """Return an order as its judge wants it: at this moment, by the policy in force."""
        policy, now = self.policies.current, self.clock.now()
        return Asked(order, record.agent, record.subject, record.fingerprint, policy, now, grants)

    async def deny(
        self, record: OrderRecord, origin: Origin, code: str, *, cause: str | None = None
    ) -> OrderRecord:
        """Close an order that was never sent."""
        denied = moves.denied(Event.DENY, code, {"cause": cause} if cause else {})
        return await self.ledger.move(record, [denied], origin)

    async def _weighed(
        self,
        record: OrderRecord,
        decide: Callable[[], Asked],
        facts: Facts,
        seen: int,
        origin: Origin,
        failed: set[str],
    ) -> OrderRecord:
        """Commit the verdict: denied, held for a person, or reserved and sent.

        ``sent`` is committed before the first byte goes out; the one place in flight is taken
        with it.

        Args:
            failed: takes the codes of the rules that deny it.
        """

        def weigh(standing: Standing) -> Sequence[Move]:
            if moves.is_over(
                record, self.clock.now()
            ):  # a person's word holds up to this moment, not longer
                return [moves.denied(Event.DENY, "approval_expired", {})]
            asked = decide()
            verdict = judge(asked, facts, self.halts.with_own(standing))
            failed.update(check.rule for check in verdict.failed)
            if verdict.failed:
                return [moves.denied_by(verdict)]
            if verdict.needs_approval:
                return [moves.held(verdict, asked.now + self.approval_wait)]
            return moves.sending(record, facts, verdict, self.ledger.holder)

        if record.side == "buy":
            return await self.ledger.weigh(record, seen, weigh, origin)
        return await self.ledger.move(record, weigh(NOTHING_STANDS), origin)

    def _entry(self, record: OrderRecord, latest: float) -> Ask:
        if record.quote_sent is None:
            raise AssertionError("an entry was sent without its quote")
        entry = Entry(record.pair, record.quote_sent, record.order_type, record.price, record.tag)

        async def halted() -> str | None:  # since `sent` was committed, too
            await self.halts.freshness.renewed()
            if self.halts.binding(record.pair, record.agent, record.subject) is not None:
                return "trading_halted"
            return "too_late" if self.halts.freshness.is_stale else None

        async def ask() -> Heard:
            if self._is_too_late(record, latest):
                return NotSent("too_late"), None
            answer = await self.bot.enter(entry, unless=halted)
            if isinstance(answer, Accepted) and answer.trade is not None:
                return answer, marks.find_entry((answer.trade,), record.tag)
            return await self._doubted(answer, record, Noted())

        return ask

    def _exit(self, record: OrderRecord, facts: Facts, latest: float) -> Ask:
        held = facts.held
        if held is None:
            raise AssertionError("an exit was sent with nothing held")
        amount = None if is_full_exit(record.amount, held) else record.amount
        leave = Exit(held.trade_id, amount, record.order_type, record.price)
        noted = Noted(None, tuple(marks.exit_marks(held)), held.tag)

        async def ask() -> Heard:
            if (trouble := await self._moved_on(held)) is not None:
                return trouble, None
            if self._is_too_late(record, latest):
                return NotSent("too_late"), None
            return await self._doubted(await self.bot.exit(leave), record, noted)

        return ask

    def _is_too_late(self, record: OrderRecord, latest: float) -> bool:
        """Tell whether this process was paused, or its machine, behind the commit of ``sent``.

        The monotonic clock stands still while a machine sleeps, the wall clock does not.
        """
        sent_at = record.sent_at or record.updated_at
        slept = self.clock.now() - sent_at > timedelta(seconds=LATEST_SEND_S)
        return slept or self.clock.monotonic() > latest

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

    async def _doubted(self, answer: Answer, record: OrderRecord, noted: Noted) -> Heard:
        """Look for our mark where the answer does not show it and may mean that it is there.

        A yes to an exit names no order. And the bot may refuse what was done already: a proxy
        before it that repeats requests hands on the second answer, "already open", of the
        trade that the first one opened.
        """
        refused = isinstance(answer, Refused) and answer.code in DOUBTFUL_REFUSALS
        if not (refused or isinstance(answer, Accepted)):
            return answer, None
        try:
            return answer, await self.search.look(record, noted)
        except TradeGone:
            return answer, None
        except GatewayError as error:  # without the look the answer proves nothing
            return Unanswered(error.code), None

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
                return await self.ledger.move(sent, [Move(Event.LOSE, "not_recorded")], origin)
            raise answers.unknown(sent) from error

    async def _now(self, record: OrderRecord) -> OrderRecord:
        return await self.ledger.by_id(record.order_id) or record

    async def _outcome(
        self,
        record: OrderRecord,
        answer: Answer,
        execution: marks.Execution | None,
        origin: Origin,
    ) -> OrderRecord:
        """Record what the bot's answer proves, where it is news."""
        event = protocol.heard(answer, found=execution is not None)
        if execution is not None and record.state is State.REJECTED:
            return await contradicted(self.ledger, record, origin)
        if not protocol.says_something(record.state, event):
            return record
        if execution is not None:
            try:
                confirmed = moves.confirmed(record, execution)
                return await self.ledger.move(record, confirmed, origin)
            except OrderClaimed:
                event, answer = Event.LOSE, Unanswered("mark_claimed")
        return await self.ledger.move(record, [moves.heard(event, answer)], origin)
