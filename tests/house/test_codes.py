"""docs/codes.md and the code: every word that an order can end in, both ways."""

import ast
import re
from collections.abc import Iterator
from typing import Final, get_args

import pytest

from mcp_gateway.errors import NotPending, PreviewRefused
from mcp_gateway.freqtrade.answers import REASONS, TURNED_AWAY
from mcp_gateway.freqtrade.messages import Reason
from mcp_gateway.orders.book import answers
from tests.house.repository import PACKAGE, page, rows

pytestmark = pytest.mark.unit

# The bot's refusals that no order of ours can meet, and why.
NEVER_OF_OURS: Final = {
    "short_not_possible": "an entry is always long",
    "no_open_order": "of cancels, which tell it as cancel_refused",
}
# Reasons of cancels that leave something behind, so that the trade itself tells what became of it.
LEAVES_A_TRADE: Final = {"kept_open", "partly_filled"}
WORD: Final = re.compile(r"[a-z]+(?:_[a-z]+)*")


def told(heading: str) -> set[str]:
    """Return the codes in the first column of a section's table."""
    section = page("docs/codes.md").text.split(f"\n## {heading}")[1].split("\n## ")[0]
    return {code for row in rows(section)[1:] for code in re.findall(r"`(\w+)`", row[0])}


def calls(*rooms: str) -> Iterator[ast.Call]:
    """Yield every call in the modules of these rooms."""
    for room in rooms:
        for path in sorted((PACKAGE / room).rglob("*.py")):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call):
                    yield node


def words(nodes: list[ast.expr]) -> set[str]:
    """Return the codes that stand literally in some arguments."""
    found = set()
    for argument in nodes:
        for node in ast.walk(argument):
            if isinstance(node, ast.Constant) and WORD.fullmatch(str(node.value)):
                found.add(str(node.value))
    return found


def moved(*events: str) -> set[str]:
    """Return the literal codes of moves with one of these events (or names of variables)."""
    return {
        code
        for call in calls("orders")
        if getattr(call.func, "id", "") == "Move" and len(call.args) > 1
        if getattr(call.args[0], "attr", getattr(call.args[0], "id", None)) in events
        for code in words(call.args[1:2])
    }


def made(name: str) -> set[str]:
    """Return the literal codes that an answer or an error is made with."""
    return {
        code
        for call in calls("orders", "freqtrade")
        if getattr(call.func, "id", "") == name
        for code in words(call.args if name == "Unanswered" else [k.value for k in call.keywords])
    }


def test_every_denial_without_a_rule_is_told() -> None:
    """Each has a sentence of its own, so that none can be added without."""
    assert told("Denied") == set(answers._DENIALS)


def test_every_refusal_of_a_preview_is_told() -> None:
    """Before there is an order; the error's own code and those that it is raised with."""
    source = "".join(
        (PACKAGE / "orders" / name).read_text(encoding="utf-8")
        for name in ("sending/seals.py", "book/ledger.py")
    )
    codes = set(re.findall(r'code="(\w+)"', source)) | {PreviewRefused.default_code}
    listed = {code for code in told("Refused before there is an order") if "preview" in code}
    assert listed == codes
    assert len(codes) == 4


def test_every_rejection_is_told() -> None:
    """What the bot can say, and what is found out later; each with a sentence of its own or two."""
    by_the_bot = {*REASONS.values(), *TURNED_AWAY.values()} - NEVER_OF_OURS.keys()
    assert told("Rejected") == by_the_bot | set(answers._REJECTIONS)


def test_every_doubt_is_told() -> None:
    """Why an order is unknown: its own answer, or the look behind an answer that proves nothing."""
    lost = made("Unanswered") | moved("LOSE", "INTERRUPT", "event")
    looks = {code for code in made("BotUnavailable") if code.startswith("bot_")}
    assert {"bot_unreachable", "bot_stopped"} <= looks
    timed_out = {"bot_timeout", "connection_lost"}
    assert told("Unknown") == lost | looks | timed_out


def test_every_review_is_told() -> None:
    """The operator's page says what to do about each."""
    waiting = moved("GIVE_UP", "CONTRADICT")
    assert waiting
    assert told("Waiting for the operator") == waiting
    section = page("docs/operations.md").text.split("## Orders that wait for you")[1]
    todo = {row[0].strip("`") for row in rows(section.split("\n## ")[0])[1:]}
    assert todo == waiting


def test_every_reason_of_a_cancel_is_told() -> None:
    """By us, seen at the bot, and by the words of the bot's own message."""
    heard = set(get_args(Reason)) - LEAVES_A_TRADE
    assert told("Placed, and over") == heard | moved("CANCEL", "ASK_CANCEL")


def test_every_refusal_of_a_cancel_is_told() -> None:
    """docs/orders.md, in the section of cancel_order."""
    section = page("docs/orders.md").text.split("## Taking it back")[1].split("\n## ")[0]
    listed = {row[0].strip("`") for row in rows(section)[1:]}
    source = (PACKAGE / "orders" / "settling" / "cancellation.py").read_text(encoding="utf-8")
    said = set(re.findall(r'"(\w+_\w+)"\)$|code="(\w+)"', source, re.MULTILINE))
    codes = {one or other for one, other in said} - {"cancel_asked"}
    assert {"trade_is_shared", "order_not_shown", "cancel_unanswered"} <= codes
    assert listed == codes | {"order_unknown", "order_not_resting", "outcome_unknown"}


def test_what_operators_are_refused_with_is_told() -> None:
    """`orders settle` and `orders reconcile` have codes that no agent meets."""
    source = "".join(
        (PACKAGE / "orders" / f"{name}.py").read_text(encoding="utf-8")
        for name in (
            "settling/settlement",
            "evidence/bot_books",
            "records",
            "approvals/decisions",
            "approvals/verbs",
        )
    )
    codes = set(re.findall(r'code="(\w+)"', source)) - {"order_unknown"}  # agents meet it too
    codes.add(NotPending.default_code)
    assert told("For operators alone") == codes
