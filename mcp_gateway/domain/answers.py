"""What a bot's answer to an order proves."""

from dataclasses import dataclass

from mcp_gateway.domain.positions import Trade


@dataclass(frozen=True, slots=True)
class Accepted:
    """The bot took the order; an entry comes with its trade, an exit with none.

    The trade of a concurrent entry may be answered: look for the tag before believing it.
    A cancel comes with its trade as it stands then, or with none where the trade is deleted.
    """

    trade: Trade | None


@dataclass(frozen=True, slots=True)
class Refused:
    """The bot refused: nothing was ordered."""

    code: str


@dataclass(frozen=True, slots=True)
class NotSent:
    """No byte of the order left: the connection was never made."""

    code: str


@dataclass(frozen=True, slots=True)
class Unanswered:
    """Whether the order was carried out is not known."""

    code: str


Answer = Accepted | Refused | NotSent | Unanswered
