"""The documents that both languages answer."""

from datetime import timedelta
from decimal import Decimal

import orjson
import pytest

from mcp_gateway.domain.orders import Check, Preview
from mcp_gateway.domain.positions import Balance, BotState, Position, Positions
from mcp_gateway.orders.account import Account
from mcp_gateway.transports import documents
from mcp_gateway.transports.rest import shapes
from tests.support.clock import START

pytestmark = pytest.mark.unit

BARE = Position(
    trade_id=1, pair="BTC/USDT", side="buy", amount=Decimal("0.01"), entry_price=None,
    current_price=None, unrealized_pnl=None, unrealized_pnl_pct=None, stop_loss=None,
    take_profit=None, open_at=None, tag=None,
)  # fmt: skip
STATE = BotState(
    mode="dry-run", state="running", spot=True, quote_currency="USDT", timeframe="5m",
    max_open_positions=3, entries_enabled=True, name="bot", version="2026.9",
)  # fmt: skip


def test_a_decimal_becomes_a_number_and_nothing_stays_null() -> None:
    """JSON numbers, as the predecessor had them."""
    assert documents.number(Decimal("0.001")) == 0.001
    assert documents.number(None) is None


@pytest.mark.parametrize(("later_s", "age_s"), [(0, 0.0), (61.26, 61.3), (-5, 0.0)])
def test_positions_tell_how_old_they_are_and_where_they_are_from(
    later_s: float, age_s: float
) -> None:
    """Source and age in every answer; what the bot did not tell stays null."""
    held = Positions((BARE,), START, "live", "cache")
    told = documents.positions(held, now=START + timedelta(seconds=later_s))
    assert (told["as_of"], told["age_s"]) == ("2025-11-18T10:00:00Z", age_s)
    assert (told["mode"], told["source"], told["total_count"]) == ("live", "cache", 1)
    assert told["positions"][0]["open_date"] is None
    shapes.OpenPositions.model_validate_json(orjson.dumps(told), strict=True)


def test_a_dry_run_without_a_price_has_the_documented_shape() -> None:
    """Nothing is estimated where nothing is known, and each check keeps its sentence."""
    check = Check("price_unavailable", passed=False, message="No price.")
    run = Preview(
        valid=False, estimated_cost=None, estimated_fee=None, price=None, price_age_s=None,
        mode="dry-run", checks=(check,), warnings=(), errors=("price_unavailable: No price.",),
    )  # fmt: skip
    told = documents.preview(run)
    assert told["checks"][0]["message"] == "No price."
    shapes.DryRun.model_validate_json(orjson.dumps(told), strict=True)


def test_an_account_tells_when_the_bot_was_asked_and_what_is_left() -> None:
    """So that an agent need not probe for its limits."""
    balance = Balance("USDT", Decimal(1000), Decimal("999.5"), simulated=True)
    state = Account(
        mode="dry-run", bot=STATE, balance=balance, open_positions=0, as_of=START,
        largest_notional=Decimal(100), calls_per_minute=60, scopes=("positions:read",),
    )  # fmt: skip
    told = documents.account(state, calls_left={"get_account": 59})
    assert told["as_of"] == "2025-11-18T10:00:00Z"
    assert told["limits"] == {
        "largest_notional": 100.0, "calls_per_minute": 60, "calls_left": {"get_account": 59},
    }  # fmt: skip
    assert told["balance"]["free"] == 999.5
