"""What a campaign tells: a table for people, a document for programs."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from itertools import pairwise
from typing import Any

from tests.proofs.campaign.books import Ledger
from tests.proofs.campaign.run import Result

FEWEST_PLACED = 0.6  # fewer, and the campaign proved little


def document(result: Result) -> dict[str, Any]:
    """Return the whole result, JSON-ready."""
    rows = result.ledger.rows
    unknown = sorted(unknown_times(result.ledger))
    return {
        "seed": result.plan.seed,
        "orders": len(result.journal.orders),
        "rows": len(rows),
        "outcomes": dict(Counter(row.outcome for row in rows).most_common()),
        "states": dict(Counter(_state(row.kind, row.state, row.code) for row in rows)),
        "placed_share": round(placed_share(result), 3),
        "bot_orders": len(result.bot),
        "answers": len(result.journal.answers),
        "unanswered": result.journal.unanswered,
        "kills": dict(result.deaths),
        "storms": dict(result.storms),
        "unknowns": {
            "count": len(unknown),
            "causes": dict(Counter(_causes(result.ledger))),
            "became": dict(Counter(_after_unknown(result.ledger))),
            "median_s": round(unknown[len(unknown) // 2], 1) if unknown else None,
            "longest_s": round(unknown[-1], 1) if unknown else None,
        },
        "needs_review": [asdict_text(row) for row in rows if row.state == "needs_review"],
        "settling_s": round(result.settling_s, 1),
        "took_s": round(result.took_s, 1),
        "violations": [asdict(violation) for violation in result.violations],
    }


def placed_share(result: Result) -> float:
    """Return which share of the orders the bot took."""
    rows = result.ledger.rows
    return sum(row.outcome == "placed" for row in rows) / max(1, len(rows))


def asdict_text(row: Any) -> dict[str, str]:
    """Return a row with every value as text."""
    return {name: str(value) for name, value in asdict(row).items()}


def unknown_times(ledger: Ledger) -> Iterator[float]:
    """Yield for how many seconds each order was unknown that ever was."""
    for steps in ledger.steps.values():
        for step, following in pairwise(steps):
            if step.state == "unknown":
                yield (following.at - step.at).total_seconds()


def _causes(ledger: Ledger) -> Iterator[str]:
    for steps in ledger.steps.values():
        yield from (str(step.code) for step in steps if step.state == "unknown")


def table(told: dict[str, Any]) -> str:
    """Return the document as lines for people."""
    lines = [
        _headline(told),
        _row("outcomes", told["outcomes"]),
        *(f"    {count:>4}  {state}" for state, count in sorted(told["states"].items())),
        _row("killed", told["kills"]),
        _row("exchange faults", told["storms"]),
        f"answers          {told['answers']}, and {told['unanswered']} that never came",
        _row("unknown by", told["unknowns"]["causes"]),
        _row("and became", told["unknowns"]["became"])
        + f"; median {told['unknowns']['median_s']} s, longest {told['unknowns']['longest_s']} s",
        f"settled          {told['settling_s']} s after the last trouble",
        *(f"NEEDS REVIEW     {row}" for row in told["needs_review"]),
        f"violations       {len(told['violations'])}",
        *(f"    {v['rule']}: {v['request_id']} {v['text']}" for v in told["violations"]),
    ]
    return "\n".join(lines)


def _headline(told: dict[str, Any]) -> str:
    share = f"{told['placed_share']:.0%} placed"
    return f"seed {told['seed']}: {told['orders']} orders in {told['took_s']} s, {share}"


def _row(name: str, counts: dict[str, int]) -> str:
    return f"{name:<17}" + (", ".join(f"{n} {word}" for word, n in counts.items()) or "none")


def _state(kind: str, state: str, code: str | None) -> str:
    return f"{kind:<5} {state}" + (f" ({code})" if code else "")


def _after_unknown(ledger: Ledger) -> Iterator[str]:
    for steps in ledger.steps.values():
        for step, following in pairwise(steps):
            if step.state == "unknown":
                yield following.state
