"""The real Freqtrade on the simulated exchange, one for each pytest worker.

A test that asks for it carries ``@pytest.mark.xdist_group("bot")``, so that the scheduler
can keep them together; where it does not, each worker starts a bot of its own.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass

import httpx2
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal

from mcp_gateway.clock import Clock
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.sandbox.bot import Sandbox, SandboxOptions, open_sandbox
from mcp_gateway.sandbox.installation import Installation

BOT_TIMEOUT_S = 30.0


def tell(message: str) -> None:
    """Show progress where pytest captures it, and where a person sees it."""
    print(message, file=sys.stderr, flush=True)


async def install_bot() -> None:
    """Install Freqtrade unless it is there; takes longer than a test may."""
    await Installation().install(tell, Clock())


@dataclass(frozen=True)
class BotPower:
    """The bot's switch, for tests of any event loop or none."""

    sandbox: Sandbox
    portal: BlockingPortal

    def kill(self) -> None:
        """End the bot as a crash would."""
        self.portal.call(self.sandbox.kill_bot)

    def stop(self) -> None:
        """End the bot in good order."""
        self.portal.call(self.sandbox.stop_bot)

    def start(self) -> None:
        """Start the bot again with the trades that it had, and wait until it is ready."""
        self.portal.call(self.sandbox.start_bot)

    def last_words(self) -> str:
        """Wait until the bot is gone and return what a user is told."""
        return self.portal.call(self.sandbox.wait_dead)


@pytest.fixture(scope="session")
def bot_portal() -> Iterator[BlockingPortal]:
    """A thread with an event loop of its own, in which the sandbox lives."""
    with start_blocking_portal("asyncio") as portal:
        yield portal


@pytest.fixture(scope="session")
def real_bot(bot_portal: BlockingPortal) -> Iterator[Sandbox]:
    """A running Freqtrade in dry-run; shared, so a test leaves it as it found it."""
    opened = open_sandbox(SandboxOptions(), tell)
    with bot_portal.wrap_async_context_manager(opened) as sandbox:
        yield sandbox


@pytest.fixture(scope="session")
def bot_power(bot_portal: BlockingPortal, real_bot: Sandbox) -> BotPower:
    """The switch of the real bot; whoever turns it off turns it on again."""
    return BotPower(real_bot, bot_portal)


@pytest.fixture
def bot_api(real_bot: Sandbox) -> Iterator[httpx2.Client]:
    """Freqtrade's API itself, each call on a fresh connection, for looking behind the gateway."""
    with httpx2.Client(
        base_url=f"{real_bot.freqtrade_url}/api/v1/",
        auth=(real_bot.freqtrade_username, real_bot.freqtrade_password),
        timeout=BOT_TIMEOUT_S,
        limits=httpx2.Limits(max_keepalive_connections=0),
        trust_env=False,
    ) as client:
        yield client


@pytest.fixture
def exchange_control(real_bot: Sandbox) -> Iterator[httpx2.Client]:
    """The exchange's control calls: ``post("faults", json=…)``, ``shock``, ``reset``."""
    url = f"{real_bot.exchange_url}/control/"
    with httpx2.Client(base_url=url, timeout=BOT_TIMEOUT_S, trust_env=False) as client:
        yield client


@pytest.fixture
def clean_bot(
    real_bot: Sandbox, bot_api: httpx2.Client, exchange_control: httpx2.Client
) -> Iterator[Sandbox]:
    """The real bot without a trade, a lock or a fault, before the test and after it."""
    wipe(bot_api, exchange_control)
    yield real_bot
    wipe(bot_api, exchange_control)


def wipe(bot_api: httpx2.Client, exchange_control: httpx2.Client) -> None:
    """Remove every trade, lock, fault and shock, and let the bot run."""
    exchange_control.post("reset").raise_for_status()
    # An unfilled trade goes with its order; an exit leaves a lock until the next candle.
    open_trades = bot_api.get("status").raise_for_status().json()
    closed = bot_api.get("trades").raise_for_status().json()["trades"]
    for trade in [*open_trades, *closed]:
        bot_api.delete(f"trades/{trade['trade_id']}").raise_for_status()
    for lock in bot_api.get("locks").raise_for_status().json()["locks"]:
        bot_api.delete(f"locks/{lock['id']}").raise_for_status()
    bot_api.post("start").raise_for_status()


def connect(bot: Sandbox, *, order_timeout_s: float = 45, password: str = "") -> FreqtradeClient:
    """Return a client of the bot, with its password or another."""
    return FreqtradeClient(
        bot.freqtrade_url,
        bot.freqtrade_username,
        password or bot.freqtrade_password,
        pool_size=4,
        read_timeout_s=15,
        order_timeout_s=order_timeout_s,
        clock=Clock(),
    )
