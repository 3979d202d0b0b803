"""Two gateways on one PostgreSQL before a real Freqtrade: halted at one, no entry leaves either."""

import os
import random
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import httpx2
import pytest

from mcp_gateway.clock import Clock
from mcp_gateway.domain.orders import OrderRequest
from mcp_gateway.orders.book.ledger import Ledger
from mcp_gateway.sandbox.bot import Sandbox
from mcp_gateway.storage.sql import Store
from mcp_gateway.transports.control import ask
from tests.journeys.door import Door
from tests.journeys.floor import Floor, Trader, doors_before, prices
from tests.support.processes import Serving, before, environment, run, serving, token
from tests.support.wires import TIMEOUT_S, signing

pytestmark = [pytest.mark.integration, pytest.mark.anyio, pytest.mark.xdist_group("bot")]

AGENTS = 32  # at each gateway
BETWEEN = 2  # entries through each gateway from one halt to the next
FEWEST_CAUGHT = 3  # of five
REASON = {"reason": "the agents buy tops"}
NO_QUOTA = {
    "RATE_LIMIT_PER_MINUTE": "1000000",
    "MCP_GATEWAY_SERVER_RATE_LIMIT_PER_MINUTE": "1000000",
}


@dataclass
class OverRest:
    """Agents at a gateway's REST face; one token speaks for all of them."""

    http: httpx2.AsyncClient
    url: str

    async def create(self, agent: str, wanted: OrderRequest) -> dict[str, Any]:
        """Send an order."""
        body = wanted.model_dump(mode="json", exclude_none=True) | {"agent": agent}
        told: dict[str, Any] = (await self.http.post(f"{self.url}/orders", json=body)).json()
        return told

    async def cancel(self, _agent: str, request_id: UUID) -> bool:
        """Cancel an order."""
        return (await self.http.delete(f"{self.url}/orders/{request_id}")).is_success


@dataclass
class Person:
    """Halts at one gateway, by everything that reaches it."""

    served: Serving
    folder: Path
    env: dict[str, str]

    async def by_the_socket(self) -> object:
        """Halt as `mcp-gateway halt` does once it has started."""
        return await self._asked("halt.set", REASON)

    async def by_rest(self) -> object:
        """Halt from afar."""
        auth = signing(token("ops:halt"))
        async with httpx2.AsyncClient(auth=auth, trust_env=False, timeout=TIMEOUT_S) as http:
            told = await http.post(f"{self.served.rest_url}/halts", json=REASON)
        return told.raise_for_status()

    async def by_signal(self) -> object:
        """Halt as whoever may send the process a signal."""
        os.kill(self.served.process.pid, signal.SIGUSR1)
        return None

    async def by_command(self) -> object:
        """Halt by the command, started and waited for."""
        told = await anyio.to_thread.run_sync(
            lambda: run("halt", "--reason", "tops", folder=self.folder, env=self.env)
        )
        assert told.returncode == 0, told.stderr
        return told

    async def resume(self) -> object:
        """Release every halt."""
        return await self._asked("halt.release", REASON | {"all": True})

    async def _asked(self, verb: str, args: dict[str, Any]) -> object:
        path = self.served.data_dir / "control.sock"
        return await anyio.to_thread.run_sync(ask, path, verb, args)


@asynccontextmanager
async def gateway(
    name: str, door: Door, bot: Sandbox, url: str, folder: Path, agents: list[str]
) -> AsyncIterator[tuple[Person, OverRest]]:
    """Serve on the shared database, with a data folder of its own."""
    own = folder / name
    own.mkdir()
    told = before(bot) | NO_QUOTA | {"DATABASE_URL": url, "FREQTRADE_URL": door.url}
    del told["FREQTRADE_WS_TOKEN"]  # the door passes no websocket
    auth = signing(token(act_for=agents))
    with serving(own, **told) as served:
        async with httpx2.AsyncClient(auth=auth, trust_env=False, timeout=TIMEOUT_S) as http:
            person = Person(served, own, environment(own, **told))
            yield person, OverRest(http, served.rest_url)


async def test_no_entry_leaves_another_gateway_later_than_a_tenth_of_a_second_after_a_halt(
    clean_bot: Sandbox, bot_api: httpx2.Client, postgres_url: str, tmp_path: Path
) -> None:
    """Halted at one process, both are; an exit goes through at the other.

    Counted from the moment right before the person's call (of a command behind it, for that
    starts a program first), up to the one at which the request has come to the bot's door,
    whichever gateway sent it. At every halt but the command's an entry is on its way from the
    *other* gateway that its rules had let through, and that has no connection yet.
    """
    known, dice = prices(bot_api), random.Random(6)
    names = [[f"{place}-{n}" for n in range(AGENTS)] for place in ("one", "other")]
    store = Store(postgres_url, data_dir=tmp_path)
    await store.open(migrates=True)
    with doors_before(clean_bot, 2) as (portal, doors):
        async with AsyncExitStack() as stack:
            stack.push_async_callback(store.close)
            (person, one), (_, other) = [
                await stack.enter_async_context(
                    gateway(agents[0], door, clean_bot, postgres_url, tmp_path, agents)
                )
                for agents, door in zip(names, doors, strict=True)
            ]
            floor = Floor(
                doors[1], doors, frozenset(names[1]), Ledger(store, Clock()), portal, dice
            )
            group = await stack.enter_async_context(anyio.create_task_group())
            traders = [
                Trader(name, wire, known, [])
                for wire, at_it in ((one, names[0]), (other, names[1]))
                for name in at_it
            ]
            holder = traders.pop()
            await holder.hold()
            for trader in traders:
                group.start_soon(trader.trade, dice)
            await halt_over_and_over(floor, person, holder)
            await floor.more(BETWEEN)
            late, caught = await floor.verdict()
            group.cancel_scope.cancel()
    assert late == []
    assert caught >= FEWEST_CAUGHT


async def halt_over_and_over(floor: Floor, person: Person, holder: Trader) -> None:
    """Halt and resume by every way, a part of a position sold each time."""
    ways = (person.by_the_socket, person.by_rest, person.by_signal)
    for call in (*ways, *ways[:2], person.by_command):
        for door in floor.doors:
            await floor.more(BETWEEN, door)
        program = call == person.by_command
        async with floor.halted(call.__name__, call, at_the_door=not program, program=program):
            await holder.sell_a_part()
        await person.resume()
