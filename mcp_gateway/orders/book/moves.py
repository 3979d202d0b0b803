"""What is written down with each event of an order's life: codes, words, numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from typing import Any

from mcp_gateway.clock import CLOCKS_APART
from mcp_gateway.domain.answers import Answer, NotSent, Refused, Unanswered
from mcp_gateway.domain.orders import HistoryEntry, OrderRecord, State, canonical
from mcp_gateway.orders.book import answers, marks, protocol
from mcp_gateway.orders.book.protocol import Event
from mcp_gateway.orders.book.steps import Move
from mcp_gateway.risk.facts import Facts
from mcp_gateway.risk.judge import Verdict


@dataclass(frozen=True, slots=True)
class Noted:
    """What was noted of the bot before an order left, for reconciliation to compare with.

    Args:
        bot_started_at: which run of the bot answered last, in its own words.
        sells_before: the ids of the sells that the trade of an exit had already.
        trade_tag: the tag of that trade.
    """

    bot_started_at: str | None = None
    sells_before: tuple[str, ...] = ()
    trade_tag: str | None = None

    @classmethod
    def of(cls, history: Sequence[HistoryEntry]) -> "Noted":
        """Read what was noted when the order was sent."""
        told = next((step.detail for step in history if step.state is State.SENT), {})
        sells = tuple(told.get("sells_before", ()))
        return cls(told.get("bot_started_at"), sells, told.get("trade_tag"))

    def detail(self) -> dict[str, Any]:
        """Return it as the history keeps it."""
        return asdict(self) | {"sells_before": list(self.sells_before)}


def sending(record: OrderRecord, facts: Facts, verdict: Verdict, carrier: str) -> list[Move]:
    """Return the moves of an order that passed: what it sets aside, and what it is sent with.

    Args:
        carrier: the process that sends it; of an approved order it may be another than the one
            that received it.
    """
    started = None if facts.bot_started_at is None else facts.bot_started_at.isoformat()
    if record.side == "buy":
        if verdict.stake is None or verdict.reserved is None:
            raise AssertionError("an entry passed its checks without a price")
        detail = Noted(started).detail() | {"quote_sent": canonical(verdict.stake)}
        aside = {"quote": canonical(verdict.reserved), "policy": verdict.policy}
        taken = {"reserved_quote": verdict.reserved, "carrier": carrier}
        return [
            Move(Event.RESERVE, None, aside, taken),
            Move(Event.SEND, None, detail, {"quote_sent": verdict.stake}),
        ]
    if facts.held is None:
        raise AssertionError("an exit passed its checks with nothing held")
    noted = Noted(started, tuple(marks.exit_marks(facts.held)), facts.held.tag)
    trade_id = {"trade_id": facts.held.trade_id}
    return [
        Move(Event.RESERVE, None, {"policy": verdict.policy}),
        Move(Event.SEND, None, noted.detail() | trade_id, trade_id),
    ]


def held(verdict: Verdict, expires_at: datetime) -> Move:
    """Return the move of an order that waits for a person: what it may cost, and how long."""
    if verdict.worst_cost is None:
        raise AssertionError("an order waits for a person and nobody knows what it costs")
    detail = {
        "quote": canonical(verdict.worst_cost),
        "worst_price": None if verdict.worst_price is None else canonical(verdict.worst_price),
        "policy": verdict.policy,
    }
    changes = {"approved_quote": verdict.worst_cost, "expires_at": expires_at}
    return Move(Event.HOLD, None, detail, changes)


def denied_by(verdict: Verdict) -> Move:
    """Return the move of an order that a rule of ours denies."""
    first = verdict.failed[0]
    failed = [{"rule": c.rule, "limit": c.limit, "value": c.value} for c in verdict.failed]
    changes = {"message": first.message, "answer": failed[0]}
    return Move(Event.DENY, first.rule, {"failed": failed, "policy": verdict.policy}, changes)


def denied(event: Event, code: str, detail: Mapping[str, Any]) -> Move:
    """Return the move of an order that was never sent."""
    return Move(event, code, detail, {"message": answers.denial_message(code)})


def heard(event: Event, answer: Answer) -> Move:
    """Return the move for an answer in which our mark was not found."""
    if isinstance(answer, NotSent):
        ours = answer.code in {"position_changed", "trading_halted"}
        code = answer.code if ours else "bot_unavailable"
        return denied(event, code, {"cause": answer.code})
    if isinstance(answer, Refused):
        message = answers.rejection_message(answer.code)
        return Move(event, answer.code, changes={"message": message})
    # No answer, or one that describes another trade than ours.
    return Move(event, answer.code if isinstance(answer, Unanswered) else "mark_missing")


def confirmed(
    record: OrderRecord, execution: marks.Execution, event: Event = Event.CONFIRM
) -> list[Move]:
    """Return the moves of an order that the bot has, and whether it is filled already.

    The receipt is stored with the state, for every repetition of the request.
    """
    changes, detail = marks.changes(execution), marks.numbers(execution)
    placed = replace(record, state=protocol.after(record.state, event), **changes)
    changes["answer"] = answers.receipt(placed)
    placing = [Move(event, None, detail, changes)]
    return [*placing, Move(Event.FILL, None, detail)] if execution.is_complete else placing


def seen(event: Event, execution: marks.Execution) -> Move:
    """Return the move of what has become of a placed order, with its numbers."""
    return Move(event, None, marks.numbers(execution), marks.changes(execution))


def interrupted(record: OrderRecord) -> Move:
    """Return the move of an order that nobody carries any more."""
    unsent = record.state in protocol.UNSENT
    changes = {"message": answers.denial_message("interrupted")} if unsent else {}
    return Move(Event.INTERRUPT, "interrupted", changes=changes)


def never_executed() -> Move:
    """Return the move of an order whose absence counts."""
    message = answers.rejection_message("not_executed")
    return Move(Event.MISS, "not_executed", changes={"message": message})


def is_over(record: OrderRecord, now: datetime) -> bool:
    """Tell whether the time is over for which a person's word is waited for, or holds.

    Over too where the clock was set back since: nobody knows how much of it has passed.
    """
    if record.state not in protocol.HELD:
        return False
    if now < record.updated_at - CLOCKS_APART:
        return True
    return record.expires_at is None or now >= record.expires_at
