"""The messages of the bot's websocket, read from what a real Freqtrade told."""

from typing import Any

import orjson
import pytest

from mcp_gateway.freqtrade import messages
from mcp_gateway.freqtrade.messages import BotEvent
from tests.support.record_events import RECORDED

pytestmark = pytest.mark.unit

CANCEL: dict[str, Any] = {
    "type": "entry_cancel", "trade_id": 3, "pair": "SOL/USDT", "enter_tag": "gw:1",
    "reason": "cancelled due to timeout, fully cancelled",
}  # fmt: skip


def recorded() -> dict[str, list[Any]]:
    """Return what was told in each step of the recording."""
    steps = orjson.loads(RECORDED.read_bytes())
    return {step["step"]: step["messages"] for step in steps}


def read(message: Any) -> BotEvent | None:
    return messages.read(orjson.dumps(message))


def events(step: str) -> list[BotEvent]:
    """Return the events of one step; all of its messages are about trades."""
    told = [read(message) for message in recorded()[step]]
    return [event for event in told if event is not None]


@pytest.mark.parametrize(
    ("step", "kinds", "trade_id", "tag"),
    [
        ("market entry", ["entry", "entry_fill"], 1, "gw:market"),
        ("partial exit", ["exit", "exit_fill"], 1, "gw:market"),
        ("resting exit", ["exit"], 1, "gw:market"),
        ("full exit", ["exit", "exit_fill"], 1, "gw:market"),
        ("limit entry rests", ["entry"], 2, "gw:crossed"),
        ("limit entry crossed", ["entry_fill"], 2, "gw:crossed"),
    ],
)
def test_an_order_is_told_with_its_trade_and_the_tag_of_its_entry(
    step: str, kinds: list[str], trade_id: int, tag: str
) -> None:
    """Freqtrade 2026.9: entries and exits alike carry the trade's number and enter_tag."""
    told = events(step)
    assert [event.kind for event in told] == kinds
    for event in told:
        assert (event.trade_id, event.tag, event.reason) == (trade_id, tag, None)
        assert event.pair in {"BTC/USDT", "ETH/USDT"}
        assert not event.vanished


@pytest.mark.parametrize(
    ("step", "tag", "reason"),
    [
        ("limit entry cancelled by API", "gw:cancelled", "asked"),
        ("limit entry timed out", "gw:timed-out", "timed_out"),
        ("limit entry forced out", "gw:forced-out", "forced_out"),
    ],
)
def test_a_cancelled_entry_that_bought_nothing_is_told_as_vanished_and_why(
    step: str, tag: str, reason: str
) -> None:
    """Freqtrade deletes its trade: no answer of its API tells of it any more."""
    event = events(step)[-1]
    assert event == BotEvent("entry_cancel", 3, "SOL/USDT", tag, reason=event.reason, vanished=True)
    assert event.reason == reason


@pytest.mark.parametrize(
    ("step", "reason"),
    [("resting exit cancelled by API", "asked"), ("resting exit timed out", "timed_out")],
)
def test_a_cancelled_exit_is_told_and_its_trade_has_not_vanished(step: str, reason: str) -> None:
    """What it would have sold is still held."""
    event = events(step)[-1]
    assert (event.kind, event.trade_id, event.reason) == ("exit_cancel", 1, reason)
    assert not event.vanished


@pytest.mark.parametrize(
    ("words", "reason", "vanished"),
    [
        ("cancelled on exchange, fully cancelled", "by_exchange", True),
        ("fully cancelled", "by_exchange", True),
        ("failed to replace order, deleting Trade", "replace_failed", True),
        (
            "cancelled (all unfilled and partially filled open orders cancelled), fully cancelled",
            "bot_stopping", True,
        ),
        ("cancelled to be replaced by new limit order", "replaced", False),
        ("cancelled due to timeout, partially filled", "timed_out", False),
        ("partially filled", "partly_filled", False),
        ("partially filled - keeping order open", "kept_open", False),
        ("something of a newer Freqtrade", "other", False),
    ],
)  # fmt: skip
def test_only_an_entry_that_bought_nothing_has_vanished(
    words: str, reason: str, vanished: bool
) -> None:
    """A part that was bought stays held; a replaced order goes on under another id."""
    event = read(CANCEL | {"reason": words})
    assert event is not None
    assert (event.reason, event.vanished) == (reason, vanished)


def test_no_cancel_of_an_exit_tells_a_vanished_trade() -> None:
    """The words alone do not count: an exit's trade holds something."""
    event = read(CANCEL | {"type": "exit_cancel"})
    assert event is not None
    assert not event.vanished


def test_a_new_candle_names_pair_and_timeframe() -> None:
    """As the bot sends it: ``new_candle ["BTC/USDT","5m","spot"]``."""
    assert read({"type": "new_candle", "data": ["BTC/USDT", "5m", "spot"]}) == BotEvent(
        "new_candle", pair="BTC/USDT", timeframe="5m"
    )


@pytest.mark.parametrize(
    "message",
    [
        {"type": "status", "status": "paused"},
        {"type": "exception", "data": "Invalid request type"},
        {"type": "reconnected"},
        {"type": "missed"},
        {"type": 1},
        {"type": []},
        {},
        [],
        None,
        CANCEL | {"trade_id": "three"},
        CANCEL | {"trade_id": None},
        CANCEL | {"pair": None},
        CANCEL | {"enter_tag": "x" * 256},
        CANCEL | {"reason": {"deep": []}},
        {"type": "new_candle", "data": ["BTC/USDT"]},
        {"type": "new_candle"},
    ],
    ids=str,
)
def test_any_other_message_is_no_event(message: Any) -> None:
    """Unknown kinds, kinds of ours and malformed ones are passed over, never raised."""
    assert read(message) is None


@pytest.mark.parametrize("raw", [b"", b"{", b"\xff\xfe", b"[" * 100_000, "null", "{}"])
def test_what_is_no_json_is_no_event(raw: str | bytes) -> None:
    """Broken text, bytes that are no text, and depth without end."""
    assert messages.read(raw) is None


def test_the_subscription_asks_for_the_topics_and_then_for_an_answer() -> None:
    """Freqtrade answers no subscription, so a question follows that it does answer."""
    subscribe, question = map(orjson.loads, messages.subscription())
    assert subscribe["type"] == "subscribe"
    assert set(subscribe["data"]) == {
        "entry", "entry_fill", "entry_cancel", "exit", "exit_fill", "exit_cancel", "new_candle",
    }  # fmt: skip
    assert question == {"type": "whitelist"}
    assert read({"type": "whitelist", "data": ["BTC/USDT"]}) == BotEvent("reconnected")
