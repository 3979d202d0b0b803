"""A bot as Freqtrade is one: it races, it loses answers, and it acts late."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final

from mcp_gateway.domain.answers import Accepted, Answer, NotSent, Refused, Unanswered
from mcp_gateway.domain.orders import Side
from mcp_gateway.domain.positions import BotHealth, Trade, TradeOrder
from mcp_gateway.errors import BotUnavailable
from mcp_gateway.freqtrade.connections import Unless
from mcp_gateway.freqtrade.orders import EXIT_TAG, Entry, Exit
from tests.proofs.simulation.engine import Scheduler, VirtualClock, pause, step
from tests.proofs.simulation.tape import Tape

PRICE: Final = Decimal(100)
FEE_RATE: Final = Decimal("0.001")
STEP: Final = Decimal("0.001")
SLOTS: Final = 3
WALLET: Final = Decimal(700)
LATEST_EFFECT_S: Final = 200.0  # the bot's own time-outs end before absence may count
(
    DONE, LOST_REQUEST, LOST_ANSWER, LATE, REFUSED, NOT_SENT, OTHERS_TRADE, FAILED_DONE, VERY_LATE,
    REPEATED, ANOTHER_RUN, FROZEN,
) = range(12)  # fmt: skip
WAYS: Final = 12
AWAKE_S: Final = 20.0  # it answers a few looks first
FROZEN_S: Final = 400.0  # longer than a bot that runs needs to come to rest
BOT_EPOCH: Final = datetime(2020, 1, 1, tzinfo=UTC)


_UNTOUCHED: Final[dict[int, Answer]] = {
    NOT_SENT: NotSent("bot_unreachable"),
    REFUSED: Refused("entry_refused"),
}
_LATE_S: Final = {
    LATE: 5.0,
    VERY_LATE: LATEST_EFFECT_S,
    ANOTHER_RUN: LATEST_EFFECT_S,
    FROZEN: AWAKE_S + FROZEN_S + LATEST_EFFECT_S,
}
Act = Callable[[], Answer]


class Effect:
    """One order that the bot carried out, and for which of ours it was."""

    __slots__ = ("bot_order_id", "order_id", "was_sent")

    def __init__(self, order_id: str | None, bot_order_id: str, was_sent: bool) -> None:
        self.order_id = order_id
        self.bot_order_id = bot_order_id
        self.was_sent = was_sent


class SimulatedBot:
    """Trades at one price, in memory; the tape decides what reaches it and what comes back."""

    def __init__(
        self,
        tape: Tape,
        clock: VirtualClock,
        scheduler: Scheduler,
        slots: int = SLOTS,
        wallet: Decimal = WALLET,
    ) -> None:
        self._tape = tape
        self._clock = clock
        self._scheduler = scheduler
        self.slots = slots
        self.run = 1
        self.started = 0.0
        self.reloads = 0
        self.down_until = 0.0
        self.frozen_until = 0.0
        self.effects: list[Effect] = []
        self.trades: dict[int, Trade] = {}
        self.wallet = wallet
        self.is_sent: Callable[[str], bool] = lambda _order_id: True
        self._numbers = 0
        self.most_open = 0
        self.pending = 0

    def restart(self, down_s: float = 0.0) -> None:
        """Come up anew after a while: what was being worked on is gone."""
        self.down_until = self._clock.elapsed + down_s
        self.run += 1
        self.reload()

    def be_cut_off(self, for_s: float) -> None:
        """Live on behind an address that is closed for a while, as a proxy's is."""
        self.down_until = self._clock.elapsed + for_s

    def reload(self) -> None:
        """Begin a new run within the same process, which works on at what it was asked."""
        self.reloads += 1
        self.started = self._clock.elapsed + self.reloads / 1000  # no two begin alike

    def now(self) -> datetime:
        """What the bot's own clock says: it knows nothing of ours."""
        return BOT_EPOCH + timedelta(seconds=self._clock.elapsed)

    async def health(self) -> BotHealth:
        await self._read()
        return BotHealth(None, BOT_EPOCH + timedelta(seconds=self.started), self.now())

    async def open_trades(self) -> tuple[Trade, ...]:
        await self._read()
        return tuple(trade for trade in self.trades.values() if trade.is_open)

    async def recent_trades(self, limit: int) -> tuple[Trade, ...]:
        await self._read()
        closed = [trade for trade in self.trades.values() if not trade.is_open]
        return tuple(reversed(closed[-limit:]))

    async def closed_trades(self, limit: int, offset: int) -> tuple[Trade, ...]:
        await self._read()
        closed = [trade for trade in self.trades.values() if not trade.is_open]
        return tuple(closed[offset : offset + limit])

    async def trade(self, trade_id: int) -> Trade | None:
        await self._read()
        return self.trades.get(trade_id)

    async def enter(self, entry: Entry, *, unless: Unless | None = None) -> Answer:
        if unless is not None and (code := await unless()) is not None:
            return NotSent(code)
        task = self._scheduler.now_running
        order_id = None if task is None else task.order_id
        return await self._order(lambda: self._enter(entry, order_id))

    async def exit(self, leave: Exit) -> Answer:
        task = self._scheduler.now_running
        order_id = None if task is None else task.order_id
        return await self._order(lambda: self._exit(leave, order_id))

    async def _read(self) -> None:
        await step()
        if self._clock.elapsed < self.down_until:
            raise BotUnavailable("down", code="bot_unreachable")
        if self._clock.elapsed < self.frozen_until or self._tape.choose("read", 2):
            raise BotUnavailable("slow", code="bot_timeout")

    async def _order(self, act: Act) -> Answer:
        await step()
        if self._clock.elapsed < self.down_until:
            return NotSent("bot_unreachable")
        if self._clock.elapsed < self.frozen_until:
            return Unanswered("bot_timeout")
        way = self._tape.choose("order", WAYS)
        if way in _UNTOUCHED:
            return _UNTOUCHED[way]
        if way in _LATE_S:
            if way == ANOTHER_RUN:  # it was started anew behind the gateway's last look at it
                self.restart()
            if way == FROZEN:  # it goes on where it stopped, when it thaws
                self._scheduler.start(-1, self._freeze())
            self._later(act, _LATE_S[way])
            return Unanswered("bot_timeout")
        return await self._acted(way, act)

    async def _freeze(self) -> None:
        await pause(AWAKE_S)
        self.frozen_until = self._clock.elapsed + FROZEN_S

    async def _acted(self, way: int, act: Act) -> Answer:
        """Carry an order out now, and lose what is to be lost of the answer."""
        if way == LOST_REQUEST:
            await step()
            return Unanswered("connection_lost")
        answer = act()
        await step()
        if way == DONE:
            return answer
        if way == REPEATED:  # by a proxy between us, which hands on the second answer
            return act() if isinstance(answer, Accepted) and answer.trade else answer
        if way == OTHERS_TRADE:
            return Accepted(_others())
        return Unanswered("bot_failed" if way == FAILED_DONE else "connection_lost")

    def _later(self, act: Act, after_s: float) -> None:
        run = self.run
        self.pending += 1

        async def effect() -> None:
            await pause(after_s)
            self.pending -= 1
            if self.run == run:
                act()

        self._scheduler.start(-1, effect())

    def _enter(self, entry: Entry, order_id: str | None) -> Answer:
        if (refused := self._refused(entry)) is not None:
            return refused
        held = [trade for trade in self.trades.values() if trade.is_open]
        amount = entry.quote / PRICE // STEP * STEP
        cost = amount * PRICE * (1 + FEE_RATE)
        number = self._number()
        order = _order_of("buy", number, entry.tag, amount)
        trade = Trade(
            number, entry.pair, True, False, entry.tag, amount, PRICE, PRICE, FEE_RATE, STEP,
            None, (order,),
        )  # fmt: skip
        self.trades[number] = trade
        self.wallet -= cost
        self.most_open = max(self.most_open, len(held) + 1)
        self._note(order_id, order)
        return Accepted(trade)

    def _refused(self, entry: Entry) -> Refused | None:
        held = [trade for trade in self.trades.values() if trade.is_open]
        if any(trade.pair == entry.pair for trade in held):
            return Refused("position_exists")
        return Refused("no_free_slot") if len(held) >= self.slots else None

    def _exit(self, leave: Exit, order_id: str | None) -> Answer:
        trade = self.trades.get(leave.trade_id)
        if trade is None or not trade.is_open:
            return Refused("trade_not_open")
        amount = trade.amount if leave.amount is None else min(leave.amount, trade.amount)
        order = _order_of("sell", self._number(), EXIT_TAG, amount)
        left = trade.amount - amount
        self.trades[trade.trade_id] = replace(
            trade, amount=left, is_open=left > 0, orders=(*trade.orders, order)
        )
        self.wallet += amount * PRICE * (1 - FEE_RATE)
        self._note(order_id, order)
        return Accepted(None)

    def _note(self, order_id: str | None, order: TradeOrder) -> None:
        was_sent = order_id is not None and self.is_sent(order_id)
        self.effects.append(Effect(order_id, order.order_id, was_sent))

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers


def _order_of(side: Side, number: int, tag: str, amount: Decimal) -> TradeOrder:
    return TradeOrder(
        f"b{number}", tag, side, "market", "closed", False, amount, amount, PRICE, PRICE, None
    )


def _others() -> Trade:
    order = _order_of("buy", 10_000, "strategy", Decimal(1))
    return Trade(
        10_000, "XRP/USDT", True, False, "strategy", Decimal(1), PRICE, PRICE, FEE_RATE, STEP,
        None, (order,),
    )  # fmt: skip
