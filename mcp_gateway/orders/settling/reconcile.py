"""Finding out what became of orders whose answer was lost.

Presence at the bot is proof. Absence is proof only of a bot at rest, see ``orders.absence``.
"""

from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from mcp_gateway.clock import Clock
from mcp_gateway.domain.market import base_and_quote
from mcp_gateway.domain.orders import OrderRecord, State
from mcp_gateway.domain.positions import BotHealth
from mcp_gateway.errors import BotError
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.orders.book import marks, moves, protocol
from mcp_gateway.orders.book.background import for_each, forever
from mcp_gateway.orders.book.ledger import Ledger, OrderClaimed, Superseded
from mcp_gateway.orders.book.moves import Noted
from mcp_gateway.orders.book.protocol import Due, Event
from mcp_gateway.orders.book.steps import Move, Origin
from mcp_gateway.orders.evidence.absence import Look, Patience, Watch, missed, unanswered
from mcp_gateway.orders.evidence.search import TradeGone
from mcp_gateway.orders.sending.submission import Submission
from mcp_gateway.telemetry import logs, metrics

CYCLE_S: Final = 6.0  # the bot's own loop runs every five seconds
INTERVAL_S: Final = 2.0
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
    patience: Patience
    _watches: dict[str, Watch] = field(default_factory=dict)

    async def run(self) -> None:
        """Work until cancelled; a bot or a store that is down is asked again."""
        await forever("Reconciliation", self._round, lambda: self.clock.sleep(INTERVAL_S))

    async def _round(self) -> None:
        await self.recover()
        await self.resolve_all()

    async def recover(self) -> None:
        """Take up what nobody carries any more; order tools wait for this at start.

        What never left is denied; what may have left is unknown.
        """
        left = set(self.submission.left)
        carried = await self.ledger.in_states(self.bot_name, protocol.CARRIED)
        # What was left before the look and is not in it was never written down, or has ended.
        self.submission.left.difference_update(left - {record.order_id for record in carried})
        for record in carried:
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
        waiting = await self.ledger.in_states(self.bot_name, {State.NEEDS_REVIEW})
        metrics.orders_unresolved.set(len(unknown))
        metrics.orders_under_review.set(len(waiting))
        self._forget_all_but(unknown)
        for record in unknown:
            self._watches.setdefault(record.order_id, Watch(self.clock.monotonic()))
        await for_each(unknown, self.resolve)

    async def resolve(self, record: OrderRecord) -> OrderRecord:
        """Settle one unknown order if the bot's books allow it; else return it as it is.

        Raises:
            BotUnavailable: the bot does not answer; nothing was concluded.
            Superseded: somebody else settled it.
        """
        if protocol.due(record.state) is not Due.LOOK or record.bot != self.bot_name:
            return record
        noted = Noted.of(await self.ledger.history(record.order_id))
        try:
            return await self._looked_for(record, noted)
        except TradeGone:
            return await self._settled(record, Move(Event.GIVE_UP, "trade_gone"))
        except BotError as error:
            self._note_silence(error)
            raise

    def _note_silence(self, error: BotError) -> None:
        """Note that the bot did not answer: that says the same to every order that is looked for."""
        now, closed = self.clock.monotonic(), error.code == "bot_unreachable"
        self._watches = {
            order_id: unanswered(watch, now, closed=closed)
            for order_id, watch in self._watches.items()
        }

    async def _looked_for(self, record: OrderRecord, noted: Noted) -> OrderRecord:
        # Taken before the bot is asked: what is missing from its books now must be missing later.
        began = self.clock.monotonic()
        watch = self._watches.setdefault(record.order_id, Watch(began))
        execution = await self.submission.search.look(record, noted)
        if execution is not None:
            return await self._found(record, execution)
        asked = self.clock.monotonic()
        restarted = watch.was_down and _restarted(
            await self.bot.health(), noted, since_s=asked - watch.since
        )
        look = Look(began, self.clock.monotonic())
        watch, counts = missed(watch, look, restarted=restarted, patience=self.patience)
        self._watches[record.order_id] = watch
        if not counts:
            return record
        # A busy bot may have closed more trades since than one look takes in.
        execution = await self.submission.search.look_everywhere(record, noted)
        if execution is not None:
            return await self._found(record, execution)
        return await self._settled(record, await self._absent(record, restarted=restarted))

    async def _found(self, record: OrderRecord, execution: marks.Execution) -> OrderRecord:
        try:
            placed = await self.ledger.move(record, moves.confirmed(record, execution), ORIGIN)
        except OrderClaimed:  # an exchange that counts its orders anew, or a person's sell
            return await self._settled(record, Move(Event.GIVE_UP, "mark_claimed"))
        self._watches.pop(record.order_id, None)
        return placed

    def _forget_all_but(self, unknown: tuple[OrderRecord, ...]) -> None:
        """Drop the watches of orders that somebody else has settled."""
        still = {record.order_id for record in unknown}
        self._watches = {key: watch for key, watch in self._watches.items() if key in still}

    async def _settled(self, record: OrderRecord, move: Move) -> OrderRecord:
        settled = await self.ledger.move(record, [move], ORIGIN)
        self._watches.pop(record.order_id, None)
        if settled.state is State.NEEDS_REVIEW:
            _log.error("An order waits for the operator", order=record.order_id, code=move.code)
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


def _restarted(health: BotHealth, noted: Noted, *, since_s: float) -> bool:
    """Tell whether the bot, which was away, was started since the order became unknown.

    It is another run than the one noted before the order was sent, and younger than the watch:
    a run that began between that note and the order may have the order, and be at work on it.
    Two times of the bot's own clock are compared, and two of ours, so the clocks need not agree.

    Args:
        since_s: for how long the order has been watched.
    """
    before, uptime_s = noted.bot_started_at, health.longest_uptime_s
    if health.started_at is None or before is None or uptime_s is None:
        return False
    return health.started_at.isoformat() != before and 0 <= uptime_s < since_s
