"""64 agents before a real Freqtrade, and the kill switch: entries stop, exits go on."""

import random
from functools import partial
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import httpx2
import pytest

from mcp_gateway.domain.orders import OrderRequest
from mcp_gateway.errors import GatewayError
from mcp_gateway.gateway import Gateway, open_gateway
from mcp_gateway.sandbox.bot import Sandbox
from tests.journeys.floor import HELD, Floor, Trader, doors_before, prices, until
from tests.support.desk import admission
from tests.support.gateway import settings_for
from tests.support.halting import halted, resumed

pytestmark = [pytest.mark.integration, pytest.mark.anyio, pytest.mark.xdist_group("bot")]

AGENTS = 64
HALTS = 10
BETWEEN = 5  # entries from one halt to the next
FEWEST_CAUGHT = 4  # of six
TOLD_S = 1.0  # what the bot had before a halt is told by then


class Within:
    """Agents in the gateway's own process."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def create(self, agent: str, wanted: OrderRequest) -> dict[str, Any]:
        """Send an order."""
        try:
            return (await (await self._gateway.orders()).create(admission(agent), wanted)).answer
        except GatewayError as error:
            return {"code": error.code}

    async def cancel(self, agent: str, request_id: UUID) -> bool:
        """Cancel an order."""
        try:
            orders = await self._gateway.orders()
            await orders.cancel(admission(agent, "cancel_order"), request_id)
        except GatewayError:  # the bot does not show it yet
            return False
        return True


async def by_the_switch(gateway: Gateway) -> object:
    """Halt as the command line and REST do."""
    return await halted((await gateway.books()).halts)


async def by_the_file(gateway: Gateway) -> object:
    """Halt from outside, as somebody who can reach nothing but the disk."""
    path = gateway.settings.data_dir / "HALT"
    return await anyio.to_thread.run_sync(path.write_text, "stop")


WAYS = {"switch": by_the_switch, "file": by_the_file}


@pytest.mark.parametrize("seed", [4, 5])
async def test_no_entry_leaves_later_than_a_tenth_of_a_second_after_a_halt(
    seed: int, clean_bot: Sandbox, bot_api: httpx2.Client, tmp_path: Path
) -> None:
    """64 agents trade, halted over and over: no entry is sent then, and every exit is.

    Counted from the moment right before the person's call, up to the one at which the request
    has come to the bot's door. At six of ten halts an entry is on its way that the rules had
    let through, and that has no connection yet.
    """
    known = prices(bot_api)
    with doors_before(clean_bot) as (portal, [door]):
        settings = settings_for(
            tmp_path, freqtrade_url=door.url, freqtrade_username=clean_bot.freqtrade_username,
            freqtrade_password=clean_bot.freqtrade_password, policy=clean_bot.policy,
        )  # fmt: skip
        async with open_gateway(settings) as gateway, anyio.create_task_group() as group:
            books = await gateway.books()
            names = [f"agent-{n}" for n in range(AGENTS)]
            denials: list[tuple[str, float]] = []
            holder, *traders = [Trader(one, Within(gateway), known, denials) for one in names]
            floor = Floor(
                door, [door], frozenset(names), books.records.ledger, portal, random.Random(seed)
            )
            await holder.hold()
            for trader in traders:
                group.start_soon(trader.trade, floor.dice)
            await halt_over_and_over(floor, gateway, holder, bot_api)
            await until(lambda: state(bot_api) == "running")
            await floor.more(1)
            late, caught = await floor.verdict()
            group.cancel_scope.cancel()
    assert late == []
    assert caught >= FEWEST_CAUGHT
    assert len(floor.entries()) >= HALTS * BETWEEN
    assert denied_in(floor, denials) == {"trading_halted"}


async def halt_over_and_over(
    floor: Floor, gateway: Gateway, holder: Trader, bot_api: httpx2.Client
) -> None:
    """Halt and resume, a part of a position sold each time; the last halt is a long one."""
    for count in range(HALTS):
        await floor.more(BETWEEN)
        way = ("switch", "file")[count % 2]
        call = partial(WAYS[way], gateway)
        async with floor.halted(way, call, at_the_door=count % 4 < 2):
            await holder.sell_a_part()
            if count == HALTS - 1:
                await until(lambda: state(bot_api) == "paused")
                await until(lambda: pairs_at(bot_api) == {HELD})  # the rest is taken back
                await anyio.sleep(TOLD_S)
        await resumed((await gateway.books()).halts)


def denied_in(floor: Floor, denials: list[tuple[str, float]]) -> set[str]:
    """Return with what orders were denied while everything was halted."""
    return {
        code for one in floor.halts for code, at in denials if one.began + TOLD_S < at < one.ended
    }


def state(bot_api: httpx2.Client) -> str:
    """Return what the bot says of itself, past the gateway."""
    return str(bot_api.get("show_config").json()["state"])


def pairs_at(bot_api: httpx2.Client) -> set[str]:
    """Return the pairs in which the bot has a trade."""
    return {trade["pair"] for trade in bot_api.get("status").json()}
