"""One campaign from the first order to the verdict."""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from random import Random

import anyio

from mcp_gateway.client import GatewayAuth
from tests.proofs.campaign import books, verdict
from tests.proofs.campaign.agents import Agent
from tests.proofs.campaign.books import BotOrder, Ledger
from tests.proofs.campaign.callers import Caller, OverMcp, OverRest
from tests.proofs.campaign.chaos import Chaos
from tests.proofs.campaign.floor import Floor
from tests.proofs.campaign.journal import Journal
from tests.proofs.campaign.stage import Stage, open_stage
from tests.proofs.campaign.verdict import Violation
from tests.support.gateway import HMAC_SECRET, TRADER
from tests.support.processes import token

# After the bot is back and quiet, this is how long the last outcome may take.
SETTLED_WITHIN_S = 60.0
AGREE_WITHIN_S = 10.0
LOOK_S = 0.5
MCP_SHARE = 3  # every third agent speaks MCP, the others REST
TOKEN_TTL_S = 14_400


@dataclass(frozen=True, slots=True)
class Plan:
    """What a campaign is to be.

    Args:
        quiet_s: how long the gateway watches an unknown order before its absence counts.
        order_timeout_s: the gateway's deadline of one order; shorter than the worst storm, so
            that some orders take effect after the gateway has given them up.
        gateway_every_s: mean seconds between two deaths of the gateway.
        bot_every_s: the same of the bot.
        storm_s: by how much one storm delays the exchange's answers in all.
        most_deaths: of the gateway, and of the bot.
        longest_s: when the campaign is broken off, as a violation.
    """

    orders: int
    agents: int = 8
    seed: int = 0
    quiet_s: float = 15.0
    order_timeout_s: float = 2.5
    gateway_every_s: float = 8.0
    bot_every_s: float = 22.0
    storm_s: float = 4.0
    most_deaths: int = 1000
    longest_s: float = 3600.0
    postgres: bool = False

    def settings(self) -> Mapping[str, str]:
        """Return the gateway's settings: no quota in the way, and waits that a proof can bear.

        A quiet time of seconds is safe here for the storms are bounded: an order takes effect
        within three of them (12 s at the most, see ``Chaos``). The quiet time alone is longer,
        it counts from the first look after the answer was lost, and absence is believed a bot
        cycle (6 s) later still. A bot that was started anew carries nothing of what it was asked
        before, so then absence counts at once.
        """
        return {
            "RATE_LIMIT_PER_MINUTE": "1000000",
            "MCP_GATEWAY_SERVER_RATE_LIMIT_PER_MINUTE": "10000000",
            "MCP_GATEWAY_QUIET_S": str(self.quiet_s),
            "MCP_GATEWAY_ORDER_TIMEOUT_S": str(self.order_timeout_s),
        }


@dataclass(frozen=True, slots=True)
class Result:
    """What a campaign came to; times in seconds."""

    plan: Plan
    ledger: Ledger
    bot: tuple[BotOrder, ...]
    journal: Journal
    deaths: Mapping[str, int]
    storms: Mapping[str, int]
    violations: tuple[Violation, ...]
    settling_s: float
    took_s: float


async def campaign(plan: Plan, folder: Path) -> Result:
    """Let the agents trade through every trouble, then compare all the books."""
    started = time.monotonic()
    async with open_stage(folder, plan.settings(), postgres=plan.postgres) as stage:
        dice = Random(f"{plan.seed} floor")
        floor = Floor(stage, dice, plan.orders)
        crew = [_agent(number, plan, floor) for number in range(1, plan.agents + 1)]
        chaos = Chaos(
            stage, Random(f"{plan.seed} chaos"), plan.gateway_every_s, plan.bot_every_s,
            plan.storm_s, plan.most_deaths,
        )  # fmt: skip
        settling_s = await _fight(plan, floor, crew, chaos)
        await _last_questions(floor, crew)
        found = await _agreement(stage, floor, crew)
        ledger, bot = _books(stage)
        return Result(
            plan, ledger, bot, floor.journal, dict(stage.deaths), dict(chaos.storms),
            tuple(found), settling_s, time.monotonic() - started,
        )  # fmt: skip


def _agent(number: int, plan: Plan, floor: Floor) -> Agent:
    name = f"agent-{number}"
    auth = GatewayAuth(token(ttl_s=TOKEN_TTL_S, act_for=(name,)), key=HMAC_SECRET, key_id=TRADER)
    caller: Caller = (OverRest if number % MCP_SHARE else OverMcp)(floor.stage, auth)
    return Agent(name, floor, caller, Random(f"{plan.seed} {name}"))


async def _fight(plan: Plan, floor: Floor, crew: list[Agent], chaos: Chaos) -> float:
    """Run agents and chaos; return how long the last outcomes took once chaos had stopped."""
    calm_at = time.monotonic()
    async with anyio.create_task_group() as agents:
        for agent in crew:
            agents.start_soon(agent.live)
        async with anyio.create_task_group() as troubles:
            troubles.start_soon(chaos.rage)
            await _until(lambda: not floor.open, plan.longest_s)
            floor.total = floor.begun  # after too long no further order is begun
            troubles.cancel_scope.cancel()
        await floor.stage.calm()
        calm_at = time.monotonic()
        await _until(
            lambda: floor.all_settled() and not books.unsettled(floor.stage.ledger),
            SETTLED_WITHIN_S + plan.quiet_s,
        )
        floor.over = True
    return time.monotonic() - calm_at


async def _until(reached: Callable[[], bool], bound_s: float) -> None:
    """Look now and then, until it is so or the time is over: processes outside raise no event."""
    give_up_at = time.monotonic() + bound_s
    while not reached() and time.monotonic() < give_up_at:  # noqa: ASYNC110 - others' processes
        await anyio.sleep(LOOK_S)


async def _last_questions(floor: Floor, crew: list[Agent]) -> None:
    """Let each agent ask once more for each of its orders: what is told last is true too."""
    for agent in crew:
        await agent.ask_for_all()


async def _agreement(stage: Stage, floor: Floor, crew: list[Agent]) -> list[Violation]:
    """Compare until all agree: a fill may fall between two reads, a contradiction stays."""
    give_up_at = time.monotonic() + AGREE_WITHIN_S
    while True:
        tags = books.read_tags(stage.bot_logs)
        found = verdict.judge(*_books(stage), floor.journal, tags)
        if not found or time.monotonic() > give_up_at:
            return found
        await anyio.sleep(LOOK_S)
        await _last_questions(floor, crew)


def _books(stage: Stage) -> tuple[Ledger, tuple[BotOrder, ...]]:
    return books.read_ledger(stage.ledger), books.read_bot(stage.sandbox.database)


def fresh_seed() -> int:
    """Return a seed that nobody chose."""
    return secrets.randbelow(10**6)
