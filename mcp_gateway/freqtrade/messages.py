"""What the bot's message websocket tells, read into events of ours.

A message names the trade and its tag, never an order: whoever hears one looks at the trade.
One fact stands in messages alone: an entry that was cancelled unfilled leaves no trade
behind, so only its ``entry_cancel`` tells that, and why.
"""

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal, get_args

import orjson
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

TradeKind = Literal["entry", "entry_fill", "entry_cancel", "exit", "exit_fill", "exit_cancel"]
Kind = Literal[TradeKind, "new_candle", "reconnected", "missed"]
Reason = Literal[
    "asked", "timed_out", "forced_out", "by_exchange", "replaced", "replace_failed",
    "bot_stopping", "partly_filled", "kept_open", "other",
]  # fmt: skip

TOPICS: Final = (*get_args(TradeKind), "new_candle")
LONGEST_TEXT: Final = 255  # of a tag or a reason, in Freqtrade's own database

# Beginnings of what Freqtrade 2026.9 gives as the reason of a cancel (constants.py).
_REASONS: Final[dict[str, Reason]] = {
    "user requested": "asked",
    "cancelled due to timeout": "timed_out",
    "forcesold": "forced_out",
    "cancelled on exchange": "by_exchange",
    "fully cancelled": "by_exchange",  # found so when the bot asked the exchange
    "cancelled to be replaced": "replaced",
    "failed to replace": "replace_failed",
    "cancelled (all": "bot_stopping",
    "partially filled - keeping": "kept_open",
    "partially filled": "partly_filled",
}
# Ends of the reasons with which the bot deletes the trade of an entry that bought nothing.
_VANISHING: Final = ("fully cancelled", "deleting Trade")


@dataclass(frozen=True, slots=True)
class BotEvent:
    """Something that happened at the bot.

    Attributes:
        kind: the bot's word; ``reconnected`` and ``missed`` are ours and say that anything
            may have happened unheard, so that one look at the bot is due.
        trade_id: of the bot; it gives the number of a vanished trade to the next one.
        pair: ``BTC/USDT``.
        tag: the entry tag of the trade, which our orders set; exits have none of their own.
        reason: why, in cancels only. ``kept_open`` says that the order was *not* cancelled.
        vanished: the bot deleted the trade because its entry bought nothing. Told before or
            after the deletion: look once whether the trade is gone.
        timeframe: in ``new_candle`` only.
    """

    kind: Kind
    trade_id: int | None = None
    pair: str | None = None
    tag: str | None = None
    reason: Reason | None = None
    vanished: bool = False
    timeframe: str | None = None


Text = Annotated[str, Field(max_length=LONGEST_TEXT)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class _TradeMessage(_Message):
    type: TradeKind
    trade_id: int
    pair: Text
    enter_tag: Text | None = None
    reason: Text | None = None

    def event(self) -> BotEvent:
        reason = (self.reason or "") if self.type.endswith("_cancel") else None
        return BotEvent(
            self.type,
            trade_id=self.trade_id,
            pair=self.pair,
            tag=self.enter_tag,
            reason=None if reason is None else _reason(reason),
            vanished=self.type == "entry_cancel" and (reason or "").endswith(_VANISHING),
        )


class _CandleMessage(_Message):
    type: Literal["new_candle"]
    data: tuple[Text, Text, Text]

    def event(self) -> BotEvent:
        pair, timeframe, _kind_of_market = self.data
        return BotEvent("new_candle", pair=pair, timeframe=timeframe)


class _Whitelist(_Message):
    """The answer to the question that follows a subscription."""

    type: Literal["whitelist"]

    def event(self) -> BotEvent:
        return BotEvent("reconnected")


_MESSAGES: Final[TypeAdapter[_TradeMessage | _CandleMessage | _Whitelist]] = TypeAdapter(
    Annotated[_TradeMessage | _CandleMessage | _Whitelist, Field(discriminator="type")]
)


def subscription() -> tuple[str, ...]:
    """Return what to send on a new connection.

    A subscription is not answered, and ignored in silence where it holds an unknown topic.
    The question behind it is answered in turn: from then on nothing is missed.

    Source: Freqtrade 2026.9, /api/v1/message/ws (``subscribe``, ``whitelist``).
    """
    wanted: tuple[dict[str, Any], ...] = (
        {"type": "subscribe", "data": TOPICS},
        {"type": "whitelist"},
    )
    return tuple(orjson.dumps(one).decode() for one in wanted)


def read(message: str | bytes) -> BotEvent | None:
    """Return the event that a message tells; ``reconnected`` once the subscription stands.

    None for a message of another kind, and for what makes no sense.
    """
    try:
        return _MESSAGES.validate_json(message).event()
    except ValidationError:
        return None


def _reason(words: str) -> Reason:
    return next((told for start, told in _REASONS.items() if words.startswith(start)), "other")
