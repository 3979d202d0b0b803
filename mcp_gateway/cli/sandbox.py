"""``mcp-gateway sandbox``: the gateway before a real Freqtrade on a simulated exchange."""

import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mcp_gateway.cli.control.places import running_sandbox
from mcp_gateway.settings import sandbox_file

if TYPE_CHECKING:  # imported when the command runs
    from mcp_gateway.cli.sandboxed import Sandboxed
    from mcp_gateway.sandbox.bot import Sandbox, SandboxOptions

DEFAULT_PORT: Final = 8000


@click.command()
@click.option("--tour", is_flag=True, help="Run a scripted agent through everything, then end.")
@click.option("--stdio", "on_stdio", is_flag=True, help="Serve a desktop app on stdin and stdout.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON when all is ready.")
@click.option(
    "--port", type=click.IntRange(0, 65535),
    help=f"The gateway's port; 0 takes any free one.  [default: {DEFAULT_PORT}; --tour: 0]",
)  # fmt: skip
@click.option(
    "--folder", type=click.Path(file_okay=False, path_type=Path),
    help="Keep trades, orders and logs here; default: a temporary folder.",
)  # fmt: skip
@click.option("--verbose", is_flag=True, help="Show the gateway's log.")
def sandbox(
    tour: bool, on_stdio: bool, as_json: bool, port: int | None, folder: Path | None, verbose: bool
) -> int:
    """Run a real Freqtrade in dry-run on a simulated exchange, and the gateway before it.

    Nothing leaves this machine, and no real money can move. The first start installs
    Freqtrade (some 600 MB) into a virtual environment of its own.

    Example: mcp-gateway sandbox --tour
    """
    import anyio

    from mcp_gateway.sandbox.bot import SandboxOptions

    if on_stdio and (tour or as_json or port is not None):
        raise click.UsageError("--stdio goes with neither --tour nor --json nor --port")
    options = SandboxOptions(folder=folder, fresh=False, install=not on_stdio)
    if on_stdio:
        from mcp_gateway.cli.sandbox_stdio import serve_sandbox_stdio

        anyio.run(serve_sandbox_stdio, options, verbose)
        return 0
    if port is None:
        port = 0 if tour else DEFAULT_PORT
    return anyio.run(_run, options, port, tour, as_json, verbose)


async def _run(
    options: "SandboxOptions", port: int, tour: bool, as_json: bool, verbose: bool
) -> int:
    """Open everything, tell how to reach it, and wait for the end of one of its parts."""
    import anyio

    from mcp_gateway.cli.sandboxed import gateway_before
    from mcp_gateway.sandbox.bot import free_port, open_sandbox

    port = free_port(port)  # a busy port is told before anything starts
    code = 0
    async with anyio.create_task_group() as group:
        group.start_soon(_end_on_signal, group.cancel_scope)
        async with (
            open_sandbox(options, progress=_progress) as bot,
            gateway_before(bot, port, verbose=verbose) as gateway,
        ):
            told = _address(bot, gateway)
            if tour:
                await _walk(told)
            else:
                with _published(told | {"data_dir": str(gateway.data_dir), "pid": os.getpid()}):
                    click.echo(json.dumps(told) if as_json else _page(told))
                    code = await _until_one_ends(bot, gateway)
        group.cancel_scope.cancel()
    return code


async def _end_on_signal(scope: Any) -> None:
    import anyio

    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for _signal in signals:
            _progress("Stopping …")
            scope.cancel()
            return


async def _walk(told: dict[str, Any]) -> None:
    from mcp_gateway.client import GatewayAuth, open_session
    from mcp_gateway.client.tour import Tour

    auth = GatewayAuth(told["token"], key=told["key"], key_id=told["key_id"])
    async with open_session(told["mcp_url"], auth) as client:
        await Tour(client, click.echo).walk()


async def _until_one_ends(bot: "Sandbox", gateway: "Sandboxed") -> int:
    import anyio

    async with anyio.create_task_group() as group:

        async def watch(part: "Sandbox | Sandboxed") -> None:
            click.echo(await part.wait_dead(), err=True)
            group.cancel_scope.cancel()

        group.start_soon(watch, bot)
        group.start_soon(watch, gateway)
    return 1


def _progress(line: str) -> None:
    click.echo(line, err=True)


def _address(bot: "Sandbox", gateway: "Sandboxed") -> dict[str, Any]:
    return {
        "mcp_url": f"{gateway.base_url}/mcp",
        "rest_url": f"{gateway.base_url}/api/v1",
        "health_url": f"{gateway.base_url}/health",
        "metrics_url": f"{gateway.base_url}/metrics",
        "token": gateway.token,
        "key_id": gateway.key_id,
        "key": gateway.key,
        "freqtrade_url": bot.freqtrade_url,
        "freqtrade_username": bot.freqtrade_username,
        "freqtrade_password": bot.freqtrade_password,
        "exchange_url": bot.exchange_url,
    }


@contextmanager
def _published(told: dict[str, Any]) -> Iterator[None]:
    """Let the other commands find this sandbox for as long as it runs; the first one counts."""
    path = sandbox_file()
    if running_sandbox() is not None:
        yield
        return
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(json.dumps(told), encoding="utf-8")
    draft.replace(path)
    try:
        yield
    finally:
        if path.exists() and json.loads(path.read_text(encoding="utf-8")) == told:
            path.unlink()


def _program() -> list[str]:
    """Return the words that start this program from any folder: a desktop app has its own."""
    script = Path(sys.argv[0]).absolute()
    if script.name == "mcp-gateway" and script.is_file():
        return [str(script)]
    return [sys.executable, "-m", "mcp_gateway"]


def _page(told: dict[str, Any]) -> str:
    """Return what a person pastes next."""
    program, *words = _program()
    command = shlex.join([program, *words])
    desktop = {"command": program, "args": [*words, "sandbox", "--stdio"]}
    return f"""
The gateway is ready. Everything runs on this machine; nothing here is real money.

  MCP        {told["mcp_url"]}
  REST       {told["rest_url"]}
  Health     {told["health_url"]}
  Metrics    {told["metrics_url"]}
  Freqtrade  {told["freqtrade_url"]}   user {told["freqtrade_username"]}, \
password {told["freqtrade_password"]}
  Exchange   {told["exchange_url"]}

  Key id     {told["key_id"]}   (token and key below)

Paste these into another terminal; the Inspector needs Node 22 or newer:

  {command} call get_candles pair=BTC/USDT timeframe=5m limit=3
  {command} call create_order pair=BTC/USDT side=buy amount=0.001 order_type=market
  {command} orders list

  export TOKEN={told["token"]}
  export KEY={told["key"]}
  npx @modelcontextprotocol/inspector --cli {told["mcp_url"]} --method tools/list \\
      --header "Authorization: Bearer $TOKEN"
  curl -H "Authorization: Bearer $TOKEN" \\
      "{told["rest_url"]}/candles?pair=BTC/USDT&timeframe=5m&limit=3"

A desktop app starts a sandbox of its own with this in its configuration:

  {json.dumps({"mcpServers": {"freqtrade": desktop}})}

Ctrl-C ends all of it."""
