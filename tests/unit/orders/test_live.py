"""Real money: three have to agree for each order, and every answer says which money it was."""

from collections.abc import AsyncIterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import httpx2
import pytest

from mcp_gateway.domain.positions import Mode
from mcp_gateway.risk.policy import Limits, Policy
from mcp_gateway.transports import documents
from tests.support.clock import ManualClock
from tests.support.desk import Desk, admission, lost, open_desk, order, refused, stored
from tests.support.policy import POLICY
from tests.support.previews import preview_id, refused_with
from tests.support.tradingbot import TradingBot

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

DRY_RUN = admission(operation="dry_run_order")
UNWRITTEN: Policy = replace(POLICY, written=False)


@pytest.fixture
async def live(tmp_path: Path, bot: TradingBot, clock: ManualClock) -> AsyncIterator[Desk]:
    """A floor before a bot that trades real money, as its operator says too."""
    bot.dry_run = False
    async with open_desk(tmp_path, bot, clock, mode="live") as opened:
        yield opened


async def test_where_all_agree_an_order_is_placed_and_says_that_it_is_live(live: Desk) -> None:
    """Configuration, the bot itself; the scope is the gate's."""
    wanted = order()
    created = await live.orders.create(admission(), wanted)
    assert (created.answer["outcome"], created.answer["mode"]) == ("placed", "live")
    assert (await stored(live, wanted)).mode == "live"
    assert (await live.orders.get(admission(), wanted.request_id))["mode"] == "live"


@pytest.mark.parametrize(
    ("declared", "dry_run"), [("live", True), ("dry-run", False)], ids=["bot_is_dry", "bot_is_live"]
)
@pytest.mark.parametrize("side", ["buy", "sell"])
async def test_a_bot_in_another_mode_gets_no_order(
    tmp_path: Path, bot: TradingBot, clock: ManualClock, declared: Mode, dry_run: bool, side: str
) -> None:
    """Neither way, and neither side: whoever started it meant something else."""
    bot.dry_run = dry_run
    async with open_desk(tmp_path, bot, clock, mode=declared) as desk:
        error = await refused(desk, order(side=side))
        told = await desk.orders.preview(DRY_RUN, order(side=side))
    assert error.code == "mode_mismatch"
    assert (told.valid, told.preview_id) == (False, None)
    assert bot.posts == []


async def test_the_bots_mode_is_read_for_each_order(live: Desk) -> None:
    """A bot is started anew in another mode, and the very next order is denied."""
    assert (await live.orders.create(admission(), order())).answer["outcome"] == "placed"
    live.bot.dry_run = True
    assert (await refused(live, order(pair="ETH/USDT"))).code == "mode_mismatch"
    live.bot.dry_run = False
    created = await live.orders.create(admission(), order(pair="ETH/USDT"))
    assert created.answer["outcome"] == "placed"


async def test_a_bot_that_changed_behind_the_preview_gets_no_order(live: Desk) -> None:
    """What was seen holds for the mode in which it was seen."""
    wanted = order()
    preview = await preview_id(live, wanted)
    live.bot.dry_run = True
    assert (await refused_with(live, wanted, preview)).code == "mode_mismatch"
    assert live.bot.posts == []


async def test_without_a_written_policy_no_real_money_is_spent(
    tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> None:
    """The rule stands behind the refusal to start; what is held may still be sold."""
    bot.dry_run = False
    async with open_desk(tmp_path, bot, clock, mode="live") as desk:
        await desk.orders.create(admission(), order())
    async with open_desk(tmp_path, bot, clock, mode="live", policy=UNWRITTEN) as desk:
        assert (await refused(desk, order(pair="ETH/USDT"))).code == "live_needs_policy"
        sold = await desk.orders.create(admission(), order(side="sell"))
    assert sold.answer["outcome"] == "placed"


async def test_every_answer_about_a_live_order_says_so(live: Desk) -> None:
    """Placed or not: a denial and an unknown too."""
    told = await live.orders.preview(DRY_RUN, order(amount="0.1"))
    assert documents.preview(told)["mode"] == "live"
    denied = await refused(live, order(amount="1000"))
    assert denied.public()["mode"] == "live"
    wanted = await lost(live)
    unknown = await refused(live, wanted)
    assert (unknown.code, unknown.public()["mode"]) == ("outcome_unknown", "live")
    state = await live.orders.get(admission(), wanted.request_id)
    assert state["mode"] == "live"


async def test_an_order_that_waits_for_a_person_says_that_it_is_live(
    tmp_path: Path, bot: TradingBot, clock: ManualClock
) -> None:
    """In its answer, and for as long as it waits."""
    bot.dry_run = False
    line = replace(POLICY, defaults=Limits(approval_above=Decimal(50)))
    wanted = order()
    async with open_desk(tmp_path, bot, clock, mode="live", policy=line) as desk:
        held = await desk.orders.create(admission(), wanted)
        state = await desk.orders.get(admission(), wanted.request_id)
    assert (held.answer["outcome"], held.answer["mode"]) == ("pending_approval", "live")
    assert (state["outcome"], state["mode"]) == ("pending_approval", "live")


async def test_the_audit_log_says_which_money_it_was(live: Desk) -> None:
    """Each row of an order's life."""
    await live.orders.create(admission(), order())
    rows = [row.event for row in await live.audit_log.tail(100)]
    modes = {row.detail["mode"] for row in rows if row.event.startswith("order.")}
    assert modes == {"live"}


class Turning(TradingBot):
    """A bot that is started anew with real money right behind one of its answers."""

    turns_behind = ""
    fails_from_then = False
    has_turned = False

    async def _answer(self, request: httpx2.Request) -> httpx2.Response:
        endpoint = request.url.path.removeprefix("/api/v1/")
        if self.has_turned and self.fails_from_then and endpoint == "show_config":
            return httpx2.Response(500)
        told = await super()._answer(request)
        if endpoint == self.turns_behind:
            self.has_turned = True
            self.dry_run = False
        return told


@pytest.mark.parametrize("behind", ["show_config", "status"])
async def test_a_bot_that_turns_live_amid_the_questions_of_a_sell_sells_nothing(
    tmp_path: Path, clock: ManualClock, behind: str
) -> None:
    """Its mode is read once more, behind everything else."""
    bot = Turning(clock)
    async with open_desk(tmp_path, bot, clock) as desk:
        await desk.orders.create(admission(), order())
        bot.turns_behind = behind
        assert (await refused(desk, order(side="sell"))).code == "mode_mismatch"
    assert len(bot.posts) == 1


async def test_a_second_look_at_the_mode_that_fails_traps_no_sell(
    tmp_path: Path, clock: ManualClock
) -> None:
    """Exits are never trapped by an answer that they do not need."""
    bot = Turning(clock)
    async with open_desk(tmp_path, bot, clock) as desk:
        await desk.orders.create(admission(), order())
        bot.turns_behind, bot.fails_from_then = "status", True
        sold = await desk.orders.create(admission(), order(side="sell"))
    assert sold.answer["outcome"] == "placed"
