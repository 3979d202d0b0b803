"""What a dry run expects of an order is what a real Freqtrade makes of it."""

import uuid
from pathlib import Path
from typing import Any

import pytest

from mcp_gateway.gateway import open_gateway
from mcp_gateway.sandbox.bot import Sandbox
from tests.support.books import emptied
from tests.support.processes import settings_before, token
from tests.support.wires import Call, Told, in_memory

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

PAIR = "ETH/USDT"


async def seen_and_done(call: Call, **order: Any) -> tuple[Told, Told]:
    """Look at an order, then place it with its preview."""
    wanted = {"request_id": str(uuid.uuid4()), "pair": PAIR, "order_type": "market", **order}
    seen = await call("dry_run_order", **wanted)
    done = await call("create_order", **wanted, preview_id=seen["preview_id"])
    assert done["outcome"] == "placed", done
    return seen, done


async def test_a_dry_run_expects_what_a_real_bot_buys_and_sells(
    real_bot: Sandbox, tmp_path: Path
) -> None:
    """Whole lot steps of an entry, of a part of it and of the rest; and its cost as its worst.

    The entry has a price of its own, for the market moves between look and order.
    """
    emptied(real_bot)
    settings = settings_before(real_bot, tmp_path)
    async with open_gateway(settings) as gateway, in_memory(gateway, token()) as call:
        looked = {"request_id": str(uuid.uuid4()), "pair": PAIR, "order_type": "market"}
        price = (await call("dry_run_order", **looked, side="buy", amount="0.1"))["price"]
        high = {"order_type": "limit", "price": round(price * 1.02, 2)}
        seen, bought = await seen_and_done(call, side="buy", amount="0.1234567", **high)
        assert seen["expected_amount"] == 0.1234
        assert bought["amount"] == seen["expected_amount"]
        assert bought["average_price"] * bought["amount"] + bought["fee"] <= seen["worst_cost"]
        part, sold = await seen_and_done(call, side="sell", amount="0.0512345")
        assert (part["expected_amount"], sold["filled_amount"]) == (0.0512, 0.0512)
        rest, last = await seen_and_done(call, side="sell", amount="0.0722")
        assert last["filled_amount"] == rest["expected_amount"] == 0.0722
    emptied(real_bot)
