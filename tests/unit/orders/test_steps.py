"""Moves, worked out one behind the other: what the ledger is to write."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from mcp_gateway.domain.operations import OPERATIONS
from mcp_gateway.domain.orders import OrderRecord, State
from mcp_gateway.domain.principals import Principal, admission_by_the_gate
from mcp_gateway.orders.book.protocol import Event, IllegalMove
from mcp_gateway.orders.book.steps import Move, Origin, audit_event, walk
from tests.support.clock import START
from tests.support.desk import order

pytestmark = pytest.mark.unit

ORIGIN = Origin("http", "call-1", "key-1", "jti-1")
NOW = START + timedelta(seconds=7)


@pytest.fixture
def record() -> OrderRecord:
    """A limit entry of alice's for bob."""
    wanted = order(order_type="limit", price="90.10")
    return OrderRecord(
        order_id="o1", issuer="i", subject="alice", request_id=wanted.request_id, agent="bob",
        fingerprint="f", tag="gw:1", carrier="g", bot="b", pair="BTC/USDT", side="buy", amount=Decimal("0.50"),
        order_type="limit", price=wanted.price, mode="dry-run", state=State.RECEIVED,
        created_at=START, updated_at=START,
    )  # fmt: skip


def test_moves_lead_on_from_each_other(record: OrderRecord) -> None:
    """Reserved and sent in one breath: each step starts where the one before ended."""
    moves = [
        Move(Event.RESERVE, changes={"reserved_quote": Decimal(46)}),
        Move(Event.SEND, detail={"why": 1}, changes={"quote_sent": Decimal(45)}),
    ]
    reserved, sent = walk(record, moves, ORIGIN, NOW)
    assert reserved.record == replace(
        record, state=State.RESERVED, updated_at=NOW, reserved_quote=Decimal(46)
    )
    assert sent.record == replace(
        reserved.record, state=State.SENT, sent_at=NOW, quote_sent=Decimal(45)
    )
    assert (dict(reserved.detail), dict(sent.detail)) == ({}, {"why": 1})
    assert [step.audit.event for step in (reserved, sent)] == ["order.reserved", "order.sent"]


def test_only_the_sending_sets_the_time_of_sending(record: OrderRecord) -> None:
    """A later step does not make the order look younger."""
    [_, sent] = walk(record, [Move(Event.RESERVE), Move(Event.SEND)], ORIGIN, NOW)
    later = NOW + timedelta(hours=1)
    [lost] = walk(sent.record, [Move(Event.LOSE, "no_answer")], ORIGIN, later)
    assert (lost.record.sent_at, lost.record.updated_at) == (NOW, later)


def test_a_code_does_not_outlive_its_state(record: OrderRecord) -> None:
    """It says why the order is where it is, and nothing of where it was."""
    [_, sent] = walk(record, [Move(Event.RESERVE, "a"), Move(Event.SEND, "b")], ORIGIN, NOW)
    assert sent.record.code == "b"
    [placed] = walk(sent.record, [Move(Event.CONFIRM)], ORIGIN, NOW)
    assert placed.record.code is None


@pytest.mark.parametrize(
    "moves", [[Move(Event.SEND)], [Move(Event.RESERVE), Move(Event.FILL)], [Move(Event.MISS)]],
    ids=["at_once", "behind_a_legal_one", "of_another_state"],
)  # fmt: skip
def test_one_illegal_move_spoils_the_walk(record: OrderRecord, moves: list[Move]) -> None:
    """A bug is loud, and nothing of it is half written."""
    with pytest.raises(IllegalMove):
        walk(record, moves, ORIGIN, NOW)


def test_the_audit_row_tells_whose_order_it_is_and_who_proved_it(record: OrderRecord) -> None:
    """Who, for whom, by which wire, key and token, what and why (docs/orders.md, 7)."""
    event = audit_event(record, ORIGIN, code="why", detail={"limit": "5"})
    assert (event.event, event.at, event.code) == ("order.received", START, "why")
    assert (event.issuer, event.subject, event.agent) == ("i", "alice", "bob")
    assert (event.channel, event.call_id, event.operation) == ("http", "call-1", "create_order")
    assert (event.request_id, event.order_id) == (str(record.request_id), "o1")
    assert event.detail == {
        "pair": "BTC/USDT", "side": "buy", "amount": "0.50", "order_type": "limit",
        "price": "90.10", "mode": "dry-run", "key_id": "key-1", "jti": "jti-1", "limit": "5",
    }  # fmt: skip


def test_what_was_not_proved_is_not_told(record: OrderRecord) -> None:
    """The gateway's own steps have neither key nor token; a market order has no price."""
    event = audit_event(replace(record, price=None), Origin("gateway", "reconcile"))
    assert {"key_id", "jti"}.isdisjoint(event.detail)
    assert event.detail["price"] is None


def test_an_origin_is_what_the_gate_admitted() -> None:
    """Channel, call, key, token and operation come from the admission and nowhere else."""
    trader = Principal("tests", "agent-a", frozenset({"orders:create"}), token_id="jti-9")
    shown = admission_by_the_gate(trader, OPERATIONS["cancel_order"], "stdio", "call-9", "key-9")
    assert Origin.of(shown) == Origin("stdio", "call-9", "key-9", "jti-9", "cancel_order")
