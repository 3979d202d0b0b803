"""The pure comparison, over books that hypothesis makes up: each lie is found, and nothing else."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_gateway.domain.orders import OrderRecord, Side, State
from mcp_gateway.domain.positions import Trade, TradeOrder
from mcp_gateway.freqtrade.orders import EXIT_TAG
from mcp_gateway.orders.book import protocol
from mcp_gateway.orders.evidence.comparison import MEANINGS, Difference, differences
from tests.support.clock import START

pytestmark = pytest.mark.unit

STATES = {
    "filled": State.FILLED,
    "resting": State.PLACED,
    "partly": State.PARTIALLY_FILLED,
    "cancelled": State.CANCELLED,
}
NOT_PLACED = [state for state in State if protocol.outcome(state) != "placed"]
HALF, WHOLE = Decimal("0.5"), Decimal(1)


@dataclass(frozen=True)
class World:
    """A ledger and the books of its bot, which agree: whose word is the same."""

    records: tuple[OrderRecord, ...]
    trades: tuple[Trade, ...]

    def compared(self) -> list[Difference]:
        return list(differences(self.records, self.trades, known=self.records))


def record(number: int, side: Side, trade_id: int, life: str) -> OrderRecord:
    """Return a placed order as the follower left it."""
    filled = {"filled": WHOLE, "partly": HALF, "cancelled": HALF}.get(life, Decimal(0))
    return OrderRecord(
        order_id=f"{number:032x}", issuer="tests", subject="agent", request_id=UUID(int=number),
        agent="agent", fingerprint="", tag=f"gw:{number}", carrier="g", bot="bot", pair="BTC/USDT", side=side,
        amount=WHOLE, order_type="market", price=None, mode="dry-run", state=STATES[life],
        created_at=START, updated_at=START, trade_id=trade_id, bot_order_id=f"order-{number}",
        actual_amount=WHOLE, filled_amount=filled, average_price=Decimal(100) if filled else None,
    )  # fmt: skip


def at_the_bot(one: OrderRecord) -> TradeOrder:
    """Return the bot's order that a placed record stands for."""
    return TradeOrder(
        order_id=one.bot_order_id or "", tag=one.tag if one.side == "buy" else EXIT_TAG,
        side=one.side, order_type="market", status="", is_open=one.state in protocol.RESTING,
        amount=WHOLE, filled=one.filled_amount, average_price=one.average_price, price=None,
        at=None,
    )  # fmt: skip


def trade_of(entry: OrderRecord, orders: Sequence[TradeOrder]) -> Trade:
    return Trade(
        trade_id=entry.trade_id or 0, pair=entry.pair, is_open=True, is_short=False, tag=entry.tag,
        amount=WHOLE, open_rate=Decimal(100), current_rate=None, fee_rate=None, lot_step=None,
        opened_at=None, orders=tuple(orders),
    )  # fmt: skip


@st.composite
def worlds(draw: st.DrawFn) -> World:
    """Draw trades of one entry and some exits each, and the ledger's word on them."""
    lives = st.sampled_from(list(STATES))
    records: list[OrderRecord] = []
    trades = []
    for trade_id in range(1, draw(st.integers(1, 4)) + 1):
        entry = record(len(records) + 1, "buy", trade_id, draw(lives))
        if draw(st.booleans()) and entry.state is State.PLACED:  # the bot forgot it, trade and all
            records.append(replace(entry, state=State.VANISHED))
            continue
        records.append(entry)
        orders = [at_the_bot(entry)]
        for life in draw(st.lists(lives, max_size=3)):
            one = record(len(records) + 1, "sell", trade_id, life)
            records.append(one)
            orders.append(at_the_bot(one))
        trades.append(trade_of(entry, orders))
    return World(tuple(records), tuple(trades))


@given(worlds())
def test_books_that_agree_have_no_difference(world: World) -> None:
    """Whatever was filled, rests, was cancelled, or was forgotten unfilled."""
    assert world.compared() == []


@given(worlds(), st.data())
def test_an_order_that_the_ledger_lost_is_found_by_the_bots_word(
    world: World, data: st.DataObject
) -> None:
    """A restored copy: exactly that order is told, where the bot shows it."""
    lost = data.draw(st.sampled_from(world.records))
    kept = tuple(one for one in world.records if one is not lost)
    told = World(kept, world.trades).compared()
    kind = "not_in_ledger" if lost.side == "buy" else "exit_not_in_ledger"
    shown = lost.state is not State.VANISHED
    assert [(one.kind, one.bot_order_id) for one in told] == [(kind, lost.bot_order_id)] * shown


@given(worlds(), st.data())
def test_an_order_that_the_bot_lost_is_found_by_the_ledgers_word(
    world: World, data: st.DataObject
) -> None:
    """Every order of the trade that is gone, but for those of which nothing was filled."""
    gone = data.draw(st.sampled_from(world.trades)) if world.trades else None
    told = World(world.records, tuple(t for t in world.trades if t is not gone)).compared()
    expected = {
        one.order_id
        for one in world.records
        if gone is not None and one.trade_id == gone.trade_id and one.state is not State.VANISHED
    }
    assert {one.order_id for one in told} == expected
    assert {one.kind for one in told} <= {"missing_at_bot"}


@given(worlds(), st.data())
def test_a_number_that_differs_is_told_with_both_words(world: World, data: st.DataObject) -> None:
    """One difference, of that order, and each side's own number in it."""
    changed = data.draw(st.sampled_from(world.records))
    other = replace(changed, filled_amount=changed.filled_amount + HALF)
    records = tuple(other if one is changed else one for one in world.records)
    [told] = World(records, world.trades).compared()
    assert (told.order_id, told.ledger and told.ledger["filled_amount"]) == (
        changed.order_id, float(other.filled_amount),
    )  # fmt: skip
    if told.bot is None:
        assert (told.kind, changed.state) == ("missing_at_bot", State.VANISHED)
    else:
        assert told.kind == "numbers_differ"
        assert told.bot["filled_amount"] == float(changed.filled_amount)


@given(worlds(), st.sampled_from(NOT_PLACED), st.data())
def test_an_entry_that_the_ledger_has_no_word_for_is_told_once(
    world: World, state: State, data: st.DataObject
) -> None:
    """Unsettled, in review, or believed not to have happened: one difference, with its tag."""
    entries = [one for one in world.records if one.side == "buy"]
    doubted = data.draw(st.sampled_from(entries))
    other = replace(doubted, state=state, bot_order_id=None, trade_id=None)
    records = tuple(other if one is doubted else one for one in world.records)
    told = World(records, world.trades).compared()
    shown = doubted.state is not State.VANISHED
    nothing_left = state in {State.DENIED, State.REJECTED} | protocol.HELD
    expected = [doubted.order_id] * (shown or not nothing_left)
    assert [one.order_id for one in told] == expected
    assert all(one.kind in MEANINGS for one in told)
    assert [one.bot is not None for one in told] == [shown] * len(told)


@given(worlds())
def test_the_order_of_the_rows_means_nothing(world: World) -> None:
    """Rows may come as they like; an order is judged alone."""
    half = World(world.records[::2], world.trades)
    turned = World(half.records[::-1], half.trades[::-1])

    def key(one: Difference) -> tuple[str, str]:
        return one.kind, str(one.bot_order_id)

    assert sorted(half.compared(), key=key) == sorted(turned.compared(), key=key)
