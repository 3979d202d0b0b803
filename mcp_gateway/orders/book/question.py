"""What a person is asked: one text, made of validated fields alone.

The same words stand on the command line, in REST and before the person at an MCP client.
Nothing in them was written by an agent but its name, which is shown quoted, with everything
escaped that is not plain ASCII: no character of it can hide, reorder or imitate another.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_UP, Context, Decimal
from typing import Any, Final

from mcp_gateway.clock import iso
from mcp_gateway.domain.market import base_and_quote
from mcp_gateway.domain.orders import HistoryEntry, OrderRecord, State, canonical

_DECIMALS: Final = Decimal("1e-8")
_EXACT: Final = Context(prec=80)


@dataclass(frozen=True, slots=True)
class Question:
    """An order that waits for a person's word, and the worst price that it was judged by."""

    record: OrderRecord
    worst_price: Decimal | None

    @classmethod
    def of(cls, record: OrderRecord, history: Sequence[HistoryEntry]) -> "Question":
        """Read the worst price where the history tells how the order came to wait."""
        held = (step.detail for step in history if step.state is State.PENDING_APPROVAL)
        told = next(held, {}).get("worst_price")
        return cls(record, record.price if told is None else Decimal(told))

    @property
    def text(self) -> str:
        """The words that are shown."""
        record = self.record
        base, quote = base_and_quote(record.pair)
        mode = (
            "LIVE ORDER: REAL MONEY." if record.mode == "live" else "Dry-run order: no real money."
        )
        wanted = f"{record.side} {canonical(record.amount)} {base}"
        return (
            f"{mode}\n"
            f"Agent {quoted(record.agent)}{_sender(record)} wants to {wanted}, "
            f"a {record.order_type} order in {record.pair}.\n"
            f"It may cost up to {_money(record.approved_quote)} {quote}, fee included; "
            f"worst price {_money(self.worst_price)} {quote} per {base}.\n"
            f"Order {record.order_id}. Answer by {_until(record)}."
        )

    def document(self) -> dict[str, Any]:
        """Return it for those who approve; amount in base, money in quote."""
        record = self.record
        return {
            "order_id": record.order_id,
            "request_id": str(record.request_id),
            "state": str(record.state),
            "issuer": record.issuer,
            "subject": record.subject,
            "agent": record.agent,
            "pair": record.pair,
            "side": record.side,
            "amount": _number(record.amount),
            "order_type": record.order_type,
            "price": _number(record.price),
            "worst_price": _number(self.worst_price),
            "worst_cost": _number(record.approved_quote),
            "mode": record.mode,
            "created_at": iso(record.created_at),
            "expires_at": None if record.expires_at is None else iso(record.expires_at),
            "text": self.text,
        }


def quoted(name: str) -> str:
    """Return a name that somebody else chose so that it can only be read as that."""
    return json.dumps(name)  # escapes whatever does not lie between space and tilde


def _sender(record: OrderRecord) -> str:
    """Name the caller too, where it speaks for another agent than itself."""
    return "" if record.subject == record.agent else f", by its caller {quoted(record.subject)},"


def _until(record: OrderRecord) -> str:
    return "-" if record.expires_at is None else f"{record.expires_at:%Y-%m-%d %H:%M:%S} UTC"


def _money(value: Decimal | None) -> str:
    """Write money with eight decimals at most, rounded against whoever pays."""
    if value is None:
        return "unknown"
    return canonical(value.quantize(_DECIMALS, rounding=ROUND_UP, context=_EXACT))


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
