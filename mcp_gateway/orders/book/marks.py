"""How an order of ours is recognised at the bot.

An entry carries our tag. An exit carries only the bot's word for exits that were asked
for, so it is the sell order with that word which the trade has now and had not before.
"""

import secrets
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from mcp_gateway.domain.market import base_and_quote
from mcp_gateway.domain.orders import OrderRecord, canonical
from mcp_gateway.domain.positions import Trade, TradeOrder
from mcp_gateway.freqtrade import wire
from mcp_gateway.freqtrade.orders import EXIT_TAG

TAG_PREFIX = "gw:"


@dataclass(frozen=True, slots=True)
class Execution:
    """What the bot made of an order: amounts in base, price in quote, fee in quote."""

    trade_id: int
    bot_order_id: str
    amount: Decimal
    filled: Decimal
    average_price: Decimal | None
    fee: Decimal | None

    @property
    def is_complete(self) -> bool:
        """Whether all of it is filled."""
        return self.filled >= self.amount > 0


def new_tag() -> str:
    """Return an unguessable tag; the request_id is not used, for callers choose that."""
    return TAG_PREFIX + secrets.token_hex(16)


def is_ours(tag: str | None) -> bool:
    """Tell whether a tag has the form of ours; the ledger knows whose it is."""
    return tag is not None and tag.startswith(TAG_PREFIX)


def find_entry(trades: tuple[Trade, ...], tag: str) -> Execution | None:
    """Return the execution that carries ``tag``: on the order, or on the trade it opened.

    Raises:
        BotUnavailable: none does, and one of the trades can't be read: it may be there.
    """
    for trade in trades:
        for order in trade.orders:
            if order.side == "buy" and order.tag == tag:
                return execution(trade, order)
        if trade.tag == tag:
            first = next((order for order in trade.orders if order.side == "buy"), None)
            if first is not None and first.tag in {None, tag}:
                return execution(trade, first)
    if not all(trade.readable for trade in trades):
        raise wire.nonsense()
    return None


def find_exits(trade: Trade, before: frozenset[str]) -> tuple[Execution, ...]:
    """Return the sells that were asked for and that the trade had not ``before`` (bot order ids).

    A stop loss or an exit of the strategy's may come in between; it is not ours.
    """
    return tuple(
        execution(trade, order)
        for order in trade.orders
        if order.side == "sell" and order.tag == EXIT_TAG and order.order_id not in before
    )


def exit_marks(trade: Trade) -> list[str]:
    """Return the ids of the sell orders that the trade has already."""
    return [order.order_id for order in trade.orders if order.side == "sell"]


def changes(execution: Execution) -> dict[str, Any]:
    """Return the ledger columns that an execution fills."""
    return {
        "trade_id": execution.trade_id,
        "bot_order_id": execution.bot_order_id,
        "actual_amount": execution.amount,
        "filled_amount": execution.filled,
        "average_price": execution.average_price,
        "fee": execution.fee,
    }


def numbers(execution: Execution) -> dict[str, Any]:
    """Return what history and audit log tell of an execution: decimals as text."""
    told = changes(execution)
    return {
        name: canonical(value) if isinstance(value, Decimal) else value
        for name, value in told.items()
    }


def same_order(record: OrderRecord, trade: Trade) -> TradeOrder | None:
    """Return the bot's order that a placed record stands for.

    A strategy may have an entry that rests replaced by one at another price: the tag stays, the
    bot's id does not. Exchanges count orders by market: the same id in another pair is another
    order.

    Raises:
        BotUnavailable: the trade can't be read: the order may be there.
    """
    if trade.pair != record.pair:
        return None
    if not trade.readable:
        raise wire.nonsense()
    same = (one for one in trade.orders if one.order_id == record.bot_order_id)
    if (found := next(same, None)) is not None or record.side == "sell":
        return found
    newest_first = reversed(trade.orders)
    return next((o for o in newest_first if o.side == "buy" and o.tag == record.tag), None)


def execution(trade: Trade, order: TradeOrder) -> Execution:
    """Return what the bot made of one of its orders."""
    opened_at = trade.open_rate if order.side == "buy" else None
    price = (order.average_price or opened_at) if order.filled else None
    fee = _fee(trade, order, price)
    return Execution(trade.trade_id, order.order_id, order.amount, order.filled, price, fee)


def _fee(trade: Trade, order: TradeOrder, price: Decimal | None) -> Decimal | None:
    """Return an order's fee in quote; the bot tells it of the first filled order of a side alone.

    For every other one it is estimated by the trade's rate.
    """
    if price is None:
        return None
    _, quote = base_and_quote(trade.pair)
    is_entry = order.side == "buy"
    told = trade.entry_fee if is_entry else trade.exit_fee
    first = next((one for one in trade.orders if one.side == order.side and one.filled), None)
    if told is not None and told.currency == quote and first == order:
        return told.cost
    rate = trade.fee_rate if is_entry else trade.exit_fee_rate or trade.fee_rate
    return None if rate is None else order.filled * price * rate
