"""What a caller is told of an order: one receipt, or one typed error, from one ledger row.

The first final answer is stored with the row, so a repeated request gets the same words.
"""

from decimal import Decimal
from typing import Any, Final

from mcp_gateway.clock import iso
from mcp_gateway.domain.orders import HistoryEntry, OrderRecord, State
from mcp_gateway.errors import BotRejected, GatewayError, OrderDenied, OutcomeUnknown
from mcp_gateway.orders.book import protocol
from mcp_gateway.orders.book.question import Question

UNKNOWN_MESSAGE: Final = "The order was sent and the bot's answer is not known yet."
REVIEW_MESSAGE: Final = "Only the operator can find out what became of the order."
REVIEW_HINT: Final = (
    "Do not send it again. The operator settles it; get_order tells when that is done."
)
PENDING_MESSAGE: Final = "A person has to approve the order before it is sent."
APPROVED_MESSAGE: Final = "A person has approved the order; it is about to be sent."
PENDING_HINT: Final = (
    "Ask get_order with the same request_id until it is final; cancel_order takes it back."
)
UNSENT_MESSAGE: Final = "The order is written down and being checked; it was not sent yet."
_DENIALS: Final[dict[str, str]] = {
    "bot_unavailable": "The bot did not answer; nothing was sent.",
    "bot_busy": "Another order of this bot is still on its way; nothing was sent.",
    "position_changed": "The position changed while the order was on its way; nothing was sent.",
    "interrupted": "The gateway stopped before the order was sent; nothing was sent.",
    "trading_halted": "Trading was halted while the order was on its way; nothing was sent.",
    "declined": "A person declined the order; nothing was sent.",
    "withdrawn": "The order was taken back before it was sent.",
    "approval_expired": "The time for the order's approval is over; nothing was sent.",
    "too_many_waiting": "Too many orders of the agent wait for a person; nothing was sent.",
    "mode_changed": "The gateway's mode is another than the one approved; nothing was sent.",
    "order_altered": "The order is not the one that was asked for; nothing was sent.",
}
_REJECTIONS: Final[dict[str, str]] = {
    "pair_inactive": "The bot does not know the pair, or its market is closed.",
    "quote_currency_wrong": "The bot trades another quote currency.",
    "no_free_slot": "The bot has no free slot.",
    "position_exists": "The bot holds the pair already.",
    "entries_disabled": "The bot does not allow entries through its API.",
    "bot_not_running": "The bot is not running.",
    "remainder_too_small": "What would remain is too small to be sold later; sell all of it.",
    "entry_refused": "The bot could not open the position: too small, or its strategy said no.",
    "trade_not_open": "The position is closed already.",
    "bot_credentials": "The bot does not accept the gateway's credentials.",
    "not_executed": "The bot never executed it.",
    "settled": "The operator found out that the bot never executed it.",
}
_PLACED: Final[dict[State, str]] = {
    State.CANCELLED: "The order is cancelled; filled_amount tells what was filled before.",
    State.VANISHED: "The bot has forgotten the order; filled_amount tells what is known to be filled.",
}
_AGAIN: Final = "Nothing was sent. Wait a little, then send it under a new request_id."
_HINTS: Final[dict[str, str]] = {
    "bot_unavailable": _AGAIN,
    "bot_busy": _AGAIN,
    "interrupted": _AGAIN,
    "trading_halted": "Nothing was sent. Only a person resumes trading; get_account tells what is halted; "
    "sells and cancels still work.",
    "position_changed": "Nothing was sent. Read get_open_positions, then decide anew.",
    "market_unknown": "Nothing was sent. The operator has to add the pair to [markets] of the policy.",
    "stake_below_minimum": "Nothing was sent. Order at least the limit, under a new request_id.",
    "order_under_review": "Nothing was sent. Wait until the operator has settled the earlier order.",
    "more_than_held": "Nothing was sent. Sell at most the limit, under a new request_id.",
    "preview_required": "Nothing was sent. Call dry_run_order, then create_order with its preview_id and "
    "a new request_id.",
    "policy_changed": "Nothing was sent. Call dry_run_order again, then create_order with its preview_id "
    "and a new request_id.",
    "position_not_yours": "Nothing was sent. Read get_open_positions and sell what is yours; only its owner "
    "or the operator closes this one.",
    "declined": "Nothing was sent. Do not ask for the same again; decide anew.",
    "withdrawn": "Nothing was sent, and nothing will be.",
    "approval_expired": "Nothing was sent. If it is still wanted, send it under a new request_id.",
    "approval_exceeded": "Nothing was sent. Send it anew: a person has to see the new cost.",
    "too_many_waiting": "Nothing was sent. Wait until a person has decided about the others.",
    "mode_changed": "Nothing was sent. Read get_account, then decide anew.",
    "order_altered": "Nothing was sent. The operator has to look into the ledger.",
}


def denial_message(code: str) -> str:
    """Return our sentence for a denial that no pre-trade rule explains."""
    return _DENIALS.get(code, "The order was denied; nothing was sent.")


