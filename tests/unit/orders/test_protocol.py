"""The life of an order as a table: what holds for every state and every event."""

from collections import deque
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_gateway.domain.answers import Accepted, Answer, NotSent, Refused, Unanswered
from mcp_gateway.domain.orders import State
from mcp_gateway.domain.positions import TradeOrder
from mcp_gateway.orders.book import protocol
from mcp_gateway.orders.book.protocol import (
    Due,
    Event,
    IllegalMove,
    after,
    heard,
    is_final,
    outcome,
)

pytestmark = pytest.mark.unit

STEPS = [(state, event) for state in State for event in Event]
ALLOWED = [step for step in STEPS if protocol.says_something(*step)]
NAMES = ["-".join(step) for step in ALLOWED]
# The one event that a final outcome gives way to: the bot holds what was told as rejected.
EXCEPTION = (State.REJECTED, Event.CONTRADICT)
PERSONS = {Event.SETTLE_PLACED, Event.SETTLE_NOTHING}
ORDER = TradeOrder(
    order_id="b1", tag=None, side="buy", order_type="limit", status="open", is_open=True,
    amount=Decimal(2), filled=Decimal(0), average_price=None, price=Decimal(100), at=None,
)  # fmt: skip


def reached(start: State, without: frozenset[Event] = frozenset()) -> set[State]:
    """Return every state that ``start`` may lead to, itself included."""
    found, front = {start}, deque([start])
    while front:
        state = front.popleft()
        events = (event for at, event in ALLOWED if at is state and event not in without)
        for to in {after(state, event) for event in events} - found:
            found.add(to)
            front.append(to)
    return found


@pytest.mark.parametrize(("state", "event"), STEPS, ids=["-".join(step) for step in STEPS])
def test_the_table_and_its_question_agree(state: State, event: Event) -> None:
    """What is no news is illegal; nothing else is (orders)."""
    if protocol.says_something(state, event):
        assert after(state, event) in set(State)
    else:
        with pytest.raises(IllegalMove, match=event):
            after(state, event)


@pytest.mark.parametrize(("state", "event"), ALLOWED, ids=NAMES)
def test_a_final_outcome_is_never_contradicted(state: State, event: Event) -> None:
    """The one word that an agent was told stays true, but for the bot's own surprise (2)."""
    if (state, event) == EXCEPTION:
        assert after(state, event) is State.NEEDS_REVIEW
    elif is_final(state):
        assert outcome(after(state, event)) == outcome(state)


@given(st.lists(st.sampled_from(Event), max_size=14))
def test_no_sequence_contradicts_what_was_told(events: list[Event]) -> None:
    """Whatever happens in whatever order, the first final word is the last (docs/orders.md, 2)."""
    state, told = State.RECEIVED, None
    for event in events:
        if (state, event) == EXCEPTION or not protocol.says_something(state, event):
            continue
        state = after(state, event)
        told = told or (outcome(state) if is_final(state) else None)
        assert told in {None, outcome(state)}


@given(st.lists(st.sampled_from(Event), max_size=14))
def test_nothing_is_placed_that_was_not_sent(events: list[Event]) -> None:
    """Every effect has a `sent` step before it (docs/orders.md, 3)."""
    state, passed = State.RECEIVED, {State.RECEIVED}
    for event in events:
        if protocol.says_something(state, event):
            state = after(state, event)
            passed.add(state)
    if outcome(state) in {"placed", "rejected"} or state is State.NEEDS_REVIEW:
        assert {State.RESERVED, State.SENT} <= passed


def test_an_order_is_sent_once() -> None:
    """`reserved` alone leads to `sent`, and nothing leads back: no order is sent again (orders)."""
    assert [step for step in ALLOWED if after(*step) is State.SENT] == [
        (State.RESERVED, Event.SEND)
    ]
    for later in reached(State.SENT) - {State.SENT}:
        assert State.SENT not in reached(later)


def test_every_state_is_reached() -> None:
    """The table says something about each state."""
    assert reached(State.RECEIVED) == set(State)


@pytest.mark.parametrize("state", State)
def test_every_state_leads_to_a_final_outcome(state: State) -> None:
    """Nothing stays unsettled for want of a way out (docs/orders.md, 4)."""
    assert any(is_final(end) for end in reached(state))


@pytest.mark.parametrize("state", sorted(protocol.UNSETTLED))
def test_what_is_unsettled_comes_to_an_end_without_a_person(state: State) -> None:
    """A person is needed only where the gateway gave up; it need not."""
    ends = reached(state, without=frozenset({Event.GIVE_UP, Event.CONTRADICT}))
    assert any(is_final(end) for end in ends)
    assert State.NEEDS_REVIEW not in ends


