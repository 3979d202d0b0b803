"""Whether the gateway's books, the bot's and the agents' agree: every difference, row by row."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

from tests.proofs.campaign.books import EXIT_TAG, TAG_START, UNSETTLED, BotOrder, Ledger, LedgerRow
from tests.proofs.campaign.journal import Journal, falsehoods

FINAL = {"denied", "rejected", "placed"}
PRICE_STEP = Decimal("1e-8")  # the bot's API rounds average prices to eight decimals
MILLISECOND = timedelta(milliseconds=1)  # the bot's times are whole milliseconds


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken promise, by the name of the rule; ``request_id`` where one order is meant."""

    rule: str
    request_id: str
    text: str


def judge(
    ledger: Ledger, bot: Sequence[BotOrder], journal: Journal, told_tags: Collection[str] = ()
) -> list[Violation]:
    """Return every violation; none is what the campaign is for.

    Args:
        told_tags: the tags of every entry that the bot ever told of, deleted ones too.
    """
    found: list[Violation] = []
    for row in ledger.rows:
        found += [Violation(rule, row.request_id, text) for rule, text in _of_row(row, bot)]
        found += [
            Violation("told falsely", row.request_id, text)
            for text in falsehoods(journal.of(row.request_id), row.outcome, _identity(row))
        ]
        found += [Violation("history", row.request_id, text) for text in _of_history(row, ledger)]
    found += [Violation("effect without order", "", text) for text in _strays(ledger, bot)]
    found += _of_tags(ledger, told_tags)
    found += _of_requests(ledger, journal)
    return found


def _identity(row: LedgerRow) -> dict[str, object]:
    return {
        "order_id": row.order_id, "trade_id": row.trade_id, "bot_order_id": row.bot_order_id,
    }  # fmt: skip


def _of_row(row: LedgerRow, bot: Sequence[BotOrder]) -> Iterator[tuple[str, str]]:
    """Hold one ledger row against the bot's orders."""
    effects = _effects(row, bot)
    if len(effects) > 1:
        yield "two effects", f"{[effect.order_id for effect in effects]}"
    if row.state in UNSETTLED:
        yield "unsettled", f"still {row.state}"
    if row.state == "needs_review" and not _is_beyond_finding_out(row, bot):
        yield "needs review", f"{row.code}, and the bot's books tell of trade {row.trade_id}"
    if row.outcome in {"denied", "rejected"} and effects:
        yield "effect of a refused order", f"{row.state} ({row.code}), yet {effects[0].order_id}"
    if row.outcome != "placed":
        return
    if effects:
        yield from _differences(row, effects[0])
    elif not _explained_absence(row):
        yield "lost", f"{row.state}, and the bot has no such order ({row.bot_order_id})"


def _effects(row: LedgerRow, bot: Sequence[BotOrder]) -> list[BotOrder]:
    if row.kind == "entry":
        return [order for order in bot if order.side == "buy" and order.tag == row.tag]
    return [order for order in bot if row.bot_order_id and order.order_id == row.bot_order_id]


def _is_beyond_finding_out(row: LedgerRow, bot: Sequence[BotOrder]) -> bool:
    """Tell whether the trade that an exit was for is really gone from the bot's books."""
    sent_at = row.sent_at
    return row.kind == "exit" and not any(
        order.trade_id == row.trade_id and sent_at is not None and order.at < sent_at
        for order in bot
    )


def _explained_absence(row: LedgerRow) -> bool:
    """The bot deletes an entry that was cancelled before it filled; the ledger must know."""
    return row.kind == "entry" and row.state in {"cancelled", "vanished"} and not row.filled_amount


def _differences(row: LedgerRow, order: BotOrder) -> Iterator[tuple[str, str]]:
    side, tag = ("buy", row.tag) if row.kind == "entry" else ("sell", EXIT_TAG)
    pairs: list[tuple[str, object, object]] = [
        ("side", side, order.side),
        ("tag", tag, order.tag),
        ("pair", row.pair, order.pair),
        ("bot_order_id", row.bot_order_id, order.order_id),
        ("trade_id", row.trade_id, order.trade_id),
        ("amount", row.actual_amount, order.amount),
        ("filled", row.filled_amount, order.filled),
    ]
    if order.filled:
        pairs.append(("average price", _rounded(row.average_price), _rounded(order.average)))
    for name, ours, theirs in pairs:
        if ours != theirs:
            yield "books differ", f"{name}: ledger {ours}, bot {theirs} (state {row.state})"
    if row.sent_at is None or order.at < row.sent_at - MILLISECOND:
        yield "effect before sent", f"sent {row.sent_at}, the bot's order is of {order.at}"
    if row.state == "filled" and order.filled != order.amount:
        yield "books differ", f"filled here, {order.filled} of {order.amount} there"
    if row.state in {"cancelled", "vanished"} and order.is_open:
        yield "books differ", f"{row.state} here, open there"
    rests = row.state in {"placed", "partially_filled"} and row.filled_amount != row.actual_amount
    if rests and not order.is_open:
        yield "books differ", f"resting here, {order.status} there"


