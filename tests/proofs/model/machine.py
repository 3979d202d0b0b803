"""What may happen in a world, drawn by hypothesis: one rule after the other, and a check behind each."""

import asyncio
import logging
from typing import Any, Final
from uuid import UUID

import structlog
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from mcp_gateway.domain.orders import OrderRequest
from mcp_gateway.market.flights import FAILURE_KEPT_S
from tests.proofs.model.bot import Key
from tests.proofs.model.forecast import FAULTS, TOLD, UNKNOWN, forecasts
from tests.proofs.model.world import Told, World
from tests.support.desk import order

BTC, ETH = "BTC/USDT", "ETH/USDT"
Wish = dict[str, str]


def _wish(pair: str, side: str, amount: str, price: str | None = None) -> Wish:
    plain = {"pair": pair, "side": side, "amount": amount, "order_type": "market"}
    return plain if price is None else plain | {"order_type": "limit", "price": price}


WISHES: Final = (
    _wish(BTC, "buy", "1"), _wish(BTC, "sell", "1"), _wish(BTC, "buy", "1", "96"),
    _wish(BTC, "sell", "0.5"), _wish(ETH, "buy", "2"), _wish(ETH, "sell", "2"),
    _wish(BTC, "sell", "1", "110"), _wish(ETH, "buy", "0.5", "100"), _wish(BTC, "buy", "20"),
)  # fmt: skip
EVENTS: Final = (
    "crash", "store lost", "store unheard", "bot restart", "bot down", "let go", "fill",
    "hang up", "twin", "other order", "rival", "cancel",
)  # fmt: skip
# Who else calls, or leaves, does not change what becomes of an order.
HARMLESS: Final = frozenset({"hang up", "twin", "other order"})
LONGEST_WAY_MS: Final = 30

agents = st.sampled_from(("a", "b"))
wishes = st.sampled_from(WISHES)
faults = st.sampled_from(FAULTS)
one_of_them = st.integers(0, 7)


def silence() -> None:
    """Keep the log of worlds in trouble off the terminal: what counts is what they came to."""
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        cache_logger_on_first_use=False,  # who asks for a logger now must not keep a silent one
    )


