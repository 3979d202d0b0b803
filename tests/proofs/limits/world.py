"""A world of several agents under a policy, watched from outside at every moment.

The ledger's own sums are not asked. What counts is what reached the bot, when, and what the
bot made of it.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple, cast

from mcp_gateway.domain.answers import Accepted, Answer, Unanswered
from mcp_gateway.domain.market import base_and_quote
from mcp_gateway.domain.orders import OrderRecord, OrderRequest
from mcp_gateway.domain.positions import Mode
from mcp_gateway.freqtrade.connections import Unless
from mcp_gateway.freqtrade.orders import Entry
from mcp_gateway.orders.book.rows import Superseded
from mcp_gateway.orders.book.steps import audit_event
from mcp_gateway.risk.policy import Limits, Policy
from tests.proofs.simulation.bot import FEE_RATE, PRICE, STEP, SimulatedBot
from tests.proofs.simulation.engine import pause
from tests.proofs.simulation.tape import Tape
from tests.proofs.simulation.world import ORIGIN, Process, Wish, World

SLOTS, WALLET = 8, Decimal(5000)  # so that limits bind before they do
MINUTE: Final = timedelta(minutes=1)
TURN_S: Final = 0.25
LIMITS: Final = frozenset({
    "notional_too_large", "pair_notional", "agent_notional", "total_notional", "agent_positions",
    "total_positions", "order_rate", "total_order_rate", "daily_orders", "total_daily_orders",
    "daily_notional", "total_daily_notional",
})  # fmt: skip


class Arrival(NamedTuple):
    """One entry that reached the bot's address: whose, and when by the gateways' wall clock."""

    agent: str
    at: datetime


class Bought(NamedTuple):
    """One entry that was carried out: what it cost, fee included, and when it was sent."""

    arrival: Arrival
    cost: Decimal


class Ghost(NamedTuple):
    """One entry that the exchange carried out and the bot has no trade of."""

    order_id: str
    pair: str
    amount: Decimal
    at_s: float


class WatchedBot(SimulatedBot):
    """Says of each entry when it came and when it was carried out.

    With real money an exchange may carry out what the bot never hears of: the coin lies there,
    and no trade tells of it. The bot sees it when it reads its wallet, at its start.
    """

    came: Callable[[str], None]
    done: Callable[[str], None]
    ghosts: list[Ghost]
    live: bool

    async def unmanaged_coins(self) -> frozenset[str]:
        await self._read()
        held = {trade.pair for trade in self.trades.values() if trade.is_open}
        known = {ghost.pair for ghost in self.ghosts if ghost.at_s <= self.started}
        return frozenset(base_and_quote(pair)[0] for pair in known - held)

    async def enter(self, entry: Entry, *, unless: Unless | None = None) -> Answer:
        task = self._scheduler.now_running
        if task is not None and task.order_id is not None:
            self.came(task.order_id)
        return await super().enter(entry, unless=unless)

    def _enter(self, entry: Entry, order_id: str | None) -> Answer:
        bought = self.live and order_id is not None and self._refused(entry) is None
        if bought and self._tape.choose("ghost", 2):
            return self._unheard_of(entry, str(order_id))
        answer = super()._enter(entry, order_id)
        if isinstance(answer, Accepted) and order_id is not None:
            self.done(order_id)
        return answer

    def _unheard_of(self, entry: Entry, order_id: str) -> Answer:
        amount = entry.quote / PRICE // STEP * STEP
        self.wallet -= amount * PRICE * (1 + FEE_RATE)
        self.ghosts.append(Ghost(order_id, entry.pair, amount, self._clock.elapsed))
        self.done(order_id)
        return Unanswered("bot_failed")


class LimitedWorld(World):
    """Holds every arrival and every effect against the policy, as it happens."""

    bot_type = WatchedBot

    def __init__(
        self, tape: Tape, wishes: tuple[Wish, ...], policy: Policy, *, processes: int,
        ahead_s: float, rounds: int, mode: Mode,
    ) -> None:  # fmt: skip
        self.turns: set[int] = set()
        super().__init__(
            tape, wishes, processes, rounds, policy=policy, slots=SLOTS, wallet=WALLET, mode=mode
        )
        self.clock.wall_ahead = ahead_s
        self.ghosts: list[Ghost] = []
        bot = cast(WatchedBot, self.bot)
        bot.came, bot.done = self._came, self._done
        bot.ghosts, bot.live = self.ghosts, mode == "live"
        self.arrivals: dict[str, Arrival] = {}
        self.bought: list[Bought] = []
        self.owners: dict[int, str] = {}

    def denied(self) -> Counter[str]:
        """Count what was denied, by the limits that bound it."""
        codes = (record.code for record in self.ledger.orders.values())
        return Counter(code for code in codes if code in LIMITS)

    async def _submitted(
        self, process: Process, record: OrderRecord, order: OrderRequest
    ) -> OrderRecord:
        """Go in turn, as entries of one process do; what waited sees what was placed meanwhile."""
        task = self.scheduler.now_running
        with process.submission.carrying(record.order_id):
            received = await self.ledger.receive(record, audit_event(record, ORIGIN))
            if received.seen is None:
                return received.record
            if task is not None:
                task.order_id = record.order_id
            seen = await self._turn(process, received.seen)
            try:
                return await process.submission.run(record, order, seen, ORIGIN)
            except Superseded:
                return self.ledger.orders[record.order_id]
            finally:
                self.turns.discard(id(process))

    async def _turn(self, process: Process, seen: int) -> int:
        while id(process) in self.turns:
            await pause(TURN_S)
            seen = len(self.ledger.steps)
        self.turns.add(id(process))
        return seen

    def _came(self, order_id: str) -> None:
        arrival = Arrival(self.ledger.orders[order_id].agent, self.clock.now())
        self.arrivals[order_id] = arrival
        own = [one for one in self.arrivals.values() if one.agent == arrival.agent]
        limits, totals = self._limits_of(arrival.agent), self.policy.totals
        for whose, most, arrivals in (
            (arrival.agent, (limits.orders_per_minute, limits.orders_per_day), own),
            ("all", (totals.orders_per_minute, totals.orders_per_day), self.arrivals.values()),
        ):
            minute, day = _lately(arrivals, arrival.at)
            self._hold(f"orders per minute of {whose}", minute, most[0])
            self._hold(f"orders per day of {whose}", day, most[1])

    def _done(self, order_id: str) -> None:
        arrival = self.arrivals[order_id]
        pair, amount = self._newest(order_id, arrival.agent)
        cost = amount * PRICE * (1 + FEE_RATE)
        self.bought.append(Bought(arrival, cost))
        self._hold("notional of an order", cost, self._limits_of(arrival.agent).order_notional)
        self._positions(arrival.agent, pair)
        self._days(arrival)

    def _newest(self, order_id: str, agent: str) -> tuple[str, Decimal]:
        """Return what was bought just now: by a trade that is told, or without one."""
        if self.ghosts and self.ghosts[-1].order_id == order_id:
            return self.ghosts[-1].pair, self.ghosts[-1].amount
        number, trade = next(reversed(self.bot.trades.items()))
        self.owners[number] = agent
        return trade.pair, trade.amount

    def _positions(self, agent: str, pair: str) -> None:
        limits, totals = self._limits_of(agent), self.policy.totals
        held = {number: one for number, one in self.bot.trades.items() if one.is_open}
        own = {number for number in held if self.owners[number] == agent}
        worth = [(self.owners[n], one.pair, one.amount * PRICE) for n, one in held.items()]
        worth += [
            (self.arrivals[one.order_id].agent, one.pair, one.amount * PRICE) for one in self.ghosts
        ]
        here = sum(money for _, where, money in worth if where == pair)
        self._hold(f"notional in {pair}", here, limits.pair_notional)
        theirs = sum(money for owner, _, money in worth if owner == agent)
        self._hold(f"notional of {agent}", theirs, limits.agent_notional)
        self._hold("notional of all", sum(money for *_, money in worth), totals.notional)
        self._hold(f"positions of {agent}", len(own), limits.agent_positions)
        self._hold("positions of all", len(held), totals.positions)

    def _days(self, arrival: Arrival) -> None:
        today = [one for one in self.bought if one.arrival.at.date() == arrival.at.date()]
        own = sum(one.cost for one in today if one.arrival.agent == arrival.agent)
        most = self._limits_of(arrival.agent).daily_notional
        self._hold(f"daily notional of {arrival.agent}", own, most)
        every = sum(one.cost for one in today)
        self._hold("daily notional of all", every, self.policy.totals.daily_notional)

    def _limits_of(self, agent: str) -> Limits:
        return self.policy.agents.get(agent, self.policy.defaults)

    def _hold(self, what: str, value: Any, limit: Any) -> None:
        if limit is not None and value > limit:
            self.falsehoods.append(f"{what}: {value} is more than {limit}")


def _lately(arrivals: Iterable[Arrival], now: datetime) -> tuple[int, int]:
    """Count what arrived in the minute that ends now, and on this day."""
    at = [one.at for one in arrivals]
    minute = sum(now - MINUTE < one <= now for one in at)
    return minute, sum(one.date() == now.date() for one in at)
