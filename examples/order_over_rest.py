"""Place one signed order over REST, with httpx2 and nothing else of MCP.

    TOKEN=… KEY=… python examples/order_over_rest.py BTC/USDT 0.001

The token comes from `mcp-gateway token` (scopes orders:preview and orders:create), the key
is the gateway's HMAC_SECRET, and the key id is its MCP_GATEWAY_SUBJECT, which must be the
token's subject too.
"""

import json
import os
import sys
import uuid

import httpx2

from mcp_gateway.client import GatewayAuth


def main(pair: str, amount: str) -> int:
    """Ask for a dry run; where it is valid, place the order; return an exit code."""
    auth = GatewayAuth(
        os.environ["TOKEN"],
        key=os.environ["KEY"],
        key_id=os.environ.get("KEY_ID", "sandbox-agent"),
    )
    # Made and kept before anything is sent: after a lost answer, the same id asks again.
    request_id = str(uuid.uuid4())
    order = {
        "request_id": request_id, "pair": pair, "side": "buy", "amount": amount,
        "order_type": "market",
    }  # fmt: skip
    base_url = os.environ.get("URL", "http://127.0.0.1:8000")
    with httpx2.Client(auth=auth, base_url=base_url, timeout=60) as client:
        preview = client.post("/api/v1/orders/dry-run", json=order)
        print("dry run:", json.dumps(preview.json(), indent=2))
        if preview.is_error or not preview.json().get("valid"):
            return 1
        placed = client.post("/api/v1/orders", json=order)
        print("order:", json.dumps(placed.json(), indent=2))
        if placed.json().get("code") == "outcome_unknown":
            # Never send it again: ask what became of it.
            told = client.get(f"/api/v1/orders/{request_id}")
            print("now:", json.dumps(told.json(), indent=2))
        return int(placed.is_error)


if __name__ == "__main__":
    if len(sys.argv) != 3:  # noqa: PLR2004  (PAIR AMOUNT, and the name of the program)
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:]))
