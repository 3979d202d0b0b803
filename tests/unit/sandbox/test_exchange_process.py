"""The simulated exchange as a process: where it listens, and how it drops a connection."""

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx2
import pytest

from mcp_gateway.sandbox.children import Child, start_child

pytestmark = [pytest.mark.integration, pytest.mark.anyio]


async def start(folder: Path, port: int) -> Child:
    return await start_child(
        [sys.executable, "-m", "mcp_gateway.sandbox.exchange", "--port", str(port)],
        folder=folder,
        environment=None,
        log=folder / "exchange.log",
        talks=True,
    )


@pytest.fixture
async def url(tmp_path: Path) -> AsyncIterator[str]:
    child = await start(tmp_path, 0)
    try:
        yield json.loads(await child.line() or "{}")["url"]
    finally:
        await child.stop()


async def test_it_tells_where_it_listens_on_loopback(url: str) -> None:
    """The one line on stdout is enough to call it."""
    assert url.startswith("http://127.0.0.1:")
    async with httpx2.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{url}/api/v3/ping")).json() == {}


async def test_a_dropped_connection_gives_no_answer_and_the_next_call_is_well(url: str) -> None:
    """A drop is a reset, not a status: the caller cannot know what became of its call."""
    async with httpx2.AsyncClient(base_url=url, trust_env=False) as client:
        await client.post("/control/faults", json={"match": "depth", "drop": True})
        with pytest.raises((httpx2.ReadError, httpx2.RemoteProtocolError)):
            await client.get("/api/v3/depth", params={"symbol": "BTCUSDT"})
        answer = await client.get("/api/v3/depth", params={"symbol": "BTCUSDT"})
        assert answer.status_code == 200


async def test_a_busy_port_ends_it_without_a_line(url: str, tmp_path: Path) -> None:
    """The starter sees the end of stdout and an exit code, and can say so."""
    second = tmp_path / "second"
    second.mkdir()
    child = await start(second, int(url.rpartition(":")[2]))
    try:
        assert await child.line() is None
        with anyio.fail_after(10):
            assert await child.wait() != 0
    finally:
        await child.stop()
