"""Every answer that any agent ever got, and whether one of them was untrue."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from tests.proofs.campaign.callers import Told, Verb

IDENTITY = ("order_id", "trade_id", "bot_order_id")


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: what was asked, when (monotonic seconds), and what was told."""

    request_id: str
    agent: str
    verb: Verb
    asked_at: float
    told_at: float
    told: Told


@dataclass
class Journal:
    """The agents' common notebook; nobody ever removes a line."""

    answers: list[Answer] = field(default_factory=list)
    orders: dict[str, dict[str, object]] = field(default_factory=dict)
    unanswered: int = 0

    def note(self, order: dict[str, object], verb: Verb, asked_at: float, told: Told) -> None:
        """Write an answer down."""
        request_id, agent = str(order["request_id"]), str(order["agent"])
        self.answers.append(Answer(request_id, agent, verb, asked_at, time.monotonic(), told))

    def of(self, request_id: str) -> list[Answer]:
        """Return the answers about one order, in the order they came."""
        return [answer for answer in self.answers if answer.request_id == request_id]


def falsehoods(answers: list[Answer], outcome: str, row: dict[str, object]) -> Iterator[str]:
    """Tell how the answers about one order contradict each other, or the ledger's last word.

    Args:
        answers: in the order they came.
        outcome: what the ledger says in the end.
        row: the ledger's row: order_id, trade_id, bot_order_id.
    """
    final = [answer for answer in answers if answer.told.final]
    for answer in final:
        if answer.told.outcome != outcome:
            yield f"told {answer.told.outcome} as final, the ledger says {outcome}"
        if outcome == "placed":
            yield from _other_identity(answer, row)
    yield from _other_receipts(answers)
    for first in final[:1]:
        for later in answers:
            if later.asked_at > first.told_at and _forgets(later):
                yield f"told {first.told.outcome} as final, later {_words(later.told)}"
    yield from _lost_fills(answers)


def _forgets(answer: Answer) -> bool:
    """Tell whether an answer speaks of an order as if it were not settled, or not there."""
    told = answer.told
    if told.code == "order_unknown":
        return True
    return told.outcome is not None and not told.final


def _words(told: Told) -> str:
    return f"{told.outcome} ({told.code})"


def _other_identity(answer: Answer, row: dict[str, object]) -> Iterator[str]:
    for name in IDENTITY:
        if name in answer.told.document and answer.told.document[name] != row[name]:
            yield f"told {name} {answer.told.document[name]}, the ledger says {row[name]}"


def _other_receipts(answers: list[Answer]) -> Iterator[str]:
    receipts = [
        answer.told.document
        for answer in answers
        if answer.verb == "create" and answer.told.outcome == "placed"
    ]
    for first, later in pairwise(receipts):
        if first != later:
            changed = [name for name in first if first[name] != later.get(name)]
            yield f"a repeated request got another receipt: {changed}"


def _lost_fills(answers: list[Answer]) -> Iterator[str]:
    """What was filled stays filled, as long as one answer came before the next was asked for."""
    looks = [a for a in answers if a.verb == "get" and a.told.outcome == "placed"]
    for earlier, later in pairwise(sorted(looks, key=lambda a: a.told_at)):
        before = float(earlier.told.document["filled_amount"])
        after = float(later.told.document["filled_amount"])
        if later.asked_at > earlier.told_at and after < before:
            yield f"told {before} filled, later {after}"
