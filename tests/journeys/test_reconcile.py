"""`mcp-gateway orders reconcile` before a real Freqtrade: quiet, until somebody goes behind it."""

import json
import uuid
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from mcp_gateway.client import GatewayAuth
from mcp_gateway.sandbox.bot import Sandbox
from tests.support.gateway import HMAC_SECRET, TRADER
from tests.support.processes import Serving, before, environment, run, serving, token

pytestmark = [pytest.mark.integration, pytest.mark.xdist_group("bot")]

BELOW = 0.97  # of the price: no second of trading reaches it


@pytest.fixture(scope="module")
def gateway(real_bot: Sandbox, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A running gateway, whose control socket the command asks."""
    with serving(tmp_path_factory.mktemp("reconcile"), **before(real_bot)) as served:
        yield served


def create(gateway: Serving, **changes: Any) -> dict[str, Any]:
    """Place an order as an agent does and return its receipt."""
    plain = {
        "request_id": str(uuid.uuid4()), "agent": TRADER, "pair": "BTC/USDT", "side": "buy",
        "amount": 0.004, "order_type": "market",
    }  # fmt: skip
    auth = GatewayAuth(token(), key=HMAC_SECRET, key_id=TRADER)
    with httpx2.Client(auth=auth, trust_env=False, timeout=60) as client:
        answer = client.post(f"{gateway.rest_url}/orders", json=plain | changes)
    receipt: dict[str, Any] = answer.raise_for_status().json()
    return receipt


def last_price(bot_api: httpx2.Client, pair: str) -> float:
    """Return the close of the bot's last candle."""
    asked: dict[str, str | int] = {"pair": pair, "timeframe": "5m", "limit": 1}
    told = bot_api.get("pair_candles", params=asked).raise_for_status().json()
    return float(told["data"][-1][told["columns"].index("close")])


def reconciled(gateway: Serving, *words: str) -> Any:
    """Run the command as the gateway's operator does."""
    folder = gateway.data_dir.parent
    return run("orders", "reconcile", *words, folder=folder, env=environment(folder))


def test_only_what_was_sold_behind_the_gateway_is_told(
    clean_bot: Sandbox, gateway: Serving, bot_api: httpx2.Client
) -> None:
    """Market and limit, in and out through the gateway: no word. By the bot's own API: that one."""
    bought = create(gateway)
    create(gateway, side="sell", amount=0.001)
    below = round(last_price(bot_api, "ETH/USDT") * BELOW, 2)
    create(gateway, pair="ETH/USDT", amount=0.1, order_type="limit", price=below)
    quiet = reconciled(gateway)
    assert (quiet.returncode, quiet.stdout) == (0, "Ledger and bot agree: 3 orders.\n")
    sale = {"tradeid": bought["trade_id"], "ordertype": "market", "amount": 0.001}
    bot_api.post("forceexit", json=sale).raise_for_status()
    trade = bot_api.get(f"trade/{bought['trade_id']}").raise_for_status().json()
    told = reconciled(gateway, "--json")
    assert told.returncode == 1, told.stderr
    [one] = json.loads(told.stdout)["differences"]
    assert (one["kind"], one["pair"], one["trade_id"]) == (
        "exit_not_in_ledger", "BTC/USDT", bought["trade_id"],
    )  # fmt: skip
    assert one["bot_order_id"] == trade["orders"][-1]["order_id"]
    assert (one["bot"]["filled_amount"], one["ledger"]) == (0.001, None)
