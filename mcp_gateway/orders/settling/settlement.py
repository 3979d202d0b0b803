"""What only a person can find out: an operator settles an order that waits for review.

The decision stands in the ledger's history and in the audit log, with who made it, why, and
what was found.
"""

from dataclasses import replace
from typing import Annotated, Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, StringConstraints, model_validator

from mcp_gateway.domain.orders import OrderRecord, PositiveDecimal, State, canonical
from mcp_gateway.errors import RequestInvalid
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.orders.book import answers, marks, moves, protocol
from mcp_gateway.orders.book.ledger import Ledger, Superseded
from mcp_gateway.orders.book.protocol import Event
from mcp_gateway.orders.book.steps import Move, Origin
from mcp_gateway.orders.evidence.bot_books import every_trade

CODE: Final = "settled"
MOST_FILLED: Final = 2  # times the amount: beyond it lies a slip of the pen
ORIGIN: Final = Origin("control", "settle", operation="settle_order")
Reason = Annotated[str, StringConstraints(strip_whitespace=True, min_length=10, max_length=1000)]


class Decision(BaseModel):
    """What the operator found out.

    ``filled`` (base) is what was executed of a placed order and ``average_price`` (quote per
    base) at what; None where that is not known.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    finding: Literal["placed", "not-placed"]
    reason: Reason
    filled: PositiveDecimal | None = None
    average_price: PositiveDecimal | None = None

    @model_validator(mode="after")
    def _numbers_belong_to_what_happened(self) -> Self:
        if self.finding == "not-placed" and self.filled is not None:
            raise ValueError("filled: what was never placed was not executed either")
        if self.average_price is not None and self.filled is None:
            raise ValueError("average_price: a price needs the amount that was filled at it")
        return self


async def settle(
    ledger: Ledger,
    bot: FreqtradeClient,
    record: OrderRecord,
    decision: Decision,
    operator: str,
    *,
    bot_name: str,
) -> OrderRecord:
    """Write an operator's decision down, and return the order as it stands then.

    An entry whose mark the bot shows gets the bot's numbers, whatever the operator's are.

    Args:
        operator: the account that decided, by the system's word and not by its own.
        bot_name: under which the ledger keeps the orders of ``bot``.

    Raises:
        RequestInvalid: the order does not wait for a person, or no longer
            (``not_under_review``), it was sent to a bot of another name (``other_bot``), the bot
            shows that it was placed (``mark_found``), or more was filled than can be.
        BotError: the bot can't be asked whether it has the entry; nothing was settled.
    """
    if record.state is not State.NEEDS_REVIEW:
        raise _not_under_review()
    if record.bot != bot_name:
        raise _other_bot(record)
    found = await _at_the_bot(bot, record)
    if found is not None and decision.finding == "not-placed":
        raise RequestInvalid(
            f"The bot has it: trade {found.trade_id}, order {found.bot_order_id}.",
            code="mark_found",
            hint="Settle it as placed.",
        )
    try:
        return await ledger.move(record, _moves(record, decision, found, operator), ORIGIN)
    except Superseded:
        raise _not_under_review() from None


async def _at_the_bot(bot: FreqtradeClient, record: OrderRecord) -> marks.Execution | None:
    """Look for an entry's mark; an exit has none, and the trade it was for is gone."""
    if record.side != "buy":
        return None
    return marks.find_entry(await every_trade(bot), record.tag)


def _not_under_review() -> RequestInvalid:
    return RequestInvalid(
        "The order does not wait for review.",
        code="not_under_review",
        hint="`mcp-gateway orders list --state needs_review` shows those that do.",
    )


def _other_bot(record: OrderRecord) -> RequestInvalid:
    """Return the refusal to ask this bot about another's order: of course it has none."""
    return RequestInvalid(
        f"The order was sent to the bot {record.bot}, which is not the one of these settings.",
        code="other_bot",
        hint="Settle it with the settings of that bot, MCP_GATEWAY_BOT among them.",
        detail={"bot": record.bot},
    )


def _moves(
    record: OrderRecord, decision: Decision, found: marks.Execution | None, operator: str
) -> list[Move]:
    told = {
        "finding": decision.finding,
        "reason": decision.reason,
        "operator": operator,
        "filled": None if decision.filled is None else canonical(decision.filled),
        "price": (None if decision.average_price is None else canonical(decision.average_price)),
    }
    if decision.finding == "not-placed":
        message = answers.rejection_message(CODE)
        return [Move(Event.SETTLE_NOTHING, CODE, told, {"message": message})]
    if found is not None:
        placed, *filled = moves.confirmed(record, found, Event.SETTLE_PLACED)
    else:
        placed, *filled = _by_word(record, decision)
    return [replace(placed, code=CODE, detail=told), *(replace(m, code=CODE) for m in filled)]


def _by_word(record: OrderRecord, decision: Decision) -> list[Move]:
    """Return the moves of an order that the bot does not show: only the operator's word is known.

    Nothing can be followed, so it ends here: filled with what the operator found, or vanished.
    """
    limit = record.amount * MOST_FILLED
    if decision.filled is not None and decision.filled > limit:
        raise RequestInvalid(
            f"filled is at most {canonical(limit)}, twice the order's amount.",
            hint="Give what was carried out of this order, in base.",
            detail={"field": "filled", "limit": canonical(limit)},
        )
    changes: dict[str, Any] = {
        "actual_amount": decision.filled,
        "filled_amount": decision.filled or record.filled_amount,
        "average_price": decision.average_price,
    }
    placed = replace(record, state=protocol.after(record.state, Event.SETTLE_PLACED), **changes)
    changes["answer"] = answers.receipt(placed)
    end = Event.VANISH if decision.filled is None else Event.FILL
    return [Move(Event.SETTLE_PLACED, changes=changes), Move(end)]
