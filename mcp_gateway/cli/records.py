"""How commands read the records: through the running gateway, else from the store itself."""

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import click

from mcp_gateway.settings import Settings, default_data_dir, sandbox_file

if TYPE_CHECKING:  # the SQL libraries are imported when a command needs them
    from mcp_gateway.gateway import Gateway
    from mcp_gateway.transports.control import Verb, Verbs

# Where nothing else is set up, a sandbox that runs on this machine is what is meant.
OF_THE_SANDBOX_TOO: Final = (
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
    if verb in OF_THE_SANDBOX_TOO:
        sandbox = running_sandbox() if settings.data_dir == default_data_dir() else None
        if sandbox is not None:
            click.echo("(of the running sandbox)", err=True)
            return ask(Path(sandbox["data_dir"]) / "control.sock", verb, args)
    return anyio.run(_from_store, settings, verb, args)


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
    return {verb: _answered(verb) for verb in VERBS}


def _answered(verb: str) -> "Verb":
    async def answer(gateway: "Gateway", args: dict[str, Any], operator: str) -> Any:
        books = await gateway.books()
        # Only now: a gateway that starts must not wait for the SQL libraries behind this.
        from mcp_gateway.orders import records

        return await records.VERBS[verb](books.records, args, operator)

    return answer


async def _from_store(settings: Settings, verb: str, args: Mapping[str, Any]) -> Any:
    from mcp_gateway.audit.log import AuditLog
    from mcp_gateway.clock import Clock
    from mcp_gateway.gateway import bot_from
    from mcp_gateway.orders import records
    from mcp_gateway.orders.ledger import Ledger
    from mcp_gateway.storage.sql import Store
    from mcp_gateway.transports.control import account_name

    store = Store(settings.database_url, data_dir=settings.data_dir)
    await store.open()
    clock = Clock()
    try:
        async with bot_from(settings, clock) as bot:
            opened = records.Records(Ledger(store, clock), AuditLog(store), bot, settings.bot)
            return await records.VERBS[verb](opened, args, account_name(os.getuid()))
    finally:
        await store.close()
