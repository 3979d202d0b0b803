"""Around the limits: by numbers that vanish, in the moment of a change, by what can't be read."""

from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from pydantic import ValidationError

from mcp_gateway.errors import ConfigurationError, PreviewRefused
from mcp_gateway.freqtrade.orders import Exit
from mcp_gateway.risk.case import lost
from mcp_gateway.risk.changes import Changes
from mcp_gateway.risk.document import load_policy
from mcp_gateway.risk.policy import Limits
from tests.support.clock import ManualClock
from tests.support.desk import Desk, admission, order, refused
from tests.support.judged import AGENT
from tests.support.policies import TRADE, World, policy
from tests.support.policy import POLICY
from tests.support.tradingbot import TradingBot

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

LOSS_STOP = replace(POLICY, defaults=Limits(daily_loss=Decimal(50), wallet_share=None))


class AilingBot(TradingBot):
    """A bot of which one question may go unanswered."""

    sick = ""

    def _told(self, endpoint: str, params: httpx2.QueryParams) -> Any:
        if endpoint == self.sick:
            raise httpx2.ReadTimeout("slow")
        return super()._told(endpoint, params)


@pytest.fixture
def bot(clock: ManualClock) -> AilingBot:
    return AilingBot(clock)


@pytest.mark.parametrize("number", ["1e-19", "1e-1000030", "1e-99999999", "1e-999999999"])
@pytest.mark.parametrize("name", ["amount", "price"])
def test_a_number_that_would_vanish_is_refused(name: str, number: str) -> None:
    """As a float it is 0, which the bot reads as everything; written out it fills a disk."""
    with pytest.raises(ValidationError, match="at most 18 decimals"):
        order(order_type="limit", **({"price": "1"} | {name: number}))


def test_what_a_float_makes_nothing_of_is_never_sent() -> None:
    """The last door before the wire."""
    with pytest.raises(ValueError, match="above 0"):
        Exit(1, Decimal("1e-400"), "market", None)


@pytest.mark.parametrize("rules", [LOSS_STOP])
async def test_a_loss_of_this_moment_counts(desk: Desk, bot: AilingBot, clock: ManualClock) -> None:
    """Closed a second ago, and the list of closed trades was read before: it is read again."""
    await desk.orders.create(admission(), order())
    await desk.watch.look()
    clock.advance(1)
    held = str(bot.status[0]["amount"])
    await desk.orders.create(admission(), order(side="sell", amount=held))
    closed_at = int(clock.now().timestamp() * 1000)
    bot.closed[0] |= {"close_profit_abs": -60.0, "close_timestamp": closed_at}
    assert (await refused(desk, order(pair="ETH/USDT"))).code == "daily_loss"


def test_a_trade_that_can_not_be_read_is_no_trade_without_loss() -> None:
    """What nobody knows may be a loss; only an entry of which nothing is filled has none."""
    base = World(order(), False, 1.0, "own", (), None, None, ())._facts(policy())
    told = replace(base, owners={"gw:1": AGENT}, closed_today=())
    unreadable = replace(TRADE, tag="gw:1", profit=None, amount=Decimal(0), readable=False)
    resting = replace(unreadable, readable=True)
    closed = replace(resting, is_open=False)
    assert lost(replace(told, open_trades=(unreadable,)), AGENT) is None
    assert lost(replace(told, open_trades=(resting,)), AGENT) == 0
    assert lost(replace(told, open_trades=(), closed_today=(closed,)), None) is None
    assert lost(replace(told, closed_today=None), AGENT) is None


@pytest.mark.parametrize("text", ["", "# nothing\n", "\n\n"])
def test_an_emptied_file_is_no_policy(text: str, tmp_path: Path) -> None:
    """A full disk or a slip of the hand must not lift every limit."""
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match="is empty"):
        load_policy(path)


async def test_a_sell_needs_no_health(desk: Desk, bot: AilingBot, clock: ManualClock) -> None:
    """No rule of an exit asks when the bot was started."""
    await desk.orders.create(admission(), order())
    clock.advance(31)
    bot.sick = "health"
    held = str(bot.status[0]["amount"])
    sold = await desk.orders.create(admission(), order(side="sell", amount=held))
    assert sold.answer["status"] == "filled"


async def test_a_sell_needs_no_price(desk: Desk, bot: AilingBot, clock: ManualClock) -> None:
    """Neither ticker nor candles answer: the position can be left all the same."""
    await desk.orders.create(admission(), order())
    bot.status[0]["current_rate"] = None
    clock.advance(10)
    bot.hold = anyio.Event()
    held = str(bot.status[0]["amount"])
    with anyio.fail_after(4):
        sold = await desk.orders.create(admission(), order(side="sell", amount=held))
    assert sold.answer["status"] == "filled"


async def changed_while_asked(desk: Desk, bot: AilingBot, change: Any) -> str:
    """Send an entry, change something while its facts are gathered, and return its code."""
    codes = []
    bot.hold = anyio.Event()
    async with anyio.create_task_group() as group:

        async def buy() -> None:
            codes.append((await refused(desk, order())).code)

        group.start_soon(buy)
        while "pair_candles" not in bot.calls:  # noqa: ASYNC110  (what the bot was asked is no event)
            await anyio.sleep(0.01)
        change()
        bot.hold.set()
    assert bot.posts == []
    return codes[0]


async def test_a_policy_that_tightens_binds_orders_under_way(desk: Desk, bot: AilingBot) -> None:
    """It is the one of the moment in which the decision is written down."""
    stricter = replace(POLICY, defaults=Limits(enabled=False))
    in_force = partial(desk.policies._put_in_force, stricter, Changes())
    code = await changed_while_asked(desk, bot, in_force)
    assert code == "agent_disabled"


async def test_a_bot_that_turns_live_gets_no_order_of_a_dry_run(desk: Desk, bot: AilingBot) -> None:
    """Its mode is read last of all that is asked."""
    assert await changed_while_asked(desk, bot, lambda: setattr(bot, "dry_run", False)) == (
        "mode_mismatch"
    )


@pytest.mark.parametrize(
    "rules", [replace(POLICY, defaults=Limits(repeats=1, orders_per_minute=1))]
)
async def test_a_repeater_is_halted_whatever_else_denies_it(desk: Desk) -> None:
    """The rule that comes first in the table must not shield it."""
    await desk.orders.create(admission(), order())
    await refused(desk, order())
    [halt] = await desk.halts.in_force()
    assert (halt.scope, halt.code) == ("agent", "repeat_throttle")


async def test_a_used_preview_leaves_nothing_behind(desk: Desk) -> None:
    """What was never written down is nobody's to take up."""
    wanted = order()
    seen = await desk.orders.preview(admission(operation="dry_run_order"), wanted)
    await desk.orders.create(admission(), wanted, seen.preview_id)
    for _ in range(3):
        with pytest.raises(PreviewRefused):
            await desk.orders.create(admission(), order(), seen.preview_id)
    await desk.reconciler.recover()
    assert desk.reconciler.submission.left == set()
