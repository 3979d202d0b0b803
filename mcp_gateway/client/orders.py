"""What an agent orders, and what became of it: values to match on, each with the next safe step."""

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID, uuid4

from pydantic import BaseModel, ConfigDict, Field

Side = Literal["buy", "sell"]
Mode = Literal["dry-run", "live"]
RESTING = frozenset({"submitted", "partially_filled"})


@dataclass(frozen=True, slots=True)
class Order:
    """One order, with the id by which the gateway knows it again.

    Sending the same value twice never trades twice. Keep it until its outcome is final; a new
    order is a new value.

    Args:
        amount: in base.
        price: in quote for one base; None for a market order.
        agent: in whose name, where the token may act for others.

    Raises:
        TypeError: a float, which is no exact amount.
        ValueError: an amount or price that is no positive number.
    """

    pair: str
    side: Side
    amount: Decimal
    price: Decimal | None = None
    agent: str | None = None
    request_id: UUID = field(default_factory=uuid4)

    def __post_init__(self) -> None:
        """Turn whole numbers and texts into decimals."""
        object.__setattr__(self, "amount", _exact(self.amount))
        if self.price is not None:
            object.__setattr__(self, "price", _exact(self.price))

    def document(self) -> dict[str, Any]:
        """Return it as the gateway reads it: money as decimal text."""
        told = {
            "request_id": str(self.request_id),
            "pair": self.pair,
            "side": self.side,
            "amount": format(self.amount, "f"),
            "order_type": "market" if self.price is None else "limit",
        }
        if self.price is not None:
            told["price"] = format(self.price, "f")
        return told if self.agent is None else told | {"agent": self.agent}


def _exact(number: Any) -> Decimal:
    if isinstance(number, bool | float) or not isinstance(number, Decimal | int | str):
        raise TypeError("an amount or price is a Decimal, a whole number or a text like '0.001'")
    try:
        exact = Decimal(number)
    except ArithmeticError:
        raise ValueError("an amount or price is a number") from None
    if not exact.is_finite() or exact <= 0:
        raise ValueError("an amount or price is above 0")
    return exact


class Answer(BaseModel):
    """Base of what the gateway answers; what a newer gateway tells besides is left out."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class Receipt(Answer):
    """An order as the gateway has it: amounts in base, prices and fee in quote."""

    order_id: str
    request_id: UUID
    status: str
    pair: str
    side: Side
    amount: Decimal
    filled_amount: Decimal
    timestamp: datetime
    outcome: str
    mode: Mode
    agent: str
    requested_amount: Decimal
    average_price: Decimal | None
    fee: Decimal | None
    trade_id: int | None
    bot_order_id: str | None

    @property
    def resting(self) -> bool:
        """Whether some of it may still be filled; ``cancel_order`` takes that back."""
        return self.status in RESTING


class Step(Answer):
    """One step of an order's life."""

    state: str
    at: datetime
    code: str | None
    filled_amount: Decimal | None = None
    average_price: Decimal | None = None


class OrderState(Receipt):
    """Where an order stands now; once ``final``, its outcome stands for good."""

    order_type: Literal["market", "limit"]
    price: Decimal | None
    code: str | None
    final: bool
    history: tuple[Step, ...]
    expires_at: datetime | None = None
    question: str | None = None


class Placed(Receipt):
    """The bot has the order. ``replayed``: this is the answer to an earlier sending of it."""

    replayed: bool = False

    @property
    def next_step(self) -> str:
        """What to do now."""
        if self.resting:
            return "It rests: get_order tells what is filled, cancel_order takes back the rest."
        return "Nothing; get_order tells more."


class PendingApproval(Receipt):
    """A person has to approve it before ``expires_at``; nothing was sent to the bot."""

    expires_at: datetime | None = None
    question: str | None = None
    replayed: bool = False

    @property
    def next_step(self) -> str:
        """What to do now."""
        return "Ask get_order until it is final (or wait_until_final); cancel_order takes it back."


class _No(Answer):
    model_config = ConfigDict(extra="ignore", frozen=True, coerce_numbers_to_str=True)

    request_id: UUID
    code: str
    message: str = Field(validation_alias="detail")
    next_step: str = Field(validation_alias="hint")
    order_id: str | None = None


class Denied(_No):
    """The gateway said no by the rule ``code``; nothing was sent. A new attempt is a new Order."""

    limit: str | None = None
    value: str | None = None


class Rejected(_No):
    """The bot said no; nothing happened there. A new attempt is a new Order."""


class Unknown(_No):
    """It was sent, or may have been, and how it ended is not known. Place nothing instead of it.

    ``next_step`` says how to find out: get_order with its request_id, or the same Order again.
    """


class NeedsReview(Unknown):
    """Only the operator can find out what became of it; ``get_order`` tells when that is done."""


Outcome = Placed | PendingApproval | Denied | Rejected | Unknown
