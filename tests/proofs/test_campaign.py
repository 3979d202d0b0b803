"""The campaign in its small size: real Freqtrade, real gateway, both killed while orders run."""

import json
from pathlib import Path

import anyio
import pytest

from tests.proofs.campaign.report import document, table
from tests.proofs.campaign.run import Plan, campaign
from tests.support.bot import install_bot

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

SMALL = Plan(
    orders=10, agents=3, seed=7, quiet_s=5.0, order_timeout_s=4.0, gateway_every_s=2.5,
    bot_every_s=4.0, storm_s=1.5, most_deaths=1,
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def _installed() -> None:
    """What the campaign runs is installed before its time counts."""
    anyio.run(install_bot)


async def test_ledger_and_bot_agree_after_both_were_killed(tmp_path: Path) -> None:
    """Row by row: no order twice, none lost, no answer that proved untrue, nothing left open."""
    result = await campaign(SMALL, tmp_path)
    told = document(result)
    print(table(told))
    assert told["violations"] == [], json.dumps(told, indent=2)
    assert min(told["kills"].values()) >= 1
    assert told["rows"] == SMALL.orders
    assert told["outcomes"]["placed"] >= 1
    assert told["needs_review"] == []
