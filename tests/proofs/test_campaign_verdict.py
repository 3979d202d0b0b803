"""The campaign's verdict finds every kind of lie: books that agree, then each made to differ."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.proofs.campaign.books import BotOrder, Ledger, LedgerRow, Step
from tests.proofs.campaign.callers import Told
from tests.proofs.campaign.journal import Answer, Journal
from tests.proofs.campaign.verdict import judge

pytestmark = pytest.mark.unit

SENT = datetime(2025, 11, 18, 10, 0, tzinfo=UTC)
LIFE = ("received", "reserved", "sent", "placed")
Rows = list[LedgerRow]
Effects = list[BotOrder]


def row(**changes: Any) -> LedgerRow:
    """Return a placed entry, but for what a test changes."""
    plain = LedgerRow(
        "o-1", "r-1", "agent-1", "gw:1", "BTC/USDT", "entry", "placed", None, SENT, 1, "b-1",
        Decimal("0.001"), Decimal("0.001"), Decimal(50000),
    )  # fmt: skip
    return replace(plain, **changes)


def effect(**changes: Any) -> BotOrder:
    """Return the bot's order of that entry, but for what a test changes."""
    plain = BotOrder(
        "b-1", 1, "BTC/USDT", "buy", "gw:1", "gw:1", False, "closed", Decimal("0.001"),
        Decimal("0.001"), Decimal("50000.0"), SENT + timedelta(milliseconds=80),
    )  # fmt: skip
    return replace(plain, **changes)


EXIT = row(
    order_id="o-2", request_id="r-2", tag="gw:2", kind="exit", bot_order_id="b-2"
)  # fmt: skip
SOLD = effect(order_id="b-2", side="sell", tag="force_exit")


def ledger_of(rows: Rows, life: tuple[str, ...] = LIFE) -> Ledger:
    """Return books with a whole history and audit log of each row."""
    lives = {one.order_id: (*life[:-1], one.state) for one in rows}
    steps = {key: [Step(state, SENT, None) for state in states] for key, states in lives.items()}
    audited = {key: [f"order.{state}" for state in states] for key, states in lives.items()}
    return Ledger(tuple(rows), steps, audited)


def answer(outcome: str | None, at: float, *, verb: Any = "create", **document: Any) -> Answer:
    """Return what an agent was told, from ``at`` on for half a second."""
    final = document.pop("final", outcome in {"placed", "denied", "rejected"})
    code = document.pop("code", None)
    return Answer("r-1", "agent-1", verb, at, at + 0.5, Told(outcome, code, final, document))


def told(*answers: Answer, rows: Rows) -> Journal:
    """Return the agents' notebook: each order was settled by one final answer, if no other."""
    orders: dict[str, dict[str, object]] = {one.request_id: {} for one in rows}
    given = list(answers) or [answer(rows[0].outcome, 0.0)]
    rest = [replace(answer(one.outcome, 0.0), request_id=one.request_id) for one in rows[1:]]
    return Journal([*given, *rest], orders)


def rules(rows: Rows, effects: Effects, *answers: Answer) -> set[str]:
    """Return the names of the broken rules."""
    return {one.rule for one in judge(ledger_of(rows), effects, told(*answers, rows=rows))}


def test_books_that_agree_have_no_violation() -> None:
    """An entry and an exit, each with its one order at the bot."""
    assert rules([row(), EXIT], [effect(), SOLD]) == set()


DIFFERENT: dict[str, tuple[Rows, Effects, str]] = {
    "an order twice": ([row()], [effect(), effect(order_id="b-9")], "two effects"),
    "an order that is not there": ([row()], [], "lost"),
    "an exit that is not there": ([row(), EXIT], [effect()], "lost"),
    "an order of nobody": ([row()], [effect(), effect(tag="gw:9")], "effect without order"),
    "an exit of nobody": ([row()], [effect(), SOLD], "effect without order"),
    "an exit of two": (
        [row(), EXIT, replace(EXIT, order_id="o-3", request_id="r-3", tag="gw:3")],
        [effect(), SOLD],
        "effect without order",
    ),
    "a denied order at the bot": ([row(state="denied")], [effect()], "effect of a refused order"),
    "a rejected one": ([row(state="rejected")], [effect()], "effect of a refused order"),
    "another amount": ([row(actual_amount=Decimal("0.002"))], [effect()], "books differ"),
    "another fill": ([row(filled_amount=Decimal(0))], [effect()], "books differ"),
    "another price": ([row(average_price=Decimal(50001))], [effect()], "books differ"),
    "another trade": ([row(trade_id=2)], [effect()], "books differ"),
    "another order": ([row(bot_order_id="b-9")], [effect()], "books differ"),
    "another pair": ([row(pair="ETH/USDT")], [effect()], "books differ"),
    "an exit of the strategy's": ([row(), EXIT], [effect(), replace(SOLD, tag="roi")], "books differ"),
    "cancelled here, open there": ([row(state="cancelled")], [effect(is_open=True)], "books differ"),
    "resting here, closed there": (
        [row(filled_amount=Decimal(0))], [effect(filled=Decimal(0))], "books differ",
    ),
    "an effect before it was sent": (
        [row()], [effect(at=SENT - timedelta(seconds=1))], "effect before sent",
    ),
    "an order that was never sent": ([row(sent_at=None)], [effect()], "effect before sent"),
    "an order still in flight": ([row(state="sent")], [effect()], "unsettled"),
    "an unknown": ([row(state="unknown")], [], "unsettled"),
    "a review without need": (
        [row(), replace(EXIT, state="needs_review", sent_at=SENT + timedelta(seconds=1))],
        [effect()],
        "needs review",
    ),
    "one request in two rows": ([row(), row(order_id="o-2", tag="gw:2")], [effect()], "two rows"),
}  # fmt: skip


