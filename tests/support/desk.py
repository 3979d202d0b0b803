"""The whole order floor over a real SQLite store and a bot at the wire, in virtual time."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

from mcp_gateway.audit.log import AuditLog
from mcp_gateway.domain.operations import OPERATIONS
from mcp_gateway.domain.orders import OrderRecord, OrderRequest
from mcp_gateway.domain.positions import Mode
from mcp_gateway.domain.principals import Admission, Principal, admission_by_the_gate
from mcp_gateway.errors import GatewayError
from mcp_gateway.market.service import Market
from mcp_gateway.orders.book.detached import detached
from mcp_gateway.orders.book.ledger import Ledger
from mcp_gateway.orders.book.steps import audit_event
from mcp_gateway.orders.evidence.absence import Patience
from mcp_gateway.orders.halts.bot_switch import BotSwitch
from mcp_gateway.orders.halts.local import LocalHalts
from mcp_gateway.orders.halts.switch import Halts
from mcp_gateway.orders.sending.facts import FactFinder
from mcp_gateway.orders.sending.seals import Seals
from mcp_gateway.orders.sending.submission import Submission
from mcp_gateway.orders.service import OrderService
from mcp_gateway.orders.settling.follow import INTERVAL_S, Follower
from mcp_gateway.orders.settling.reconcile import ORIGIN, Reconciler
from mcp_gateway.orders.watch import Watch
from mcp_gateway.risk.keeper import PolicyKeeper
from mcp_gateway.risk.policy import Policy
from mcp_gateway.storage.kv import open_kv
from mcp_gateway.storage.sql import Store
from tests.support.clock import ManualClock
from tests.support.policy import POLICY
from tests.support.tradingbot import TradingBot

BOT = "freqtrade"  # as a gateway calls its bot where nobody names it
PAIR = "BTC/USDT"
SEALING_KEY = b"k" * 32  # desks over one store are replicas: they share it
LONGEST_UNKNOWN = timedelta(minutes=15)
PATIENCE = Patience(quiet_s=60.0, cycle_s=6.0, gap_s=60.0)  # tests look seldom


@dataclass
class Desk:
    """An order service with everything that a test looks at or moves."""

    bot: TradingBot
    clock: ManualClock
    store: Store
    ledger: Ledger
    audit_log: AuditLog
    reconciler: Reconciler
    follower: Follower
    orders: OrderService
    halts: Halts
    switch: BotSwitch
    watch: Watch

    @property
    def policies(self) -> PolicyKeeper:
        """The policy that orders are judged by."""
        return self.reconciler.submission.policies

    async def events(self) -> list[str]:
        """Return the audit log's words, oldest first."""
        return [row.event.event for row in await self.audit_log.tail(1000)]


@asynccontextmanager
async def open_desk(
    folder: Path,
    bot: TradingBot,
    clock: ManualClock,
    *,
    url: str | None = None,
    mode: Mode = "dry-run",
    bot_name: str = BOT,
    policy: Policy = POLICY,
    local: LocalHalts | None = None,
) -> AsyncIterator[Desk]:
    """Open a desk over the store in ``folder``; opened again, it finds what was written.

    Args:
        url: a PostgreSQL instead, which several desks may share.
        bot_name: what the gateway calls its bot in the ledger.
        local: the halts that the process knows by itself; one of its own, where none is given.
    """
    newest = int(clock.now().timestamp()) // 300 * 300 - 300
    bot.candles = {(pair, "5m"): newest for pair in bot.pairs}
    store = Store(url or f"sqlite:///{folder}/gateway.sqlite", data_dir=folder)
    await store.open(migrates=True)
    client = bot.client()
    try:
        async with detached(1.0) as work:
            ledger = Ledger(store, clock)
            market = Market(client, open_kv(None, clock), clock, 300)
            keeper = PolicyKeeper(policy)
            finder = FactFinder(ledger, client, market, market, clock, bot_name, mode, keeper, 5.0)
            local = local or LocalHalts(folder, clock)
            halts = Halts(store, clock, local)
            watch = Watch(halts, finder, LONGEST_UNKNOWN)
            submission = Submission(
                ledger, finder, client, clock, keeper, halts=local, throttled=watch.throttled
            )
            reconciler = Reconciler(submission, ledger, client, clock, bot_name, PATIENCE)
            follower = Follower(ledger, client, clock, bot_name)
            orders = OrderService(
                ledger,
                submission,
                reconciler,
                follower,
                work,
                bot_name=bot_name,
                mode=mode,
                seals=Seals(SEALING_KEY, clock),
            )
            yield Desk(
                bot, clock, store, ledger, AuditLog(store), reconciler, follower, orders,
                halts, BotSwitch(store, client, clock, local), watch,
            )  # fmt: skip
    finally:
        await client.aclose()
        await store.close()


def admission(subject: str = "agent-a", operation: str = "create_order") -> Admission:
    """Return what the gate would have made for a trader."""
    principal = Principal("tests", subject, frozenset({"orders:create", "orders:preview"}))
    return admission_by_the_gate(principal, OPERATIONS[operation], "http", "call-1")


def order(**changes: Any) -> OrderRequest:
    """Return an order that passes every check, but for what a test changes."""
    plain: dict[str, Any] = {
        "request_id": uuid4(), "pair": PAIR, "side": "buy", "amount": "1", "order_type": "market",
    }  # fmt: skip
    return OrderRequest.model_validate(plain | changes)


def request_id() -> UUID:
    """Return a new key."""
    return uuid4()


async def refused(desk: Desk, wanted: OrderRequest, subject: str = "agent-a") -> GatewayError:
    """Return the error with which an order is answered."""
    try:
        created = await desk.orders.create(admission(subject), wanted)
    except GatewayError as error:
        return error
    raise AssertionError(f"not refused: {created}")


async def stored(desk: Desk, wanted: OrderRequest, subject: str = "agent-a") -> OrderRecord:
    """Return an order as the ledger has it."""
    record = await desk.ledger.find("tests", subject, wanted.request_id)
    if record is None:
        raise AssertionError("the ledger has no such order")
    return record


async def lost(desk: Desk, fault: str = "lose", **changes: Any) -> OrderRequest:
    """Send an order whose answer is lost, by one of the bot's faults."""
    desk.bot.faults.append(fault)
    wanted = order(**changes)
    if (error := await refused(desk, wanted)).code != "outcome_unknown":
        raise AssertionError(f"not lost: {error.public()}")
    return wanted


async def claim_for_another(desk: Desk, bought: OrderRequest, bot_order_id: str) -> None:
    """Let a sell of what was bought stand for another request already."""
    other = replace(
        await stored(desk, bought), order_id="other", request_id=uuid4(), tag="gw:other",
        side="sell", bot_order_id=bot_order_id,
    )  # fmt: skip
    await desk.ledger.receive(other, audit_event(other, ORIGIN))


async def followed_twice(desk: Desk) -> None:
    """Look at what rests twice, as far apart as it takes to believe that an order is gone."""
    await desk.follower.look()
    desk.clock.advance(INTERVAL_S)
    await desk.follower.look()


async def rested(desk: Desk, subject: str = "agent-a", **changes: Any) -> OrderRequest:
    """Place a limit entry that rests at the bot."""
    wanted = order(**{"order_type": "limit", "price": "96"} | changes)
    created = await desk.orders.create(admission(subject), wanted)
    if created.answer["status"] != "submitted":
        raise AssertionError(f"does not rest: {created}")
    return wanted
