"""Which gateway a command means: its own folder's, or a sandbox that runs on this machine."""

import json
import os
from typing import Any

from mcp_gateway.errors import StoreUnavailable
from mcp_gateway.settings import Settings, sandbox_file


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


def has_store(settings: Settings) -> bool:
    """Tell whether a gateway has been here; PostgreSQL tells that itself."""
    return not settings.embedded_store or (settings.data_dir / "gateway.sqlite").exists()


def no_store(settings: Settings) -> StoreUnavailable:
    """Return the refusal to make an empty store and tell that there is nothing in it."""
    return StoreUnavailable(
        f"There is no store in {settings.data_dir}.",
        code="store_missing",
        hint="Check MCP_GATEWAY_DATA_DIR; the gateway makes its store when it first starts.",
    )
