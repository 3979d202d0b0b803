"""What verbs work on, and the two ways to it: of a running gateway, or from the store alone.

Everything behind the SQL libraries is imported within functions: a gateway that starts, and a
command that finds one running, must not wait for them.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from mcp_gateway.cli.control.places import has_store, no_store
from mcp_gateway.clock import Clock
from mcp_gateway.settings import Settings

if TYPE_CHECKING:
    from mcp_gateway.access.tokens.board import TokenBoard
    from mcp_gateway.gateway import Gateway
    from mcp_gateway.orders.approvals.verbs import Approver
    from mcp_gateway.orders.halts.board import Board, FileBoard
    from mcp_gateway.orders.records import Canceller, Records
    from mcp_gateway.storage.sql import Store


@dataclass(frozen=True, slots=True)
class Part:
    """One thing that verbs work on.

    Args:
        module: where its verbs stand: ``async (part, args, operator)``, JSON-ready answers.
        running: takes it from a gateway; may wait for the store to open, or refuse.
        stored: opens it where no gateway runs; None: then it can't be had.
        file: what in the data folder, beside a store, shows that a gateway is meant to be here.
    """

    module: str
    running: Callable[["Gateway"], Awaitable[Any]]
    stored: Callable[[Settings], AbstractAsyncContextManager[Any]] | None = None
    file: str | None = None


async def _gateway(gateway: "Gateway") -> "Gateway":
    return gateway


async def _records(gateway: "Gateway") -> "Records":
    return (await gateway.books()).records


async def _canceller(gateway: "Gateway") -> "Canceller":
    books = await gateway.books()
    from mcp_gateway.orders.records import Canceller

    return Canceller(books.records, books.orders.take_back)


@asynccontextmanager
async def _stored_records(settings: Settings) -> "AsyncIterator[Records]":
    from mcp_gateway.audit.log import AuditLog
    from mcp_gateway.freqtrade.client import bot_from
    from mcp_gateway.orders.book.ledger import Ledger
    from mcp_gateway.orders.records import Records

    clock = Clock()
    async with _store(settings) as store, bot_from(settings, clock) as bot:
        yield Records(Ledger(store, clock), AuditLog(store), bot, settings.bot)


async def _approver(gateway: "Gateway") -> "Approver":
    orders = await gateway.orders()
    from mcp_gateway.orders.approvals.verbs import Approver

    return Approver(orders.approvals, orders.dispatch.approve)


@asynccontextmanager
async def _stored_approver(settings: Settings) -> "AsyncIterator[Approver]":
    from mcp_gateway.orders.approvals.decisions import Approvals
    from mcp_gateway.orders.approvals.verbs import Approver
    from mcp_gateway.orders.book.ledger import Ledger
    from mcp_gateway.orders.halts.local import LocalHalts
    from mcp_gateway.orders.halts.switch import Halts

    clock = Clock()
    local = LocalHalts(settings.data_dir, clock)
    async with _store(settings) as store:
        await Halts(store, clock, local).in_force()  # takes the store's word
        approvals = Approvals(Ledger(store, clock), clock, settings.bot, local)
        # No gateway runs here; one elsewhere may take up what is approved.
        yield Approver(approvals, approvals.approve)


async def _board(gateway: "Gateway") -> "Board":
    return gateway.board


@asynccontextmanager
async def _stored_board(settings: Settings) -> "AsyncIterator[Board | FileBoard]":
    from mcp_gateway.orders.halts.board import Board, FileBoard
    from mcp_gateway.orders.halts.local import LocalHalts
    from mcp_gateway.orders.halts.switch import Halts

    clock = Clock()
    local = LocalHalts(settings.data_dir, clock)
    if not has_store(settings):  # the file HALT alone is there; no store is made for it
        yield FileBoard(local, clock, no_store(settings))
        return
    async with _store(settings) as store:
        halts = Halts(store, clock, local)

        async def opened() -> Halts:
            return halts

        yield Board(local, opened, clock)


async def _tokens(gateway: "Gateway") -> "TokenBoard":
    await gateway.books()
    from mcp_gateway.access.tokens.board import TokenBoard

    verifier, issuer = gateway.gate.verifier, gateway.settings.issuer
    return TokenBoard(gateway.revoking, verifier, issuer, gateway.clock)


@asynccontextmanager
async def _stored_tokens(settings: Settings) -> "AsyncIterator[TokenBoard]":
    from mcp_gateway.access.keyring import Keyring
    from mcp_gateway.access.tokens.believed import verifier_from
    from mcp_gateway.access.tokens.board import TokenBoard
    from mcp_gateway.access.tokens.revocation_watch import RevocationWatch
    from mcp_gateway.access.tokens.revocations import Revocations

    clock = Clock()
    verifier = verifier_from(settings, Keyring.from_settings(settings), clock)
    watch = RevocationWatch(Revocations(), clock)
    async with _store(settings) as store:
        await watch.begin(store)
        yield TokenBoard(watch, verifier, settings.issuer, clock)


@asynccontextmanager
async def _store(settings: Settings) -> "AsyncIterator[Store]":
    from mcp_gateway.storage.sql import Store

    store = Store(settings.database_url, data_dir=settings.data_dir)
    await store.open()
    try:
        yield store
    finally:
        await store.close()


RECORDS: Final = Part("mcp_gateway.orders.records", _records, _stored_records)
CANCELS: Final = Part("mcp_gateway.orders.records", _canceller)
APPROVALS: Final = Part("mcp_gateway.orders.approvals.verbs", _approver, _stored_approver)
HALTS: Final = Part("mcp_gateway.orders.halts.verbs", _board, _stored_board, file="HALT")
TOKENS: Final = Part("mcp_gateway.access.tokens.verbs", _tokens, _stored_tokens)
GATEWAY: Final = Part("mcp_gateway.cli.control.running", _gateway)