def _rounded(price: Decimal | None) -> Decimal | None:
    return None if price is None else price.quantize(PRICE_STEP)


def _of_history(row: LedgerRow, ledger: Ledger) -> Iterator[str]:
    """Every change of state has its history row and its audit row; a final outcome stays."""
    steps = [step.state for step in ledger.steps[row.order_id]]
    if not steps or steps[0] != "received" or steps[-1] != row.state:
        yield f"is {row.state}, its history {steps}"
    outcomes = [_outcome(state) for state in steps]
    for before, after in pairwise(outcomes):
        if before in FINAL and after != before:
            yield f"{before} became {after}: {steps}"
    audited = Counter(ledger.audited[row.order_id])
    expected = Counter(f"order.{state}" for state in steps)
    if missing := expected - audited:
        yield f"no audit row of {sorted(missing)}"
    if extra := Counter({e: n for e, n in audited.items() if e[6:] in STATES}) - expected:
        yield f"audit rows without a step: {sorted(extra)}"


STATES = {
    "received", "reserved", "sent", "unknown", "needs_review", "denied", "rejected",
    "placed", "partially_filled", "filled", "cancelled", "vanished",
}  # fmt: skip


def _outcome(state: str) -> str:
    if state in {"denied", "rejected"}:
        return state
    return "unknown" if state in {*UNSETTLED, "needs_review"} else "placed"


def _strays(ledger: Ledger, bot: Sequence[BotOrder]) -> Iterator[str]:
    """Whatever the bot did at our word must stand in the ledger, exactly once."""
    entries = Counter(row.tag for row in ledger.rows if row.kind == "entry")
    exits = Counter(row.bot_order_id for row in ledger.rows if row.kind == "exit")
    for order in bot:
        if order.side == "buy" and (order.tag or "").startswith(TAG_START):
            if entries[order.tag or ""] != 1:
                yield f"entry {order.order_id} ({order.tag}) has {entries[order.tag or '']} rows"
        elif order.side == "sell" and order.tag == EXIT_TAG and exits[order.order_id] != 1:
            yield f"exit {order.order_id} of {order.amount} has {exits[order.order_id]} rows"


def _of_tags(ledger: Ledger, told_tags: Collection[str]) -> Iterator[Violation]:
    """An entry that the bot took up and deleted again was executed all the same."""
    rows = {row.tag: row for row in ledger.rows}
    for tag in told_tags:
        if (row := rows.get(tag)) is None:
            yield Violation("effect without order", "", f"the bot told of {tag}")
        elif row.outcome in {"denied", "rejected"}:
            text = f"{row.state} ({row.code}), yet the bot told of {tag}"
            yield Violation("effect of a refused order", row.request_id, text)


def _of_requests(ledger: Ledger, journal: Journal) -> Iterator[Violation]:
    """Every request that was ever answered stands in the ledger, once."""
    rows: dict[str, list[LedgerRow]] = defaultdict(list)
    for row in ledger.rows:
        rows[row.request_id].append(row)
    for request_id, order in journal.orders.items():
        answers = journal.of(request_id)
        known = rows[request_id]
        if len(known) > 1:
            yield Violation("two rows", request_id, f"{[row.order_id for row in known]}")
        if not known and any(answer.told.outcome for answer in answers):
            yield Violation("lost", request_id, f"answered, and no row: {order}")
        reviewed = any(row.state == "needs_review" for row in known)
        if not reviewed and not any(answer.told.final for answer in answers):
            yield Violation("never final", request_id, f"{[row.state for row in known]}")
    for request_id in rows.keys() - journal.orders.keys():
        yield Violation("row of nobody", request_id, "no agent sent it")
