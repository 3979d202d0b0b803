"""An agent of the campaign: it buys, sells, repeats itself, hangs up, and wants to know."""

import time
from dataclasses import dataclass
from decimal import ROUND_FLOOR, Decimal
from random import Random
from typing import Any
from uuid import UUID

import anyio

from tests.proofs.campaign.callers import Caller, NoAnswer, Told, Verb
from tests.proofs.campaign.floor import AWAY, REACH, Floor
from tests.proofs.campaign.stage import listing

SMALLEST_QUOTE, LARGEST_QUOTE = 60, 400
NEAR = Decimal("0.004")  # through the book, so that a limit order fills at once
DUST_QUOTE = 15  # what is left below this is sold whole: the bot refuses to leave less
RESTS_S = 3.0
LOOK_S = 0.2
LEFT = 0.3  # of the resting exits are not seen through
BY_HAND = 0.3  # of the cancels
RECKLESS = 0.0004  # of all looks: buys what others hold, or while the bot is known to be busy
ELSEWHERE = {"bot_busy", "bot_unavailable", "interrupted", "no_free_slot", "price_unavailable"}
GONE = {"nothing_to_sell", "trade_not_open", "amount_below_step"}


@dataclass
class Holding:
    """What the agent believes to hold; amount in base."""

    pair: str
    amount: Decimal


