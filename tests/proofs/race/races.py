"""The races, each one round: many callers at once, and what must have come of it."""

import itertools
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import anyio
import anyio.lowlevel

from tests.proofs.race.stage import AGENTS, PAIRS, Stage

CALLERS: Final = 64
PATIENCE_S, LONGEST_S = 20.0, 40.0
OVERLAP_S: Final = 0.05
MOMENTS, MOMENT_S = 7, 0.015
# The bot deletes a cancelled entry; another gateway may look before the one that cancelled says so.
GONE: Final = frozenset({"cancelled"})
FINAL: Final = frozenset({"placed", "denied", "rejected"})
RECEIPT: Final = ("order_id", "request_id", "pair", "side", "amount", "trade_id", "bot_order_id", "agent")  # fmt: skip
Told = dict[str, Any]
Call = Callable[[], Awaitable[Told]]


@dataclass
class Round:
    """What came of one round: how many calls were open at once, every answer, every violation."""

    race: str
    at_once: int = 0
    answers: list[Told] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)

    def expect(self, holds: bool, otherwise: str) -> None:
        """Note a violation unless something holds."""
        if not holds:
            self.violations.append(f"{self.race}: {otherwise}")

    @property
    def words(self) -> Counter[str]:
        """How often each outcome, or code where there is none, was answered."""
        return Counter(one.get("outcome") or one.get("code") or "?" for one in self.answers)

    def placed(self) -> int:
        """Return how many orders were told as placed."""
        ids = {one["order_id"] for one in self.answers if one.get("outcome") == "placed"}
        return len(ids)


async def one_request_id(stage: Stage, told: Round) -> None:
    """One order, asked for by everybody at once: one row, one POST, one answer for all."""
    stage.bot.start_over()
    wanted = _order(stage, PAIRS[0], "buy", "1", AGENTS[0])
    await _at_once(stage, told, [_create(stage, n, wanted) for n in range(CALLERS)])
    final = await _final(stage, wanted)
    told.expect(len(stage.bot.posts) == 1, f"{len(stage.bot.posts)} POSTs")
    told.expect(len(told.answers) == CALLERS, f"{len(told.answers)} answers")
    told.expect(final["outcome"] == "placed", f"it came to {final}")
    told.expect(len(final["history"]) == len({s["state"] for s in final["history"]}), f"{final}")
    words = [one for one in told.answers if one.get("outcome") in FINAL]
    told.expect(all(one == words[0] for one in words), "different answers to one request")
    told.expect({_named(one) for one in words} == {_named(final)}, f"{words[:1]} beside {final}")
    for one in told.answers:
        told.expect(one.get("outcome") in {*FINAL, "unknown"}, f"answered {one}")


async def one_pair(stage: Stage, told: Round) -> None:
    """Eight agents want the same pair: one gets it."""
    stage.bot.start_over()
    orders = [_order(stage, PAIRS[0], "buy", "1", agent) for agent in AGENTS]
    await _at_once(stage, told, _each(stage, orders))
    _expect_bought(stage, told, at_least=1, at_most=1)


async def three_slots(stage: Stage, told: Round) -> None:
    """Eight entries for three slots: no more are sent."""
    stage.bot.start_over(slots=3)
    orders = [
        _order(stage, pair, "buy", "1", agent) for pair, agent in zip(PAIRS, AGENTS, strict=True)
    ]
    await _at_once(stage, told, _each(stage, orders))
    _expect_bought(stage, told, at_least=1, at_most=3)


async def money_for_one(stage: Stage, told: Round) -> None:
    """Eight entries, and free money for one of them: one is sent."""
    stage.bot.start_over(wallet=600.0, total=5000.0)
    orders = [
        _order(stage, pair, "buy", "5", agent) for pair, agent in zip(PAIRS, AGENTS, strict=True)
    ]
    await _at_once(stage, told, _each(stage, orders))
    _expect_bought(stage, told, at_least=1, at_most=1)


async def exits_of_one_trade(stage: Stage, told: Round) -> None:
    """Eight exits of one trade, all of it or more than half: one sells."""
    stage.bot.start_over()
    await _create(stage, 0, _order(stage, PAIRS[0], "buy", "1", AGENTS[0]))()
    stage.bot.posts.clear()
    amounts = itertools.islice(itertools.cycle(("1", "0.6")), len(AGENTS))
    orders = [_order(stage, PAIRS[0], "sell", amount, AGENTS[0]) for amount in amounts]
    await _at_once(stage, told, _each(stage, orders))
    sold = _effects(stage, "sell")
    told.expect(len(sold) == len(stage.bot.posts) == told.placed() == 1, f"sold {sold}")


async def cancel_against_fill(stage: Stage, told: Round) -> None:
    """A resting order is filled while it is cancelled from all sides: it is one or the other."""
    stage.bot.start_over()
    resting = _order(stage, PAIRS[0], "buy", "1", AGENTS[0], price="96")
    await _create(stage, 0, resting)()

    async def filled() -> Told:
        await _a_while(stage)
        with_it = [trade["trade_id"] for trade in stage.bot.status]
        for trade_id in with_it:
            if _rests(stage):
                stage.bot.fill(trade_id)
        return {"outcome": "filled by the bot" if with_it else "too late to fill"}

    cancels = [_cancel(stage, n, resting) for n in range(4)]
    await _at_once(stage, told, [*cancels, filled], gated=False)
    await _expect_as_at_the_bot(stage, told, resting)


