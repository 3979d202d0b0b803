"""How commands read the records: through the running gateway, else from the store itself."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import anyio

from mcp_gateway.settings import Settings

if TYPE_CHECKING:  # the SQL libraries are imported when a command needs them
    from mcp_gateway.audit.log import AuditLog
    from mcp_gateway.gateway import Gateway
    from mcp_gateway.orders.ledger import Ledger
    from mcp_gateway.transports.control import Verbs


@dataclass(frozen=True, slots=True)
class OpenRecords:
    """Ledger and audit log of a store that this command has opened."""

    ledger: "Ledger"
    audit_log: "AuditLog"


def ask_records(settings: Settings, verb: str, args: Mapping[str, Any]) -> Any:
    """Return a verb's answer.

    Raises:
        GatewayError: the gateway, or the store, refuses.
    """
    from mcp_gateway.transports.control import GatewayNotRunning, ask

    with contextlib.suppress(GatewayNotRunning):
        return ask(settings.control_socket, verb, args)
    return anyio.run(_from_store, settings, verb, args)


def control_verbs() -> "Verbs":
    """Return what a running gateway answers at its control socket."""
    from mcp_gateway.orders.records import VERBS

    def bound(verb: Any) -> Any:
        async def answer(gateway: "Gateway", args: dict[str, Any]) -> Any:
            return await verb(await gateway.books(), args)

        return answer

    return {name: bound(verb) for name, verb in VERBS.items()}


async def _from_store(settings: Settings, verb: str, args: Mapping[str, Any]) -> Any:
    from mcp_gateway.audit.log import AuditLog
    from mcp_gateway.clock import Clock
    from mcp_gateway.orders.ledger import Ledger
    from mcp_gateway.orders.records import VERBS
    from mcp_gateway.storage.sql import Store

    store = Store(settings.database_url, data_dir=settings.data_dir)
    await store.open()
    try:
        return await VERBS[verb](OpenRecords(Ledger(store, Clock()), AuditLog(store)), args)
    finally:
        await store.close()
