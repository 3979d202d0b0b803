"""The life of an order: what can happen in each state, where it leads, and what is due next.

Pure: no I/O and no clock. Whoever carries an order asks ``due`` what to do, does it, says
with an ``Event`` what came of it, and writes down the state that ``after`` returns before
doing anything else. Nothing else in the gateway decides that a state changes.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Final

from mcp_gateway.domain.answers import Answer, NotSent, Refused
from mcp_gateway.domain.orders import Outcome, State
from mcp_gateway.domain.positions import TradeOrder


class Event(StrEnum):
    """What can happen to an order."""

    DENY = "deny"  # a check of ours failed, or the place in flight is taken
    HOLD = "hold"  # every check passed, and a person has to agree
    APPROVE = "approve"  # a person agreed
    RESERVE = "reserve"  # every check passed; money and slot are set aside
    SEND = "send"  # about to leave: committed before the first byte goes out
    NOT_SENT = "not_sent"  # proven that no byte reached the bot
    CONFIRM = "confirm"  # the bot has an order that carries our mark
    REFUSE = "refuse"  # the bot said no in its own words
    LOSE = "lose"  # no answer, or one that proves nothing
    INTERRUPT = "interrupt"  # whoever carried it is gone
    MISS = "miss"  # absent from the books of a bot that has come to rest
    GIVE_UP = "give_up"  # it can't be found out; a person has to look
    PART_FILL = "part_fill"
    FILL = "fill"
    ASK_CANCEL = "ask_cancel"  # about to ask the bot for the order's cancel
    CANCEL = "cancel"
    VANISH = "vanish"  # the bot forgot an order that it had confirmed
    CONTRADICT = "contradict"  # the bot has what it was believed not to have done
    SETTLE_PLACED = "settle_placed"  # a person found out that it happened
    SETTLE_NOTHING = "settle_nothing"  # a person found out that it did not


class Due(StrEnum):
    """What is to be done next for an order."""

    WEIGH = "weigh"  # check it; then reserve and send, or deny
    ASK = "ask"  # post it to the bot: once, and only by who committed ``sent``
    LOOK = "look"  # look for it in the bot's books
    FOLLOW = "follow"  # see what has become of it
    NOTHING = "nothing"
    PERSON = "person"  # wait for a person


class IllegalMove(Exception):
    """A bug: an event that the order's state does not allow."""