async def create_against_cancel(stage: Stage, told: Round) -> None:
    """Twins order while others cancel the same request: sent once, and gone if they say so."""
    stage.bot.start_over()
    resting = _order(stage, PAIRS[0], "buy", "1", AGENTS[0], price="96")
    calls = [_create(stage, n, resting) for n in range(4)]
    cancels = [_later(stage, _cancel(stage, n, resting)) for n in range(4)]
    await _at_once(stage, told, [*calls, *cancels], gated=False)
    told.expect(len(stage.bot.posts) == 1, f"{len(stage.bot.posts)} POSTs")
    await _expect_as_at_the_bot(stage, told, resting)


Race = Callable[[Stage, Round], Coroutine[Any, Any, None]]
FIRST: Final[tuple[str, Race]] = ("one request_id", one_request_id)
OTHERS: Final[dict[str, Race]] = {
    "one pair, eight agents": one_pair,
    "three slots, eight entries": three_slots,
    "money for one of eight": money_for_one,
    "one trade, eight exits": exits_of_one_trade,
    "cancel against fill": cancel_against_fill,
    "create against cancel": create_against_cancel,
}


def _order(
    stage: Stage, pair: str, side: str, amount: str, agent: str, *, price: str | None = None
) -> Told:
    request_id = str(uuid4())
    stage.request_ids.append(request_id)
    plain = {
        "request_id": request_id, "agent": agent, "pair": pair, "side": side, "amount": amount,
        "order_type": "market",
    }  # fmt: skip
    return plain if price is None else plain | {"order_type": "limit", "price": price}


def _create(stage: Stage, number: int, wanted: Told) -> Call:
    async def call() -> Told:
        answer = await stage.gateway(number).post("orders", json=wanted)
        told: Told = answer.json()
        told.pop("call_id", None)  # each call's own
        return told

    return call


def _cancel(stage: Stage, number: int, wanted: Told) -> Call:
    async def call() -> Told:
        answer = await stage.gateway(number).delete(f"orders/{wanted['request_id']}")
        told: Told = answer.json()
        return told

    return call


def _later(stage: Stage, call: Call) -> Call:
    async def called() -> Told:
        await _a_while(stage)
        return await call()

    return called


async def _a_while(stage: Stage) -> None:
    """Wait for another moment in each round, up to as long as an order takes."""
    await anyio.sleep(len(stage.request_ids) % MOMENTS * MOMENT_S)


def _each(stage: Stage, orders: Iterable[Told]) -> list[Call]:
    return [_create(stage, number, wanted) for number, wanted in enumerate(orders)]


async def _at_once(stage: Stage, told: Round, calls: list[Call], *, gated: bool = True) -> None:
    """Make every call at once; the first order at the bot waits until all are under way."""
    stage.port.gate = anyio.Event() if gated else None
    stage.port.arrived = anyio.Event()

    async def call(one: Call) -> None:
        told.answers.append(await one())

    with anyio.fail_after(LONGEST_S):
        async with anyio.create_task_group() as group:
            for one in calls:
                group.start_soon(call, one)
            if stage.port.gate is not None:
                await stage.port.arrived.wait()
                await anyio.sleep(OVERLAP_S)
                told.at_once = len(calls) - len(told.answers)
                stage.port.gate.set()
            else:
                await anyio.lowlevel.checkpoint()
                told.at_once = len(calls) - len(told.answers)
    crashed = told.words["internal_error"]
    told.expect(not crashed, f"{crashed} calls met a bug")


async def _final(stage: Stage, wanted: Told) -> Told:
    """Ask where an order stands until that is final; each gateway says the same."""
    with anyio.fail_after(PATIENCE_S):
        while True:
            answers = [
                (await one.get(f"orders/{wanted['request_id']}")).json() for one in stage.gateways
            ]
            if all(one.get("final") for one in answers):
                break
            await anyio.sleep(OVERLAP_S)
    final: Told = answers[-1]
    return final


def _named(one: Told) -> tuple[Any, ...]:
    return tuple(one[name] for name in RECEIPT)


def _effects(stage: Stage, side: str) -> list[Told]:
    trades = (*stage.bot.status, *stage.bot.closed)
    return [one for trade in trades for one in trade["orders"] if one["ft_order_side"] == side]


def _rests(stage: Stage) -> bool:
    return any(one["is_open"] for one in _effects(stage, "buy"))


def _expect_bought(stage: Stage, told: Round, *, at_least: int, at_most: int) -> None:
    """As many are told as placed as the bot bought; what is left over was never sent."""
    bought = _effects(stage, "buy")
    told.expect(at_least <= len(bought) <= at_most, f"{len(bought)} were bought")
    told.expect(len(bought) == len(stage.bot.posts), f"{len(stage.bot.posts)} POSTs")
    told.expect(len(bought) == told.placed(), f"{told.placed()} were told as placed")
    told.expect(set(told.words) <= {"placed", "denied"}, f"answered {dict(told.words)}")


async def _expect_as_at_the_bot(stage: Stage, told: Round, wanted: Told) -> None:
    """The order is told as the bot has it, and no answer said otherwise."""
    final = await _final(stage, wanted)
    bought = _effects(stage, "buy")
    states = GONE if not bought else {"submitted"} if _rests(stage) else {"filled"}
    told.expect(final["status"] in states, f"{states}, and told as {final['status']}")
    said = {one["status"] for one in told.answers if one.get("status") in {*GONE, "filled"}}
    told.expect(said <= states, f"{states}, and once told as {said}")
