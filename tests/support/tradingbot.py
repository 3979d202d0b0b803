"""A bot at the wire that trades, and that loses, delays or refuses what a test tells it to."""

from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import anyio
import anyio.lowlevel
import httpx2
import orjson

from tests.support.tradebook import FEE_RATE, PRICE, Refusal, TradeBook
from tests.support.wirebot import COLUMNS

__all__ = ["FEE_RATE", "PRICE", "TradingBot"]


@dataclass
class TradingBot(TradeBook):
    """Trades as its book does, with faults on the way.

    ``faults`` are taken one for each order POST and each cancel: ``refuse:REASON`` (502),
    ``fail`` (500, nothing done), ``fail_done`` (500, done all the same), ``lose`` (reset
    before it is done), ``lose_done`` (reset after), ``late`` (reset, done when the test calls
    ``take_effect``), ``no_connection``, ``other`` (answers with another trade), ``hang``
    (waits for ``release``), and an empty one for none.

    ``switches`` are the pauses and starts that it was asked for. ``coins`` lie in the wallet without a trade. ``posts`` are the bodies of order POSTs,
    ``cancels`` the trade ids of cancels, as they arrived.
    """

    dry_run: bool = True
    free: float = 10_000.0
    spot: bool = True
    coins: dict[str, float] = field(default_factory=dict)
    last_price: float = PRICE  # of its candles; it fills at PRICE all the same
    sells_behind: float = 0.0  # somebody else's exit, between two looks at a trade
    started_at: str = "2025-11-18T08:00:00Z"
    faults: deque[str] = field(default_factory=deque)
    release: anyio.Event = field(default_factory=anyio.Event)
    posts: list[dict[str, Any]] = field(default_factory=list)
    cancels: list[int] = field(default_factory=list)
    switches: list[str] = field(default_factory=list)
    ran_at: str = ""  # when it last ran its loop; at its start where empty
    pending: deque[Callable[[], Any]] = field(default_factory=deque)

    async def posted(self, count: int = 1) -> None:
        """Wait until that many orders have reached the bot."""
        while len(self.posts) < count:
            await anyio.lowlevel.checkpoint()

    def take_effect(self) -> None:
        """Let everything happen that a ``late`` fault has put off, oldest first."""
        while self.pending:
            with suppress(Refusal):  # nobody is left to be told
                self.pending.popleft()()

    def restart(self) -> None:
        """Start the bot's process anew: its books stay, what was under way is gone."""
        before = datetime.fromisoformat(self.started_at)
        now = max(self.clock.now(), before + timedelta(milliseconds=1))
        self.started_at = now.isoformat().replace("+00:00", "Z")
        self.pending.clear()

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        endpoint = request.url.path.removeprefix("/api/v1/")
        if request.method == "GET":
            missing = endpoint.removeprefix("trade/")
            if missing != endpoint and self.trade(missing) is None:
                return httpx2.Response(404, json={"detail": "Trade not found."})
            return await super()._answer(request)
        self.calls.append(endpoint)
        if endpoint in {"stopbuy", "start"}:
            return self._switched(endpoint)
        fault = self.faults.popleft() if self.faults else ""
        if fault == "no_connection":
            raise httpx2.ConnectError("refused")
        act = self._arrived(request, endpoint)
        if fault == "hang":
            run = self.started_at
            await self.release.wait()
            if self.started_at != run:
                raise httpx2.ReadError("the bot was started anew")
        return self._carried_out(endpoint, act, fault)

    def _switched(self, endpoint: str) -> httpx2.Response:
        """Pause or start; Freqtrade starts a stopped bot when it is asked to pause."""
        if isinstance(self.fails, Exception):
            raise self.fails
        self.switches.append(endpoint)
        self.state = "running" if endpoint == "start" else "paused"
        return httpx2.Response(200, json={"status": "as you say"})

    def _arrived(self, request: httpx2.Request, endpoint: str) -> Callable[[], dict[str, Any]]:
        """Note an order and return what carries it out."""
        if request.method == "DELETE":
            trade_id = int(endpoint.removeprefix("trades/").removesuffix("/open-order"))
            self.cancels.append(trade_id)
            return lambda: self._cancel(trade_id)
        body = orjson.loads(request.content)
        self.posts.append(body)
        work = self._enter if endpoint == "forceenter" else self._exit
        return lambda: work(body)

    def _carried_out(
        self, endpoint: str, act: Callable[[], dict[str, Any]], fault: str
    ) -> httpx2.Response:
        if fault.startswith("refuse:"):
            return _refused(endpoint, fault.removeprefix("refuse:"))
        if fault == "late":
            self.pending.append(act)
        if fault in {"fail", "lose", "late"}:
            return _lost(fault)
        try:
            told = act()
        except Refusal as refusal:
            if fault in {"fail_done", "lose_done"}:
                return _lost(fault)
            return _refused(endpoint, str(refusal))
        if fault in {"fail_done", "lose_done"}:
            return _lost(fault)
        if fault == "other":
            told = told | {"trade_id": 999, "enter_tag": "else", "orders": []}
        return httpx2.Response(200, json=told)

    def _told(self, endpoint: str, params: httpx2.QueryParams) -> Any:
        match endpoint:
            case "show_config":
                return super()._told(endpoint, params) | {
                    "dry_run": self.dry_run,
                    "state": self.state,
                    "max_open_trades": float(self.max_open_trades),
                    "force_entry_enable": self.force_entry,
                    "trading_mode": "spot" if self.spot else "futures",
                }
            case "balance":
                return self._balance()
            case "health":
                ran_at = self.ran_at or self.started_at
                return {"last_process": ran_at, "bot_startup": self.started_at}
            case "trades":
                return self._page(params)
        if endpoint.startswith("trade/"):
            if self.sells_behind:
                self._exit({"tradeid": self.status[0]["trade_id"], "amount": self.sells_behind})
                self.sells_behind = 0.0
            return self.trade(endpoint.removeprefix("trade/"))
        told = super()._told(endpoint, params)
        if endpoint == "pair_candles":
            for row in told["data"]:
                row[COLUMNS.index("close")] = self.last_price
        return told

    def _page(self, params: httpx2.QueryParams) -> dict[str, Any]:
        by_id = params.get("order_by_id", "true") == "true"
        trades = sorted(self.closed, key=lambda t: t["trade_id"]) if by_id else self.closed
        first = int(params.get("offset", 0))
        shown = trades[first : first + int(params.get("limit", 500))]
        return {"trades": shown, "trades_count": len(shown), "total_trades": len(trades)}

    def _balance(self) -> dict[str, Any]:
        held = [(trade["pair"].partition("/")[0], trade["amount"], True) for trade in self.status]
        strange = [(coin, amount, False) for coin, amount in self.coins.items()]
        coins = [
            {"currency": coin, "free": amount, "balance": amount, "bot_owned": amount if ours else 0,
             "is_bot_managed": ours}
            for coin, amount, ours in (("USDT", self.free, True), *held, *strange)
            if amount
        ]  # fmt: skip
        return {"currencies": coins, "total": self.free, "stake": "USDT", "note": "Simulated"}


def _lost(fault: str) -> httpx2.Response:
    if fault.startswith("fail"):
        return httpx2.Response(500, text="Internal Server Error")
    raise httpx2.ReadError("reset")


def _refused(endpoint: str, reason: str) -> httpx2.Response:
    error = {"error": f"Error querying /api/v1/{endpoint}: {reason}"}
    return httpx2.Response(502, json=error)
