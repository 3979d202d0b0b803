"""The books of a bot that trades: what it refuses, what rests, and what cancels leave behind.

The rules are those of Freqtrade 2026.9 (rpc.py), and its words.
"""

import itertools
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from tests.support.recorded import body_of
from tests.support.wirebot import WireBot

PRICE = 100.0
FEE_RATE = 0.001
LOT_STEP = Decimal("0.00001")  # of every market here, as its trades tell it


class Refusal(Exception):
    """The bot answers 502 with this reason; it may have done something all the same."""


@dataclass
class TradeBook(WireBot):
    """Fills market orders at ``PRICE``; limit orders rest until a test fills them."""

    state: str = "running"
    max_open_trades: int = 3
    force_entry: bool = True
    closed: list[dict[str, Any]] = field(default_factory=list)  # the one closed last is first
    _order_ids: Any = field(default_factory=lambda: itertools.count(1))

    def trade(self, trade_id: str | int) -> dict[str, Any] | None:
        """Return one trade, open or closed."""
        trades = [*self.status, *self.closed]
        return next((trade for trade in trades if str(trade["trade_id"]) == str(trade_id)), None)

    def enter(self, pair: str, tag: str, amount: float = 1.0, *, filled: bool = True) -> None:
        """Open a trade without being asked, as the strategy would, or as a late effect."""
        order_type = "market" if filled else "limit"
        body = {"pair": pair, "entry_tag": tag, "ordertype": order_type, "price": PRICE}
        self._open(body, amount)

    def fill(self, trade_id: int, amount: float | None = None) -> None:
        """Fill the resting order of an open trade by ``amount`` of base, or wholly."""
        trade = self._open_trade(trade_id)
        order = _resting(trade)
        if order is None:
            raise LookupError("nothing rests in this trade")
        left = round(order["amount"] - order["filled"], 8)
        part = left if amount is None else amount
        if not 0 < part <= left:
            raise ValueError("more than rests")
        order["filled"] = round(order["filled"] + part, 8)
        order["average"] = order["safe_price"]
        if order["filled"] >= order["amount"]:
            order |= {"status": "closed", "is_open": False}
        self._move(trade, part if order["ft_order_side"] == "buy" else -part)

    def _enter(self, body: dict[str, Any]) -> dict[str, Any]:
        if not self.force_entry:
            raise Refusal("Force_entry not enabled.")
        if self.state != "running":
            raise Refusal("trader is not running")
        if body["pair"] not in self.pairs:
            raise Refusal("Symbol does not exist or market is not active.")
        for trade in self.status:
            if trade["pair"] == body["pair"]:
                raise Refusal(f"position for {body['pair']} already open - id: {trade['trade_id']}")
        if len(self.status) >= self.max_open_trades:
            raise Refusal("Maximum number of trades is reached.")
        return self._open(body, whole_steps(body["stakeamount"] / body.get("price", PRICE)))

    def _open(self, body: dict[str, Any], amount: float) -> dict[str, Any]:
        filled = body["ordertype"] == "market"
        price = body.get("price", PRICE)
        order = self._order("buy", amount, filled, body["entry_tag"], price=price)
        trade = body_of("trade open") | {
            # The id of the newest trade is given away again once that trade is deleted.
            "trade_id": 1 + max((t["trade_id"] for t in (*self.status, *self.closed)), default=0),
            "pair": body["pair"],
            "is_open": True,
            "enter_tag": body["entry_tag"],
            "amount": amount if filled else 0.0,
            "open_rate": price,
            "current_rate": PRICE,
            "fee_open": FEE_RATE,
            "fee_open_cost": None,
            "orders": [order],
        }
        self.status.append(trade)
        return dict(trade)

    def _exit(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.state == "stopped":
            raise Refusal("trader is not running")
        trade = self._open_trade(body["tradeid"], "invalid argument")
        if (resting := _resting(trade)) is not None:
            self._take_off(trade, resting)
            if trade not in self.status:
                raise Refusal("Failed to exit trade.")
        amount = min(body.get("amount") or trade["amount"], trade["amount"])
        filled = body.get("ordertype", "market") == "market"
        price = body.get("price", PRICE)
        order = self._order("sell", amount, filled, "force_exit", price=price)
        trade["orders"] = [*trade["orders"], order]
        if filled:
            self._move(trade, -amount)
        return {"result": f"Created exit order for trade {trade['trade_id']}."}

    def _cancel(self, trade_id: int) -> dict[str, Any]:
        if self.state == "stopped":
            raise Refusal("trader is not running")
        trade = self._open_trade(trade_id, "Invalid trade_id.")
        resting = _resting(trade)
        if resting is None:
            raise Refusal("No open order for trade_id.")
        self._take_off(trade, resting)
        if trade not in self.status:
            raise Refusal("no active trade")
        return dict(trade)

    def _take_off(self, trade: dict[str, Any], order: dict[str, Any]) -> None:
        """Cancel an order; what was never filled leaves no trace in the bot's answers."""
        if order["filled"]:
            order |= {"status": "canceled", "is_open": False}
            return
        trade["orders"] = [other for other in trade["orders"] if other is not order]
        if order["ft_order_side"] == "buy":
            self.status.remove(trade)

    def _move(self, trade: dict[str, Any], change: float) -> None:
        """Change what a trade holds; one that holds nothing more is closed."""
        trade["amount"] = round(trade["amount"] + change, 8)
        if trade["amount"] <= 0:
            trade["is_open"] = False
            self.status.remove(trade)
            self.closed.insert(0, trade)

    def _open_trade(self, trade_id: int, otherwise: str = "") -> dict[str, Any]:
        for trade in self.status:
            if trade["trade_id"] == trade_id:
                found: dict[str, Any] = trade
                return found
        raise Refusal(otherwise or "no such trade")

    def _order(
        self, side: str, amount: float, filled: bool, tag: str | None, *, price: float = PRICE
    ) -> dict[str, Any]:
        return {
            "order_id": f"order-{next(self._order_ids)}",
            "ft_order_side": side,
            "ft_order_tag": tag,
            "order_type": "market" if filled else "limit",
            "status": "closed" if filled else "open",
            "is_open": not filled,
            "amount": amount,
            "filled": amount if filled else 0.0,
            "average": PRICE if filled else None,
            "safe_price": PRICE if filled else price,
            "order_timestamp": 1_763_460_000_000,
        }


def whole_steps(amount: float) -> float:
    """Truncate an amount to the lot step, as what prints: the bot divides in floats."""
    return float(Decimal(str(amount)) // LOT_STEP * LOT_STEP)


def _resting(trade: dict[str, Any]) -> dict[str, Any] | None:
    return next((order for order in trade["orders"] if order["is_open"]), None)
