"""The documents that both languages answer."""

from datetime import timedelta
from decimal import Decimal

import orjson
import pytest

from mcp_gateway.domain.orders import Check, Preview
from mcp_gateway.domain.positions import Balance, BotState, Position, Positions
from mcp_gateway.orders.account import Account
from mcp_gateway.risk.allowance import Allowance, Left
from mcp_gateway.risk.policy import Limits
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


def test_a_dry_run_tells_limits_in_full_and_the_rest_by_name() -> None:
    """Every check is told, what has no limit by its name; nothing that is not there."""
    checks = (
        Check("mode_mismatch", passed=True, message="m", limit="dry-run", value="dry-run"),
        Check("daily_orders", passed=True, message="m", limit="9", value="2", left="7"),
        Check("pair_locked", passed=False, message="Locked.", value="BTC/USDT"),
        Check("pair_not_allowed", passed=True, message="m", value="BTC/USDT"),
        Check("trading_halted", passed=True, message="m"),
    )
    run = Preview(
        valid=False, estimated_cost=Decimal(1), estimated_fee=Decimal("0.1"), price=Decimal(2),
        price_age_s=0.04, mode="live", checks=checks, warnings=("w",), errors=("e",),
        expected_amount=Decimal("0.5"), worst_price=Decimal("2.1"), worst_cost=Decimal("1.2"),
        policy="abc", needs_approval=True,
    )  # fmt: skip
    told = documents.preview(run)
    assert told == {
        "valid": False, "estimated_cost": 1.0, "estimated_fee": 0.1, "warnings": ["w"],
        "errors": ["e"], "mode": "live", "price": 2.0, "price_age_s": 0.0,
        "expected_amount": 0.5, "worst_price": 2.1, "worst_cost": 1.2, "needs_approval": True,
        "policy": "abc",
        "checks": [
            {"rule": "mode_mismatch", "passed": True, "limit": "dry-run", "value": "dry-run"},
            {"rule": "daily_orders", "passed": True, "limit": "9", "value": "2", "left": "7"},
            {"rule": "pair_locked", "passed": False, "message": "Locked.", "value": "BTC/USDT"},
        ],
        "also_passed": ["pair_not_allowed", "trading_halted"],
    }  # fmt: skip
    shapes.DryRun.model_validate_json(orjson.dumps(told), strict=True)


def test_a_valid_dry_run_tells_its_id_and_its_end() -> None:
    """For create_order; the end as every other time."""
    run = Preview(
        valid=True, estimated_cost=None, estimated_fee=None, price=None, price_age_s=None,
        mode="dry-run", checks=(), warnings=(), errors=(), preview_id="abc", expires_at=START,
    )  # fmt: skip
    told = documents.preview(run)
    assert (told["preview_id"], told["expires_at"]) == ("abc", "2025-11-18T10:00:00Z")
    shapes.DryRun.model_validate_json(orjson.dumps(told), strict=True)


def test_an_account_tells_when_the_bot_was_asked_and_what_is_left() -> None:
    """So that an agent need not probe for its limits."""
    balance = Balance("USDT", Decimal(1000), Decimal("999.5"), simulated=True)
    limits = Limits(order_notional=Decimal(100), sides=frozenset({"buy"}))
    left = (Left("order_rate", "60", "59"), Left("repeat_throttle", "3", "1", "BTC/USDT"))
    state = Account(
        mode="dry-run", declared_mode="live", bot=STATE, balance=balance, open_positions=0,
        as_of=START, allowance=Allowance(limits, "abc", left, known=True, halts=()),
        calls_per_minute=60, scopes=("positions:read",),
    )  # fmt: skip
    told = documents.account(state, calls_left={"get_account": 59})
    assert told["as_of"] == "2025-11-18T10:00:00Z"
    assert told["limits"] == {
        "largest_notional": 100.0, "calls_per_minute": 60, "calls_left": {"get_account": 59},
        "policy": "abc",
        "allowed": {
            "enabled": True, "sides": ["buy"], "order_types": ["limit", "market"],
            "price_collar": "0.05", "price_tolerance": "0.01", "preview_required": False,
            "closes": "own",
        },
        "rules": [
            {"rule": "order_rate", "limit": "60", "left": "59"},
            {"rule": "repeat_throttle", "pair": "BTC/USDT", "limit": "3", "left": "1"},
        ],
    }  # fmt: skip
    assert (told["mode"], told["declared_mode"], told["halts"]) == ("dry-run", "live", [])
    assert told["balance"]["free"] == 999.5
