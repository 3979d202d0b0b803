"""What an operator is told of an order that nobody has sent: the same as its agent would be."""

from pathlib import Path
from typing import Any

import pytest

from mcp_gateway.orders.sending.explain import explain
from mcp_gateway.risk.rules import RULES
from tests.support.clock import ManualClock
from tests.support.desk import PAIR, Desk, admission, open_desk, order
from tests.support.tradingbot import TradingBot

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


async def explained(desk: Desk, agent: str = "agent-a", **changes: Any) -> dict[str, Any]:
    """Explain a buy of one, but for what a test changes; tokens here are another issuer's."""
    args = {"agent": agent, "pair": PAIR, "side": "buy", "amount": "1"} | changes
    return await explain(desk.reconciler.submission, args, "an-issuer-of-nobody")


@pytest.mark.parametrize(
    "changes",
    [{}, {"amount": "1000"}, {"pair": "XRP/USDT"}, {"side": "sell"},
     {"price": "100", "order_type": "limit"}, {"price": "300", "order_type": "limit"}],
)  # fmt: skip
async def test_it_says_what_a_dry_run_says(changes: dict[str, Any], tmp_path: Path) -> None:
    """The same rules on the same facts, and the same verdict."""
    clock = ManualClock()
    async with open_desk(tmp_path, TradingBot(clock), clock) as desk:
        preview = await desk.orders.preview(admission(operation="dry_run_order"), order(**changes))
        told = await explained(desk, **{k: v for k, v in changes.items() if k != "order_type"})
    assert told["codes"] == [error.partition(":")[0] for error in preview.errors]
    assert (told["outcome"] == "denied") == (not preview.valid)
    assert told["policy"] == preview.policy
    rows = {row["rule"]: row for row in told["rules"]}
    for check in preview.checks:
        row = rows[check.rule]
        assert row["result"] == ("passed" if check.passed else "failed")
        assert (row["limit"], row["value"], row["left"]) == (check.limit, check.value, check.left)


async def test_nothing_is_sent_and_nothing_is_written(tmp_path: Path) -> None:
    """Neither an order nor a row: it may be asked as often as anybody likes."""
    clock = ManualClock()
    async with open_desk(tmp_path, TradingBot(clock), clock) as desk:
        await explained(desk)
        assert await desk.ledger.recent(limit=9) == ()
        assert await desk.events() == []
        assert desk.bot.posts == []


async def test_a_sell_is_judged_as_that_of_the_agent_who_bought(tmp_path: Path) -> None:
    """An agent is known by the issuer of its own orders; of another's nothing may be sold."""
    clock = ManualClock()
    async with open_desk(tmp_path, TradingBot(clock), clock) as desk:
        await desk.orders.create(admission(), order())
        assert (await explained(desk, side="sell"))["outcome"] == "placed"
        another = await explained(desk, "agent-b", side="sell")
    assert another["codes"] == ["position_not_yours"]
    assert {row["rule"] for row in another["rules"]} == {
        rule.code for rule in RULES if rule.binding("sell")
    }
