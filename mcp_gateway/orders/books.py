"""Everything that stands on the store, opened together: ledger, audit log, orders.

Importing this module costs the SQL libraries (0.2 s), so the gateway does it behind its first
answers.
"""

from dataclasses import dataclass
from datetime import timedelta

import anyio

from mcp_gateway.audit.events import AuditEvent
from mcp_gateway.audit.log import AuditLog, run_flusher
from mcp_gateway.audit.trail import Trail
from mcp_gateway.clock import Clock
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.freqtrade.events import BotEvents
from mcp_gateway.market.service import Market
from mcp_gateway.orders.book.detached import Detached
from mcp_gateway.orders.book.ledger import Ledger
from mcp_gateway.orders.evidence.absence import Patience
from mcp_gateway.orders.halts.bot_switch import BotSwitch
from mcp_gateway.orders.halts.local import LocalHalts
from mcp_gateway.orders.halts.switch import Halts
from mcp_gateway.orders.records import Records
from mcp_gateway.orders.sending.facts import FactFinder
from mcp_gateway.orders.sending.seals import Seals
from mcp_gateway.orders.sending.submission import Submission
from mcp_gateway.orders.service import OrderService
from mcp_gateway.orders.settling.follow import Follower
from mcp_gateway.orders.settling.reconcile import CYCLE_S, Reconciler
from mcp_gateway.orders.watch import Watch
from mcp_gateway.risk.keeper import PolicyKeeper
from mcp_gateway.settings import Settings
from mcp_gateway.storage.kv import open_kv
from mcp_gateway.storage.revisions import Revisions
from mcp_gateway.storage.sql import Store


@dataclass(frozen=True, slots=True)
class Books:
    """The open store and what is written in it."""

    store: Store
    records: Records
    orders: OrderService
    reconciler: Reconciler
    follower: Follower
    trail: Trail
    clock: Clock
    halts: Halts
    switch: BotSwitch
    watch: Watch

    async def keep(self) -> None:
        """Settle, follow, and write the trail until cancelled; then close the store.

        What is still in the trail then is written first, within the flusher's own bound.
        """
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self.reconciler.run)
                group.start_soon(self.orders.dispatch.run)
                group.start_soon(self.follower.run)
                group.start_soon(self.halts.keep)
                group.start_soon(self.switch.keep)
                group.start_soon(self.watch.run)
                group.start_soon(self.follower.listen)
                group.start_soon(run_flusher, self.trail, self.records.audit_log, self.clock)
        finally:
            with anyio.CancelScope(shield=True):
                await self.store.close()


def upgraded(found: Revisions, clock: Clock) -> AuditEvent:
    """Return the audit row of a database that was brought to this version's schema."""
    steps = {"from": found.current, "to": found.needed}
    return AuditEvent(event="store.upgraded", at=clock.now(), channel="control", detail=steps)


async def open_books(
    settings: Settings,
    *,
    bot: FreqtradeClient,
    market: Market,
    trail: Trail,
    work: Detached,
    clock: Clock,
    serves: str,
    policies: PolicyKeeper,
    seals: Seals,
    local_halts: LocalHalts,
) -> Books:
    """Open the store and take up what an earlier process left unsettled.

    Args:
        serves: how this process is reached, for others who want its store.

    Raises:
        StoreUnavailable: the store does not open, is held by another gateway, or is outdated.
    """
    store = Store(settings.database_url, data_dir=settings.data_dir, serves=serves)
    found = await store.open()
    try:
        if not found.ready:
            trail.note(upgraded(found, clock))
        books = _books(
            store, settings, bot=bot, market=market, trail=trail, work=work, clock=clock,
            policies=policies, seals=seals, local_halts=local_halts,
        )  # fmt: skip
        await books.halts.refresh()
        await books.reconciler.recover()
    except BaseException:
        with anyio.CancelScope(shield=True):
            await store.close()
        raise
    return books


def _books(
    store: Store,
    settings: Settings,
    *,
    bot: FreqtradeClient,
    market: Market,
    trail: Trail,
    work: Detached,
    clock: Clock,
    policies: PolicyKeeper,
    seals: Seals,
    local_halts: LocalHalts,
) -> Books:
    ledger = Ledger(store, clock)
    prices = Market(bot, open_kv(None, clock), clock, settings.redis_ttl)
    finder = FactFinder(
        ledger, bot, market, prices, clock, settings.bot, settings.mode,
        policies, settings.read_timeout_s,
    )  # fmt: skip
    wait = timedelta(seconds=settings.approval_wait_s)
    halts = Halts(store, clock, local_halts)
    watch = Watch(halts, finder, timedelta(seconds=settings.unknown_halt_s))
    submission = Submission(
        ledger, finder, bot, clock, policies, approval_wait=wait,
        halts=local_halts, throttled=watch.throttled,
    )  # fmt: skip
    reconciler = Reconciler(
        submission, ledger, bot, clock, settings.bot,
        Patience(settings.quiet_s, CYCLE_S),
    )  # fmt: skip
    follower = Follower(ledger, bot, clock, settings.bot, _events(settings, clock))
    orders = OrderService(
        ledger, submission, reconciler, follower, work,
        bot_name=settings.bot, mode=settings.mode, seals=seals,
    )  # fmt: skip
    records = Records(ledger, AuditLog(store), bot, settings.bot)
    switch = BotSwitch(store, bot, clock, local_halts)
    return Books(
        store, records, orders, reconciler, follower, trail, clock, halts, switch, watch
    )  # fmt: skip


def _events(settings: Settings, clock: Clock) -> BotEvents | None:
    token = settings.freqtrade_ws_token
    if token is None:
        return None
    return BotEvents(settings.freqtrade_url, token.get_secret_value(), clock=clock)
