"""The life of an order as a table: which event leads from which state to which.

Pure: no I/O and no clock. Nothing else in the gateway decides that a state changes.
"""

from enum import StrEnum
from typing import Final

from mcp_gateway.domain.orders import Outcome, State


class Event(StrEnum):
    """What can happen to an order."""

    DENY = "deny"  # a check of ours failed
    RESERVE = "reserve"  # every check passed
    SEND = "send"  # about to leave: committed before the first byte goes out
    NOT_SENT = "not_sent"  # proven that no byte reached the bot
    CONFIRM = "confirm"  # the bot has an order that carries our mark
    REJECT = "reject"  # the bot refused, or is proven not to have acted
    LOSE = "lose"  # no answer, or one that proves nothing
    GIVE_UP = "give_up"  # it can't be found out; a person has to look
    PART_FILL = "part_fill"
    FILL = "fill"
    CANCEL = "cancel"
    VANISH = "vanish"  # the bot forgot an order that it had confirmed


class IllegalMove(Exception):
    """A bug: an event that the order's state does not allow."""


_S, _E = State, Event
_TABLE: Final[dict[tuple[State, Event], State]] = {
    (_S.RECEIVED, _E.DENY): _S.DENIED,
    (_S.RECEIVED, _E.RESERVE): _S.RESERVED,
    (_S.RESERVED, _E.DENY): _S.DENIED,
    (_S.RESERVED, _E.SEND): _S.SENT,
    (_S.SENT, _E.NOT_SENT): _S.DENIED,
    (_S.SENT, _E.CONFIRM): _S.PLACED,
    (_S.SENT, _E.REJECT): _S.REJECTED,
    (_S.SENT, _E.LOSE): _S.UNKNOWN,
    (_S.UNKNOWN, _E.NOT_SENT): _S.DENIED,
    (_S.UNKNOWN, _E.CONFIRM): _S.PLACED,
    (_S.UNKNOWN, _E.REJECT): _S.REJECTED,
    (_S.UNKNOWN, _E.GIVE_UP): _S.NEEDS_REVIEW,
    (_S.PLACED, _E.PART_FILL): _S.PARTIALLY_FILLED,
    (_S.PLACED, _E.FILL): _S.FILLED,
    (_S.PLACED, _E.CANCEL): _S.CANCELLED,
    (_S.PLACED, _E.VANISH): _S.VANISHED,
    (_S.PARTIALLY_FILLED, _E.PART_FILL): _S.PARTIALLY_FILLED,
    (_S.PARTIALLY_FILLED, _E.FILL): _S.FILLED,
    (_S.PARTIALLY_FILLED, _E.CANCEL): _S.CANCELLED,
    (_S.PARTIALLY_FILLED, _E.VANISH): _S.VANISHED,
}
_OUTCOMES: Final[dict[State, Outcome]] = {
    State.DENIED: "denied",
    State.REJECTED: "rejected",
    State.PLACED: "placed",
    State.PARTIALLY_FILLED: "placed",
    State.FILLED: "placed",
    State.CANCELLED: "placed",
    State.VANISHED: "placed",
}


def after(state: State, event: Event) -> State:
    """Return the state that ``event`` leads to.

    Raises:
        IllegalMove: the table knows no such step.
    """
    try:
        return _TABLE[state, event]
    except KeyError:
        raise IllegalMove(f"{event} does not apply to an order that is {state}") from None


def outcome(state: State) -> Outcome:
    """Return the one word that an agent is told; everything unsettled is ``unknown``."""
    return _OUTCOMES.get(state, "unknown")


def is_final(state: State) -> bool:
    """Tell whether the outcome stands for good: a final answer is never taken back."""
    return state in _OUTCOMES
