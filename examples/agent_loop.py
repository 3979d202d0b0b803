"""An agent's loop around any language model: tools in, calls out, refusals read.

    TOKEN=… KEY=… python examples/agent_loop.py BTC/USDT 0.001

`think` stands where your model is: it is given the tools and all that was said so far, and
returns the next call, or None when it is done. Here it follows a script.
"""

import json
import os
import sys
import uuid
from typing import Any

import anyio

from mcp_gateway.client import GatewayAuth, open_session

MOST_STEPS = 12  # a model that goes in circles must not trade in circles


def think(_tools: list[Any], said: list[dict[str, Any]]) -> tuple[str, dict[str, Any]] | None:
    """Return the next tool and its arguments; ask your model here."""
    pair, amount = sys.argv[1:]
    done = [one["tool"] for one in said if "tool" in one]
    order = {
        "request_id": said[0]["request_id"], "pair": pair, "side": "buy",
        "amount": amount, "order_type": "market",
    }  # fmt: skip
    script = [("get_account", {}), ("dry_run_order", order), ("create_order", order)]
    return script[len(done)] if len(done) < len(script) else None


async def main() -> int:
    """Let the model call until it is done; return an exit code."""
    key_id = os.environ.get("KEY_ID", "sandbox-agent")
    auth = GatewayAuth(os.environ["TOKEN"], key=os.environ["KEY"], key_id=key_id)
    url = os.environ.get("URL", "http://127.0.0.1:8000").rstrip("/") + "/mcp"
    async with open_session(url, auth) as client:
        tools = (await client.list_tools()).tools
        # Ids are made by the program, not by the model: one that repeats itself trades once.
        said: list[dict[str, Any]] = [{"request_id": str(uuid.uuid4())}]
        while (call := think(tools, said)) is not None and len(said) <= MOST_STEPS:
            tool, arguments = call
            result = await client.call_tool(tool, arguments)
            told = result.structured_content or {}
            print(f"{tool}:", json.dumps(told))
            said.append({"tool": tool, "told": told})
            if result.is_error and not told.get("retryable"):
                return 1  # a model reads `code` and `hint` here, and decides anew
    return 0


if __name__ == "__main__":
    if len(sys.argv) != 3:  # noqa: PLR2004  (PAIR AMOUNT, and the name of the program)
        sys.exit(__doc__)
    sys.exit(anyio.run(main))
