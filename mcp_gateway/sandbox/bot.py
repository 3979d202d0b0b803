"""The sandbox: a simulated exchange and a real Freqtrade in dry-run before it.

async with open_sandbox(SandboxOptions(), progress=print) as sandbox:
    ...  # sandbox.freqtrade_url answers, and every pair has candles
"""

import json
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio

from mcp_gateway.clock import Clock
from mcp_gateway.sandbox.children import Child, start_child
from mcp_gateway.sandbox.configuration import Access, BotFolder, bot_config, fresh_access
from mcp_gateway.sandbox.failures import SandboxFailed, port_busy, tail
from mcp_gateway.sandbox.installation import Installation, Progress, silent
from mcp_gateway.sandbox.locks import held
from mcp_gateway.sandbox.policy import write_policy
from mcp_gateway.sandbox.runner import LOOPBACK, BotRunner
from mcp_gateway.settings import child_environment


@dataclass(frozen=True)
class SandboxOptions:
    """How to open a sandbox.

    Args:
        folder: where the bot and its logs live; None: a temporary one, removed at the end.
        freqtrade_port: 0 takes any free one.
        exchange_port: 0 takes any free one.
        overrides: laid over the bot's configuration, object by object.
        fresh: forget the trades of earlier runs in this folder.
        install: install Freqtrade where it is missing; False refuses instead.
        installation: the bot's environment; by default the one that all sandboxes share.
        access: the bot's credentials, for who must know them beforehand; None: new ones.
    """

    folder: Path | None = None
    freqtrade_port: int = 0
    exchange_port: int = 0
    overrides: Mapping[str, Any] = field(default_factory=dict)
    fresh: bool = True
    install: bool = True
    installation: Installation = field(default_factory=Installation)
    access: Access | None = None


@dataclass(frozen=True)
class Sandbox:
    """An open sandbox; the bot's address and credentials stay when it is started again.

    ``policy`` is the file that tells a gateway the steps and minimums of this exchange.
    """

    exchange_url: str
    freqtrade_url: str
    freqtrade_username: str
    freqtrade_password: str = field(repr=False)
    ws_token: str = field(repr=False)
    folder: Path
    database: Path
    policy: Path
    _runner: BotRunner = field(repr=False)
    _exchange: Child = field(repr=False)

    @property
    def freqtrade_pid(self) -> int:
        """The process of the bot started last."""
        return self._runner.child.pid

    async def kill_bot(self) -> None:
        """End the bot as a crash would (SIGKILL)."""
        await self._runner.child.kill()

    async def stop_bot(self) -> None:
        """End the bot in good order (SIGTERM)."""
        await self._runner.stop()

    async def start_bot(self) -> None:
        """Start the bot again, on the same port and with the trades that it had.

        Raises:
            SandboxFailed: bot_died, bot_slow.
        """
        await self.stop_bot()
        await self._runner.start(silent)

    async def wait_dead(self) -> str:
        """Wait until the bot or the exchange has ended, and return what to tell the user."""
        told: list[SandboxFailed] = []
        async with anyio.create_task_group() as group:

            async def watch(child: Child) -> None:
                await child.wait()
                bot = child is not self._exchange
                told.append(self._runner.died() if bot else self._exchange_died())
                group.cancel_scope.cancel()

            group.start_soon(watch, self._runner.child)
            group.start_soon(watch, self._exchange)
        return "\n".join((told[0].message, *told[0].log_tail))

    def _exchange_died(self) -> SandboxFailed:
        return _exchange_died(self._exchange, self._runner.folder.exchange_log)


@asynccontextmanager
async def open_sandbox(
    options: SandboxOptions, progress: Progress = silent, clock: Clock | None = None
) -> AsyncIterator[Sandbox]:
    """Open a sandbox and end everything that it started afterwards, or when we are gone.

    Raises:
        SandboxFailed: not_installed, install_failed, port_busy, folder_busy, exchange_died,
            bot_died, bot_slow.
    """
    clock = clock or Clock()
    port = free_port(options.freqtrade_port)
    free_port(options.exchange_port)
    await _installed(options, progress, clock)
    started = clock.monotonic()
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(_folder(options))
        exchange, exchange_url = await _start_exchange(options.exchange_port, folder)
        stack.push_async_callback(exchange.stop)
        access = options.access or fresh_access()
        config = bot_config(port, exchange_url, access, options.overrides)
        folder.write(config)
        runner = BotRunner(options.installation, folder, port, access, config, clock)
        stack.push_async_callback(runner.stop)
        await runner.start(progress)
        progress(f"Bot and exchange are ready after {clock.monotonic() - started:.1f} s.")
        yield Sandbox(
            exchange_url=exchange_url,
            freqtrade_url=runner.url,
            freqtrade_username=access.username,
            freqtrade_password=access.password,
            ws_token=access.ws_token,
            folder=folder.path,
            database=folder.database,
            policy=write_policy(folder.path),
            _runner=runner,
            _exchange=exchange,
        )


async def _installed(options: SandboxOptions, progress: Progress, clock: Clock) -> None:
    if options.install:
        await options.installation.install(progress, clock)
    elif not options.installation.installed():
        raise SandboxFailed(
            "Freqtrade is not installed for the sandbox yet.",
            code="not_installed",
            hint="Run `mcp-gateway sandbox` once in a terminal; it installs it and says how far.",
        )


@contextmanager
def _folder(options: SandboxOptions) -> Iterator[BotFolder]:
    """Lend the sandbox's folder to this process alone."""
    if options.folder is None:
        with TemporaryDirectory(prefix="mcp-gateway-sandbox-") as made:
            yield BotFolder(Path(made))
        return
    path = options.folder.absolute()
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    with held(path / ".lock") as ours:
        if not ours:
            raise SandboxFailed(
                "Another sandbox runs in this folder.",
                code="folder_busy",
                hint="Stop it, or name another folder.",
            )
        folder = BotFolder(path)
        if options.fresh:
            folder.forget_trades()
        yield folder


def free_port(port: int) -> int:
    """Return the port when nothing listens there, any free one for 0.

    Raises:
        SandboxFailed: port_busy.
    """
    try:
        with socket.create_server((LOOPBACK, port)) as probe:
            return int(probe.getsockname()[1])
    except OSError as error:
        raise port_busy(port) from error


async def _start_exchange(port: int, folder: BotFolder) -> tuple[Child, str]:
    """Start the simulated exchange and return it with its URL."""
    exchange = await start_child(
        [sys.executable, "-m", "mcp_gateway.sandbox.exchange", "--port", str(port)],
        folder=folder.path,
        environment=child_environment(),
        log=folder.exchange_log,
        talks=True,
    )
    try:
        line = await exchange.line()
        if line is None:
            await exchange.wait()
            raise _exchange_died(exchange, folder.exchange_log)
        return exchange, json.loads(line)["url"]
    except BaseException:
        await exchange.stop()
        raise


def _exchange_died(exchange: Child, log: Path) -> SandboxFailed:
    return SandboxFailed(
        f"The simulated exchange ended by itself (exit code {exchange.exit_code}).",
        code="exchange_died",
        detail={"log_tail": tail(log)},
    )
