"""Orders in the bot's own form, and the quote that buys an amount of base."""

from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from mcp_gateway.domain.orders import OrderType

# What the bot writes on the order of an exit that came through its API (ft_order_tag).
EXIT_TAG = "force_exit"


@dataclass(frozen=True, slots=True)
class Entry:
    """Buy ``quote`` worth of a pair; ``price`` belongs to a limit order and to no other.

    ``tag`` comes back on the bot's order and trade (at most 255 characters are kept).
    """

    pair: str
    quote: Decimal
    order_type: OrderType
    price: Decimal | None
    tag: str

    def __post_init__(self) -> None:
        # Freqtrade reads 0 as "the default stake" and sizes a priced market order wrongly.
        _must_be_positive(self.quote)
        _must_fit(self.order_type, self.price)

    def body(self) -> dict[str, Any]:
        """Return the JSON object of POST /forceenter, whose unknown keys go unnoticed."""
        told: dict[str, Any] = {
            "pair": self.pair,
            "side": "long",
            "ordertype": self.order_type,
            "stakeamount": float(self.quote),
            "entry_tag": self.tag,
        }
        return told if self.price is None else told | {"price": float(self.price)}


@dataclass(frozen=True, slots=True)
class Exit:
    """Sell ``amount`` (base) of an open trade, None for all of it."""

    trade_id: int
    amount: Decimal | None
    order_type: OrderType
    price: Decimal | None

    def __post_init__(self) -> None:
        # An amount of 0 would sell everything; -1 is answered with 200.
        if self.amount is not None:
            _must_be_positive(self.amount)
        _must_fit(self.order_type, self.price)

    def body(self) -> dict[str, Any]:
        """Return the JSON object of POST /forceexit."""
        told: dict[str, Any] = {"tradeid": self.trade_id, "ordertype": self.order_type}
        if self.amount is not None:
            told["amount"] = float(self.amount)
        return told if self.price is None else told | {"price": float(self.price)}


def quote_for(amount: Decimal, price: Decimal, lot_step: Decimal | None) -> Decimal:
    """Return the quote to send so that the bot buys ``amount`` of base at ``price``.

    The bot divides quote by price in floats and truncates to the lot step, which loses a
    step when the quotient falls a hair short. Half a step more keeps it clear of the edge;
    what ``amount`` has beyond whole steps is dropped first, so never more is bought.

    Args:
        amount: base units, above 0.
        price: quote per base, above 0.
        lot_step: the market's smallest amount; None where it is not known.
    """
    if lot_step is None:
        return amount * price
    steps = (amount / lot_step).to_integral_value(ROUND_FLOOR)
    return (steps * lot_step + lot_step / 2) * price


def _must_be_positive(number: Decimal) -> None:
    # As it is sent: what a float rounds to 0 the bot would read as "all of it".
    if not number.is_finite() or float(number) <= 0:
        raise ValueError("an order's number is finite and above 0")


def _must_fit(order_type: OrderType, price: Decimal | None) -> None:
    if (order_type == "limit") != (price is not None):
        raise ValueError("a limit order has a price, a market order has none")
    if price is not None:
        _must_be_positive(price)
