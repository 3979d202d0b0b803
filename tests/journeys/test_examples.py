"""What examples/ shows is run: each as its own program, before a served gateway."""

import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from tests.house.repository import ROOT
from tests.support.gateway import HMAC_SECRET, TRADER
from tests.support.processes import serving, token
from tests.support.standin import TIMEFRAME, StandIn, stand_in

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))
MOST_LINES = 60
PATIENCE_S = 60


@asynccontextmanager
async def market(folder: Path) -> AsyncIterator[tuple[StandIn, dict[str, str]]]:
    """Serve a gateway before a bot; yield the bot, and what an example is told."""
    async with stand_in() as bot:
        with serving(folder, FREQTRADE_URL=bot.url) as gateway:
            told = {
                "URL": gateway.url, "TOKEN": token(), "KEY": HMAC_SECRET, "KEY_ID": TRADER,
                "TIMEFRAME": TIMEFRAME, "PATH": os.environ["PATH"],
            }  # fmt: skip
            yield bot, told


async def ran(name: str, env: dict[str, str], *words: str) -> subprocess.CompletedProcess[bytes]:
    """Run an example to its end."""
    command = [sys.executable, str(ROOT / "examples" / name), *words]
    with anyio.fail_after(PATIENCE_S):
        return await anyio.run_process(command, env=env, cwd="/", check=False)


@pytest.mark.parametrize("name", EXAMPLES)
async def test_an_example_places_one_order(tmp_path: Path, name: str) -> None:
    """As its first lines tell it; and refused by the gateway it says so and fails."""
    async with market(tmp_path) as (bot, told):
        done = await ran(name, told, "BTC/USDT", "1")
        assert done.returncode == 0, done.stderr.decode() + done.stdout.decode()
        assert b"placed" in done.stdout
        assert len(bot.bot.posts) == 1
        far_too_much = await ran(name, told, "BTC/USDT", "100000")
        assert far_too_much.returncode == 1, far_too_much.stderr.decode()
        assert b"Traceback" not in far_too_much.stderr
        assert len(bot.bot.posts) == 1


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_short_and_tells_how_to_run_it(name: str) -> None:
    """Who needs more than a page reads the documentation."""
    text = (ROOT / "examples" / name).read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MOST_LINES
    assert f"python examples/{name}" in text.split('"""')[1]