def rejection_message(code: str) -> str:
    """Return our sentence for a refusal of the bot's."""
    return _REJECTIONS.get(code, "The bot refused the order; nothing happened there.")


def status(record: OrderRecord) -> str:
    """Return the predecessor's ``status``: the order's life, or the outcome if none began."""
    outcome = protocol.outcome(record.state)
    if outcome != "placed":
        return outcome
    if record.state in {State.CANCELLED, State.VANISHED}:
        return str(record.state)
    if record.state is State.FILLED:
        return "filled"
    if record.actual_amount is not None and record.filled_amount >= record.actual_amount > 0:
        return "filled"  # the receipt is written one step before the order is filled
    return "partially_filled" if record.filled_amount else "submitted"


def trade_of(record: OrderRecord) -> int:
    """Return the bot's trade that a placed order belongs to."""
    if record.trade_id is None:
        raise AssertionError(f"order {record.order_id} was placed without a trade")
    return record.trade_id


def receipt(record: OrderRecord) -> dict[str, Any]:
    """Return what ``create_order`` answers for a placed order: amounts in base, fee in quote."""
    return {
        "order_id": record.order_id,
        "request_id": str(record.request_id),
        "status": status(record),
        "pair": record.pair,
        "side": record.side,
        "amount": _number(record.actual_amount or record.amount),
        "filled_amount": _number(record.filled_amount),
        "timestamp": iso(record.sent_at or record.created_at),
        "message": record.message or _message(record),
        "outcome": protocol.outcome(record.state),
        "mode": record.mode,
        "agent": record.agent,
        "requested_amount": _number(record.amount),
        "average_price": _number(record.average_price),
        "fee": _number(record.fee),
        "trade_id": record.trade_id,
        "bot_order_id": record.bot_order_id,
    }


def _message(record: OrderRecord) -> str:
    """Return the predecessor's sentence for a placed order, and the plain truth for another."""
    outcome = protocol.outcome(record.state)
    if outcome == "placed":
        return _PLACED.get(record.state, "Order submitted successfully")
    if outcome == "unknown":
        if record.state is State.NEEDS_REVIEW:
            return REVIEW_MESSAGE
        return UNSENT_MESSAGE if record.state in protocol.UNSENT else UNKNOWN_MESSAGE
    if outcome == "pending_approval":
        return APPROVED_MESSAGE if record.state is State.APPROVED else PENDING_MESSAGE
    return outcome


def held(record: OrderRecord, history: tuple[HistoryEntry, ...]) -> dict[str, Any]:
    """Return what ``create_order`` answers for an order that waits for a person."""
    return receipt(record) | _asked(record, history)


def _asked(record: OrderRecord, history: tuple[HistoryEntry, ...]) -> dict[str, Any]:
    """Return what a person is asked, and until when; nothing of an order that waits for none."""
    if record.state not in protocol.HELD:
        return {}
    return {
        "expires_at": None if record.expires_at is None else iso(record.expires_at),
        "question": Question.of(record, history).text,
        "hint": PENDING_HINT,
    }


def present_state(record: OrderRecord, history: tuple[HistoryEntry, ...]) -> dict[str, Any]:
    """Return what ``get_order`` answers: where the order stands now and how it came there."""
    told = receipt(record) | _asked(record, history)
    return told | {
        "order_type": record.order_type,
        "price": _number(record.price),
        "code": record.code,
        "final": protocol.is_final(record.state),
        "history": [
            {"state": str(entry.state), "at": iso(entry.at), "code": entry.code} | _filled(entry)
            for entry in history
        ],
    }


def _filled(entry: HistoryEntry) -> dict[str, Any]:
    """Return how much was filled by then, where the step tells it."""
    told = {name: entry.detail.get(name) for name in ("filled_amount", "average_price")}
    return {name: float(value) for name, value in told.items() if value is not None}


def refusal(record: OrderRecord) -> GatewayError | None:
    """Return the error that tells this order's outcome, None where it was placed."""
    outcome = protocol.outcome(record.state)
    told: dict[str, Any] = {"code": record.code, "detail": _facts(record) | (record.answer or {})}
    if outcome == "denied":
        hint = _HINTS.get(record.code or "")
        return OrderDenied(record.message or denial_message(""), hint=hint, **told)
    if outcome == "rejected":
        return BotRejected(record.message or rejection_message(""), **told)
    if outcome == "unknown":
        return unknown(record)
    return None


def unknown(record: OrderRecord) -> OutcomeUnknown:
    """Return the error of an order whose outcome is not known."""
    code, hint = None, None
    if record.state in protocol.UNSENT:
        code = "order_in_progress"
    elif record.state is State.NEEDS_REVIEW:
        code, hint = record.code, REVIEW_HINT
    told = _facts(record) | {"outcome": "unknown"}
    return OutcomeUnknown(_message(record), code=code, hint=hint, detail=told)


def _facts(record: OrderRecord) -> dict[str, Any]:
    return {
        "outcome": protocol.outcome(record.state),
        "order_id": record.order_id,
        "request_id": str(record.request_id),
        "mode": record.mode,
    }


def _number(value: Decimal | None) -> float | None:
    return None if value is None else float(value)
