"""The life of an order as a table."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_gateway.domain.orders import State
from mcp_gateway.orders.protocol import Event, IllegalMove, after, is_final, outcome

pytestmark = pytest.mark.unit

FINAL_WORDS = {"placed", "denied", "rejected"}


@given(st.lists(st.sampled_from(Event), max_size=12))
def test_a_final_outcome_is_never_contradicted(events: list[Event]) -> None:
    """Whatever happens later, the one word an agent was told stays true (invariant 2)."""
    state, told = State.RECEIVED, None
    for event in events:
        try:
            state = after(state, event)
        except IllegalMove:
            continue
        if told is not None:
            assert outcome(state) == told
        elif is_final(state):
            told = outcome(state)
            assert told in FINAL_WORDS


@given(st.lists(st.sampled_from(Event), max_size=12))
def test_nothing_is_placed_that_was_not_sent(events: list[Event]) -> None:
    """Every effect has a `sent` step before it (invariant 3)."""
    state, passed = State.RECEIVED, {State.RECEIVED}
    for event in events:
        try:
            state = after(state, event)
        except IllegalMove:
            continue
        passed.add(state)
    if outcome(state) == "placed":
        assert State.SENT in passed


def test_an_order_is_sent_once() -> None:
    """No state but `reserved` leads to `sent`: an unknown is never sent again (orders)."""
    leads = {state for state in State for event in Event if _leads(state, event) is State.SENT}
    assert leads == {State.RESERVED}


@pytest.mark.parametrize("state", [State.SENT, State.UNKNOWN, State.NEEDS_REVIEW, State.RESERVED])
def test_what_is_not_settled_is_told_as_unknown(state: State) -> None:
    """An agent sees exactly one word, and never a bare success (orders)."""
    assert outcome(state) == "unknown"
    assert not is_final(state)


def test_every_state_is_reached_and_nothing_leads_back() -> None:
    """The table says something about each state; an outcome once told is never left."""
    reached, front = {State.RECEIVED}, {State.RECEIVED}
    while front:
        front = {to for state in front for event in Event if (to := _leads(state, event))} - reached
        reached |= front
    assert reached == set(State)


def _leads(state: State, event: Event) -> State | None:
    try:
        return after(state, event)
    except IllegalMove:
        return None
