"""What is written down with each event: codes, words of ours, numbers of the bot's."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal

import orjson
import pytest

from mcp_gateway.domain.answers import Accepted, Answer, NotSent, Refused, Unanswered
from mcp_gateway.domain.market import MarketRules
from mcp_gateway.domain.orders import Check, HistoryEntry, OrderRecord, Side, State
from mcp_gateway.domain.positions import BotState, Trade, TradeOrder
from mcp_gateway.orders.book import moves, protocol
from mcp_gateway.orders.book.marks import Execution
from mcp_gateway.orders.book.moves import Noted
from mcp_gateway.orders.book.protocol import Event
from mcp_gateway.orders.book.steps import Move
from mcp_gateway.risk.facts import Facts, Price
from mcp_gateway.risk.judge import Verdict
from tests.support.clock import START
from tests.support.desk import order

pytestmark = pytest.mark.unit

STARTED = datetime(2025, 11, 18, 8, tzinfo=UTC)
SOLD = TradeOrder(
    order_id="b7", tag="force_exit", side="sell", order_type="market", status="closed",
    is_open=False, amount=Decimal(1), filled=Decimal(1), average_price=Decimal(100),
    price=Decimal(100), at=None,
)  # fmt: skip
HELD = Trade(
    trade_id=7, pair="BTC/USDT", is_open=True, is_short=False, tag="gw:entry", amount=Decimal(2),
    open_rate=Decimal(100), current_rate=None, fee_rate=None, lot_step=Decimal("0.1"),
    opened_at=None, orders=(replace(SOLD, order_id="b6", side="buy"), SOLD),
)  # fmt: skip
FACTS = Facts(
    declared_mode="dry-run",
    bot=BotState(
        mode="dry-run", state="running", spot=True, quote_currency="USDT", timeframe="5m",
        max_open_positions=3, entries_enabled=True, name="bot", version="2026.9",
    ),
    open_trades=(), pair_is_held=False, bot_started_at=STARTED,
    price=Price(Decimal(100), 10.0, 300), held=HELD, market=MarketRules(Decimal("0.1")),
)  # fmt: skip
PASSED = Verdict(
    checks=(), cost=Decimal(100), fee=Decimal("0.1"), stake=Decimal(105),
    reserved=Decimal("105.105"), price=Decimal(100), worst_price=Decimal(105),
    worst_cost=Decimal("110.36025"), needs_approval=False, policy="0123456789ab",
)  # fmt: skip
CARRIER = "g2"
DONE = Execution(7, "b8", Decimal(1), Decimal(1), Decimal(100), Decimal("0.1"))


def record(side: Side = "buy", state: State = State.SENT, price: str | None = None) -> OrderRecord:
    """An order of alice's for one of the base."""
    wanted = order()
    return OrderRecord(
        order_id="o", issuer="i", subject="alice", request_id=wanted.request_id, agent="alice",
        fingerprint="f", tag="gw:1", carrier="g", bot="b", pair="BTC/USDT", side=side, amount=Decimal(1),
        order_type="limit" if price else "market", price=Decimal(price) if price else None,
        mode="dry-run", state=state, created_at=START, updated_at=START,
    )  # fmt: skip


def test_an_entry_sets_aside_what_it_may_spend_and_is_sent_with_its_stake() -> None:
    """The stake that the checks weighed is sent, and it and its fee are reserved.

    The history tells both numbers, as text, beside what was noted of the bot.
    """
    reserve, send = moves.sending(record(), FACTS, PASSED, CARRIER)
    assert (reserve.event, send.event) == (Event.RESERVE, Event.SEND)
    assert dict(reserve.changes) == {"reserved_quote": Decimal("105.105"), "carrier": CARRIER}
    assert dict(reserve.detail) == {"quote": "105.105", "policy": "0123456789ab"}
    assert dict(send.changes) == {"quote_sent": Decimal(105)}
    assert dict(send.detail) == {
        "bot_started_at": STARTED.isoformat(), "sells_before": [], "trade_tag": None,
        "quote_sent": "105",
    }  # fmt: skip


def test_an_exit_notes_what_its_trade_was_before() -> None:
    """It has no mark of its own: what was there already is none of it (freqtrade)."""
    reserve, send = moves.sending(record("sell"), FACTS, PASSED, CARRIER)
    assert reserve == Move(Event.RESERVE, None, {"policy": "0123456789ab"})
    assert dict(send.changes) == {"trade_id": 7}
    assert dict(send.detail) == {
        "bot_started_at": STARTED.isoformat(), "sells_before": ["b7"], "trade_tag": "gw:entry",
        "trade_id": 7,
    }  # fmt: skip


@pytest.mark.parametrize("side", ["buy", "sell"])
def test_what_was_noted_is_read_back_from_the_history(side: Side) -> None:
    """The step that sent it tells it, though other steps came before and behind."""
    _, send = moves.sending(record(side), FACTS, PASSED, CARRIER)
    kept = orjson.loads(orjson.dumps(dict(send.detail)))
    states = {State.RESERVED: {"bot_started_at": "no"}, State.SENT: kept, State.UNKNOWN: {}}
    steps = [HistoryEntry(state, START, None, told) for state, told in states.items()]
    exits = (("b7",), "gw:entry") if side == "sell" else ((), None)
    assert Noted.of(steps) == Noted(STARTED.isoformat(), *exits)


