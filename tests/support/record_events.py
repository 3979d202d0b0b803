"""Record what a real Freqtrade tells on its message websocket, for the tests of its client.

    python -m tests.support.record_events

Opens a sandbox of its own, whose resting orders time out after a few seconds, and walks
through every event that an order can cause.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlencode

import anyio
import httpx2
import orjson
from websockets.asyncio.client import ClientConnection, connect

from mcp_gateway.sandbox.bot import Sandbox, SandboxOptions, open_sandbox

RECORDED: Final = Path(__file__).parent.parent / "recorded" / "freqtrade-events-2026.9.json"
PAIR, OTHER, THIRD = "BTC/USDT", "ETH/USDT", "SOL/USDT"
TIMEOUT_S: Final = 12
LONGEST_WAIT_S: Final = 90.0
TOPICS: Final = (
    "status", "startup", "warning", "exception", "whitelist", "new_candle", "strategy_msg",
    "entry", "entry_fill", "entry_cancel", "exit", "exit_fill", "exit_cancel",
    "protection_trigger", "protection_trigger_global",
)  # fmt: skip
OVERRIDES: Final = {"unfilledtimeout": {"entry": TIMEOUT_S, "exit": TIMEOUT_S, "unit": "seconds"}}


class Recorder:
    """Acts on the bot over HTTP and keeps what its websocket tells meanwhile."""

    def __init__(self, sandbox: Sandbox, http: httpx2.AsyncClient, wire: ClientConnection) -> None:
        self.steps: list[dict[str, Any]] = []
        self._sandbox, self._http, self._wire = sandbox, http, wire

    async def call(self, method: str, path: str, body: Any = None) -> Any:
        """Call the bot's API; a refusal's body is returned too."""
        return (await self._http.request(method, path, json=body)).json()

    async def enter(self, pair: str, tag: str, **more: Any) -> Any:
        """Send an entry and return the bot's answer."""
        order = {"pair": pair, "stakeamount": 50, "entry_tag": tag, "ordertype": "market"}
        return await self.call("POST", "forceenter", order | more)

    async def shock(self, pair: str, factor: float) -> None:
        """Move the market: a resting order is crossed."""
        wanted = {"symbol": pair.replace("/", ""), "factor": factor}
        url = f"{self._sandbox.exchange_url}/control/shock"
        (await self._http.post(url, json=wanted)).raise_for_status()

    async def keep(self, step: str, *kinds: str) -> None:
        """Keep what comes until each of ``kinds`` has come, in their order."""
        waited, told = list(kinds), []
        with anyio.fail_after(LONGEST_WAIT_S):
            while waited:
                message = orjson.loads(await self._wire.recv())
                told.append(message)
                if message["type"] == waited[0]:
                    waited.pop(0)
        self.steps.append({"step": step, "messages": told})
        print(f"{step}: {' '.join(message['type'] for message in told)}")


async def record(bot: Recorder) -> None:
    """Walk through the bot: entries, exits, cancels and time-outs."""
    held = await bot.enter(PAIR, "gw:market")
    await bot.keep("market entry", "entry", "entry_fill")
    whole, trade = held["amount"], held["trade_id"]
    await bot.call(
        "POST", "forceexit", {"tradeid": trade, "ordertype": "market", "amount": whole / 4}
    )
    await bot.keep("partial exit", "exit", "exit_fill")
    resting = {"tradeid": trade, "ordertype": "limit", "price": held["open_rate"] * 1.2}
    await bot.call("POST", "forceexit", resting)
    await bot.keep("resting exit", "exit")
    await bot.call("DELETE", f"trades/{trade}/open-order")
    await bot.keep("resting exit cancelled by API", "exit_cancel")
    await bot.call("POST", "forceexit", resting)
    await bot.keep("resting exit timed out", "exit", "exit_cancel")
    await bot.call("POST", "forceexit", {"tradeid": trade, "ordertype": "market"})
    await bot.keep("full exit", "exit", "exit_fill")

    await bot.enter(OTHER, "gw:crossed", ordertype="limit", price=2000)
    await bot.keep("limit entry rests", "entry")
    await bot.shock(OTHER, 0.6)
    await bot.keep("limit entry crossed", "entry_fill")

    unfilled = await bot.enter(THIRD, "gw:cancelled", ordertype="limit", price=50)
    await bot.keep("another limit entry rests", "entry")
    await bot.call("DELETE", f"trades/{unfilled['trade_id']}/open-order")
    await bot.keep("limit entry cancelled by API", "entry_cancel")
    await bot.enter(THIRD, "gw:timed-out", ordertype="limit", price=50)
    await bot.keep("limit entry timed out", "entry", "entry_cancel")
    unfilled = await bot.enter(THIRD, "gw:forced-out", ordertype="limit", price=50)
    await bot.call("POST", "forceexit", {"tradeid": unfilled["trade_id"], "ordertype": "market"})
    await bot.keep("limit entry forced out", "entry", "entry_cancel")

    await bot.call("POST", "pause")
    await bot.keep("paused", "status")
    await bot.call("POST", "start")
    await bot.keep("running again", "status")


@asynccontextmanager
async def _recorder() -> AsyncIterator[Recorder]:
    async with open_sandbox(SandboxOptions(overrides=OVERRIDES), print) as sandbox:
        api = f"{sandbox.freqtrade_url}/api/v1/"
        login = (sandbox.freqtrade_username, sandbox.freqtrade_password)
        query = urlencode({"token": sandbox.ws_token})
        async with (
            httpx2.AsyncClient(base_url=api, auth=login, timeout=60, trust_env=False) as http,
            connect(f"ws{api[4:]}message/ws?{query}", proxy=None) as wire,
        ):
            await wire.send(orjson.dumps({"type": "subscribe", "data": TOPICS}).decode())
            await anyio.sleep(0.5)  # a subscription is not answered
            yield Recorder(sandbox, http, wire)


async def main() -> None:
    """Record everything into the file that the tests read."""
    logging.getLogger("websockets").setLevel(logging.WARNING)
    async with _recorder() as recorder:
        try:
            await record(recorder)
        finally:
            RECORDED.write_bytes(orjson.dumps(recorder.steps, option=orjson.OPT_INDENT_2) + b"\n")


if __name__ == "__main__":
    anyio.run(main)
