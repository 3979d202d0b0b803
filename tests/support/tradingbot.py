"""A bot at the wire that trades, and that loses, delays or refuses what a test tells it to."""

import itertools
from collections import deque
from dataclasses import dataclass, field
from typing import Any

import anyio
import httpx2
import orjson

from tests.support.recorded import body_of
from tests.support.wirebot import COLUMNS, WireBot

PRICE = 100.0
FEE_RATE = 0.001


@dataclass
class TradingBot(WireBot):
    """Fills market entries and exits at ``PRICE``; limit entries rest.

    ``faults`` are taken one for each order POST: ``refuse:REASON`` (502), ``fail`` (500,
    nothing done), ``fail_done`` (500, done all the same), ``lose`` (reset before it is
    done), ``lose_done`` (reset after), ``no_connection``, ``other`` (answers with another
    trade), ``hang`` (waits for ``release``).
    """

    dry_run: bool = True
    state: str = "running"
    free: float = 10_000.0
    max_open_trades: int = 3
    force_entry: bool = True
    spot: bool = True
    sells_behind: float = 0.0  # somebody else's exit, between two looks at a trade
    started_at: str = "2025-11-18T08:00:00Z"
    faults: deque[str] = field(default_factory=deque)
    release: anyio.Event = field(default_factory=anyio.Event)
    posts: list[dict[str, Any]] = field(default_factory=list)
    closed: list[dict[str, Any]] = field(default_factory=list)
    _ids: Any = field(default_factory=lambda: itertools.count(1))

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        endpoint = request.url.path.removeprefix("/api/v1/")
        if request.method != "POST":
            if (
                endpoint.startswith("trade/")
                and self.trade(endpoint.removeprefix("trade/")) is None
            ):
                return httpx2.Response(404, json={"detail": "Trade not found."})
            return await super()._answer(request)
        self.calls.append(endpoint)
        body = orjson.loads(request.content)
        fault = self.faults.popleft() if self.faults else ""
        if fault == "no_connection":
            raise httpx2.ConnectError("refused")
        self.posts.append(body)
        if fault == "hang":
            await self.release.wait()
        if fault.startswith("refuse:"):
            reason = fault.removeprefix("refuse:")
            error = {"error": f"Error querying /api/v1/{endpoint}: {reason}"}
            return httpx2.Response(502, json=error)
        if fault in {"fail", "lose"}:
            return self._lost(fault)
        told = self._enter(body) if endpoint == "forceenter" else self._exit(body)
        if fault in {"fail_done", "lose_done"}:
            return self._lost(fault)
        if fault == "other":
            told = told | {"trade_id": 999, "enter_tag": "else", "orders": []}
        return httpx2.Response(200, json=told)

    def _lost(self, fault: str) -> httpx2.Response:
        if fault.startswith("lose"):
            raise httpx2.ReadError("reset")
        return httpx2.Response(500, text="Internal Server Error")

    def _told(self, endpoint: str, params: httpx2.QueryParams) -> Any:
        if endpoint == "show_config":
            return super()._told(endpoint, params) | {
                "dry_run": self.dry_run,
                "state": self.state,
                "max_open_trades": float(self.max_open_trades),
                "force_entry_enable": self.force_entry,
                "trading_mode": "spot" if self.spot else "futures",
            }
        if endpoint == "balance":
            usdt = {"currency": "USDT", "free": self.free, "bot_owned": self.free}
            return {"currencies": [usdt], "total": self.free, "stake": "USDT", "note": "Simulated"}
        if endpoint == "health":
            return {"last_process": self.started_at, "bot_startup": self.started_at}
        if endpoint == "trades":
            return {"trades": self.closed}
        if endpoint.startswith("trade/"):
            if self.sells_behind:
                self._exit({"tradeid": self.status[0]["trade_id"], "amount": self.sells_behind})
                self.sells_behind = 0.0
            return self.trade(endpoint.removeprefix("trade/"))
        told = super()._told(endpoint, params)
        if endpoint == "pair_candles":
            for row in told["data"]:
                row[COLUMNS.index("close")] = PRICE
        return told

    def trade(self, trade_id: str) -> dict[str, Any] | None:
        """Return one trade, open or closed."""
        trades = [*self.status, *self.closed]
        return next((trade for trade in trades if str(trade["trade_id"]) == trade_id), None)

    async def posted(self, count: int = 1) -> None:
        """Wait until that many orders have reached the bot."""
        while len(self.posts) < count:
            await anyio.lowlevel.checkpoint()

    def enter(self, pair: str, tag: str, amount: float = 1.0, *, filled: bool = True) -> None:
        """Open a trade without being asked, as the strategy would, or as a late effect."""
        self._enter({
            "pair": pair, "entry_tag": tag, "stakeamount": amount * PRICE,
            "ordertype": "market" if filled else "limit", "price": PRICE,
        })  # fmt: skip

    def _enter(self, body: dict[str, Any]) -> dict[str, Any]:
        trade_id = next(self._ids)
        filled = body["ordertype"] == "market"
        price = body.get("price", PRICE)
        amount = round(body["stakeamount"] / price, 8)
        trade = body_of("trade open") | {
            "trade_id": trade_id,
            "pair": body["pair"],
            "is_open": True,
            "enter_tag": body["entry_tag"],
            "amount": amount if filled else 0.0,
            "open_rate": price,
            "current_rate": PRICE,
            "fee_open": FEE_RATE,
            "orders": [self._order("buy", amount, filled, body["entry_tag"])],
        }
        self.status.append(trade)
        return dict(trade)

    def _exit(self, body: dict[str, Any]) -> dict[str, Any]:
        trade = next(t for t in self.status if t["trade_id"] == body["tradeid"])
        amount = body.get("amount") or trade["amount"]
        trade["amount"] = round(trade["amount"] - amount, 8)
        trade["orders"] = [*trade["orders"], self._order("sell", amount, True, "force_exit")]
        if trade["amount"] <= 0:
            trade["is_open"] = False
            self.status.remove(trade)
            self.closed.insert(0, trade)
        return {"result": f"Created exit order for trade {trade['trade_id']}."}

    def _order(self, side: str, amount: float, filled: bool, tag: str | None) -> dict[str, Any]:
        return {
            "order_id": f"order-{next(self._ids)}",
            "ft_order_side": side,
            "ft_order_tag": tag,
            "order_type": "market",
            "status": "closed" if filled else "open",
            "is_open": not filled,
            "amount": amount,
            "filled": amount if filled else 0.0,
            "average": PRICE if filled else None,
            "safe_price": PRICE,
            "order_timestamp": 1_763_460_000_000,
        }