def test_where_nothing_was_noted_nothing_is_read() -> None:
    """An order that never left, and one whose bot did not tell when it was started."""
    assert Noted.of([HistoryEntry(State.RECEIVED, START, None, {})]) == Noted()
    _, send = moves.sending(record(), replace(FACTS, bot_started_at=None), PASSED, CARRIER)
    assert Noted.of([HistoryEntry(State.SENT, START, None, dict(send.detail))]) == Noted()


@pytest.mark.parametrize(
    ("side", "facts", "verdict"),
    [
        ("buy", FACTS, replace(PASSED, stake=None)),
        ("buy", FACTS, replace(PASSED, reserved=None)),
        ("sell", replace(FACTS, held=None), PASSED),
    ],
    ids=["no_stake", "nothing_to_reserve", "nothing_held"],
)
def test_what_no_check_could_let_pass_is_a_bug_and_loud(
    side: Side, facts: Facts, verdict: Verdict
) -> None:
    """Nothing is sent on an assumption."""
    with pytest.raises(AssertionError):
        moves.sending(record(side), facts, verdict, CARRIER)


def test_a_denial_names_the_first_rule_and_notes_them_all() -> None:
    """The caller gets one limit and its own value; the history keeps every failed check."""
    checks = (
        Check("a", True, "fine"),
        Check("b", False, "B is not met.", "5", "4"),
        Check("c", False, "C is not met."),
    )
    move = moves.denied_by(replace(PASSED, checks=checks))
    assert (move.event, move.code) == (Event.DENY, "b")
    first = {"rule": "b", "limit": "5", "value": "4"}
    assert dict(move.changes) == {"message": "B is not met.", "answer": first}
    failed = [first, {"rule": "c", "limit": None, "value": None}]
    assert dict(move.detail) == {"failed": failed, "policy": "0123456789ab"}


@pytest.mark.parametrize(
    ("answer", "event", "code"),
    [
        (NotSent("bot_unreachable"), Event.NOT_SENT, "bot_unavailable"),
        (NotSent("position_changed"), Event.NOT_SENT, "position_changed"),
        (Refused("no_free_slot"), Event.REFUSE, "no_free_slot"),
        (Unanswered("bot_failed"), Event.LOSE, "bot_failed"),
        (Accepted(None), Event.LOSE, "mark_missing"),
        (Accepted(HELD), Event.LOSE, "mark_missing"),
    ],
    ids=["not_sent", "overtaken", "refused", "unanswered", "accepted", "anothers_trade"],
)
def test_an_answer_without_our_mark_has_a_code_and_words_of_ours(
    answer: Answer, event: Event, code: str
) -> None:
    """A final word comes with a sentence; an open one leaves the message as it was."""
    move = moves.heard(protocol.heard(answer, found=False), answer)
    assert (move.event, move.code) == (event, code)
    is_final = protocol.is_final(protocol.after(State.SENT, event))
    assert bool(move.changes.get("message")) is is_final


@pytest.mark.parametrize(
    ("filled", "status", "events"),
    [
        ("1", "filled", [Event.CONFIRM, Event.FILL]),
        ("0.5", "partially_filled", [Event.CONFIRM]),
        ("0", "submitted", [Event.CONFIRM]),
    ],
)
def test_what_is_filled_already_is_filled_in_the_same_breath(
    filled: str, status: str, events: list[Event]
) -> None:
    """Placed and filled are one transaction; the receipt is stored with the first."""
    made = moves.confirmed(record(), replace(DONE, filled=Decimal(filled)))
    assert [move.event for move in made] == events
    changes = made[0].changes
    assert (changes["trade_id"], changes["bot_order_id"]) == (7, "b8")
    receipt = changes["answer"]
    assert (receipt["status"], receipt["outcome"]) == (status, "placed")
    assert receipt["filled_amount"] == float(filled)
    told = {
        "trade_id": 7, "bot_order_id": "b8", "actual_amount": "1", "filled_amount": filled,
        "average_price": "100", "fee": "0.1",
    }  # fmt: skip
    assert [dict(move.detail) for move in made] == [told] * len(events)


def test_an_order_of_nothing_is_not_filled() -> None:
    """Zero of zero is an order of which the bot tells no amount."""
    made = moves.confirmed(record(), replace(DONE, amount=Decimal(0), filled=Decimal(0)))
    assert [move.event for move in made] == [Event.CONFIRM]


@pytest.mark.parametrize("state", sorted(protocol.UNSETTLED - {State.UNKNOWN}))
def test_what_nobody_carries_is_denied_or_unknown(state: State) -> None:
    """What never left gets words that say so; what may have left gets none."""
    move = moves.interrupted(record(state=state))
    assert (move.event, move.code) == (Event.INTERRUPT, "interrupted")
    assert ("message" in move.changes) is (state in protocol.UNSENT)
    protocol.after(state, move.event)