class Machine(RuleBasedStateMachine):
    """Agents order, and everything that can go wrong does."""

    def __init__(self) -> None:
        super().__init__()
        self.wanted: list[tuple[Key, OrderRequest]] = []

    @initialize(slots=st.integers(1, 3))
    def begin(self, slots: int) -> None:
        self.world = World(slots)

    @rule(agent=agents, wish=wishes, fault=faults, calls=st.sampled_from((1, 1, 1, 2, 4)))
    def submit(self, agent: str, wish: Wish, fault: str, calls: int) -> None:
        """One order, asked for once or by twins at once: it comes to what the small model says."""
        key, wanted = self._new(agent, wish)
        expected = self._expected(agent, wanted, fault)
        told = self._do(self._sent(key, wanted, fault, calls))
        if expected is not None:
            self.world.expect(_word(told) in expected, f"told {told}, not {expected}: {wanted}")
        self._check()

    @rule(
        agent=agents, wish=wishes, fault=faults, event=st.sampled_from(EVENTS),
        after_ms=st.integers(0, LONGEST_WAY_MS), which=one_of_them,
    )  # fmt: skip
    def submit_while(
        self, agent: str, wish: Wish, fault: str, event: str, after_ms: int, which: int
    ) -> None:
        """One order, and something else in the middle of it; some of that is to change nothing."""
        key, wanted = self._new(agent, wish)
        expected = self._expected(agent, wanted, fault)
        self._do(self._met(key, wanted, fault, event, after_ms, which))
        if expected is not None and event in HARMLESS:
            self.world.expect_row(key, expected | ({"placed"} if UNKNOWN in expected else set()))
        self._check()

    @precondition(lambda self: self.wanted)
    @rule(which=one_of_them)
    def replay(self, which: int) -> None:
        """The same order under the same id: the same answer, and no second effect."""
        key, wanted = self._earlier(which)
        self._do(self._sent(key, wanted, ""))
        self._check()

    @precondition(lambda self: self.wanted)
    @rule(which=one_of_them, wish=wishes)
    def reuse(self, which: int, wish: Wish) -> None:
        """Another order under a known id is a conflict, and nothing is done."""
        key, _ = self._earlier(which)
        self._do(self._sent(key, order(request_id=key[1], **wish), ""))
        self._check()

    @precondition(lambda self: self.wanted)
    @rule(which=one_of_them)
    def get_order(self, which: int) -> None:
        """What is told never contradicts what was."""
        self._do(self.world.get(self._earlier(which)[0]))
        self._check()

    @precondition(lambda self: self.wanted)
    @rule(which=one_of_them, fault=st.sampled_from(("", "", *FAULTS)))
    def cancel_order(self, which: int, fault: str) -> None:
        """What rests is taken back, and says so."""
        key, _ = self._earlier(which)
        world = self.world
        row = world.books().rows.get(key)
        mine = None if row is None else row.bot_order_id
        alone = world.bot.rests_alone(mine)
        world.bot.faults.append(fault)
        told = self._do(world.cancel(key))
        if alone and not fault:
            world.expect(told.get("status") == "cancelled", f"not cancelled: {told}")
        if told.get("status") == "cancelled":
            world.expect(not world.bot.rests(mine), f"cancelled, and it rests: {told}")
        self._check()

    @rule(agent=agents, wish=wishes)
    def dry_run(self, agent: str, wish: Wish) -> None:
        """It says what create would say, and uses up nothing."""
        wanted = order(request_id=UUID(int=99), **wish)
        expected = forecasts(wanted, agent, self.world.books(), self.world.bot)
        valid = self._do(self.world.preview(agent, wanted))
        if valid is not None:
            said = {code in {"placed", "bot_busy"} for code in expected}
            self.world.expect(valid in said, f"a dry run says {valid}: {wanted}, {expected}")
        self._check()

    @rule(which=one_of_them, wholly=st.booleans())
    def fill(self, which: int, wholly: bool) -> None:
        """What rests at the bot is filled, or a part of it."""
        self.world.bot.fill_any(which, wholly=wholly)
        self._check()

    @rule(seconds=st.sampled_from((3.0, 6.0, 14.0)))
    def time_passes(self, seconds: float) -> None:
        """Reconciler and follower work on what is open."""
        self._do(asyncio.sleep(seconds))
        self._check()

    @rule(event=st.sampled_from(("crash", "let go", "bot restart")))
    def something_happens(self, event: str) -> None:
        """The gateway dies, late effects come, or the bot is started anew."""
        self._do(self._happens(event, 0))
        self._check()

    def teardown(self) -> None:
        """When all has come to rest, every order has an outcome, and the one that was told."""
        if not hasattr(self, "world"):
            return
        try:
            self.world.run(self.world.come_to_rest())
            for key, wanted in self.wanted:
                self._do(self._sent(key, wanted, ""))
            self._check()
        finally:
            self.world.close()

    def _new(self, agent: str, wish: Wish) -> tuple[Key, OrderRequest]:
        # Both agents count alike: the same request_id of another is no business of theirs.
        number = sum(key[0] == agent for key, _ in self.wanted)
        wanted = order(request_id=UUID(int=number), **wish)
        self.wanted.append(((agent, wanted.request_id), wanted))
        return self.wanted[-1]

    def _expected(self, agent: str, wanted: OrderRequest, fault: str) -> set[str] | None:
        """Return what the order may come to; None while the bot is at work on another."""
        bot = self.world.bot
        if bot.pending or bot.hangs:
            return None
        expected = forecasts(wanted, agent, self.world.books(), bot)
        return expected - {"placed"} | {TOLD[fault]} if "placed" in expected else expected

    def _earlier(self, which: int) -> tuple[Key, OrderRequest]:
        return self.wanted[-1 - which % len(self.wanted)]

    def _do(self, happening: Any) -> Any:
        return self.world.run(happening)

    def _check(self) -> None:
        """End every trouble that was ordered and not met, and look at what came of it all."""
        self.world.bot.faults.clear()
        self.world.process.life.outage.clear()
        if self.world.bot.fails is not None:
            self.world.bot.fails = None
            self._do(asyncio.sleep(FAILURE_KEPT_S))  # a failed question is not asked again before
        self.world.run(self.world.check())

    async def _sent(self, key: Key, wanted: OrderRequest, fault: str, count: int = 1) -> Told:
        self.world.bot.faults.append(fault)
        calls = [self.world.start(key, wanted) for _ in range(count)]
        await self.world.finish()
        return calls[0].result()

    async def _met(
        self, key: Key, wanted: OrderRequest, fault: str, event: str, after_ms: int, which: int
    ) -> None:
        self.world.bot.faults.append(fault)
        self.world.start(key, wanted)
        await asyncio.sleep(after_ms / 1000 + 0.0005)
        await self._happens(event, which)
        await self._comes(event, key, wanted, which)
        await self.world.finish()

    async def _happens(self, event: str, which: int) -> None:
        """Let something happen to the gateway, its store or the bot."""
        world = self.world
        match event:
            case "crash":
                await world.crash()
            case "let go":
                world.bot.let_go()
            case "bot restart":
                world.bot.restart()
            case "bot down":
                world.bot.fails = 500
            case "fill":
                world.bot.fill_any(which, wholly=True)
            case "store lost" | "store unheard":
                world.process.life.outage += [event.removeprefix("store ")] * (1 + which % 3)

    async def _comes(self, event: str, key: Key, wanted: OrderRequest, which: int) -> None:
        """Let somebody come, or leave, while an order is on its way."""
        world = self.world
        match event:
            case "hang up":
                world.hang_up()
            case "twin":
                world.start(key, wanted)
            case "other order":
                world.start(key, order(request_id=key[1], **WISHES[which]))
            case "rival":
                other, rival = self._new("b" if key[0] == "a" else "a", WISHES[which])
                world.start(other, rival)
            case "cancel":
                await world.cancel(self._earlier(which)[0])


def _word(told: Told) -> str:
    return "placed" if told.get("outcome") == "placed" else str(told["code"])