@pytest.mark.parametrize("lie", DIFFERENT)
def test_books_that_differ_are_found(lie: str) -> None:
    """One difference at a time, each by the name of its rule."""
    rows, effects, rule = DIFFERENT[lie]
    assert rule in rules(rows, effects)


def test_an_entry_that_vanished_unfilled_is_explained() -> None:
    """The bot deletes a cancelled entry; only a ledger that says so explains its absence."""
    gone = row(state="vanished", filled_amount=Decimal(0), average_price=None)
    assert rules([gone], []) == set()
    assert rules([replace(gone, state="filled")], []) == {"lost"}
    assert rules([row(state="vanished")], []) == {"lost"}


def test_a_deleted_entry_that_was_refused_here_is_found() -> None:
    """The bot's own log tells of entries that its database has forgotten."""
    refused = [row(state="rejected", code="not_executed")]
    journal = told(rows=refused)
    assert judge(ledger_of(refused), [], journal) == []
    [lie] = judge(ledger_of(refused), [], journal, {"gw:1"})
    assert lie.rule == "effect of a refused order"
    [stray] = judge(ledger_of(refused), [], journal, {"gw:9"})
    assert stray.rule == "effect without order"


RECEIPT = {"order_id": "o-1", "trade_id": 1, "bot_order_id": "b-1", "filled_amount": 0.001}
UNTRUE: dict[str, list[Answer]] = {
    "rejected, and then placed": [answer("rejected", 0.0), answer("placed", 1.0, **RECEIPT)],
    "placed as another order": [answer("placed", 0.0, **RECEIPT | {"bot_order_id": "b-9"})],
    "placed in another trade": [answer("placed", 0.0, **RECEIPT | {"trade_id": 2})],
    "two receipts": [
        answer("placed", 0.0, **RECEIPT), answer("placed", 1.0, **RECEIPT | {"filled_amount": 0}),
    ],
    "unknown after placed": [answer("placed", 0.0, **RECEIPT), answer("unknown", 1.0)],
    "forgotten after placed": [
        answer("placed", 0.0, **RECEIPT), answer(None, 1.0, verb="get", code="order_unknown"),
    ],
    "a fill that went back": [
        answer("placed", 0.0, verb="get", final=True, **RECEIPT),
        answer("placed", 1.0, verb="get", final=True, **RECEIPT | {"filled_amount": 0.0}),
    ],
}  # fmt: skip


@pytest.mark.parametrize("lie", UNTRUE)
def test_an_answer_that_proved_untrue_is_found(lie: str) -> None:
    """A final answer seen once is the final answer for ever."""
    assert rules([row()], [effect()], *UNTRUE[lie]) == {"told falsely"}


def test_an_open_answer_before_the_final_one_is_no_lie() -> None:
    """Unknown, then placed; and an answer that overtook another on the way."""
    open_first = (answer("unknown", 0.0), answer("placed", 1.0, **RECEIPT))
    overtaken = (answer("placed", 0.0, **RECEIPT), answer("unknown", 0.3))
    assert rules([row()], [effect()], *open_first) == set()
    assert rules([row()], [effect()], *overtaken) == set()


def test_an_order_without_a_final_answer_is_found() -> None:
    """Every agent learns in the end what became of its order."""
    assert rules([row()], [effect()], answer("unknown", 0.0)) == {"never final"}


def test_an_answered_request_without_a_row_is_found() -> None:
    """What was told stands in the ledger."""
    journal = Journal([answer("placed", 0.0, **RECEIPT)], {"r-1": {}})
    assert {one.rule for one in judge(ledger_of([]), [], journal)} == {"lost"}


def test_a_row_that_no_agent_sent_is_found() -> None:
    """The gateway invents no order."""
    found = judge(ledger_of([row()]), [effect()], Journal())
    assert [one.rule for one in found] == ["row of nobody"]


Damage = Callable[[Ledger], object]
DAMAGES: dict[str, Damage] = {
    "a step without history": lambda books: books.steps["o-1"].pop(),
    "a step without audit row": lambda books: books.audited["o-1"].pop(),
    "an audit row without step": lambda books: books.audited["o-1"].append("order.unknown"),
    "an outcome taken back": lambda books: books.steps["o-1"].insert(3, Step("denied", SENT, None)),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_history_with_a_gap_is_found(damage: str) -> None:
    """Each change of state has its history row and its audit row; a final outcome stays."""
    books = ledger_of([row()])
    DAMAGES[damage](books)
    found = judge(books, [effect()], told(rows=[row()]))
    assert {one.rule for one in found} == {"history"}
