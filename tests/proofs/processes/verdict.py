"""What a run must have come to: the store beside the bot's books and the answers."""

import itertools
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

from tests.proofs.books import Books, Row
from tests.proofs.processes.agent import Agent, Told
from tests.proofs.processes.cases import Case
from tests.proofs.stage import BotOnPort

LATER: Final = frozenset({"partially_filled", "filled", "cancelled", "vanished"})
PLACED: Final = LATER | {"placed"}
FINAL: Final = PLACED | {"denied", "rejected"}
# An order's life as the documents tell it, written down apart from the package.
MAY_FOLLOW: Final[dict[str, frozenset[str]]] = {
    "received": frozenset({"reserved", "denied"}),
    "reserved": frozenset({"sent", "denied"}),
    "sent": frozenset({"placed", "rejected", "unknown", "denied"}),
    "unknown": frozenset({"placed", "rejected", "denied"}),
    **dict.fromkeys(PLACED, LATER),
}


@dataclass
class Verdict:
    """How a run ended, what was wrong with it, and how long its unknowns lasted."""

    case: Case
    outcomes: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    was_unknown: bool = False
    settled_s: float = 0.0
    seconds: float = 0.0

    def expect(self, holds: bool, otherwise: str) -> None:
        """Note a violation unless something holds."""
        if not holds:
            self.violations.append(otherwise)


def judge(verdict: Verdict, books: Books, bot: BotOnPort, agent: Agent) -> None:
    """Compare the ledger, the audit log, the bot's books and what the agent was told."""
    asked = {told.request_id: told for told in agent.orders}
    rows = {row["request_id"]: row for row in books.orders}
    verdict.expect(len(rows) == len(books.orders), "two rows for one request_id")
    verdict.expect(rows.keys() == asked.keys(), "the ledger lost an order, or made one up")
    for request_id in rows.keys() & asked.keys():
        row, told = rows[request_id], asked[request_id]
        verdict.outcomes.append(row["state"])
        _judge_life(verdict, row, books)
        _judge_answers(verdict, row, told)
        if row["side"] == "buy":
            _judge_entry(verdict, row, bot)
    _judge_exits(verdict, [row for row in books.orders if row["side"] == "sell"], bot)


def _judge_life(verdict: Verdict, row: Row, books: Books) -> None:
    steps = books.history.get(row["order_id"], [])
    verdict.was_unknown |= "unknown" in steps
    verdict.expect(row["state"] in FINAL, f"an order is left {row['state']}")
    verdict.expect(steps[:1] == ["received"], "a history does not begin with received")
    verdict.expect(steps[-1:] == [row["state"]], "a history does not end with the state")
    for state, following in itertools.pairwise(steps):
        lawful = following in MAY_FOLLOW.get(state, ())
        verdict.expect(lawful, f"{following} followed on {state}")
    audited = [step for step in books.audit.get(row["order_id"], []) if step in set(steps)]
    verdict.expect(audited == steps, f"audit {audited} beside history {steps}")


def _judge_answers(verdict: Verdict, row: Row, told: Told) -> None:
    outcome = "placed" if row["state"] in PLACED else row["state"]
    verdict.expect(told.finals == {outcome}, f"told {sorted(told.finals)}, the row says {outcome}")
    ids = {one.get("bot_order_id") for one in told.answers if one["outcome"] == "placed"}
    verdict.expect(ids <= {row["bot_order_id"]}, "another bot_order_id was told")


def _judge_entry(verdict: Verdict, row: Row, bot: BotOnPort) -> None:
    effects = [one for one in bot.orders() if one["ft_order_tag"] == row["tag"]]
    arrived = [one for one in bot.bot.posts if one.get("entry_tag") == row["tag"]]
    _judge_effects(verdict, [row], effects, len(arrived))


def _judge_exits(verdict: Verdict, rows: list[Row], bot: BotOnPort) -> None:
    effects = [one for one in bot.orders() if one["ft_order_side"] == "sell"]
    arrived = [one for one in bot.bot.posts if "tradeid" in one]
    _judge_effects(verdict, rows, effects, len(arrived))


def _judge_effects(verdict: Verdict, rows: list[Row], effects: list[Row], arrived: int) -> None:
    """Hold rows of one kind against what the bot did for them."""
    placed = Counter(row["bot_order_id"] for row in rows if row["state"] in PLACED)
    done = Counter(one["order_id"] for one in effects)
    verdict.expect(arrived <= len(rows), f"{arrived} sends for {len(rows)} order(s)")
    verdict.expect(len(effects) <= len(rows), f"{len(effects)} effects of {len(rows)} order(s)")
    verdict.expect(placed == done, f"the ledger says {dict(placed)}, the bot {dict(done)}")
