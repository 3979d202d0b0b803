"""How the kill switch is reached: through the running gateway, else by the file and the store."""

import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import anyio
import click

from mcp_gateway.cli.records import has_store, no_store, sandbox_meant_by
from mcp_gateway.settings import Settings

if TYPE_CHECKING:  # the SQL libraries are imported when a command needs them
    from mcp_gateway.gateway import Gateway
    from mcp_gateway.orders.flatten import Flattening
    from mcp_gateway.orders.halts.verbs import Board
    from mcp_gateway.transports.control import Verb, Verbs

# Halting must not wait for a gateway that hangs: the file stops it all the same.
HALT_DEADLINE_S: Final = 4.0
# Every sell has the order time-out, and there may be some.
FLATTEN_DEADLINE_S: Final = 600.0
VERBS: Final = ("halt.set", "halt.list", "halt.release")


def halt_verbs() -> "Verbs":
    """Return what a running gateway answers about halts at its control socket."""
    return {
        **{verb: _answered(verb) for verb in VERBS},
        "halt.plan": _plan,
        "halt.flatten": _flatten,
    }


def ask_gateway(settings: Settings, verb: str, args: Mapping[str, Any]) -> Any:
    """Return a running gateway's answer; a sandbox's where nothing else is set up.

    Raises:
        GatewayNotRunning: nobody answers in time.
        ControlRefused: the gateway refuses.
    """
    from mcp_gateway.transports.control import ANSWER_DEADLINE_S, GatewayNotRunning, ask

    deadlines = {"halt.set": HALT_DEADLINE_S, "halt.flatten": FLATTEN_DEADLINE_S}
    deadline_s = deadlines.get(verb, ANSWER_DEADLINE_S)
    try:
        return ask(settings.control_socket, verb, args, deadline_s=deadline_s)
    except GatewayNotRunning:
        folder = _sandbox_folder(settings)
        if folder is None:
            raise
    click.echo("(of the running sandbox)", err=True)
    return ask(folder / "control.sock", verb, args, deadline_s=deadline_s)


def ask_apart(settings: Settings, verb: str, args: Mapping[str, Any]) -> Any:
    """Do without a gateway what it would do: open the store, and look at the file.

    Raises:
        StoreUnavailable: the store does not open, or there is none: in a wrong folder a halt
            would stop nobody.
    """
    if not has_store(settings) and not (settings.data_dir / "HALT").exists():
        raise no_store(settings)
    return anyio.run(_apart, settings, verb, args)


def halt_by_file(settings: Settings, reason: str) -> Path:
    """Write the file that halts everything, and return where it lies.

    Raises:
        OSError: the data folder can't be written.
    """
    from mcp_gateway.orders.halts.file import NAME, HaltFile
    from mcp_gateway.transports.control import account_name

    HaltFile(settings.data_dir).write(f"{account_name(os.getuid())}: {reason}")
    return settings.data_dir / NAME


def _sandbox_folder(settings: Settings) -> Path | None:
    sandbox = sandbox_meant_by(settings)
    return None if sandbox is None else Path(sandbox["data_dir"])


def _answered(verb: str) -> "Verb":
    async def answer(gateway: "Gateway", args: dict[str, Any], operator: str) -> Any:
        from mcp_gateway.orders.halts import verbs as halt_verbs
        from mcp_gateway.transports.rest.halts import board_of

        return await halt_verbs.VERBS[verb](board_of(gateway), args, operator)

    return answer


async def _plan(gateway: "Gateway", args: dict[str, Any], operator: str) -> Any:
    flattening = await _flattening(gateway, args, operator)
    plan = await flattening.plan()
    return plan.as_json() | {"confirmation": str(flattening.confirmation)}


async def _flatten(gateway: "Gateway", args: dict[str, Any], operator: str) -> Any:
    return await (await _flattening(gateway, args, operator)).run(str(args["reason"]))


async def _flattening(gateway: "Gateway", args: dict[str, Any], operator: str) -> "Flattening":
    from mcp_gateway.orders.flatten import Flattening

    books = await gateway.books()
    records = books.records
    return Flattening(
        books.orders, books.halts, records.ledger, records.bot, records.bot_name,
        gateway.settings.mode, gateway.clock, UUID(args["confirmation"]), operator,
    )  # fmt: skip


async def _apart(settings: Settings, verb: str, args: Mapping[str, Any]) -> Any:
    from mcp_gateway.orders.halts import verbs as halt_verbs
    from mcp_gateway.transports.control import account_name

    async with _board(settings) as board:
        return await halt_verbs.VERBS[verb](board, args, account_name(os.getuid()))


@asynccontextmanager
async def _board(settings: Settings) -> "AsyncIterator[Board]":
    from mcp_gateway.clock import Clock
    from mcp_gateway.orders.halts.local import LocalHalts
    from mcp_gateway.orders.halts.switch import Halts
    from mcp_gateway.orders.halts.verbs import Board
    from mcp_gateway.storage.sql import Store

    clock = Clock()
    local = LocalHalts(settings.data_dir, clock)
    store = Store(settings.database_url, data_dir=settings.data_dir)
    await store.open()
    halts = Halts(store, clock, local)

    async def opened() -> Halts:
        return halts

    try:
        yield Board(local, opened, clock)
    finally:
        await store.close()
