"""The order floor as fixtures: a clock that stands still, a bot, the policy, and a desk over them.

A module that wants another bot or another policy has a ``bot`` or ``rules`` of its own; the desk
follows.
"""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mcp_gateway.risk.policy import Policy
from tests.support.clock import ManualClock
from tests.support.desk import Desk, open_desk
from tests.support.policy import POLICY
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
def rules() -> Policy:
    """The policy of most tests."""
    return POLICY


@pytest.fixture
async def desk(
    tmp_path: Path, bot: TradingBot, clock: ManualClock, rules: Policy
) -> AsyncIterator[Desk]:
    """The order floor over a new store."""
    async with open_desk(tmp_path, bot, clock, policy=rules) as opened:
        yield opened
