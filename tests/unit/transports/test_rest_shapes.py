"""The documented shapes against what the order service really answers."""

from dataclasses import replace
from decimal import Decimal
from typing import Any
from uuid import UUID

import orjson
import pytest

from mcp_gateway.domain.orders import HistoryEntry, OrderRecord, State
from mcp_gateway.orders.book import answers
from mcp_gateway.transports.rest import shapes
from tests.support.clock import START

pytestmark = pytest.mark.unit

RECORD = OrderRecord(
    order_id="abc", issuer="mcp-gateway", subject="a", request_id=UUID(int=1), agent="a",
    fingerprint="f", tag="gw:1", carrier="g", bot="bot", pair="BTC/USDT", side="buy",
    amount=Decimal("0.001"), order_type="limit", price=Decimal(50000), mode="dry-run",
    state=State.PLACED, created_at=START, updated_at=START, trade_id=1,
    actual_amount=Decimal("0.0009"), filled_amount=Decimal("0.0009"),
    average_price=Decimal(50001), fee=Decimal("0.05"), bot_order_id="x",
)  # fmt: skip
BARE = replace(
    RECORD, order_type="market", price=None, trade_id=None, actual_amount=None,
    average_price=None, fee=None, bot_order_id=None, filled_amount=Decimal(0),
)  # fmt: skip


@pytest.mark.parametrize("record", [RECORD, BARE], ids=["full", "bare"])
def test_a_receipt_has_the_documented_shape(record: OrderRecord) -> None:
    """POST /api/v1/orders answers the order service's own words."""
    shapes.Order.model_validate_json(orjson.dumps(answers.receipt(record)), strict=True)


FILLED = {"filled_amount": "0.0009", "average_price": "50001", "trade_id": 1}


@pytest.mark.parametrize("detail", [{}, FILLED], ids=["bare", "filled"])
@pytest.mark.parametrize("state", list(State))
def test_every_state_of_an_order_has_the_documented_shape(
    state: State, detail: dict[str, Any]
) -> None:
    """GET /api/v1/orders/{request_id}, at any time of an order's life."""
    record = replace(RECORD, state=state, code="price_collar", message="No.")
    told = answers.present_state(record, (HistoryEntry(state, START, None, detail),))
    shapes.OrderState.model_validate_json(orjson.dumps(told), strict=True)
