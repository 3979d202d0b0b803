"""The trading bot at the wire, which remembers for whose request it did what.

Requests are told apart by a variable of the calling task's context, never by what the gateway
wrote into them or into its ledger.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import UUID

import anyio
import httpx2

from mcp_gateway.freqtrade.client import FreqtradeClient
from tests.proofs.model.life import Life
from tests.support.recorded import client
from tests.support.tradingbot import TradingBot

Key = tuple[str, UUID]  # the agent and its request_id
FOR: ContextVar[Key] = ContextVar("FOR")
# The bot's own time-outs: what it was handed is done within, or never.
LATEST_EFFECT_S: Final = 6.0
CANDLE_S: Final = 300


@dataclass(frozen=True, slots=True)
class Effect:
    """One order that the bot made: a buy or sell in a pair, under its own id."""

    side: str
    pair: str
    bot_order_id: str


@dataclass
class WatchedBot(TradingBot):
    """``arrived`` counts order POSTs and ``effects`` lists what they did, by request.

    ``looked_at`` is called with each request whose POST arrives, before anything is done.
    """

    life: Life = field(default_factory=Life)
    arrived: Counter[Key] = field(default_factory=Counter)
    effects: dict[Key, list[Effect]] = field(default_factory=dict)
    looked_at: Callable[[Key], None] = lambda _: None
    _working: set[asyncio.Task[httpx2.Response]] = field(default_factory=set)

    def client(self) -> FreqtradeClient:
        """Return a client of the process that lives now; it is cut off when that dies."""
        life = self.life

        async def over_the_wire(request: httpx2.Request) -> httpx2.Response:
            await life.step()
            response = await self._at_work(request)
            await life.step()
            return response

        return client(over_the_wire, clock=self.clock)

    async def _at_work(self, request: httpx2.Request) -> httpx2.Response:
        """Answer; an order goes on though whoever asked for it is gone."""
        if request.method == "GET":
            newest = int(self.clock.now().timestamp()) // CANDLE_S * CANDLE_S - CANDLE_S
            self.candles = {(pair, self.timeframe): newest for pair in self.pairs}
            return await self._answer(request)
        if {"late", "hang"} & set(self.faults):
            self._at_the_latest()
        work = asyncio.ensure_future(self._answer(request))
        self._working.add(work)
        work.add_done_callback(self._over)
        return await asyncio.shield(work)

    def _over(self, work: "asyncio.Task[httpx2.Response]") -> None:
        self._working.discard(work)
        if not work.cancelled():
            work.exception()  # nobody may be left to be told

    def _at_the_latest(self) -> None:
        if self.release.is_set():
            self.release = anyio.Event()
        release = self.release
        loop = asyncio.get_running_loop()
        loop.call_later(LATEST_EFFECT_S, release.set)
        loop.call_later(LATEST_EFFECT_S, self.take_effect)

    @property
    def hangs(self) -> bool:
        """Whether it is at work on an order."""
        return bool(self._working)

    def rests(self, bot_order_id: str | None) -> bool:
        """Tell whether an order waits to be filled."""
        return any(one["order_id"] == bot_order_id for one in self._resting())

    def rests_alone(self, bot_order_id: str | None) -> bool:
        """Tell whether it does, and nothing is under way that could change that."""
        return self.rests(bot_order_id) and not self.hangs and not self.pending

    def fill_any(self, which: int, *, wholly: bool) -> None:
        """Fill one of the resting orders, if there are any."""
        trades = [t for t in self.status if any(one["is_open"] for one in t["orders"])]
        if trades:
            trade = trades[which % len(trades)]
            [order] = [one for one in trade["orders"] if one["is_open"]]
            left = order["amount"] - order["filled"]
            self.fill(trade["trade_id"], None if wholly else round(left / 2, 8))

    def _resting(self) -> list[dict[str, Any]]:
        return [one for trade in self.status for one in trade["orders"] if one["is_open"]]

    def let_go(self) -> None:
        """Let everything happen that hangs or is late."""
        self.release.set()
        self.take_effect()

    def restart(self) -> None:
        """Start the bot anew: what hung or was late never happens."""
        super().restart()
        self.release.set()

    def _arrived(self, request: httpx2.Request, endpoint: str) -> Callable[[], dict[str, Any]]:
        act = super()._arrived(request, endpoint)
        if request.method != "POST":
            return act
        key = FOR.get()
        self.arrived[key] += 1
        self.looked_at(key)
        return lambda: self._noted(key, act)

    def _noted(self, key: Key, act: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        before = self._orders()
        try:
            return act()
        finally:  # a refusal may come after the fact
            new = [effect for effect in self._orders() if effect not in before]
            self.effects.setdefault(key, []).extend(new)

    def _orders(self) -> list[Effect]:
        return [
            Effect(order["ft_order_side"], trade["pair"], order["order_id"])
            for trade in (*self.status, *self.closed)
            for order in trade["orders"]
        ]
