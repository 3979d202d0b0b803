"""One Freqtrade on a port of its own: started, awaited, ended, started again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio

from mcp_gateway.clock import Clock
from mcp_gateway.errors import BotError
from mcp_gateway.freqtrade.client import FreqtradeClient
from mcp_gateway.sandbox.children import Child, start_child
from mcp_gateway.sandbox.configuration import Access, BotFolder
from mcp_gateway.sandbox.failures import SandboxFailed, port_busy, tail
from mcp_gateway.sandbox.installation import FREQTRADE_VERSION, Installation, Progress
from mcp_gateway.settings import child_environment

LOOPBACK = "127.0.0.1"
LOOK_S = 0.1
PATIENCE_S = 120.0  # a cold disk and a busy machine; ten seconds are usual
READ_TIMEOUT_S = 5.0


@dataclass
class BotRunner:
    """Runs Freqtrade in a laid-out folder.

    Args:
        port: where its API listens, on loopback.
        config: what the folder's configuration says.
    """

    installation: Installation
    folder: BotFolder
    port: int
    access: Access
    config: Mapping[str, Any]
    clock: Clock
    _child: Child | None = field(default=None, init=False)

    @property
    def url(self) -> str:
        """The base URL of its API, without ``/api/v1``."""
        return f"http://{LOOPBACK}:{self.port}"

    @property
    def child(self) -> Child:
        """The process started last, running or not."""
        if self._child is None:
            raise LookupError("the bot was never started")
        return self._child

    async def start(self, progress: Progress) -> None:
        """Start it and wait until it serves candles of every pair.

        Raises:
            SandboxFailed: bot_died, bot_slow, or port_busy where something else answers.
        """
        self._child = await start_child(
            self.folder.command(self.installation.python),
            folder=self.folder.path,
            environment=child_environment(),
            log=self.folder.log,
        )
        try:
            with anyio.fail_after(PATIENCE_S):
                await self._ready(progress)
        except TimeoutError:
            await self.stop()
            raise self._failed("bot_slow", "Freqtrade did not become ready in time.") from None
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """End it in good order; harmless when it has ended."""
        if self._child is not None:
            await self._child.stop()

    def died(self) -> SandboxFailed:
        """Return the failure that tells how it ended."""
        code = self.child.exit_code
        return self._failed("bot_died", f"Freqtrade ended by itself (exit code {code}).")

    async def _ready(self, progress: Progress) -> None:
        progress(f"Starting Freqtrade {FREQTRADE_VERSION} (3 s; 10 s the first time) …")
        while not await self._listens():
            await self._pause()
        progress("Freqtrade answers; waiting for its first candles …")
        client = FreqtradeClient(
            self.url,
            self.access.username,
            self.access.password,
            pool_size=1,
            read_timeout_s=READ_TIMEOUT_S,
            order_timeout_s=READ_TIMEOUT_S,
            clock=self.clock,
        )
        async with client:
            for pair in self._analysed():
                while not await self._has_candles(client, pair):
                    await self._pause()

    def _analysed(self) -> list[str]:
        """Return the pairs to wait for; none where the bot waits to be started by hand."""
        running = self.config["initial_state"] == "running"
        return list(self.config["exchange"]["pair_whitelist"]) if running else []

    async def _listens(self) -> bool:
        try:
            stream = await anyio.connect_tcp(LOOPBACK, self.port)
        except OSError:
            return False
        await stream.aclose()
        return True

    async def _has_candles(self, client: FreqtradeClient, pair: str) -> bool:
        try:
            return bool(await client.candles(pair, self.config["timeframe"], 1))
        except BotError as error:
            if error.code == "bot_credentials":
                raise port_busy(self.port) from error
            return False

    async def _pause(self) -> None:
        if self.child.exit_code is not None:
            raise self.died()
        await self.clock.sleep(LOOK_S)

    def _failed(self, code: str, message: str) -> SandboxFailed:
        log = self.folder.log
        hint = f"Read {log}, then start the sandbox again."
        return SandboxFailed(message, code=code, hint=hint, detail={"log_tail": tail(log)})
