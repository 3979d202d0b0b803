"""What a gateway wrote down: through its control socket while it runs, else from its store."""

from pathlib import Path
from typing import Any

import anyio.to_thread

from mcp_gateway.cli.control.reach import ask
from tests.support.gateway import settings_for

MOST = 1000


def recorded(data_dir: Path, verb: str, **args: Any) -> Any:
    """Return the answer of a verb of the command line; not from within an event loop."""
    return ask(settings_for(data_dir), verb, args)


def audit_rows(data_dir: Path, **args: Any) -> list[dict[str, Any]]:
    """Return the audit log, oldest first; ``event``, ``subject`` and ``request_id`` narrow it."""
    rows: list[dict[str, Any]] = recorded(data_dir, "audit.tail", limit=MOST, **args)
    return rows


async def order_shown(data_dir: Path, request_id: str) -> dict[str, Any]:
    """Return one order with its history, as ``mcp-gateway orders show`` does."""
    shown: dict[str, Any] = await anyio.to_thread.run_sync(
        lambda: recorded(data_dir, "orders.show", id=request_id)
    )
    return shown