def test_what_a_person_approved_is_judged_once_more() -> None:
    """A yes leads nowhere but before the judge again; what he holds is told to nobody else."""
    asked = {after(state, event): state for state, event in ALLOWED if event is Event.APPROVE}
    assert asked == {State.APPROVED: State.PENDING_APPROVAL}
    assert protocol.due(State.APPROVED) is Due.WEIGH
    leads = {event for state, event in ALLOWED if state is State.APPROVED}
    assert leads == {Event.DENY, Event.RESERVE}
    assert protocol.HELD.isdisjoint(protocol.RESERVING | protocol.CARRIED)


def test_only_a_person_settles_what_waits_for_one() -> None:
    """No event of the gateway's ends a review, and no person settles anything else."""
    assert {event for state, event in ALLOWED if state is State.NEEDS_REVIEW} == PERSONS
    assert {state for state, event in ALLOWED if event in PERSONS} == {State.NEEDS_REVIEW}


@pytest.mark.parametrize("state", State)
def test_what_is_not_settled_is_told_as_unknown(state: State) -> None:
    """An agent sees exactly one word, and never a bare success (orders).

    Of what waits for a person's yes it is told that: nothing has left.
    """
    open_ended = protocol.UNSETTLED | {State.NEEDS_REVIEW}
    assert is_final(state) == (state not in open_ended | protocol.HELD)
    assert (outcome(state) == "unknown") == (state in open_ended)
    assert (outcome(state) == "pending_approval") == (state in protocol.HELD)


@pytest.mark.parametrize("state", State)
def test_whoever_has_an_order_knows_what_is_due(state: State) -> None:
    """Work is due exactly where something but a surprise may still happen."""
    leads = {event for at, event in ALLOWED if at is state} - {Event.CONTRADICT}
    assert (protocol.due(state) is Due.NOTHING) == (not leads)
    assert (protocol.due(state) is Due.ASK) == (state is State.SENT)


def test_what_is_in_flight_is_reserved_and_unsettled() -> None:
    """Nothing that the bot may still carry out loses its money or its place."""
    assert protocol.IN_FLIGHT < protocol.RESERVING < protocol.UNSETTLED
    assert protocol.UNSENT | protocol.IN_FLIGHT == protocol.UNSETTLED
    for state in protocol.UNSENT:
        assert State.PLACED not in {after(at, event) for at, event in ALLOWED if at is state}


@pytest.mark.parametrize(
    ("answer", "proven"),
    [
        (Accepted(None), Event.LOSE),
        (Refused("no_free_slot"), Event.REFUSE),
        (NotSent("bot_unreachable"), Event.NOT_SENT),
        (Unanswered("bot_failed"), Event.LOSE),
    ],
    ids=["accepted", "refused", "not_sent", "unanswered"],
)
@pytest.mark.parametrize("state", sorted(protocol.IN_FLIGHT))
def test_every_answer_says_something_of_an_order_in_flight(
    answer: Answer, proven: Event, state: State
) -> None:
    """Our mark at the bot proves more than any word of its; without it a 200 proves nothing."""
    assert heard(answer, found=True) is Event.CONFIRM
    assert outcome(after(state, Event.CONFIRM)) == "placed"
    event = heard(answer, found=False)
    assert event is proven
    if (state, event) == (State.UNKNOWN, Event.LOSE):
        assert not protocol.says_something(state, event)
    else:
        assert outcome(after(state, event)) != "placed"


def _orders() -> st.SearchStrategy[TradeOrder]:
    amounts = st.decimals("0", "3", places=1)
    return st.builds(
        lambda amount, filled, is_open: replace(
            ORDER, amount=amount, filled=filled, is_open=is_open
        ),
        amounts, amounts, st.booleans(),
    )  # fmt: skip


@given(_orders(), st.decimals("0", "3", places=1), st.sampled_from(sorted(protocol.RESTING)))
def test_whatever_the_bot_says_of_a_resting_order_is_a_legal_move(
    order: TradeOrder, before: Decimal, state: State
) -> None:
    """Filled wholly is filled; off is cancelled; else only another amount is news."""
    event = protocol.seen(order, before)
    whole = order.amount > 0 and order.filled >= order.amount
    if whole:
        assert event is Event.FILL
    elif not order.is_open:
        assert event is Event.CANCEL
    else:
        assert event is (None if order.filled == before else Event.PART_FILL)
    if event is not None:
        after(state, event)
