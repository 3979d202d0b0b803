"""Tokens revoked while gateways run: how soon each of them refuses, and what outlives a restart."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx2
import pytest

from mcp_gateway.transports.control import ask
from tests.support.processes import Serving, environment, run, serving, token
from tests.support.servers import Child

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

ONE_NODE_S = 1.0
FLEET_S = 2.0
PATIENCE_S = 20.0
REASON = "its laptop was stolen"
BELIEVED = "bot_unreachable"  # what a read comes to that is let in
NO_QUOTA = {
    "RATE_LIMIT_PER_MINUTE": "1000000",
    "MCP_GATEWAY_SERVER_RATE_LIMIT_PER_MINUTE": "1000000",
    "MCP_GATEWAY_DOOR_RATE_LIMIT_PER_MINUTE": "1000000",
}


@pytest.fixture
def fleet(postgres_url: str, tmp_path: Path) -> Iterator[list[Serving]]:
    """Two gateways with folders of their own on one PostgreSQL."""
    settings = {"DATABASE_URL": postgres_url, **NO_QUOTA}
    folders = [tmp_path / name for name in ("one", "other")]
    for folder in folders:
        folder.mkdir()
    upgrade = run("db", "upgrade", folder=folders[0], env=environment(folders[0], **settings))
    assert upgrade.returncode == 0, upgrade.stderr
    with serving(folders[0], **settings) as one, serving(folders[1], **settings) as other:
        yield [one, other]


def spoken(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


async def code_of(http: httpx2.AsyncClient, served: Serving, text: str) -> str:
    """Return how a read of this token ends; there is no bot, so a believed one finds none."""
    told = await http.get(f"{served.rest_url}/positions/open", headers=spoken(text))
    code: str = told.json()["code"]
    return code


async def refused_after(
    http: httpx2.AsyncClient, served: Serving, text: str, began: float
) -> float:
    """Call until the token is refused as revoked; return the seconds since it began."""
    with anyio.fail_after(PATIENCE_S):
        while await code_of(http, served, text) != "token_revoked":  # noqa: ASYNC110 (asked again, as agents do)
            await anyio.sleep(0.02)
    return time.monotonic() - began


async def asked(served: Serving, verb: str, **args: Any) -> Any:
    """Ask a gateway as the command line does once it has started."""
    socket = served.data_dir / "control.sock"
    return await anyio.to_thread.run_sync(lambda: ask(socket, verb, args))


@pytest.mark.parametrize("by", ["jti", "subject"])
async def test_a_token_revoked_at_one_gateway_is_refused_by_the_fleet(
    fleet: list[Serving], by: str
) -> None:
    """Within 1 s where it was revoked and 2 s everywhere, remembered as verified or not."""
    one, other = fleet
    text = token()
    took: dict[str, float] = {}
    async with httpx2.AsyncClient(trust_env=False, timeout=30) as http:
        for served in fleet:  # both have it in their caches
            assert await code_of(http, served, text) == BELIEVED
        told = await asked(one, "token.inspect", token=text)
        assert (told["believed"], told["revoked"]) == (True, False)
        began = time.monotonic()

        async def watch(name: str, served: Serving) -> None:
            took[name] = await refused_after(http, served, text, began)

        async with anyio.create_task_group() as group:
            group.start_soon(watch, "one", one)
            group.start_soon(watch, "other", other)
            named = told[by]
            await asked(one, "token.revoke", **{by: named}, reason=REASON)
        fresh = token()
        for served in fleet:
            assert await code_of(http, served, fresh) == BELIEVED
    print(f"revoked by {by}: {took['one']:.2f} s there, {took['other']:.2f} s at the other")
    assert took["one"] <= ONE_NODE_S
    assert took["other"] <= FLEET_S
    [row] = await asked(other, "audit.tail", event="token.revoked")
    assert row["detail"]["reason"] == REASON
    assert row["detail"]["by"]


async def test_the_command_revokes_without_a_gateway_and_the_next_one_knows(tmp_path: Path) -> None:
    """The row is read before the first token is believed."""
    env = environment(tmp_path, **NO_QUOTA)
    text = token()
    with serving(tmp_path, **NO_QUOTA) as served:
        async with httpx2.AsyncClient(trust_env=False, timeout=30) as http:
            assert await code_of(http, served, text) == BELIEVED

    def command(*words: str, text: str = "") -> Any:
        return run("token", *words, folder=tmp_path, env=env, text=text)

    jti = command("inspect", "--json", text=text).stdout.split('"jti": "')[1].split('"')[0]
    revoked = command("revoke", "--jti", jti, "--reason", REASON)
    assert revoked.returncode == 0, revoked.stderr
    with serving(tmp_path, **NO_QUOTA) as served:
        async with httpx2.AsyncClient(trust_env=False, timeout=30) as http:
            assert await code_of(http, served, text) == "token_revoked"
            assert await code_of(http, served, token()) == BELIEVED
    told = command("inspect", text=text)
    assert told.returncode == 1
    assert REASON in told.stdout
    assert text.rpartition(".")[2] not in told.stdout


async def test_with_the_store_down_the_last_list_holds(own_postgres: Child, tmp_path: Path) -> None:
    """Who was revoked stays out, reads of others go on, and once it is back all is as it was."""
    settings = {"DATABASE_URL": own_postgres.url, **NO_QUOTA}
    env = environment(tmp_path, **settings)
    assert run("db", "upgrade", folder=tmp_path, env=env).returncode == 0
    stolen, good = token(), token(subject="another-agent")
    with serving(tmp_path, **settings) as served:
        async with httpx2.AsyncClient(trust_env=False, timeout=30) as http:
            await asked(served, "token.revoke", subject="signal-agent", reason=REASON)
            assert await code_of(http, served, stolen) == "token_revoked"
            await anyio.to_thread.run_sync(own_postgres.stop)
            await anyio.sleep(1.5)  # the process looks at its store, and finds none
            assert await code_of(http, served, stolen) == "token_revoked"
            assert await code_of(http, served, good) == BELIEVED
            metrics = (await http.get(f"{served.url}/metrics")).text
            assert "mcp_gateway_revocations_stale 1.0" in metrics
            await anyio.to_thread.run_sync(own_postgres.start)
            began = time.monotonic()
            while "mcp_gateway_revocations_stale 0.0" not in metrics:
                assert time.monotonic() - began < PATIENCE_S
                await anyio.sleep(0.1)
                metrics = (await http.get(f"{served.url}/metrics")).text
            assert await code_of(http, served, stolen) == "token_revoked"
