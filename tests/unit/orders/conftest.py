"""A desk for each test of the order floor."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.clock import ManualClock
from tests.support.desk import Desk, open_desk
from tests.support.tradingbot import TradingBot


@pytest.fixture
def clock() -> ManualClock:
    """Time stands still until a test moves it."""
    return ManualClock()


@pytest.fixture
def bot(clock: ManualClock) -> TradingBot:
    """A bot that does what it is told, until a test gives it faults."""
    return TradingBot(clock)


@pytest.fixture
async def desk(tmp_path: Path, bot: TradingBot, clock: ManualClock) -> AsyncIterator[Desk]:
    """The order floor over a new store."""
    async with open_desk(tmp_path, bot, clock) as opened:
        yield opened
