"""The sandbox opens a real Freqtrade that serves candles and trades."""

import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import httpx2
import pytest

from mcp_gateway.sandbox.bot import Sandbox, SandboxOptions, open_sandbox
from mcp_gateway.sandbox.failures import SandboxFailed
from mcp_gateway.sandbox.market import PAIRS
from tests.support.bot import BotPower

pytestmark = [pytest.mark.integration, pytest.mark.anyio, pytest.mark.xdist_group("bot")]

OPENER = """
import anyio
from mcp_gateway.sandbox.bot import SandboxOptions, open_sandbox

async def main():
    async with open_sandbox(SandboxOptions()) as sandbox:
        print(sandbox.freqtrade_pid, sandbox._exchange.pid, sandbox.folder, flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


def test_every_pair_has_a_long_history_of_candles(
    clean_bot: Sandbox, bot_api: httpx2.Client
) -> None:
    """Ready means that the bot has analysed each pair, as deep as Freqtrade keeps it."""
    for pair in PAIRS:
        answer = bot_api.get("pair_candles", params=f"pair={pair}&timeframe=5m&limit=1000").json()
        assert answer["length"] > 900, pair


def test_the_bot_tells_the_candles_of_the_exchange(
    clean_bot: Sandbox, bot_api: httpx2.Client
) -> None:
    """Nothing between the exchange and the bot changes a price or a volume."""
    told = bot_api.get("pair_candles", params="pair=ETH/USDT&timeframe=5m&limit=100").json()
    names = ("__date_ts", "open", "high", "low", "close", "volume")
    places = [told["columns"].index(name) for name in names]
    bots = [[row[place] for place in places] for row in told["data"]]
    query = {"symbol": "ETHUSDT", "interval": "5m", "startTime": bots[0][0], "limit": 100}
    klines = httpx2.get(f"{clean_bot.exchange_url}/api/v3/klines", params=query).json()
    assert bots == [[row[0], *map(float, row[1:6])] for row in klines[: len(bots)]]


def test_a_market_entry_fills_and_can_be_closed(clean_bot: Sandbox, bot_api: httpx2.Client) -> None:
    """Freqtrade's dry run matches a market order with the exchange's book at once."""
    order = {"pair": "BTC/USDT", "side": "long", "ordertype": "market", "stakeamount": 200}
    entered = bot_api.post("forceenter", json=order | {"entry_tag": "test"}).raise_for_status()
    trade = entered.json()
    assert trade["is_open"]
    assert not trade["has_open_orders"]
    assert trade["enter_tag"] == "test"
    assert trade["stake_amount"] == pytest.approx(200, rel=0.01)
    closing = {"tradeid": str(trade["trade_id"]), "ordertype": "market"}
    bot_api.post("forceexit", json=closing).raise_for_status()
    assert bot_api.get("status").json() == []


def test_a_limit_far_below_the_market_rests(clean_bot: Sandbox, bot_api: httpx2.Client) -> None:
    """A limit order waits for its price, and nothing cancels it meanwhile."""
    order = {"pair": "SOL/USDT", "side": "long", "ordertype": "limit", "price": 50.0}
    trade = bot_api.post("forceenter", json=order).raise_for_status().json()
    [resting] = bot_api.get("status").json()
    assert resting["trade_id"] == trade["trade_id"]
    assert resting["has_open_orders"]
    [waiting] = resting["orders"]
    assert waiting["is_open"]
    assert waiting["filled"] == 0
    assert waiting["safe_price"] == 50.0


def test_the_bot_holds_five_trades_and_ten_thousand(
    clean_bot: Sandbox, bot_api: httpx2.Client
) -> None:
    """The sandbox promises a dry-run wallet of 10,000 USDT, five slots and forced entries."""
    state = bot_api.get("show_config").json()
    assert state["dry_run"] is True
    assert state["force_entry_enable"] is True
    assert state["max_open_trades"] == 5
    assert state["timeframe"] == "5m"
    assert bot_api.get("balance").json()["total"] == pytest.approx(10_000)


def test_a_killed_bot_is_reported_and_keeps_its_trades(
    clean_bot: Sandbox, bot_api: httpx2.Client, bot_power: BotPower
) -> None:
    """A crash is told by exit code; a start on the same folder finds the trade again."""
    order = {"pair": "ADA/USDT", "side": "long", "ordertype": "market"}
    trade = bot_api.post("forceenter", json=order).raise_for_status().json()
    before = clean_bot.freqtrade_pid
    bot_power.kill()
    try:
        assert f"exit code {-signal.SIGKILL}" in bot_power.last_words()
        with pytest.raises(httpx2.ConnectError):
            bot_api.get("ping")
    finally:
        bot_power.start()
    assert clean_bot.freqtrade_pid != before
    [found] = bot_api.get("status").json()
    assert found["trade_id"] == trade["trade_id"]


async def test_a_bot_that_cannot_start_is_told_with_the_end_of_its_log() -> None:
    """A refusal of Freqtrade's own becomes one code, its log beside it, no traceback."""
    options = SandboxOptions(overrides={"exchange": {"name": "no-such-exchange"}})
    with pytest.raises(SandboxFailed) as failed:
        async with open_sandbox(options):
            pytest.fail("it opened")
    assert failed.value.code == "bot_died"
    assert any("no-such-exchange" in line for line in failed.value.log_tail)


async def test_an_exchange_that_ends_is_reported() -> None:
    """Without its exchange a bot answers ever older candles, so the user must be told."""
    async with open_sandbox(SandboxOptions()) as sandbox:
        os.kill(sandbox._exchange.pid, signal.SIGKILL)
        with anyio.fail_after(10):
            assert "exchange" in await sandbox.wait_dead()


def test_nothing_is_left_running_when_the_opener_is_killed(tmp_path: Path) -> None:
    """However the parent goes, SIGKILL included, the bot and the exchange end."""
    opener = subprocess.Popen(
        [sys.executable, "-c", OPENER],
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(tmp_path)},
    )
    with opener:
        assert opener.stdout is not None
        line = opener.stdout.readline()
        pids = [int(word) for word in line.split()[:2]]
        ends = [os.pidfd_open(pid) for pid in pids]
        opener.kill()
    for end in ends:
        # A pidfd is readable once its process has ended.
        readable, _, _ = select.select([end], [], [], 20)
        os.close(end)
        assert readable == [end]