_S, _E = State, Event
_TABLE: Final[dict[tuple[State, Event], State]] = {
    (_S.RECEIVED, _E.DENY): _S.DENIED,
    (_S.RECEIVED, _E.INTERRUPT): _S.DENIED,
    (_S.RECEIVED, _E.RESERVE): _S.RESERVED,
    (_S.RECEIVED, _E.HOLD): _S.PENDING_APPROVAL,
    (_S.PENDING_APPROVAL, _E.DENY): _S.DENIED,
    (_S.PENDING_APPROVAL, _E.APPROVE): _S.APPROVED,
    (_S.APPROVED, _E.DENY): _S.DENIED,
    (_S.APPROVED, _E.RESERVE): _S.RESERVED,
    (_S.RESERVED, _E.DENY): _S.DENIED,
    (_S.RESERVED, _E.INTERRUPT): _S.DENIED,
    (_S.RESERVED, _E.SEND): _S.SENT,
    (_S.SENT, _E.NOT_SENT): _S.DENIED,
    (_S.SENT, _E.CONFIRM): _S.PLACED,
    (_S.SENT, _E.REFUSE): _S.REJECTED,
    (_S.SENT, _E.LOSE): _S.UNKNOWN,
    (_S.SENT, _E.INTERRUPT): _S.UNKNOWN,
    (_S.UNKNOWN, _E.NOT_SENT): _S.DENIED,
    (_S.UNKNOWN, _E.CONFIRM): _S.PLACED,
    (_S.UNKNOWN, _E.REFUSE): _S.REJECTED,
    (_S.UNKNOWN, _E.MISS): _S.REJECTED,
    (_S.UNKNOWN, _E.GIVE_UP): _S.NEEDS_REVIEW,
    (_S.REJECTED, _E.CONTRADICT): _S.NEEDS_REVIEW,
    (_S.NEEDS_REVIEW, _E.SETTLE_PLACED): _S.PLACED,
    (_S.NEEDS_REVIEW, _E.SETTLE_NOTHING): _S.REJECTED,
    (_S.PLACED, _E.PART_FILL): _S.PARTIALLY_FILLED,
    (_S.PLACED, _E.FILL): _S.FILLED,
    (_S.PLACED, _E.ASK_CANCEL): _S.PLACED,
    (_S.PLACED, _E.CANCEL): _S.CANCELLED,
    (_S.PLACED, _E.VANISH): _S.VANISHED,
    (_S.PARTIALLY_FILLED, _E.PART_FILL): _S.PARTIALLY_FILLED,
    (_S.PARTIALLY_FILLED, _E.FILL): _S.FILLED,
    (_S.PARTIALLY_FILLED, _E.ASK_CANCEL): _S.PARTIALLY_FILLED,
    (_S.PARTIALLY_FILLED, _E.CANCEL): _S.CANCELLED,
    (_S.PARTIALLY_FILLED, _E.VANISH): _S.VANISHED,
}
_DUE: Final[dict[State, Due]] = {
    State.RECEIVED: Due.WEIGH,
    State.PENDING_APPROVAL: Due.PERSON,
    State.APPROVED: Due.WEIGH,
    State.RESERVED: Due.WEIGH,
    State.SENT: Due.ASK,
    State.UNKNOWN: Due.LOOK,
    State.NEEDS_REVIEW: Due.PERSON,
    State.PLACED: Due.FOLLOW,
    State.PARTIALLY_FILLED: Due.FOLLOW,
}
_OUTCOMES: Final[dict[State, Outcome]] = {
    State.PENDING_APPROVAL: "pending_approval",
    State.APPROVED: "pending_approval",
    State.DENIED: "denied",
    State.REJECTED: "rejected",
    State.PLACED: "placed",
    State.PARTIALLY_FILLED: "placed",
    State.FILLED: "placed",
    State.CANCELLED: "placed",
    State.VANISHED: "placed",
}
UNSENT: Final = frozenset({State.RECEIVED, State.RESERVED})
# The bot may be working on it: it keeps its place, and what was set aside for it.
IN_FLIGHT: Final = frozenset({State.SENT, State.UNKNOWN})
RESERVING: Final = frozenset({State.RESERVED}) | IN_FLIGHT
UNSETTLED: Final = UNSENT | IN_FLIGHT
# It waits for a person, or for whoever sends what a person agreed to: nobody carries it.
HELD: Final = frozenset({State.PENDING_APPROVAL, State.APPROVED})
CARRIED: Final = UNSETTLED - {State.UNKNOWN}  # by a process that is at work on it
RESTING: Final = frozenset({State.PLACED, State.PARTIALLY_FILLED})
ENDED_UNFILLED: Final = frozenset({State.CANCELLED, State.VANISHED})


def after(state: State, event: Event) -> State:
    """Return the state that ``event`` leads to.

    Raises:
        IllegalMove: the table knows no such step.
    """
    try:
        return _TABLE[state, event]
    except KeyError:
        raise IllegalMove(f"{event} does not apply to an order that is {state}") from None


def says_something(state: State, event: Event) -> bool:
    """Tell whether ``event`` is news for an order in ``state``."""
    return (state, event) in _TABLE


def due(state: State) -> Due:
    """Return what is to be done next."""
    return _DUE.get(state, Due.NOTHING)


def heard(answer: Answer, *, found: bool) -> Event:
    """Return what the bot's answer to an order proves.

    Args:
        found: an order that carries our mark was seen at the bot. Without it no 200 proves
            anything: the bot answers a racing entry with another's trade.
    """
    if found:
        return Event.CONFIRM
    if isinstance(answer, NotSent):
        return Event.NOT_SENT
    return Event.REFUSE if isinstance(answer, Refused) else Event.LOSE


def seen(order: TradeOrder, filled_before: Decimal) -> Event | None:
    """Return what the bot's own order says of a placed one; None where it says nothing new."""
    if order.filled >= order.amount > 0:
        return Event.FILL
    if not order.is_open:
        return Event.CANCEL
    return Event.PART_FILL if order.filled != filled_before else None


def outcome(state: State) -> Outcome:
    """Return the one word that an agent is told; everything unsettled is ``unknown``."""
    return _OUTCOMES.get(state, "unknown")


def is_final(state: State) -> bool:
    """Tell whether the outcome stands for good."""
    return state in _OUTCOMES and state not in HELD
