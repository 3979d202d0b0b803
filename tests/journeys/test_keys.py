"""Keys over their whole life, by the command and before a gateway that runs: REST and MCP alike."""

import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import anyio.to_thread
import httpx2
import pytest
from mcp import Client
from mcp.client.streamable_http import streamable_http_client

from mcp_gateway.client import GatewayAuth
from tests.support.gateway import TRADER
from tests.support.processes import Serving, environment, run, serving, token
from tests.support.records import audit_rows
from tests.support.standin import stand_in
from tests.support.wires import TIMEOUT_S

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

ORDER = {"pair": "BTC/USDT", "side": "buy", "amount": "1", "order_type": "market"}
SOON_S = 5.0  # promised is one second; a busy machine may be late, a gateway that waits is later


class Operator:
    """Runs ``mcp-gateway keys`` beside the gateway, in its data folder."""

    def __init__(self, folder: Path, bot_url: str) -> None:
        self.env = environment(folder, FREQTRADE_URL=bot_url, HMAC_SECRET="")
        self._folder = folder

    async def keys(self, *words: str) -> dict[str, Any]:
        def ran() -> Any:
            return run("keys", *words, "--json", folder=self._folder, env=self.env)

        told = await anyio.to_thread.run_sync(ran)
        assert told.returncode == 0, told.stderr
        answer: dict[str, Any] = json.loads(told.stdout)
        return answer


def auth_by(made: dict[str, Any]) -> GatewayAuth:
    key = made.get("secret") or made["private_key"]
    return GatewayAuth(token(), key=key, key_id=made["key_id"])


async def over_rest(served: Serving, auth: GatewayAuth) -> str:
    """Place an order over REST; return its code, or ``taken`` where the signature let it pass."""
    async with httpx2.AsyncClient(auth=auth, timeout=TIMEOUT_S, trust_env=False) as client:
        answer = await client.post(f"{served.rest_url}/orders", json=_order())
    return _word(answer.json())


async def over_mcp(served: Serving, auth: GatewayAuth) -> str:
    """The same over MCP."""
    async with (
        httpx2.AsyncClient(auth=auth, timeout=TIMEOUT_S, trust_env=False) as http,
        Client(streamable_http_client(served.mcp_url, http_client=http)) as client,
    ):
        answer = await client.call_tool("create_order", _order())
    return _word(answer.structured_content or {})


def _order() -> dict[str, str]:
    return ORDER | {"request_id": str(uuid4())}


def _word(answer: dict[str, Any]) -> str:
    code = str(answer.get("code") or "")
    return code if code.startswith("signature") else "taken"


@asynccontextmanager
async def stage(folder: Path) -> AsyncIterator[tuple[Operator, Serving]]:
    """Run a gateway without a key of its own, before a bot."""
    async with stand_in() as bot:
        operator = Operator(folder, bot.url)
        with serving(folder, FREQTRADE_URL=bot.url, HMAC_SECRET="") as served:
            yield operator, served


@pytest.mark.parametrize("algorithm", ["hmac-sha256", "ed25519"])
async def test_a_key_is_made_rotated_and_revoked_before_a_running_gateway(
    tmp_path: Path, algorithm: str
) -> None:
    """No restart: new keys serve at once, the old one beside them, a revoked one soon no more."""
    async with stage(tmp_path) as (operator, served):
        old = await operator.keys("new", "--subject", TRADER, "--alg", algorithm)
        for sent in (over_rest, over_mcp):
            assert await sent(served, auth_by(old)) == "taken"
        new = await operator.keys("rotate", old["key_id"], "--overlap", "1h")
        for sent in (over_rest, over_mcp):
            for made in (new, old):
                assert await sent(served, auth_by(made)) == "taken"
        await operator.keys("revoke", old["key_id"], "--reason", "rotated")
        revoked_at = time.monotonic()
        while await over_rest(served, auth_by(old)) == "taken":
            assert time.monotonic() - revoked_at < SOON_S
        assert await over_mcp(served, auth_by(old)) == "signature_invalid"
        assert await over_mcp(served, auth_by(new)) == "taken"
        rows = await anyio.to_thread.run_sync(audit_rows, served.data_dir)
    told = [one["event"] for one in rows if one["event"].startswith("key.")]
    assert told == ["key.created", "key.rotated", "key.revoked"]
    for made in (old, new):
        handed_over = made.get("secret") or made["private_key"]
        assert handed_over not in str(rows) + "".join(served.log)
