"""One world: agents, gateway processes, a ledger and a bot, and what must hold at its end."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, cast
from uuid import UUID

from mcp_gateway.domain.market import MarketRules
from mcp_gateway.domain.orders import OrderRecord, OrderRequest, Side, State
from mcp_gateway.domain.positions import Balance, BotState, Mode
from mcp_gateway.errors import BotError, GatewayError, StoreUnavailable
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.orders.book import marks, protocol
from mcp_gateway.orders.book.ledger import Ledger
from mcp_gateway.orders.book.rows import Superseded
from mcp_gateway.orders.book.steps import Origin, audit_event
from mcp_gateway.orders.evidence.absence import Patience
from mcp_gateway.orders.sending.facts import FactFinder
from mcp_gateway.orders.sending.submission import Submission
from mcp_gateway.orders.settling.reconcile import Reconciler
from mcp_gateway.risk.facts import Facts, Price
from mcp_gateway.risk.keeper import PolicyKeeper
from mcp_gateway.risk.policy import BUILT_IN, Policy
from tests.proofs.simulation.bot import FEE_RATE, PRICE, SLOTS, STEP, WALLET, SimulatedBot
from tests.proofs.simulation.engine import Scheduler, VirtualClock, pause
from tests.proofs.simulation.ledger import Seat, SimulatedLedger
from tests.proofs.simulation.tape import Tape

BOT: Final = "bot"
PATIENCE: Final = Patience(quiet_s=300.0, cycle_s=6.0, gap_s=10.0)
DOWN_S: Final = 15.0
LOOK_S: Final = 7.0
ASK_AGAIN_S: Final = 25.0
ROUND_S: Final = 20.0
ORIGIN: Final = Origin("http", "call")
CALM_S: Final = 2000.0


@dataclass(frozen=True, slots=True)
class Wish:
    """One order that an agent wants, sent until it knows what became of it.

    ``agent`` is who calls; it may act for another agent.
    """

    agent: str
    number: int
    pair: str
    side: Side
    amount: str
    twins: int = 1
    after_s: float = 0.0
    acts_for: str | None = None


@dataclass(slots=True)
class SimulatedFinder:
    """Tells what the simulated bot says, as the real finder would."""

    bot: SimulatedBot
    ledger: SimulatedLedger
    mode: Mode = "dry-run"

    async def facts(self, asked: OrderRecord) -> Facts:
        trades = await self.bot.open_trades()
        free = self.bot.wallet
        health = await self.bot.health()
        entries = await self.ledger.by_tags({trade.tag for trade in trades if trade.tag})
        own = {entry.tag for entry in entries if entry.agent == asked.agent}
        return Facts(
            declared_mode=self.mode, bot=_state(self.mode, self.bot.slots), open_trades=trades,
            pair_is_held=any(trade.pair == asked.pair for trade in trades),
            bot_started_at=health.started_at, pairs=(asked.pair,),
            price=Price(PRICE, 0.0, 300), balance=Balance("USDT", WALLET * 10, free, True),
            held=next((t for t in trades if t.tag in own and t.pair == asked.pair), None),
            fee_rate=FEE_RATE, market=MarketRules(STEP, Decimal(5)),
            owners={entry.tag: entry.agent for entry in entries},
        )  # fmt: skip

    def forget_positions(self) -> None:
        """Nobody reads here."""


@dataclass(slots=True)
class Process:
    """One life of one gateway process: what it carries dies with it."""

    number: int
    holder: str
    submission: Submission
    reconciler: Reconciler
    recovered: bool = False


@dataclass(slots=True)
class Told:
    """Every answer that a caller got for one key, in order: outcome word and bot order."""

    words: list[str] = field(default_factory=list)
    over: bool = False

    def final(self) -> list[str]:
        return [word for word in self.words if word != "unknown"]


class World:
    """Runs wishes through processes that crash, over a tape; then looks at what came of it."""

    bot_type: type[SimulatedBot] = SimulatedBot

    def __init__(
        self,
        tape: Tape,
        wishes: tuple[Wish, ...],
        processes: int = 1,
        rounds: int = 6,
        *,
        policy: Policy = BUILT_IN,
        slots: int = SLOTS,
        wallet: Decimal = WALLET,
        mode: Mode = "dry-run",
    ) -> None:
        self.tape = tape
        self.policy = policy
        self.mode: Mode = mode
        self.clock = VirtualClock()
        self.scheduler = Scheduler(tape, self.clock)
        self.ledger = SimulatedLedger(self.clock, tape)
        self.bot = self.bot_type(tape, self.clock, self.scheduler, slots, wallet)
        self.bot.is_sent = self._is_sent
        self.wishes = wishes
        self.rounds = rounds
        self.told: dict[Wish, Told] = {wish: Told() for wish in wishes}
        self.crashes = 0
        self.falsehoods: list[str] = []
        self.cut_off = self.reloaded = False
        self.pursuing: set[tuple[Wish, int]] = set()
        self._tags = 0
        self._orders = {wish: _asked(wish) for wish in wishes}
        self._lives = 0
        self.processes = {number: self._born(number) for number in range(processes)}

    def run(self) -> list[str]:
        """Live through the storm and the calm behind it; return what was broken."""
        for agent in dict.fromkeys(wish.agent for wish in self.wishes):
            self._go_on(agent)
        for _ in range(self.rounds):
            self._advance(ROUND_S)
            if self._over():
                break
            match self.tape.choose("bot", 4):
                case 1:
                    self.bot.restart(DOWN_S)
                # Both together look like a restart: docs/orders.md says so, under its limits.
                case 2 if not self.cut_off:
                    self.bot.reload()
                    self.reloaded = True
                case 3 if not self.reloaded:
                    self.bot.be_cut_off(DOWN_S)
                    self.cut_off = True
            jump = self.tape.choose("clock", 3)
            self.clock.wall_ahead += (0, 3600, -3600)[jump]
        self.tape.healed = True
        ends_at = self.clock.elapsed + CALM_S
        while not self._over() and self.clock.elapsed < ends_at:
            self._advance(ROUND_S)
        return self._violations()

    def _over(self) -> bool:
        """Tell whether nothing more can happen: all told, all settled, no effect on its way."""
        return not (self.pursuing or self.bot.pending or self._unsettled())

    def _advance(self, seconds: float) -> None:
        until = self.clock.elapsed + seconds
        while True:
            self.scheduler.run_for(until - self.clock.elapsed)
            if not self.scheduler.crashed:
                return
            for number in self.scheduler.crashed:
                self._reborn(number)
            self.scheduler.crashed.clear()

    def _reborn(self, number: int) -> None:
        self.crashes += 1
        self.ledger.holders.discard(self.processes[number].holder)
        self.processes[number] = self._born(number)
        self.pursuing = {one for one in self.pursuing if self._home(one[0].agent) != number}
        for agent in dict.fromkeys(wish.agent for wish in self.wishes):
            if self._home(agent) == number:
                self._go_on(agent)

    def _born(self, number: int) -> Process:
        finder = cast(FactFinder, SimulatedFinder(self.bot, self.ledger, self.mode))
        self._lives += 1
        seat = Seat(self.ledger, f"gateway {self._lives}")
        ledger, bot = cast(Ledger, seat), cast(FreqtradeClient, self.bot)
        submission = Submission(ledger, finder, bot, self.clock, PolicyKeeper(self.policy))
        reconciler = Reconciler(submission, ledger, bot, self.clock, BOT, PATIENCE)
        process = Process(number, seat.holder, submission, reconciler)
        self.scheduler.start(number, self._reconcile(process))
        return process

    async def _reconcile(self, process: Process) -> None:
        while True:
            try:
                await process.reconciler.recover()
                process.recovered = True
                await process.reconciler.resolve_all()
            except GatewayError:
                pass  # asked again
            await pause(LOOK_S)

    def _home(self, agent: str) -> int:
        return ord(agent) % len(self.processes)

    def _go_on(self, agent: str) -> None:
        """Let an agent pursue the first of its wishes whose outcome it does not know yet."""
        process = self.processes[self._home(agent)]
        for wish in self.wishes:
            if wish.agent == agent and not self.told[wish].over:
                for twin in range(wish.twins):
                    self.pursuing.add((wish, twin))
                    self.scheduler.start(process.number, self._pursue(process, wish, twin))
                return

    async def _pursue(self, process: Process, wish: Wish, twin: int) -> None:
        """Send the same request until its outcome is known, as an honest agent does."""
        if wish.after_s:
            await pause(wish.after_s)
        while not process.recovered:
            await pause(1.0)
        while True:
            word = await self._send(process, wish)
            if word is not None:
                self.told[wish].words.append(word)
                if word != "unknown" or self._is_for_a_person(wish):
                    self.pursuing.discard((wish, twin))
                    if not self.told[wish].over:
                        self.told[wish].over = True
                        self._go_on(wish.agent)
                    return
            await pause(ASK_AGAIN_S)

    def _is_for_a_person(self, wish: Wish) -> bool:
        order_id = self.ledger.keys["tests", wish.agent, self._orders[wish].request_id]
        return self.ledger.orders[order_id].state is State.NEEDS_REVIEW

    async def _send(self, process: Process, wish: Wish) -> str | None:
        record, order = self._new(wish, process.holder)
        try:
            told = await self._submitted(process, record, order)
        except StoreUnavailable:  # "nothing was done, call again with the same request_id"
            if any(one.order_id == record.order_id for one in self.bot.effects):
                self.falsehoods.append(f"told that nothing was done: {record.order_id}")
            return None
        except BotError:
            return "unknown"
        return protocol.outcome(told.state)

    async def _submitted(
        self, process: Process, record: OrderRecord, order: OrderRequest
    ) -> OrderRecord:
        task = self.scheduler.now_running
        with process.submission.carrying(record.order_id):
            received = await self.ledger.receive(record, audit_event(record, ORIGIN))
            if received.seen is None:
                return received.record
            if task is not None:
                task.order_id = record.order_id
            try:
                return await process.submission.run(record, order, received.seen, ORIGIN)
            except Superseded:
                return self.ledger.orders[record.order_id]

    def _new(self, wish: Wish, carrier: str) -> tuple[OrderRecord, OrderRequest]:
        self._tags += 1
        order, number, now = self._orders[wish], self._tags, self.clock.now()
        record = OrderRecord(
            order_id=f"o{number}", issuer="tests", subject=wish.agent, request_id=order.request_id,
            agent=wish.acts_for or wish.agent, fingerprint="", tag=f"{marks.TAG_PREFIX}{number}", carrier=carrier, bot=BOT,
            pair=wish.pair, side=wish.side, amount=order.amount, order_type="market", price=None,
            mode=self.mode, state=State.RECEIVED, created_at=now, updated_at=now,
        )  # fmt: skip
        return record, order

    def _is_sent(self, order_id: str) -> bool:
        return self.ledger.orders[order_id].state in protocol.IN_FLIGHT

    def _violations(self) -> list[str]:
        found = [*self._effects(), *self._answers(), *self._limits(), *self.falsehoods]
        found += [f"unsettled: {o.order_id} {o.state}" for o in self._unsettled()]
        if len(self.ledger.steps) != len(self.ledger.audited):
            found.append("a step without its audit row")
        return found

    def _unsettled(self) -> list[OrderRecord]:
        return [o for o in self.ledger.orders.values() if o.state in protocol.UNSETTLED]

    def _effects(self) -> list[str]:
        """At most one effect for one key, behind its `sent`; and the ledger says what happened."""
        found = []
        for record in self.ledger.orders.values():
            mine = [one for one in self.bot.effects if one.order_id == record.order_id]
            if len(mine) > 1:
                found.append(f"double: {record.order_id}")
            placed = protocol.outcome(record.state) == "placed"
            if placed and [one.bot_order_id for one in mine] != [record.bot_order_id]:
                found.append(f"placed without its effect: {record.order_id}")
            if record.state in {State.REJECTED, State.DENIED} and mine:
                found.append(f"{record.state} and executed: {record.order_id}")
        found += [
            f"effect before sent: {one.bot_order_id}"
            for one in self.bot.effects
            if not one.was_sent
        ]
        return found

    def _answers(self) -> list[str]:
        """A final answer is never contradicted, by a later one or by the ledger."""
        found = []
        for wish, told in self.told.items():
            final = told.final()
            order_id = self.ledger.keys.get(("tests", wish.agent, UUID(int=wish.number)))
            if order_id is None:
                found.append(f"lost: {wish}")
                continue
            state = self.ledger.orders[order_id].state
            if any(word != protocol.outcome(state) for word in final):
                found.append(f"answers {final} and state {state}: {order_id}")
            if not final and state is not State.NEEDS_REVIEW:
                found.append(f"never told: {order_id} is {state}")
        return found

    def _limits(self) -> list[str]:
        found = []
        if self.bot.most_open > self.bot.slots:
            found.append(f"{self.bot.most_open} positions in {self.bot.slots} slots")
        if self.bot.wallet < 0:
            found.append(f"the wallet is overdrawn: {self.bot.wallet}")
        pairs = [t.pair for t in self.bot.trades.values() if t.is_open]
        if len(pairs) != len(set(pairs)):
            found.append("two positions in one pair")
        return found


def _state(mode: Mode, slots: int) -> BotState:
    return BotState(mode, "running", True, "USDT", "5m", slots, True, "bot", "1")


def _asked(wish: Wish) -> OrderRequest:
    return OrderRequest.model_construct(
        request_id=UUID(int=wish.number), agent=wish.agent, pair=wish.pair, side=wish.side,
        amount=Decimal(wish.amount), order_type="market", price=None,
    )  # fmt: skip
