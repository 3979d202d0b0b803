"""Finding out what became of orders whose answer was lost.

Presence at the bot is proof. Absence is proof only when the bot is quiescent: its own
time-outs have passed, or it has been started anew, since the order was sent, and two
clean reads a bot cycle apart agree.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from mcp_gateway.clock import Clock
from mcp_gateway.domain.orders import OrderRecord, State
from mcp_gateway.domain.positions import TradeOrder
from mcp_gateway.errors import GatewayError
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.orders import answers, marks
from mcp_gateway.orders.ledger import Ledger, Superseded
from mcp_gateway.orders.protocol import Event
from mcp_gateway.orders.steps import Origin
from mcp_gateway.orders.submission import Submission
from mcp_gateway.telemetry import logs, metrics

# With an exchange that answers in eleven seconds, an order took effect 81 s after it was sent
# (measured): the bot tries each of several calls again and again.
QUIET_S: Final = 300.0
CYCLE_S: Final = 6.0  # the bot's own loop runs every five seconds
INTERVAL_S: Final = 2.0
RECENT_TRADES: Final = 100
ORIGIN: Final = Origin("gateway", "reconcile")
_log = logs.get(__name__)


@dataclass(slots=True)
class Reconciler:
    """Brings every unsettled order of one bot to an outcome.

    Args:
        orphaned_after_s: how long after its last step a row in flight that another process may
            carry is nobody's any more; 0 where this process alone holds the store.
        quiet_s: how long an unknown order is watched before its absence may count.
    """

    submission: Submission
    ledger: Ledger
    bot: FreqtradeClient
    clock: Clock
    bot_name: str
    orphaned_after_s: float
    quiet_s: float = QUIET_S
    cycle_s: float = CYCLE_S
    _watched_since: dict[str, float] = field(default_factory=dict)
    _absent_since: dict[str, float] = field(default_factory=dict)

    async def recover(self) -> None:
        """Take up what nobody carries any more; order tools wait for this at start.

        What never left is denied; what may have left is unknown.
        """
        for record in await self.ledger.unresolved(self.bot_name):
            if record.state is State.UNKNOWN or not self._is_orphan(record):
                continue
            with suppress(Superseded):  # another gateway took it up
                if record.state is State.SENT:
                    await self.submission.move(record, Event.LOSE, ORIGIN, code="interrupted")
                else:
                    await self.submission.deny(record, ORIGIN, "interrupted")
            self.submission.left.discard(record.order_id)

    def _is_orphan(self, record: OrderRecord) -> bool:
        if record.order_id in self.submission.running:
            return False
        grown_old = self.clock.now() - record.updated_at >= timedelta(seconds=self.orphaned_after_s)
        return grown_old or record.order_id in self.submission.left

    async def run(self) -> None:
        """Work until cancelled; a bot or a store that is down is asked again."""
        while True:
            try:
                await self.recover()
                await self.resolve_all()
            except GatewayError as error:
                _log.warning("Reconciliation waits", code=error.code)
            await self.clock.sleep(INTERVAL_S)

    async def resolve_all(self) -> None:
        """Try once to settle every unknown order."""
        unknown = [
            record
            for record in await self.ledger.unresolved(self.bot_name)
            if record.state is State.UNKNOWN
        ]
        metrics.orders_unresolved.set(len(unknown))
        for record in unknown:
            with suppress(Superseded):  # another gateway settled it
                await self.resolve(record)

    async def resolve(self, record: OrderRecord) -> OrderRecord:
        """Settle one unknown order if the bot's books allow it; else return it as it is.

        Raises:
            BotUnavailable: the bot does not answer; nothing was concluded.
        """
        before = await self._noted_before(record)
        try:
            look = self._find_entry if record.side == "buy" else self._find_exit
            execution = await look(record, before)
        except _TradeGone:
            return await self.submission.move(record, Event.GIVE_UP, ORIGIN, code="trade_gone")
        if execution is not None:
            self._forget(record)
            return await self.submission.confirm(record, execution, ORIGIN)
        if await self._absence_counts(record, before):
            self._forget(record)
            return await self.submission.reject(record, "not_executed", ORIGIN)
        return record

    async def follow(self, record: OrderRecord) -> OrderRecord:
        """Append what has become of a placed order since: fills, its cancel, its vanishing.

        Raises:
            BotUnavailable: the bot does not answer; nothing was concluded.
        """
        if record.trade_id is None or not answers.is_resting(record):
            return record
        trade = await self.bot.trade(record.trade_id)
        order = None if trade is None else marks.same_order(record, trade)
        if trade is None or order is None:
            return await self.submission.move(record, Event.VANISH, ORIGIN)
        event = _since(record, order)
        if event is None:
            return record
        changes = marks.changes(marks.execution(trade, order))
        return await self.submission.move(record, event, ORIGIN, changes=changes)

    async def _find_entry(
        self, record: OrderRecord, _before: Mapping[str, Any]
    ) -> marks.Execution | None:
        trades = (
            *await self.bot.open_trades(),
            *await self.bot.recent_trades(RECENT_TRADES),
        )
        return marks.find_entry(trades, record.tag)

    async def _find_exit(
        self, record: OrderRecord, before: Mapping[str, Any]
    ) -> marks.Execution | None:
        trade = None if record.trade_id is None else await self.bot.trade(record.trade_id)
        # The bot gives the id of a deleted trade away again; the tag it never does.
        if trade is None or trade.tag != before.get("trade_tag"):
            raise _TradeGone
        return marks.find_exit(trade, frozenset(before.get("sells_before", ())))

    async def _noted_before(self, record: OrderRecord) -> Mapping[str, Any]:
        """Return what was noted of the bot when the order was sent."""
        history = await self.ledger.history(record.order_id)
        return next((step.detail for step in history if step.state is State.SENT), {})

    async def _absence_counts(self, record: OrderRecord, before: Mapping[str, Any]) -> bool:
        """Tell whether two clean reads a cycle apart agree, with the bot quiescent.

        Waits are counted on the monotonic clock, from this process's first look: a wall
        clock that is set forward must not make an order look old.
        """
        now = self.clock.monotonic()
        first_look = self._watched_since.setdefault(record.order_id, now)
        started, noted = (await self.bot.health()).started_at, before.get("bot_started_at")
        # Compared with its own earlier word: the bot's clock need not agree with ours.
        restarted = started is not None and noted is not None and started.isoformat() != noted
        if not restarted and now - first_look < self.quiet_s:
            return False
        return now - self._absent_since.setdefault(record.order_id, now) >= self.cycle_s

    def _forget(self, record: OrderRecord) -> None:
        self._watched_since.pop(record.order_id, None)
        self._absent_since.pop(record.order_id, None)


class _TradeGone(Exception):
    """The trade that an exit was for is not there any more: what happened can't be read."""


def _since(record: OrderRecord, order: TradeOrder) -> Event | None:
    """Return what the bot's order says that the ledger does not know yet."""
    if order.filled >= order.amount > 0:
        return Event.FILL
    if not order.is_open:
        return Event.CANCEL
    return Event.PART_FILL if order.filled > record.filled_amount else None
