"""Place one signed order over MCP, with the official SDK's client.

    TOKEN=… KEY=… python examples/order_over_mcp.py BTC/USDT 0.001

All that is special about the gateway is `auth=`: GatewayAuth adds the token and signs the
bytes of every call. Any framework that lets you hand its MCP client an httpx2 client, or an
httpx2 auth, can do the same.
"""

import json
import os
import sys
import uuid

import anyio
import httpx2
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from mcp_gateway.client import GatewayAuth


async def main(pair: str, amount: str) -> int:
    """Look at the market, ask for a dry run, place the order; return an exit code."""
    auth = GatewayAuth(
        os.environ["TOKEN"],
        key=os.environ["KEY"],
        key_id=os.environ.get("KEY_ID", "sandbox-agent"),
    )
    url = os.environ.get("URL", "http://127.0.0.1:8000").rstrip("/") + "/mcp"
    timeframe = os.environ.get("TIMEFRAME", "5m")
    order = {
        "request_id": str(uuid.uuid4()), "pair": pair, "side": "buy", "amount": amount,
        "order_type": "market",
    }  # fmt: skip
    async with (
        httpx2.AsyncClient(auth=auth, timeout=60) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        for tool, arguments in (
            ("get_candles", {"pair": pair, "timeframe": timeframe, "limit": 3}),
            ("dry_run_order", order),
            ("create_order", order),
        ):
            result = await client.call_tool(tool, arguments)
            print(f"{tool}:", json.dumps(result.structured_content, indent=2))
            if result.is_error:
                return 1
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:  # noqa: PLR2004  (PAIR AMOUNT, and the name of the program)
        sys.exit(__doc__)
    sys.exit(anyio.run(main, *sys.argv[1:]))
