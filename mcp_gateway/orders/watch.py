"""The watch: what halts trading by itself, and leaves it to a person to resume.

Of each cause it is remembered whether the last look found it. Only one that was not there
before halts; so whoever releases a halt is not overruled while its cause lasts.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final, NamedTuple

from mcp_gateway.domain.orders import OrderRecord, State, canonical
from mcp_gateway.errors import BotError, GatewayError
from mcp_gateway.orders.book.actor import Actor
from mcp_gateway.orders.book.background import forever
from mcp_gateway.orders.halts.records import NewHalt
from mcp_gateway.orders.halts.switch import Halts
from mcp_gateway.orders.sending.facts import FactFinder
from mcp_gateway.risk.case import lost
from mcp_gateway.risk.facts import Facts, HaltScope, midnight
from mcp_gateway.telemetry import logs

LOOK_S: Final = 3.0
STALLED_S: Final = 60.0  # a bot that is well runs its loop every 5 s
UNKNOWN_TOO_LONG: Final = "unknown_too_long"
BOT_STALLED: Final = "bot_stalled"
LOSS_STOP: Final = "loss_stop"
REPEAT_THROTTLE: Final = "repeat_throttle"
WATCH: Final = Actor.watching("watch")
_log = logs.get(__name__)


class Cause(NamedTuple):
    """What halts: the same words mean the same cause."""

    scope: HaltScope
    name: str
    code: str
    reason: str


Find = Callable[[], Awaitable[frozenset[Cause]]]


@dataclass(slots=True)
class Seen:
    """What the last look found, and when that was."""

    causes: frozenset[Cause]
    at: datetime


@dataclass
class Watch:
    """Looks for what must halt trading.

    Args:
        longest_unknown: how long an order may be unknown.
    """

    halts: Halts
    finder: FactFinder
    longest_unknown: timedelta
    _last: dict[str, Seen] = field(default_factory=dict, init=False)
    # When the bot last ran its loop by its own word, and since when it says no other.
    _loop: tuple[datetime | None, float] | None = field(default=None, init=False)

    async def run(self) -> None:
        """Look until cancelled."""
        await forever("The watch", self.look, lambda: self.finder.clock.sleep(LOOK_S))

    async def look(self) -> None:
        """Look for every cause once; one that can't be told does not hide the others."""
        await self._look_for(UNKNOWN_TOO_LONG, self._unknown)
        await self._look_for(BOT_STALLED, self._stalled)
        await self._look_for(LOSS_STOP, self._losses)

    async def throttled(self, record: OrderRecord) -> None:
        """Halt an agent whose order was denied because it repeats itself, and its caller."""
        now = self.finder.clock.now()
        for name in dict.fromkeys((record.agent, record.subject)):
            limits = self.finder.policies.current.limits(name)
            if limits.repeats is None:
                continue
            within = f"within {limits.repeat_window_s} s"
            reason = f"More than {limits.repeats} entries in {record.pair} {within}."
            cause = Cause("agent", name, REPEAT_THROTTLE, reason)
            await self._halt(cause, now - timedelta(seconds=limits.repeat_window_s))

    async def _look_for(self, code: str, find: Find) -> None:
        now = self.finder.clock.now()
        try:
            causes = await find()
        except GatewayError as error:  # neither there nor gone
            _log.info("The watch can't tell", about=code, code=error.code)
            return
        last = self._last.get(code)
        since = midnight(now) if last is None else last.at
        for cause in sorted(causes - (frozenset() if last is None else last.causes)):
            await self._halt(cause, since)
        self._last[code] = Seen(causes, now)

    async def _halt(self, cause: Cause, since: datetime) -> None:
        now = self.finder.clock.now()
        await self.halts.set(NewHalt(*cause, WATCH, now, unless_since=since))

    async def _unknown(self) -> frozenset[Cause]:
        """Find orders whose outcome nobody has found out for too long."""
        unknown = await self.finder.ledger.in_states(self.finder.bot_name, {State.UNKNOWN})
        since = self.finder.clock.now() - self.longest_unknown
        minutes = self.longest_unknown.total_seconds() / 60
        return frozenset(
            Cause(
                "all", "", UNKNOWN_TOO_LONG,
                f"Order {one.order_id} in {one.pair} is unknown for more than {minutes:g} min.",
            )
            for one in unknown
            if (one.sent_at or one.created_at) < since
        )  # fmt: skip

    async def _stalled(self) -> frozenset[Cause]:
        """Find a bot that answers, says that it runs, and does not run its loop.

        One that is down is another matter: nothing can be sent to it. What is compared are two
        words of the bot's own, so that its clock need not be right.
        """
        bot, now = self.finder.bot, self.finder.clock.monotonic()
        try:
            state = (await bot.bot_state()).state
            ran_at = (await bot.health()).last_process_at
        except BotError:
            self._loop = None
            raise
        if state != "running":
            self._loop = None
            return frozenset()
        if self._loop is None or self._loop[0] != ran_at:
            self._loop = ran_at, now
        if now - self._loop[1] < STALLED_S:
            return frozenset()
        reason = f"The bot answers and has not run its loop for {STALLED_S:.0f} s."
        return frozenset({Cause("all", "", BOT_STALLED, reason)})

    async def _losses(self) -> frozenset[Cause]:
        """Find agents, and all of them together, that have lost what they may lose in a day."""
        policy = self.finder.policies.current
        sections = (policy.defaults, *policy.agents.values())
        if policy.totals.daily_loss is None and all(one.daily_loss is None for one in sections):
            return frozenset()
        facts = await self.finder.results()
        found = set()
        for agent in set(facts.owners.values()):
            limit = policy.limits(agent).daily_loss
            if limit is not None and _reached(facts, agent, limit):
                reason = f"Lost {canonical(limit)} since midnight UTC, the agent's daily_loss."
                found.add(Cause("agent", agent, LOSS_STOP, reason))
        limit = policy.totals.daily_loss
        if limit is not None and _reached(facts, None, limit):
            reason = f"Lost {canonical(limit)} since midnight UTC, the daily_loss of all."
            found.add(Cause("all", "", LOSS_STOP, reason))
        return frozenset(found)


def _reached(facts: Facts, agent: str | None, limit: Decimal) -> bool:
    gone = lost(facts, agent)
    return gone is not None and gone >= limit
