"""Buy, with the typed client: every outcome of an order is a type of its own.

    TOKEN=… KEY=… python examples/typed_client.py BTC/USDT 0.001

An agent that runs for days takes RenewingAuth and ClientCredentials in place of GatewayAuth.
"""

import os
import sys
from decimal import Decimal

import anyio

from mcp_gateway.client import (
    Denied,
    GatewayAuth,
    GatewayClient,
    NeedsReview,
    Order,
    PendingApproval,
    Placed,
    Rejected,
    Unknown,
)


async def main(pair: str, amount: str) -> int:
    """Look at the market, try the order, place it; return an exit code."""
    key_id = os.environ.get("KEY_ID", "sandbox-agent")
    auth = GatewayAuth(os.environ["TOKEN"], key=os.environ["KEY"], key_id=key_id)
    async with GatewayClient(os.environ.get("URL", "http://127.0.0.1:8000"), auth) as gw:
        candles = await gw.get_candles(pair, os.environ.get("TIMEFRAME", "5m"), limit=2)
        if candles.stale:
            return 1  # never trade on what the bot no longer knows
        order = Order(pair, "buy", Decimal(amount))  # its request_id is made here, once
        seen = await gw.dry_run(order)
        print("valid:", seen.valid, "cost:", seen.estimated_cost, *seen.errors)
        if not seen.valid:
            return 1
        match await gw.create_order(order, preview_id=seen.preview_id):
            case Placed(filled_amount=filled, average_price=price):
                print("placed:", filled, "at", price)
                return 0
            case PendingApproval(expires_at=until):
                print("a person is asked, until", until)
                state = await gw.wait_until_final(order.request_id, deadline_s=600)
                print("now:", state.outcome, state.status)
            case Denied(code=code, next_step=step) | Rejected(code=code, next_step=step):
                print("no:", code, step)
            case NeedsReview(code=code) | Unknown(code=code):  # it may have happened
                print("unknown:", code, "ask for", order.request_id)
    return 1


if __name__ == "__main__":
    if len(sys.argv) != 3:  # noqa: PLR2004  (PAIR AMOUNT, and the name of the program)
        sys.exit(__doc__)
    sys.exit(anyio.run(main, *sys.argv[1:]))
