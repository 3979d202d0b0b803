"""Finding out what became of orders whose answer was lost.

Presence at the bot is proof. Absence is proof only of a bot at rest, see ``orders.absence``.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from mcp_gateway.clock import Clock
from mcp_gateway.domain.market import base_and_quote
from mcp_gateway.domain.orders import OrderRecord, State
from mcp_gateway.domain.positions import BotHealth
from mcp_gateway.errors import BotError, GatewayError, StoreUnavailable
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.orders import marks, moves, protocol
from mcp_gateway.orders.absence import Look, Patience, Watch, missed
from mcp_gateway.orders.ledger import Ledger, OrderClaimed, Superseded
from mcp_gateway.orders.protocol import Due, Event
from mcp_gateway.orders.steps import Move, Origin
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
        patience: how long an order is looked for before its absence counts.
    """

    submission: Submission
    ledger: Ledger
    bot: FreqtradeClient
    clock: Clock
    bot_name: str
    patience: Patience = field(default_factory=lambda: Patience(QUIET_S, CYCLE_S))
    _watches: dict[str, Watch] = field(default_factory=dict)

    async def run(self) -> None:
        """Work until cancelled; a bot or a store that is down is asked again."""
        while True:
            try:
                await self.recover()
                await self.resolve_all()
            except GatewayError as error:
                _log.warning("Reconciliation waits", code=error.code)
            except Exception:  # noqa: BLE001  (a bug in here must not leave every order unknown for ever)
                _log.exception("Reconciliation failed")
            await self.clock.sleep(INTERVAL_S)

    async def recover(self) -> None:
        """Take up what nobody carries any more; order tools wait for this at start.

        What never left is denied; what may have left is unknown.
        """
        carried = protocol.UNSETTLED - {State.UNKNOWN}
        for record in await self.ledger.in_states(self.bot_name, carried):
            if not await self._is_orphan(record):
                continue
            with suppress(Superseded):  # another gateway took it up
                await self.ledger.move(record, [moves.interrupted(record)], ORIGIN)
            self.submission.left.discard(record.order_id)

    async def _is_orphan(self, record: OrderRecord) -> bool:
        """Tell whether nobody carries an order, by the store's own word and by no clock."""
        if record.order_id in self.submission.running:
            return False
        mine = record.carrier == self.ledger.holder or record.order_id in self.submission.left
        return mine or not await self.ledger.is_alive(record.carrier)

    async def resolve_all(self) -> None:
        """Try once to settle every unknown order."""
        unknown = await self.ledger.in_states(self.bot_name, {State.UNKNOWN})
        metrics.orders_unresolved.set(len(unknown))
        for record in unknown:
            try:
                await self.resolve(record)
            except (BotError, StoreUnavailable):
                raise  # the next one would fare no better
            except Superseded:
                continue  # another gateway settled it
            except Exception:  # noqa: BLE001  (one order that can't be read must not hold up the others)
                _log.exception("An order could not be resolved", order=record.order_id)

    async def resolve(self, record: OrderRecord) -> OrderRecord:
        """Settle one unknown order if the bot's books allow it; else return it as it is.

        Raises:
            BotUnavailable: the bot does not answer; nothing was concluded.
            Superseded: somebody else settled it.
        """
        if protocol.due(record.state) is not Due.LOOK:
            return record
        # Before the bot is asked: what is missing from its books now must be missing later.
        began = self.clock.monotonic()
        watch = self._watches.setdefault(record.order_id, Watch(began))
        before = await self._noted_before(record)
        try:
            execution = await self._look(record, before)
        except _TradeGone:
            return await self._settled(record, Move(Event.GIVE_UP, "trade_gone"))
        if execution is not None:
            with suppress(OrderClaimed):
                confirmed = moves.confirmed(record, execution)
                placed = await self.ledger.move(record, confirmed, ORIGIN)
                self._watches.pop(record.order_id, None)
                return placed
        asked = self.clock.monotonic()
        restarted = _restarted(await self.bot.health(), before, since_s=asked - watch.since)
        look = Look(began, self.clock.monotonic())
        watch, counts = missed(watch, look, restarted=restarted, patience=self.patience)
        self._watches[record.order_id] = watch
        if not counts:
            return record
        return await self._settled(record, await self._absent(record, restarted=restarted))

    async def _settled(self, record: OrderRecord, move: Move) -> OrderRecord:
        settled = await self.ledger.move(record, [move], ORIGIN)
        self._watches.pop(record.order_id, None)
        return settled

    async def _absent(self, record: OrderRecord, *, restarted: bool) -> Move:
        """Return what absence proves: nothing was done, unless real money may say otherwise."""
        if record.mode == "dry-run" or record.side == "sell":
            return moves.never_executed()
        # An exchange may have executed what the bot has no trade for: then the coin lies there
        # unmanaged. The bot reads its wallet at its start, and may not again for an hour.
        base, _ = base_and_quote(record.pair)
        if base in await self.bot.unmanaged_coins():
            return Move(Event.GIVE_UP, "unmanaged_coin", {"coin": base})
        if not restarted:
            return Move(Event.GIVE_UP, "absence_unproven")
        return moves.never_executed()

    async def _look(self, record: OrderRecord, before: Mapping[str, Any]) -> marks.Execution | None:
        if record.side == "buy":
            # What is closed in between is in the second answer, for it was asked for later.
            trades = (
                *await self.bot.open_trades(),
                *await self.bot.recent_trades(RECENT_TRADES),
            )
            return marks.find_entry(trades, record.tag)
        trade = None if record.trade_id is None else await self.bot.trade(record.trade_id)
        # The bot gives the id of a deleted trade away again; the tag it never does.
        if trade is None or trade.tag != before.get("trade_tag"):
            raise _TradeGone
        sold = marks.find_exits(trade, frozenset(before.get("sells_before", ())))
        theirs = await self.ledger.claimed(
            self.bot_name, record.pair, [one.bot_order_id for one in sold]
        )
        return next((one for one in sold if one.bot_order_id not in theirs), None)

    async def _noted_before(self, record: OrderRecord) -> Mapping[str, Any]:
        """Return what was noted of the bot when the order was sent."""
        history = await self.ledger.history(record.order_id)
        return next((step.detail for step in history if step.state is State.SENT), {})


class _TradeGone(Exception):
    """The trade that an exit was for is not there any more: what happened can't be read."""


def _restarted(health: BotHealth, before: Mapping[str, Any], *, since_s: float) -> bool:
    """Tell whether the bot was started since the order became unknown.

    It is another run than the one noted before the order was sent, and younger than the watch:
    a run that began between that note and the order may have the order, and be at work on it.
    Two times of the bot's own clock are compared, and two of ours, so the clocks need not agree.

    Args:
        since_s: for how long the order has been watched.
    """
    noted, uptime_s = before.get("bot_started_at"), health.longest_uptime_s
    if health.started_at is None or noted is None or uptime_s is None:
        return False
    return health.started_at.isoformat() != noted and 0 <= uptime_s < since_s
