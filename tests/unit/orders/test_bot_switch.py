"""A halt of everything pauses the bot; who paused it starts it again, and nobody else does."""

import httpx2
import pytest

from mcp_gateway.errors import GatewayError
from mcp_gateway.orders.halts.bot_switch import BotSwitch
from tests.support.desk import Desk, admission, order
from tests.support.halting import halted, resumed

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


async def test_a_halt_of_everything_pauses_the_bot_and_its_release_starts_it(desk: Desk) -> None:
    """POST /stopbuy, and POST /start when the last halt of everything is gone."""
    await halted(desk)
    await desk.switch.look()
    await desk.switch.look()
    assert (desk.bot.switches, desk.bot.state) == (["stopbuy"], "paused")
    assert (await desk.halts.in_force())[0].bot_paused
    await resumed(desk)
    await desk.switch.look()
    await desk.switch.look()
    assert (desk.bot.switches, desk.bot.state) == (["stopbuy", "start"], "running")
    assert (await desk.orders.create(admission(), order())).answer["outcome"] == "placed"


@pytest.mark.parametrize(
    "scope", [{"agent": "agent-a"}, {"pair": "BTC/USDT"}], ids=["agent", "pair"]
)
async def test_a_halt_of_a_part_leaves_the_bot_alone(desk: Desk, scope: dict[str, str]) -> None:
    """The strategy and the other agents go on."""
    await halted(desk, **scope)
    await desk.switch.look()
    assert desk.bot.switches == []


async def test_a_bot_that_a_person_paused_is_not_started(desk: Desk) -> None:
    """We did not pause it."""
    desk.bot.state = "paused"
    await halted(desk)
    await desk.switch.look()
    await resumed(desk)
    await desk.switch.look()
    assert (desk.bot.switches, desk.bot.state) == ([], "paused")


async def test_a_stopped_bot_is_not_asked_to_pause(desk: Desk) -> None:
    """Freqtrade starts a stopped bot, paused, when it is asked to pause (measured)."""
    desk.bot.state = "stopped"
    await halted(desk)
    await desk.switch.look()
    assert (desk.bot.switches, desk.bot.state) == ([], "stopped")


async def test_a_bot_that_was_stopped_meanwhile_is_not_started(desk: Desk) -> None:
    """Somebody decided otherwise."""
    await halted(desk)
    await desk.switch.look()
    desk.bot.state = "stopped"
    await resumed(desk)
    await desk.switch.look()
    desk.bot.state = "paused"  # later, and by somebody else
    await desk.switch.look()
    assert desk.bot.switches == ["stopbuy"]


async def test_the_bot_is_started_when_the_last_halt_of_everything_goes(desk: Desk) -> None:
    """That we paused it goes over to the halt that is left."""
    first = await halted(desk)
    await desk.switch.look()
    desk.halts.local.file.write("and stop")
    await desk.halts.refresh()
    await resumed(desk, first.id)
    await desk.switch.look()
    assert desk.bot.switches == ["stopbuy"]
    await resumed(desk)
    await desk.switch.look()
    assert desk.bot.switches == ["stopbuy", "start"]


async def test_a_bot_that_is_away_is_paused_when_it_is_back(desk: Desk) -> None:
    """Asked until it says paused."""
    await halted(desk)
    desk.bot.fails = httpx2.ConnectError("refused")
    with pytest.raises(GatewayError):
        await desk.switch.look()
    desk.bot.fails = None
    await desk.switch.look()
    assert desk.bot.state == "paused"


async def test_a_bot_that_comes_back_running_is_paused_again(desk: Desk) -> None:
    """A restart begins with what its configuration says."""
    await halted(desk)
    await desk.switch.look()
    desk.bot.restart()
    desk.bot.state = "running"
    await desk.switch.look()
    assert desk.bot.state == "paused"
    await resumed(desk)
    await desk.switch.look()
    assert desk.bot.state == "running"


async def test_another_process_starts_what_one_that_ended_has_paused(desk: Desk) -> None:
    """What is due follows from the store, so that a crash is no matter."""
    await halted(desk)
    await desk.switch.look()
    await resumed(desk)
    other = BotSwitch(desk.store, desk.switch.bot, desk.clock, desk.halts.local)
    await other.look()
    assert desk.bot.state == "running"


async def test_with_the_store_down_the_bot_is_paused_and_that_is_remembered(desk: Desk) -> None:
    """The row and its mark follow when the store is back."""
    await desk.store.close()
    await halted(desk)
    await desk.switch.look()
    assert desk.bot.state == "paused"
    await desk.store.open()
    await desk.halts.refresh()
    await desk.switch.look()
    assert (await desk.halts.in_force())[0].bot_paused
    await resumed(desk)
    await desk.switch.look()
    assert desk.bot.state == "running"


async def test_a_bot_paused_just_behind_a_release_is_started(desk: Desk) -> None:
    """Another gateway releases the last halt while this one, which knows it still, pauses."""
    record = await halted(desk)
    await resumed(desk)
    desk.halts.local.know([record])  # an older word of the store's
    await desk.switch.look()
    assert desk.bot.state == "paused"
    await desk.halts.refresh()
    await desk.switch.look()
    assert desk.bot.state == "running"
