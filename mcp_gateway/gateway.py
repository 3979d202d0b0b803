"""The composition root: one gateway with everything in it, opened and drained in order.

What reads need is there at once. What orders need (the store) opens behind it, so that a
desktop app has its tool list before the SQL libraries are even imported.
"""

import importlib
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any, Final

import anyio
from anyio.abc import TaskStatus

from mcp_gateway.access.gate import Gate, build_gate
from mcp_gateway.access.tokens.revocation_watch import RevocationWatch
from mcp_gateway.access.tokens.revocations import Revocations
from mcp_gateway.audit.trail import Trail
from mcp_gateway.clock import Clock
from mcp_gateway.domain.principals import Admission
from mcp_gateway.errors import BotUnavailable, Draining, GatewayError, InternalError
from mcp_gateway.freqtrade.client import FreqtradeClient, bot_from
from mcp_gateway.health import KEPT_S, Health, Ping, asked, judged
from mcp_gateway.market.flights import Flights
from mcp_gateway.market.service import Market
from mcp_gateway.orders.account import Account, Accounts
from mcp_gateway.orders.book.detached import Detached, detached
from mcp_gateway.orders.halts.board import Board
from mcp_gateway.orders.halts.local import LocalHalts
from mcp_gateway.orders.sending.seals import PREVIEWS, Seals
from mcp_gateway.risk.keeper import PolicyKeeper
from mcp_gateway.settings import Settings
from mcp_gateway.storage.kv import KeyValue, open_kv
from mcp_gateway.telemetry import logs

if TYPE_CHECKING:  # imported when the store opens, see open_books
    from mcp_gateway.audit.log import AuditLog
    from mcp_gateway.orders.books import Books
    from mcp_gateway.orders.halts.switch import Halts
    from mcp_gateway.orders.sending.facts import FactFinder
    from mcp_gateway.orders.service import OrderService

DRAIN_S: Final = 4.0  # for orders on their way when the gateway stops; recovery takes the rest
REOPEN_S: Final = 2.0
UNMENDABLE: Final = {"store_held", "schema_newer", "schema_outdated"}
LONGEST_WAIT_S: Final = 10.0  # of an order tool for the store to open
Absence = Callable[[], BotUnavailable | None]
_log = logs.get(__name__)


