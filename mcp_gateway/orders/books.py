"""Everything that stands on the store, opened together: ledger, audit log, orders.

Importing this module costs the SQL libraries (some 0.7 s), so the gateway does it behind
its first answers.
"""

from dataclasses import dataclass

import anyio

from mcp_gateway.audit.events import AuditEvent
from mcp_gateway.audit.log import AuditLog, run_flusher
from mcp_gateway.audit.trail import Trail
from mcp_gateway.clock import Clock
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.market.service import Market
from mcp_gateway.orders.detached import Detached
from mcp_gateway.orders.facts import FactFinder
from mcp_gateway.orders.ledger import Ledger
from mcp_gateway.orders.reconcile import Reconciler
from mcp_gateway.orders.records import Records
from mcp_gateway.orders.service import OrderService
from mcp_gateway.orders.submission import Submission
from mcp_gateway.settings import Settings
from mcp_gateway.storage.kv import open_kv
from mcp_gateway.storage.revisions import Revisions
from mcp_gateway.storage.sql import Store

# Beyond the deadlines of one order (turn, questions, the order itself): then a row in
# flight belongs to a process that is gone.
ORPHAN_MARGIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Books:
    """The open store and what is written in it."""

    store: Store
    records: Records
    orders: OrderService
    reconciler: Reconciler
    trail: Trail
    clock: Clock

    async def keep(self) -> None:
        """Reconcile unknown orders and write the trail until cancelled, then close the store.

        What is still in the trail then is written first, within the flusher's own bound.
        """
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self.reconciler.run)
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
) -> Books:
    """Open the store and take up what an earlier process left unsettled.

    Raises:
        StoreUnavailable: the store does not open, is held by another gateway, or is outdated.
    """
    store = Store(settings.database_url, data_dir=settings.data_dir)
    found = await store.open()
    try:
        if not found.ready:
            trail.note(upgraded(found, clock))
        books = _books(store, settings, bot=bot, market=market, trail=trail, work=work, clock=clock)
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
) -> Books:
    ledger = Ledger(store, clock)
    prices = Market(bot, open_kv(None, clock), clock, settings.redis_ttl)
    finder = FactFinder(
        ledger, bot, market, prices, clock, settings.bot, settings.mode, settings.read_timeout_s
    )
    submission = Submission(ledger, finder, bot, clock)
    reconciler = Reconciler(
        submission=submission,
        ledger=ledger,
        bot=bot,
        clock=clock,
        bot_name=settings.bot,
        # SQLite is held by this process alone: what it does not carry, an earlier one left.
        orphaned_after_s=0.0
        if settings.embedded_store
        else 2 * settings.order_timeout_s + ORPHAN_MARGIN_S,
        quiet_s=settings.quiet_s,
    )
    orders = OrderService(
        ledger, submission, reconciler, work, bot_name=settings.bot, mode=settings.mode
    )
    return Books(store, Records(ledger, AuditLog(store)), orders, reconciler, trail, clock)
