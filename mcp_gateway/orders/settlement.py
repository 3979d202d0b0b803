"""What only a person can find out: an operator settles an order that waits for review.

The decision stands in the ledger's history and in the audit log, with who made it, why, and
what was found.
"""

from dataclasses import replace
from decimal import Decimal
from typing import Any, Final, Literal

from pydantic import ConfigDict
from pydantic.dataclasses import dataclass

from mcp_gateway.domain.orders import OrderRecord, State
from mcp_gateway.errors import BotError, RequestInvalid
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.orders import answers, marks, moves, protocol
from mcp_gateway.orders.ledger import Ledger
from mcp_gateway.orders.protocol import Event
from mcp_gateway.orders.steps import Move, Origin

Finding = Literal["placed", "not-placed"]
SHORTEST_REASON: Final = 10
LONGEST_REASON: Final = 1000
RECENT_TRADES: Final = 100


@dataclass(frozen=True, slots=True, config=ConfigDict(extra="forbid"))
class Decision:
    """What the operator found out.

    Args:
        filled: what was executed (base); None where that is not known. Of a placed order only.
        average_price: quote per base; None where that is not known.
        operator: the name of the account that decided.
    """

    finding: Finding
    reason: str
    operator: str
    filled: Decimal | None = None
    average_price: Decimal | None = None


async def settle(
    ledger: Ledger, bot: FreqtradeClient, record: OrderRecord, decision: Decision
) -> OrderRecord:
    """Write an operator's decision down, and return the order as it stands then.

    An entry whose mark the bot shows gets the bot's numbers.

    Raises:
        RequestInvalid: the order does not wait for a person (``not_under_review``), the bot
            shows that it was placed (``mark_found``), or the decision does not make sense.
        Superseded: somebody else settled it meanwhile.
    """
    if record.state is not State.NEEDS_REVIEW:
        raise RequestInvalid(
            f"The order does not wait for review; it is {record.state}.",
            code="not_under_review",
            hint="`mcp-gateway orders list --state needs_review` shows those that do.",
        )
    _check(decision)
    found = await _at_the_bot(bot, record)
    if found is not None and decision.finding == "not-placed":
        raise RequestInvalid(
            f"The bot has it: trade {found.trade_id}, order {found.bot_order_id}.",
            code="mark_found",
            hint="Settle it as placed.",
        )
    origin = Origin("control", "settle", operation="settle_order")
    return await ledger.move(record, _moves(record, decision, found), origin)


async def _at_the_bot(bot: FreqtradeClient, record: OrderRecord) -> marks.Execution | None:
    if record.side != "buy":
        return None
    try:
        trades = (*await bot.open_trades(), *await bot.recent_trades(RECENT_TRADES))
    except BotError:
        return None  # the operator may know more than a bot that is down
    return marks.find_entry(trades, record.tag)


def _check(decision: Decision) -> None:
    if not SHORTEST_REASON <= len(decision.reason.strip()) <= LONGEST_REASON:
        raise RequestInvalid(
            f"The reason takes {SHORTEST_REASON} to {LONGEST_REASON} characters: the audit keeps it."
        )
    numbers = (decision.filled, decision.average_price)
    if any(number is not None and not (number.is_finite() and number > 0) for number in numbers):
        raise RequestInvalid("Amount and price are finite and above 0.")
    if decision.finding == "not-placed" and numbers != (None, None):
        raise RequestInvalid("What was never placed has neither amount nor price.")


def _moves(record: OrderRecord, decision: Decision, found: marks.Execution | None) -> list[Move]:
    detail = {
        "finding": decision.finding,
        "reason": decision.reason.strip(),
        "operator": decision.operator,
        "filled": _text(decision.filled),
        "average_price": _text(decision.average_price),
    }
    if decision.finding == "not-placed":
        message = answers.rejection_message("settled")
        return [Move(Event.SETTLE_NOTHING, "settled", detail, {"message": message})]
    if found is not None:
        placed, *filled = moves.confirmed(record, found, Event.SETTLE_PLACED)
        return [replace(placed, code="settled", detail=detail), *filled]
    return _as_told(record, decision, detail)


def _as_told(record: OrderRecord, decision: Decision, detail: dict[str, Any]) -> list[Move]:
    """Return the moves of an order of which only the operator's word is known."""
    changes: dict[str, Any] = {
        "actual_amount": decision.filled or record.actual_amount,
        "filled_amount": decision.filled or record.filled_amount,
        "average_price": decision.average_price or record.average_price,
    }
    placed = replace(record, state=protocol.after(record.state, Event.SETTLE_PLACED), **changes)
    changes["answer"] = answers.receipt(placed)
    settled = [Move(Event.SETTLE_PLACED, "settled", detail, changes)]
    return settled if decision.filled is None else [*settled, Move(Event.FILL)]


def _text(number: Decimal | None) -> str | None:
    return None if number is None else str(number)