class Gateway:
    """The one core behind every wire and language."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        kv: KeyValue,
        bot: FreqtradeClient,
        order_bot: FreqtradeClient | None = None,
        serves: str = "",
    ) -> None:
        self.settings: Final = settings
        self.clock: Final = clock
        self.kv: Final = kv
        self.bot: Final = bot
        # Connections of its own, so that no flood of reads can hold up an order.
        self._order_bot = order_bot or bot
        self._serves = serves
        self._healths: Flights[None, Health] = Flights(clock, KEPT_S)
        self.trail: Final = Trail()
        # What stops entries with the store down, or not open yet.
        self.local_halts: Final = LocalHalts(settings.data_dir, clock)
        self.board: Final = Board(self.local_halts, self._halts, clock)
        self.policies: Final = PolicyKeeper.of_file(settings.policy, clock, self.trail)
        self.market: Final = Market(bot, kv, clock, settings.redis_ttl)
        self._accounts = Accounts(
            bot, self._finder, self.policies, clock, self.local_halts.in_force,
            declared_mode=settings.mode, calls_per_minute=settings.rate_limit_per_minute,
        )  # fmt: skip
        self._books: Books | None = None
        self._trouble: GatewayError | None = None
        self._wanted = anyio.Event()
        self.revoking: Final = RevocationWatch(Revocations(self._wanted.set), clock)
        self.gate: Final[Gate] = build_gate(settings, kv, self.trail, clock, self.revoking.known)
        self._tried = anyio.Event()
        self._ending = anyio.Event()
        self._ended = anyio.Event()
        self._stopping = False

    async def orders(self) -> "OrderService":
        """Return the order service, once the store is open and recovery is done.

        Raises:
            StoreUnavailable: the store does not open; it is tried again behind this answer.
            Draining: the gateway is starting or stopping.
        """
        return (await self.books()).orders

    async def audit_log(self) -> "AuditLog":
        """Return the audit log; raises as ``orders`` does."""
        return (await self.books()).records.audit_log

    async def books(self) -> "Books":
        """Return what stands on the store; raises as ``orders`` does."""
        self._wanted.set()
        with anyio.move_on_after(LONGEST_WAIT_S):
            await self._tried.wait()
        if self._stopping:
            raise Draining("The gateway is stopping.")
        if self._books is not None:
            return self._books
        if self._trouble is not None:
            raise self._trouble
        raise Draining("The gateway is starting.", retry_after_s=REOPEN_S)

    async def account(self, admission: Admission) -> Account:
        """Tell balance, mode, and limits with what is left of them; raises BotUnavailable."""
        return await self._accounts.of(admission)

    async def _halts(self) -> "Halts":
        return (await self.books()).halts

    async def _finder(self) -> "FactFinder":
        return (await self.books()).reconciler.submission.finder

    @property
    def ready(self) -> bool:
        """Whether calls may be sent here; asks nobody.

        A store that nobody has wanted yet is no reason to wait.
        """
        return not self._stopping and (self._books is not None or not self._wanted.is_set())

    async def health(self) -> Health:
        """Tell how every service is, as of two seconds ago at most.

        Anybody may ask this without a token, so askers share one look.
        """
        return (await self._healths.ask(None, self._look)).value

    async def _look(self) -> Health:
        """Ask every service there is, all at once."""
        if self._stopping:
            return Health("unhealthy", {})
        pings: dict[str, Ping] = {"freqtrade": self.bot.bot_state}
        if self.gate.keys.faults:
            pings["keys"] = self.gate.keys.ping
        if self.kv.backend == "redis":
            pings["redis"] = self.kv.ping
        if self._books is not None:
            pings["postgres"] = self._books.store.ping
        services = await asked(pings)
        services.setdefault("redis", "embedded")
        services.setdefault("postgres", "unhealthy" if self._trouble else "opening")
        if self.settings.embedded_store and services["postgres"] != "unhealthy":
            services["postgres"] = "embedded"
        if self.gate.verifier is not None and self.gate.issuers:
            services["issuers"] = "unhealthy" if self.gate.verifier.ailing else "healthy"
        return judged(services)

    @asynccontextmanager
    async def running(self, store_after_s: float = 0.0) -> AsyncIterator[None]:
        """Be there for as long as the context lasts, then stop.

        Args:
            store_after_s: lets the store open that late, or when an order tool first wants it.
        """
        async with anyio.create_task_group() as group:
            await group.start(self._live, store_after_s)
            try:
                yield
            finally:
                await self.stop()

    async def stop(self) -> None:
        """Stop in order and return when all is over; anybody may ask for it, and often.

        What waits in the trail gets its store, no more orders are taken, those on their way
        arrive, the trail is written, and every part is closed.
        """
        with anyio.CancelScope(shield=True):
            self._ending.set()
            await self._ended.wait()

    async def _live(self, store_after_s: float, *, task_status: TaskStatus[None]) -> None:
        # Nothing but stop() ends it: whoever cancels the callers does not cut off their orders.
        with anyio.CancelScope(shield=True):
            async with AsyncExitStack() as parts:  # what is opened last is closed first
                parts.callback(self._ended.set)
                parts.push_async_callback(self.kv.close)
                parts.push_async_callback(self.bot.aclose)
                parts.push_async_callback(self._order_bot.aclose)
                background = await parts.enter_async_context(anyio.create_task_group())
                parts.callback(background.cancel_scope.cancel)
                work = await parts.enter_async_context(detached(DRAIN_S))
                background.start_soon(self._keep_books, work, store_after_s)
                background.start_soon(self.policies.watch)
                background.start_soon(self.revoking.keep)
                if self.gate.verifier is not None:
                    background.start_soon(self.gate.verifier.keep)
                task_status.started()
                await self._ending.wait()
                await self._open_for_the_trail()
                self._stopping = True

    async def _keep_books(self, work: Detached, after_s: float) -> None:
        """Open the store (when first wanted, or after that long) and keep it until cancelled."""
        try:
            with anyio.move_on_after(after_s):
                await self._wanted.wait()
            self._wanted.set()
            books = await self._open_books(work)
            await books.keep()
        finally:
            self._tried.set()  # nobody waits for a store that will not open any more

    async def _open_books(self, work: Detached) -> "Books":
        # In a thread: the SQL libraries take 0.2 s to import.
        module: Any = await anyio.to_thread.run_sync(
            importlib.import_module, "mcp_gateway.orders.books"
        )
        while True:
            try:
                books: Books = await module.open_books(
                    self.settings, bot=self._order_bot, market=self.market, trail=self.trail,
                    work=work, clock=self.clock, serves=self._serves, policies=self.policies,
                    local_halts=self.local_halts,
                    seals=Seals(self.gate.keyring.derived(PREVIEWS), self.clock),
                )  # fmt: skip
            except GatewayError as error:
                self._trouble = error
            except Exception:  # noqa: BLE001  (a bug here must not take the reads down)
                _log.exception("The store did not open")
                self._trouble = InternalError("The store did not open.")
            else:
                await self.revoking.begin(books.store)
                self._books, self._trouble = books, None
                self._tried.set()
                return books
            _log.error("The store is not open", code=self._trouble.code, hint=self._trouble.hint)
            self.revoking.known.settle()  # nobody waits for what can't be read
            self._tried.set()
            await self.clock.sleep(REOPEN_S)

    async def _open_for_the_trail(self) -> None:
        """Open the store for what waits in the trail, where nobody has wanted the store yet.

        A short stdio session that was refused something must leave its rows too.
        """
        if self.trail and self._books is None:
            with suppress(GatewayError):
                await self.books()

    async def ensure_store_is_ours(self) -> None:
        """Wait for the first try of the store, and raise what no waiting will mend.

        A store that is down may come back; one that another gateway holds, or whose schema
        is not this version's, is a matter for the operator, best told at the start.
        """
        await self._tried.wait()
        if self._trouble is not None and self._trouble.code in UNMENDABLE:
            raise self._trouble


@asynccontextmanager
async def open_gateway(
    settings: Settings,
    *,
    clock: Clock | None = None,
    store_after_s: float = 0.0,
    absence: Absence | None = None,
    serves: str = "",
) -> AsyncIterator[Gateway]:
    """Open a gateway; on leaving, drain its orders, write its trail and close its parts.

    Args:
        store_after_s: lets the store open that late, or when an order tool first wants it.
        absence: says why the bot can't be reached, for whoever is starting it.
        serves: how it is reached: a base URL or ``stdio``.
    """
    clock = clock or Clock()
    kv = open_kv(settings.redis_url, clock)
    bot, order_bot = bot_from(settings, clock), bot_from(settings, clock)
    if absence is not None:
        bot.absence = order_bot.absence = absence
    gateway = Gateway(settings, clock, kv, bot, order_bot, serves)
    async with gateway.running(store_after_s):
        yield gateway
