"""Tokens of another issuer, end to end: its JWKS over HTTP, a served gateway, every wire."""

import signal
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import anyio.to_thread
import httpx2
import pytest

from tests.support.gateway import TRADER
from tests.support.issuers import (
    DESK,
    Publisher,
    Signing,
    ed25519,
    issuers_file,
    published,
    three_issuers,
)
from tests.support.processes import Serving, environment, run
from tests.support.rogue import Connection
from tests.support.standin import StandIn, stand_in
from tests.support.wires import FAILED, over_http, over_rest, over_stdio

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

OLD, NEW = ed25519("old", "old"), ed25519("new", "new")
NO_BOX = {"JWT_SECRET": ""}  # nobody but the issuers gives tokens


def fresh(signing: Signing, **claims: Any) -> str:
    """Return a token that begins now."""
    now = int(time.time())
    times = {"iat": now, "exp": now + 600}
    return signing.token(
        **({"iss": DESK, "sub": TRADER, "scope": "positions:read"} | times | claims)
    )


def of_url(folder: Path, issuer: Publisher) -> dict[str, str]:
    """Return the settings of a gateway that believes this issuer alone."""
    path = issuers_file(folder, desk={"issuer": DESK, "algorithm": "EdDSA", "jwks_url": issuer.url})
    return NO_BOX | {"MCP_GATEWAY_ISSUERS_FILE": str(path)}


@asynccontextmanager
async def served(folder: Path, bot: StandIn, settings: dict[str, str]) -> AsyncIterator[Serving]:
    """Serve HTTP while this process goes on answering for bot and issuer."""
    env = environment(folder, FREQTRADE_URL=bot.url, **settings)
    server = await anyio.to_thread.run_sync(partial(Serving, folder, env))
    try:
        yield server
        server.signal(signal.SIGTERM)
        assert await anyio.to_thread.run_sync(server.wait) == 0, server.log
    finally:
        await anyio.to_thread.run_sync(server.close)


async def rest_code(server: Serving, token: str) -> str:
    """Return the code that a call over REST ends in."""
    async with over_rest(server.rest_url, token) as call:
        told = await call("get_open_positions")
    return str(told.get("code", "ok"))


async def test_an_issuer_s_agents_call_over_every_wire_of_http(tmp_path: Path) -> None:
    """Without JWT_SECRET; also with a key that is used as soon as it is published."""
    async with AsyncExitStack() as stack:
        issuer = await stack.enter_async_context(published(OLD))
        bot = await stack.enter_async_context(stand_in())
        async with served(tmp_path, bot, of_url(tmp_path, issuer)) as server:
            token = fresh(OLD)
            for mode in ("auto", "legacy"):
                async with over_http(server.mcp_url, token, mode) as call:
                    assert (await call("get_open_positions"))[FAILED] is False
            assert await rest_code(server, token) == "ok"
            issuer.keys = (OLD, NEW)
            assert await rest_code(server, fresh(NEW)) == "ok"
            assert await rest_code(server, fresh(ed25519("old", "thief"))) == "token_invalid"
            assert issuer.fetches == 2
            async with httpx2.AsyncClient(base_url=server.url, trust_env=False) as client:
                health = (await client.get("/health")).json()
                login = await client.post("/auth/token", json={"username": "a", "password": "b"})
            assert health["services"]["issuers"] == "healthy"
            assert login.status_code == 404


async def test_an_issuer_that_is_down_stops_neither_start_nor_others(tmp_path: Path) -> None:
    """Its agents are told to wait; /health says degraded; the one box goes on."""

    async def down(connection: Connection) -> None:
        await connection.reset()

    async with published(misbehaves=down) as issuer, stand_in() as bot:
        settings = of_url(tmp_path, issuer)
        async with served(tmp_path, bot, settings) as server:
            assert await rest_code(server, fresh(OLD)) == "issuer_unavailable"
            async with httpx2.AsyncClient(base_url=server.url, trust_env=False) as client:
                health = (await client.get("/health")).json()
                metrics = (await client.get("/metrics")).text
        assert (health["status"], health["services"]["issuers"]) == ("degraded", "unhealthy")
        assert 'mcp_gateway_issuer_keys_trouble{issuer="desk"} 1.0' in metrics
        assert any("could not be fetched" in line for line in server.log)


async def test_stdio_believes_the_token_of_an_issuer(tmp_path: Path) -> None:
    """MCP_GATEWAY_TOKEN may come from anybody who is believed; its scopes hold."""
    given = NO_BOX | {
        "MCP_GATEWAY_ISSUERS_FILE": str(three_issuers(tmp_path, scopes=["positions:read"]))
    }
    async with stand_in() as bot:
        env = environment(
            tmp_path, FREQTRADE_URL=bot.url, MCP_GATEWAY_TOKEN=fresh(ed25519()), **given
        )
        async with over_stdio(tmp_path, env) as call:
            assert (await call("get_open_positions"))[FAILED] is False
            told = await call("get_candles", pair="BTC/USDT", timeframe="1d")
            assert told["code"] == "scope_missing"


async def test_a_desktop_app_starts_while_the_issuer_is_down(tmp_path: Path) -> None:
    """It may be back when the first call comes; until then each call is told to wait."""

    async def down(connection: Connection) -> None:
        await connection.reset()

    async with published(misbehaves=down) as issuer, stand_in() as bot:
        settings = of_url(tmp_path, issuer) | {"MCP_GATEWAY_TOKEN": fresh(OLD)}
        env = environment(tmp_path, FREQTRADE_URL=bot.url, **settings)
        async with over_stdio(tmp_path, env) as call:
            told = await call("get_open_positions")
            assert (told["code"], told["retryable"]) == ("issuer_unavailable", True)


@pytest.mark.parametrize(
    ("token", "code"),
    [
        (fresh(ed25519("k-1", "thief")), "token_invalid"),
        (fresh(ed25519(), iat=1, exp=2), "token_expired"),
        (fresh(ed25519(), aud="elsewhere"), "token_invalid"),
    ],
    ids=["forged", "expired", "for another server"],
)
async def test_stdio_ends_at_once_on_a_token_that_is_not_believed(
    tmp_path: Path, token: str, code: str
) -> None:
    """The person at the desktop is told at the start, not by a failing tool."""
    given = NO_BOX | {"MCP_GATEWAY_ISSUERS_FILE": str(three_issuers(tmp_path))}
    env = environment(tmp_path, MCP_GATEWAY_TOKEN=token, **given)
    ended = await anyio.to_thread.run_sync(lambda: run("stdio", folder=tmp_path, env=env))
    assert (ended.returncode, ended.stdout) == (1, "")
    assert f"{code}: " in ended.stderr
    assert token.split(".")[2] not in ended.stderr