@dataclass
class Agent:
    """One loop of decisions; ``dice`` is its own, so its wishes follow from the seed."""

    name: str
    floor: Floor
    caller: Caller
    dice: Random
    holding: Holding | None = None

    async def live(self) -> None:
        """Send orders, each until its outcome is final, as long as the campaign has some left."""
        while self.floor.open:
            order = await self._wish() if self.floor.may_begin else None
            if order is None or not self.floor.open:
                await anyio.sleep(LOOK_S)
                continue
            self.floor.begin(order)
            told = await self._settle(order)
            if told is not None:
                await self._digest(order, told)
            self.floor.done += 1
            await anyio.sleep(self.dice.uniform(0, 0.3))

    async def ask_for_all(self) -> None:
        """Ask once for each order of its own, and note what is told."""
        for order in self.floor.journal.orders.values():
            if order["agent"] == self.name:
                await self._ask("get", order)

    async def _wish(self) -> dict[str, Any] | None:
        """Return the next order, None where a considerate agent would rather wait."""
        side = "buy" if self.holding is None else "sell"
        reckless = self.dice.random() < RECKLESS
        if not reckless and not self.floor.looks_open(side):
            return None
        if self.holding is not None:
            return await self._sale(self.holding)
        pair = self.floor.take(self.name, recklessly=reckless)
        return None if pair is None else await self._purchase(pair)

    async def _purchase(self, pair: str) -> dict[str, Any]:
        last = (await self.floor.stage.prices())[pair]
        quote = Decimal(self.dice.randint(SMALLEST_QUOTE, LARGEST_QUOTE))
        return self._order(pair, "buy", self._in_steps(pair, quote / last), last)

    async def _sale(self, held: Holding) -> dict[str, Any]:
        last = (await self.floor.stage.prices())[held.pair]
        amount = held.amount
        if self.dice.random() < 0.5:
            part = self._in_steps(held.pair, amount * Decimal(self.dice.randint(30, 70)) / 100)
            if part and (amount - part) * last > DUST_QUOTE and part * last > DUST_QUOTE:
                amount = part
        return self._order(held.pair, "sell", amount, last)

    def _order(self, pair: str, side: str, amount: Decimal, last: Decimal) -> dict[str, Any]:
        kind = self.dice.choices(("market", "near", "away"), (60, 20, 20))[0]
        away = Decimal(str(AWAY)) if kind == "away" else -NEAR
        price = last * (1 - away if side == "buy" else 1 + away)
        order: dict[str, Any] = {
            "request_id": str(UUID(int=self.dice.getrandbits(128), version=4)),
            "agent": self.name, "pair": pair, "side": side, "amount": str(amount),
            "order_type": "market" if kind == "market" else "limit",
        }  # fmt: skip
        if kind != "market":
            order["price"] = str(price.quantize(listing(pair).tick))
        return order

    def _in_steps(self, pair: str, amount: Decimal) -> Decimal:
        step = listing(pair).lot
        return (amount / step).to_integral_value(ROUND_FLOOR) * step

    async def _settle(self, order: dict[str, Any]) -> Told | None:
        """Say the same thing until the answer is final; None where the campaign ended first."""
        told = await self._first(order)
        wait_s = 0.2
        while told is None or not told.final:
            if self.floor.over:
                return None
            self._warn_buyers(order, told)
            await anyio.sleep(wait_s * self.dice.uniform(0.5, 1.5))
            wait_s = min(wait_s * 1.6, 3.0)
            verb: Verb = "get" if self.dice.random() < 0.5 else "create"
            if verb == "create" and self.dice.random() < 0.2:
                told = await self._hung_up(order)
            else:
                told = await self._ask(verb, order)
        self.floor.note_unknown(order["request_id"], unknown=False)
        return told

    async def _first(self, order: dict[str, Any]) -> Told | None:
        self.floor.stage.note_sent()
        way = self.dice.choices(("plain", "hang up", "twins"), (70, 15, 15))[0]
        if way == "twins":
            return await self._twins(order, self.dice.randint(2, 4))
        return await (self._hung_up(order) if way == "hang up" else self._ask("create", order))

    async def _ask(self, verb: Verb, order: dict[str, Any]) -> Told | None:
        asked_at = time.monotonic()
        try:
            told = await self.caller.call(verb, order)
        except NoAnswer:
            self.floor.journal.unanswered += 1
            return None
        self.floor.journal.note(order, verb, asked_at, told)
        return told

    async def _hung_up(self, order: dict[str, Any]) -> Told | None:
        """Lose patience in the middle of the call."""
        with anyio.move_on_after(self.dice.uniform(0.005, 0.4)):
            return await self._ask("create", order)
        self.floor.journal.unanswered += 1
        return None

    async def _twins(self, order: dict[str, Any], count: int) -> Told | None:
        """Send the same request several times at once."""
        answers: list[Told | None] = []

        async def one() -> None:
            answers.append(await self._ask("create", order))

        async with anyio.create_task_group() as group:
            for _ in range(count):
                group.start_soon(one)
        return next((told for told in answers if told is not None and told.final), None)

    def _warn_buyers(self, order: dict[str, Any], told: Told | None) -> None:
        if told is None:
            self.floor.hold_back()
        elif told.outcome == "unknown" and order["side"] == "buy":
            self.floor.note_unknown(order["request_id"], unknown=True)

    async def _digest(self, order: dict[str, Any], told: Told) -> None:
        """Learn from the outcome what is held now."""
        if told.code in ELSEWHERE:
            self.floor.hold_back()
        if told.outcome == "placed":
            told = await self._until_done(order, told)
        filled = Decimal(str(told.document.get("filled_amount") or 0))
        if order["side"] == "buy":
            self.holding = Holding(order["pair"], filled) if filled else None
        elif self.holding is not None:
            self.holding.amount -= filled
            if told.code == "more_than_held":
                self.holding.amount = Decimal(told.document["limit"])
            if self.holding.amount <= 0 or told.code in GONE:
                self.holding = None
        if self.holding is None:
            self.floor.release(self.name, order["pair"])

    async def _until_done(self, order: dict[str, Any], told: Told) -> Told:
        """See a resting order through: filled by the market, or cancelled."""
        if told.document["status"] not in {"submitted", "partially_filled"}:
            return told
        if order["side"] == "sell" and self.dice.random() < LEFT:
            return told  # the next exit takes its place at the bot
        await anyio.sleep(self.dice.uniform(0, RESTS_S))
        fills, by_hand = self.dice.random() < 0.5, self.dice.random() < BY_HAND
        if fills:
            await self._move_market(order, towards=True)
        # What rests when the last order has been sent may rest for ever: the market is calm then.
        while told.document["status"] in {"submitted", "partially_filled"} and self.floor.open:
            if not fills:
                # By hand once only: the bot gives the id of a deleted trade to the next one.
                by_hand = not await self._cancelled(order, told, by_hand=by_hand) and by_hand
            await anyio.sleep(0.7)
            seen = await self._ask("get", order)
            if seen is not None and seen.outcome is not None:
                told = seen
        if fills:
            await self._move_market(order, towards=False)
        return told

    async def _move_market(self, order: dict[str, Any], *, towards: bool) -> None:
        factor = 1 - REACH if order["side"] == "buy" else 1 + REACH
        await self.floor.stage.shock(order["pair"], factor if towards else 1 / factor)

    async def _cancelled(self, order: dict[str, Any], told: Told, *, by_hand: bool) -> bool:
        """Take an order back, through the gateway or at the bot; tell whether it answered."""
        if by_hand:
            return await self.floor.stage.cancel_by_hand(told.document["trade_id"]) is not None
        return await self._ask("cancel", order) is not None
