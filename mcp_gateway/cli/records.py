"""How commands read the records: through the running gateway, else from the store itself."""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import click

from mcp_gateway.cli.policy_verbs import POLICY_VERBS
from mcp_gateway.settings import Settings, sandbox_file

if TYPE_CHECKING:  # the SQL libraries are imported when a command needs them
    from mcp_gateway.errors import StoreUnavailable
    from mcp_gateway.gateway import Gateway
    from mcp_gateway.transports.control import Verb, Verbs

OF_APPROVALS: Final = (
    "approvals.list", "approvals.show", "approvals.approve", "approvals.decline",
)  # fmt: skip
# Where nothing else is set up, a sandbox that runs on this machine is what is meant.
OF_THE_SANDBOX_TOO: Final = (
    *OF_APPROVALS,
    "orders.list", "orders.show", "orders.reconcile", "audit.tail", "orders.settle",
)  # fmt: skip
LIMIT: Final = click.IntRange(1, 1000)  # rows of one answer
VERBS: Final = (*OF_THE_SANDBOX_TOO, "audit.token")


def ask_records(settings: Settings, verb: str, args: Mapping[str, Any]) -> Any:
    """Return a verb's answer.

    Raises:
        GatewayError: the gateway, or the store, refuses.
    """
    from mcp_gateway.transports.control import GatewayNotRunning, ask

    with contextlib.suppress(GatewayNotRunning):
        return ask(settings.control_socket, verb, args)
    if verb in OF_THE_SANDBOX_TOO and (socket := _socket_of_the_sandbox(settings)) is not None:
        return ask(socket, verb, args)
    return anyio.run(_from_store, settings, verb, args)


def ask_running(settings: Settings, verb: str, args: Mapping[str, Any]) -> Any:
    """Return a verb's answer that only a running gateway can give.

    Raises:
        GatewayNotRunning: there is none.
        GatewayError: it refuses.
    """
    from mcp_gateway.transports.control import GatewayNotRunning, ask

    try:
        return ask(settings.control_socket, verb, args)
    except GatewayNotRunning:
        if (socket := _socket_of_the_sandbox(settings)) is None:
            raise
    return ask(socket, verb, args)


def _socket_of_the_sandbox(settings: Settings) -> Path | None:
    sandbox = sandbox_meant_by(settings)
    if sandbox is None:
        return None
    _say_once("(of the running sandbox)")
    return Path(sandbox["data_dir"]) / "control.sock"


def _say_once(text: str) -> None:
    said = click.get_current_context().meta.setdefault(__name__, set())
    if text not in said:
        said.add(text)
        click.echo(text, err=True)


def sandbox_meant_by(settings: Settings) -> dict[str, Any] | None:
    """Return what a sandbox that runs on this machine tells of itself, if it is what is meant.

    Whoever has set up a gateway of their own means that one, running or not: another's orders
    must not be taken for theirs.
    """
    return None if settings.set_up else running_sandbox()


def running_sandbox() -> dict[str, Any] | None:
    """Return what a sandbox that runs on this machine tells of itself."""
    try:
        told: dict[str, Any] = json.loads(sandbox_file().read_text(encoding="utf-8"))
        os.kill(told["pid"], 0)
    except (OSError, ValueError, KeyError):
        return None  # none, or one that was killed and left its file
    return told


def control_verbs() -> "Verbs":
    """Return what a running gateway answers at its control socket."""
    from mcp_gateway.cli.halt_control import halt_verbs

    return {verb: _answered(verb) for verb in VERBS} | dict(POLICY_VERBS) | dict(halt_verbs())


def _answered(verb: str) -> "Verb":
    async def answer(gateway: "Gateway", args: dict[str, Any], operator: str) -> Any:
        books = await gateway.books()
        # Only now: a gateway that starts must not wait for the SQL libraries behind this.
        from mcp_gateway.orders import records
        from mcp_gateway.orders.approvals import verbs as approval_records

        if verb in OF_APPROVALS:
            orders = books.orders
            approver = approval_records.Approver(orders.approvals, orders.dispatch.approve)
            return await approval_records.VERBS[verb](approver, args, operator)
        return await records.VERBS[verb](books.records, args, operator)

    return answer


def has_store(settings: Settings) -> bool:
    """Tell whether a gateway has been here; PostgreSQL tells that itself."""
    return not settings.embedded_store or (settings.data_dir / "gateway.sqlite").exists()


def no_store(settings: Settings) -> "StoreUnavailable":
    """Return the refusal to make an empty store and tell that there are no orders in it."""
    from mcp_gateway.errors import StoreUnavailable

    return StoreUnavailable(
        f"There is no store in {settings.data_dir}.",
        code="store_missing",
        hint="Check MCP_GATEWAY_DATA_DIR; the gateway makes its store when it first starts.",
    )


async def _from_store(settings: Settings, verb: str, args: Mapping[str, Any]) -> Any:
    from mcp_gateway.audit.log import AuditLog
    from mcp_gateway.clock import Clock
    from mcp_gateway.freqtrade.client import bot_from
    from mcp_gateway.orders import records
    from mcp_gateway.orders.approvals import verbs as approval_records
    from mcp_gateway.orders.approvals.decisions import Approvals
    from mcp_gateway.orders.book.ledger import Ledger
    from mcp_gateway.storage.sql import Store
    from mcp_gateway.transports.control import account_name

    if (
        not has_store(settings) and verb in OF_THE_SANDBOX_TOO
    ):  # a token may be made before the store is
        raise no_store(settings)
    store = Store(settings.database_url, data_dir=settings.data_dir)
    await store.open()
    clock, operator = Clock(), account_name(os.getuid())
    try:
        if verb in OF_APPROVALS:  # no gateway runs here; one elsewhere may take up what is approved
            approvals = Approvals(Ledger(store, clock), clock, settings.bot)
            approver = approval_records.Approver(approvals, approvals.approve)
            return await approval_records.VERBS[verb](approver, args, operator)
        async with bot_from(settings, clock) as bot:
            opened = records.Records(Ledger(store, clock), AuditLog(store), bot, settings.bot)
            return await records.VERBS[verb](opened, args, operator)
    finally:
        await store.close()
