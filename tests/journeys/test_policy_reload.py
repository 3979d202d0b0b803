"""A policy that changes under a running gateway: tightened, loosened, agreed to, broken."""

import signal
import uuid
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest
from mcp import Client

from mcp_gateway.risk.document import load_policy
from tests.journeys.test_serve_process import session
from tests.support.policy import POLICY_FILE
from tests.support.processes import Serving, environment, run, serving
from tests.support.records import audit_rows
from tests.support.standin import stand_in

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

MARKETS = POLICY_FILE.read_text(encoding="utf-8")


def limited(path: Path, notional: int) -> str:
    """Write a policy with one limit of ours; return its hash."""
    text = f'[defaults]\norder_notional = "{notional}"\n\n{MARKETS}'
    new = path.with_suffix(".new")
    new.write_text(text, encoding="utf-8")
    new.rename(path)  # as editors and configuration managers do
    return load_policy(path).hash


class Operator:
    """A person with the command line, beside a gateway that serves."""

    def __init__(self, served: Serving, folder: Path) -> None:
        self._served = served
        self._folder = folder

    async def says(self, *words: str) -> Any:
        """Run a command as a process of its own."""
        env = environment(self._folder, MCP_GATEWAY_DATA_DIR=str(self._served.data_dir))
        return await anyio.to_thread.run_sync(lambda: run(*words, folder=self._folder, env=env))

    async def told(self, words: str) -> None:
        """Wait until the gateway has logged something."""
        await anyio.to_thread.run_sync(
            lambda: next(one for one in self._served.said() if words in one)
        )


async def outcome(client: Client, amount: str) -> str:
    """Place an order over the wire; return its outcome, or the code of its refusal."""
    order = {
        "request_id": str(uuid.uuid4()), "pair": "BTC/USDT", "side": "buy", "amount": amount,
        "order_type": "limit", "price": "99",
    }  # fmt: skip
    told: dict[str, Any] = (await client.call_tool("create_order", order)).structured_content
    if told["outcome"] == "placed":
        await client.call_tool("cancel_order", {"request_id": order["request_id"]})
    return str(told.get("code") or told["outcome"])


async def test_a_policy_is_changed_while_orders_come_in(tmp_path: Path) -> None:
    """Tighter at once, looser when a person says so, broken never; the audit log tells it all."""
    path = tmp_path / "policy.toml"
    first = limited(path, 500)
    async with stand_in() as bot:
        settings = {"FREQTRADE_URL": bot.url, "MCP_GATEWAY_POLICY": str(path)}
        with serving(tmp_path, **settings) as served:
            operator = Operator(served, tmp_path)
            async with session(served) as client:
                assert await outcome(client, "4") == "placed"

                tight = limited(path, 300)
                await operator.told("Another policy is in force")
                assert await outcome(client, "4") == "notional_too_large"
                assert await outcome(client, "2") == "placed"

                loose = limited(path, 900)
                await operator.told("that waits for a person")
                assert await outcome(client, "4") == "notional_too_large"
                agreed = await operator.says("policy", "accept", loose)
                assert (agreed.returncode, agreed.stderr) == (0, "")
                assert await outcome(client, "4") == "placed"

                path.write_text("[defaults]\norder_notional = 0\n")
                served.process.send_signal(signal.SIGHUP)
                await operator.told("The policy file has faults")
                assert await outcome(client, "4") == "placed"
                shown = await operator.says("policy", "show")
                assert shown.returncode == 1
                assert "line 2: defaults.order_notional: " in shown.stdout
        rows = await anyio.to_thread.run_sync(lambda: audit_rows(served.data_dir))
    changes = [row for row in rows if row["event"].startswith("policy.")]
    assert [(row["event"], row["detail"]["old"], row["detail"].get("new")) for row in changes] == [
        ("policy.changed", first, tight),
        ("policy.pending", tight, loose),
        ("policy.changed", tight, loose),
        ("policy.refused", loose, None),
    ]
    judged = [row["detail"]["policy"] for row in rows if row["event"] == "order.reserved"]
    assert judged == [first, tight, loose, loose]
