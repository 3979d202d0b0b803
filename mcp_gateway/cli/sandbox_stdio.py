"""``mcp-gateway sandbox --stdio``: a desktop app's own sandbox.

The server answers at once; the bot starts behind it, and until it is there the tools say so.
Nothing is ever installed from here: a desktop app shows no progress and waits for nothing.
"""

from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import anyio

from mcp_gateway.cli.control.verbs import control_verbs
from mcp_gateway.cli.sandboxed import CALLS_PER_MINUTE, SCOPES, SUBJECT
from mcp_gateway.errors import BotUnavailable
from mcp_gateway.sandbox.bot import SandboxOptions, free_port, open_sandbox
from mcp_gateway.sandbox.configuration import Access, fresh_access
from mcp_gateway.sandbox.failures import SandboxFailed
from mcp_gateway.sandbox.policy import write_policy
from mcp_gateway.sandbox.runner import LOOPBACK
from mcp_gateway.settings import Settings
from mcp_gateway.telemetry import logs
from mcp_gateway.transports.stdio import serve_stdio

STARTING_S: Final = 5.0


@dataclass(slots=True)
class Start:
    """How far the bot's start has come, in the words of the tools."""

    failure: SandboxFailed | None = None
    ready: bool = False

    def absence(self) -> BotUnavailable | None:
        """Return why the bot can't be reached; None where it should be there."""
        if self.failure is not None:
            error = self.failure
            return BotUnavailable(error.message, code=error.code, hint=error.hint)
        if self.ready:
            return None
        return BotUnavailable(
            "The sandbox's bot is starting; it takes about ten seconds.",
            code="bot_starting",
            hint="Call again in a few seconds.",
            retry_after_s=STARTING_S,
        )


async def serve_sandbox_stdio(options: SandboxOptions, verbose: bool) -> None:
    """Serve one client on standard input and output before a bot that starts behind it."""
    logs.configure("INFO" if verbose else "ERROR", "console")
    options = replace(options, freqtrade_port=free_port(0), access=fresh_access())
    start = Start()
    with TemporaryDirectory(prefix="mcp-gateway-") as made:
        folder = options.folder / "gateway" if options.folder else Path(made)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        settings = _settings(options, folder)
        async with anyio.create_task_group() as group:
            group.start_soon(_keep_bot, options, start)
            await serve_stdio(settings, verbs=control_verbs(), absence=start.absence)
            group.cancel_scope.cancel()


def _settings(options: SandboxOptions, folder: Path) -> Settings:
    access: Access = options.access or fresh_access()
    return Settings.apart(
        freqtrade_url=f"http://{LOOPBACK}:{options.freqtrade_port}",
        freqtrade_username=access.username,
        freqtrade_password=access.password,
        freqtrade_ws_token=access.ws_token,
        subject=SUBJECT,
        scopes=SCOPES,
        data_dir=folder,
        policy=write_policy(folder),
        rate_limit_per_minute=CALLS_PER_MINUTE,
    )


async def _keep_bot(options: SandboxOptions, start: Start) -> None:
    log = logs.get(__name__)
    try:
        async with open_sandbox(options, progress=partial(log.info)) as sandbox:
            start.ready = True
            message = await sandbox.wait_dead()
            start.failure = SandboxFailed(message.splitlines()[0], code="bot_died")
    except SandboxFailed as error:
        log.warning("The sandbox did not open", code=error.code, reason=error.message)
        start.failure = error
