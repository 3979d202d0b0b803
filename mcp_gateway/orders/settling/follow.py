"""What becomes of placed orders: fills, cancels, time-outs, and what the bot forgets.

The bot is asked every few seconds while anything rests, and at once when its websocket says
that something happened. Its answer alone is believed; the websocket only wakes, and tells
why an entry that is gone was cancelled.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

import anyio

from mcp_gateway.clock import Clock
from mcp_gateway.domain.orders import OrderRecord, State
from mcp_gateway.domain.positions import Trade
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.freqtrade.events import BotEvent, BotEvents
from mcp_gateway.orders.book import marks, moves, protocol
from mcp_gateway.orders.book.background import for_each, forever
from mcp_gateway.orders.book.contradiction import contradicted
from mcp_gateway.orders.book.ledger import Ledger, Superseded
from mcp_gateway.orders.book.moves import Noted
from mcp_gateway.orders.book.protocol import Due, Event
from mcp_gateway.orders.book.steps import Move, Origin
from mcp_gateway.telemetry import logs

INTERVAL_S: Final = 5.0  # the bot's own loop
CANCELS_KEPT: Final = 1000
CLOSED_EVERY_S: Final = 60.0
RECENT_TRADES: Final = 100
SHORTEST_PAUSE_S: Final = 0.5  # whatever a flood of events says
CANCEL_ACTS: Final = timedelta(minutes=1)
ORIGIN: Final = Origin("gateway", "follow")
_log = logs.get(__name__)


@dataclass(slots=True)
class Follower:
    """Keeps the ledger true after an order was placed.

    Args:
        events: the bot's websocket, where it is configured.
    """

    ledger: Ledger
    bot: FreqtradeClient
    clock: Clock
    bot_name: str
    events: BotEvents | None = None
    _closed_due: float = 0.0
    _missed: dict[str, float] = field(default_factory=dict)
    _cancelled: dict[str, str] = field(default_factory=dict)
    _woken: anyio.Event = field(default_factory=anyio.Event)

    async def run(self) -> None:
        """Look until cancelled; a bot or a store that is down is asked again."""
        await forever("Following", self.look, self._pause)

    async def _pause(self) -> None:
        async with anyio.create_task_group() as group:

            async def woken() -> None:
                await self._woken.wait()
                group.cancel_scope.cancel()

            await self.clock.sleep(SHORTEST_PAUSE_S)
            group.start_soon(woken)
            await self.clock.sleep(INTERVAL_S - SHORTEST_PAUSE_S)
            group.cancel_scope.cancel()
        self._woken = anyio.Event()

    async def listen(self) -> None:
        """Look at once whenever the bot tells of a trade; until cancelled."""
        if self.events is None:
            return
        async with anyio.create_task_group() as group:
            group.start_soon(self.events.keep)
            async for event in self.events:
                self.hear(event)

    def hear(self, event: BotEvent) -> None:
        """Take note of one event of the bot's."""
        if event.kind == "new_candle":
            return
        if event.vanished and event.tag is not None:
            self._note_cancel(event.tag, event.reason or "other")
        self._woken.set()

    def _note_cancel(self, tag: str, reason: str) -> None:
        """Remember why an entry was cancelled, for the bot has forgotten it."""
        while len(self._cancelled) >= CANCELS_KEPT:
            self._cancelled.pop(next(iter(self._cancelled)))
        self._cancelled[tag] = reason

    async def look(self) -> None:
        """Ask the bot once what has become of every resting order, and whether it holds a surprise.

        Raises:
            GatewayError: the bot or the store does not answer; what was found is written.
        """
        resting = await self.ledger.in_states(self.bot_name, protocol.RESTING)
        trades = await self.bot.open_trades()
        await self._contradictions((*trades, *await self._closed_lately()))
        open_trades = {trade.trade_id: trade for trade in trades}
        await for_each(resting, lambda record: self.follow(record, open_trades))

    async def _closed_lately(self) -> tuple[Trade, ...]:
        """Return the last closed trades, once in a while: a late entry may be closed by now."""
        if self.clock.monotonic() < self._closed_due:
            return ()
        closed = await self.bot.recent_trades(RECENT_TRADES)
        self._closed_due = self.clock.monotonic() + CLOSED_EVERY_S
        return closed

    async def follow(
        self, record: OrderRecord, known: Mapping[int, Trade] | None = None
    ) -> OrderRecord:
        """Append what has become of one placed order since.

        Args:
            known: trades that the bot told just now; another is asked for.

        Raises:
            BotUnavailable: the bot does not answer; nothing was concluded.
            Superseded: somebody else wrote it down.
        """
        if protocol.due(record.state) is not Due.FOLLOW or record.bot != self.bot_name:
            return record
        if record.trade_id is None:
            return record
        trade = (known or {}).get(record.trade_id) or await self.bot.trade(record.trade_id)
        order = None if trade is None else marks.same_order(record, trade)
        if trade is None or order is None:
            gone = await self._gone(record, trade)
            return await self.ledger.move(record, [gone], ORIGIN) if gone else record
        self._missed.pop(record.order_id, None)
        event = protocol.seen(order, record.filled_amount)
        if event is None:
            return record
        move = moves.seen(event, marks.execution(trade, order))
        return await self.ledger.move(record, [move], ORIGIN)

    async def _gone(self, record: OrderRecord, trade: Trade | None) -> Move | None:
        """Return what it means that the bot shows the order no more.

        It deletes an entry that was cancelled unfilled, trade and all, and only its event told
        why. From a trade that stays it hides an order that was cancelled unfilled.
        """
        if (reason := self._cancelled.get(record.tag)) is not None:  # kept: the store may fail now
            return Move(Event.CANCEL, reason)
        if trade is not None and trade.tag == await self._tag_of_trade(record):
            return Move(Event.CANCEL, self._asked_lately(record) or "cancelled_at_bot")
        # The event that tells why may come a moment after the deletion, and a bot that is being
        # set up may show another's books for a moment. Ids of deleted trades are given out again.
        now = self.clock.monotonic()
        if now - self._missed.setdefault(record.order_id, now) < INTERVAL_S:
            return None
        self._missed.pop(record.order_id, None)
        asked = self._asked_lately(record)  # and the answer was lost
        return Move(Event.VANISH) if asked is None else Move(Event.CANCEL, asked)

    def _asked_lately(self, record: OrderRecord) -> str | None:
        """Return the code of a cancel that we have just asked for."""
        lately = self.clock.now() - record.updated_at < CANCEL_ACTS
        return record.code if record.code == "cancel_asked" and lately else None

    async def _tag_of_trade(self, record: OrderRecord) -> str | None:
        if record.side == "buy":
            return record.tag
        return Noted.of(await self.ledger.history(record.order_id)).trade_tag

    async def _contradictions(self, trades: tuple[Trade, ...]) -> None:
        """Find entries that were believed never executed and that the bot holds after all."""
        tags = {trade.tag for trade in trades if marks.is_ours(trade.tag)}
        for record in await self.ledger.by_tags({tag for tag in tags if tag}):
            if record.state is not State.REJECTED:
                continue
            with suppress(Superseded):
                await contradicted(self.ledger, record, ORIGIN)
