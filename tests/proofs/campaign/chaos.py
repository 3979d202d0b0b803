"""What goes wrong: processes killed at random, an exchange that is slow, fails or falls silent."""

import time
from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

import anyio

from tests.proofs.campaign.stage import Stage

SLOW = {"slow": 3, "slow drop": 2, "limits": 1}  # storms that delay, and how likely
FAILING = {"fails": 1, "drops": 1}  # storms that only fail
SLOW_APART_S, FAILING_APART_S = 8.0, 6.0
LONGEST_DELAY_S = 2.0
AIMED = 0.6  # share of kills that wait for an order to be on its way
PATIENCE_S = 5.0


@dataclass
class Chaos:
    """Strikes until it is cancelled.

    One order takes some four calls of the exchange, and the bot tries each five times. Yet a
    storm delays all calls together by at most ``storm_s``, and such storms begin at least
    eight seconds apart: even an order that met them all would take effect within three storms.

    Args:
        gateway_every_s: mean seconds between two deaths of the gateway.
        bot_every_s: the same of the bot.
        storm_s: by how much one storm delays the exchange's answers in all.
        most_deaths: of each part.
    """

    stage: Stage
    dice: Random
    gateway_every_s: float
    bot_every_s: float
    storm_s: float
    most_deaths: int
    storms: Counter[str] = field(default_factory=Counter)
    _next_slow_at: float = 0.0

    async def rage(self) -> None:
        """Kill and disturb until cancelled; what is being started again is finished first."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._kill_gateways)
            group.start_soon(self._kill_bots)
            group.start_soon(self._raise_storms, SLOW, SLOW_APART_S)
            group.start_soon(self._raise_storms, FAILING, FAILING_APART_S)

    async def _kill_gateways(self) -> None:
        while self.stage.deaths["gateway"] < self.most_deaths:
            await self._moment(self.gateway_every_s)
            with anyio.CancelScope(shield=True):
                await self.stage.kill_gateway()
                await anyio.sleep(self.dice.uniform(0, 1))
                await self.stage.start_gateway()

    async def _kill_bots(self) -> None:
        while self.stage.deaths["bot"] < self.most_deaths:
            await self._moment(self.bot_every_s)
            with anyio.CancelScope(shield=True):
                await self.stage.kill_bot()
                await anyio.sleep(self.dice.uniform(0, 2))
                await self.stage.start_bot()

    async def _moment(self, mean_s: float) -> None:
        """Wait for a while, and then often for the heartbeat in which an order is at work."""
        await anyio.sleep(self.dice.uniform(0.3, 1.7) * mean_s)
        if self.dice.random() < AIMED:
            slow = self.dice.random() < AIMED and await self._storm("slow")
            with anyio.move_on_after(PATIENCE_S):
                await self.stage.next_sent()
                await anyio.sleep(self.dice.uniform(0, 1.5 if slow else 0.3))

    async def _raise_storms(self, kinds: dict[str, int], apart_s: float) -> None:
        while True:
            await anyio.sleep(self.dice.uniform(0.5, 1.5) * apart_s)
            await self._storm(self.dice.choices(tuple(kinds), tuple(kinds.values()))[0])

    async def _storm(self, name: str) -> bool:
        """Raise a storm, unless the last one is not spent, or one that delays comes too soon."""
        if await self.stage.faults_left():
            return False
        if name in SLOW:
            if time.monotonic() < self._next_slow_at:
                return False
            self._next_slow_at = time.monotonic() + SLOW_APART_S
        self.storms[name] += 1
        await self.stage.fault(**storm(name, self.dice, self.storm_s))
        return True


def storm(name: str, dice: Random, longest_s: float) -> dict[str, Any]:
    """Return the fault to ask the exchange for.

    Orders need the book (depth); now and then the wallet's prices are hit (ticker).
    """
    match = dice.choices(("depth", "ticker"), (85, 15))[0]
    if name in {"slow", "slow drop"}:
        delay_s = dice.uniform(0.3, min(LONGEST_DELAY_S, longest_s))
        fault = {"match": match, "delay_s": delay_s, "drop": name == "slow drop"}
        return fault | {"count": max(1, int(longest_s / delay_s))}
    if name == "limits":  # the bot waits 1 s, then 2 s, before it tries again
        count = 2 if longest_s > 3 else 1
        return {"match": match, "status": 429, "count": count}
    count = dice.randint(3, 14)  # five in a row fail one call of the bot's for good
    if name == "drops":
        return {"match": match, "drop": True, "count": count}
    return {"match": match, "status": dice.choice((500, 502, 503)), "count": count}
