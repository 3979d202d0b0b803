"""The gateway of the sandbox: the real ``mcp-gateway serve``, as a child before the real bot."""

import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import anyio

from mcp_gateway.cli.token import issued
from mcp_gateway.client.probe import wait_ready
from mcp_gateway.clock import Clock
from mcp_gateway.sandbox.bot import Sandbox
from mcp_gateway.sandbox.children import Child, start_child
from mcp_gateway.sandbox.failures import SandboxFailed, tail
from mcp_gateway.settings import Settings, child_environment, environment_name

HOST: Final = "127.0.0.1"
SUBJECT: Final = "sandbox-agent"
SCOPES: Final = ("market:read", "positions:read", "orders:preview", "orders:create")
TOKEN_TTL_S: Final = 86_400
CALLS_PER_MINUTE: Final = 600  # a person who tries things out is not a fleet
PATIENCE_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class Sandboxed:
    """A running gateway, and what its one agent shows; the secrets are made for this start."""

    base_url: str
    token: str = field(repr=False)
    key: str = field(repr=False)
    key_id: str
    data_dir: Path
    child: Child = field(repr=False)

    async def wait_dead(self) -> str:
        """Wait until the gateway has ended, and return what to tell the user."""
        code = await self.child.wait()
        return f"The gateway ended by itself (exit code {code})."


@asynccontextmanager
async def gateway_before(sandbox: Sandbox, port: int, *, verbose: bool) -> AsyncIterator[Sandboxed]:
    """Serve the gateway on a free port before an open sandbox, until the context ends.

    Raises:
        SandboxFailed: gateway_died, gateway_slow; with the end of its log.
    """
    clock = Clock()
    folder = sandbox.folder / "gateway"
    folder.mkdir(mode=0o700, exist_ok=True)
    values = _values(sandbox, port) | {"data_dir": str(folder)}
    settings = Settings.apart(**values)
    token, _ = issued(
        settings, clock, subject=SUBJECT, scopes=SCOPES, ttl_s=TOKEN_TTL_S, act_for=()
    )
    log = folder / "gateway.log"
    child = await start_child(
        [sys.executable, "-m", "mcp_gateway", "serve"],
        folder=folder,
        environment=child_environment() | _as_environment(values),
        log=None if verbose else log,
    )
    try:
        await _ready(child, settings.base_url, clock, None if verbose else log)
        yield Sandboxed(settings.base_url, token, values["hmac_secret"], SUBJECT, folder, child)
    finally:
        await child.stop()


def _values(sandbox: Sandbox, port: int) -> dict[str, Any]:
    return {
        "jwt_secret": secrets.token_hex(32),
        "hmac_secret": secrets.token_hex(32),
        "subject": SUBJECT,
        "host": HOST,
        "port": port,
        "freqtrade_url": sandbox.freqtrade_url,
        "freqtrade_username": sandbox.freqtrade_username,
        "freqtrade_password": sandbox.freqtrade_password,
        "freqtrade_ws_token": sandbox.ws_token,
        "policy": str(sandbox.policy),
        "rate_limit_per_minute": CALLS_PER_MINUTE,
    }


def _as_environment(values: dict[str, Any]) -> dict[str, str]:
    return {environment_name(name): str(value) for name, value in values.items()}


async def _ready(child: Child, base_url: str, clock: Clock, log: Path | None) -> None:
    """Wait for readiness, the child's end or the end of patience, whichever comes first."""
    failure: list[SandboxFailed] = []

    async def watch(scope: anyio.CancelScope) -> None:
        code = await child.wait()
        failure.append(
            SandboxFailed(f"The gateway ended by itself (exit code {code}).", code="gateway_died")
        )
        scope.cancel()

    with anyio.move_on_after(PATIENCE_S) as patience:
        async with anyio.create_task_group() as group:
            group.start_soon(watch, group.cancel_scope)
            await wait_ready(base_url, clock)
            group.cancel_scope.cancel()
    if patience.cancelled_caught:
        failure.append(SandboxFailed("The gateway did not become ready.", code="gateway_slow"))
    if failure:
        if log is not None:
            failure[0].detail["log_tail"] = tail(log)
        raise failure[0]
