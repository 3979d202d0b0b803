"""The one way to an answer: the running gateway, else the sandbox that is meant, else the store."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import anyio
import click

from mcp_gateway.cli.control.places import has_store, no_store, sandbox_meant_by
from mcp_gateway.cli.control.verbs import VERBS, Row
from mcp_gateway.settings import Settings

if TYPE_CHECKING:
    from mcp_gateway.transports.control import NoAnswer

ROWS: Final = click.IntRange(1, 1000)  # of one answer


def ask(settings: Settings, verb: str, args: Mapping[str, Any]) -> Any:
    """Return a verb's answer, from whoever can give it.

    Raises:
        NoAnswer: nobody answers, and the store alone can't; or the gateway took it, and it is
            not to be done a second time; or it holds the store, and hangs.
        GatewayError: the gateway, or the store, refuses.
    """
    from mcp_gateway.transports.control import NoAnswer

    try:
        return ask_running(settings, verb, args)
    except NoAnswer as error:
        return ask_otherwise(settings, verb, args, error)


def ask_otherwise(settings: Settings, verb: str, args: Mapping[str, Any], error: "NoAnswer") -> Any:
    """Return the store's answer where the gateway gave none; raises as ``ask`` does.

    Args:
        error: how the gateway gave none.
    """
    from mcp_gateway.transports.control import GatewaySilent

    row = VERBS[verb]
    is_held = isinstance(error, GatewaySilent) and settings.embedded_store
    if row.part.stored is None or is_held or (row.once and error.is_sent):
        raise _what_is_known(error, row) from None
    return ask_store(settings, verb, args)


def _what_is_known(error: "NoAnswer", row: Row) -> "NoAnswer":
    """Return an error that says so where something may have been done."""
    if not (error.is_sent and row.look):
        return error
    return type(error)(
        f"{error.message} Whether it was done is not known.",
        code="outcome_unknown",
        hint=f"Look at `mcp-gateway {row.look}` before you repeat it.",
        is_sent=True,
        detail=error.detail,
    )


def ask_running(settings: Settings, verb: str, args: Mapping[str, Any]) -> Any:
    """Return a running gateway's answer; a sandbox's where nothing else is set up.

    Raises:
        NoAnswer: nobody answers in time.
        ControlRefused: the gateway refuses.
    """
    from mcp_gateway.transports import control

    row = VERBS[verb]
    deadline_s = row.deadline_s or control.ANSWER_DEADLINE_S
    try:
        return control.ask(settings.control_socket, verb, args, deadline_s=deadline_s)
    except control.GatewayNotRunning:  # one that is there, and silent, is the one that is meant
        socket = None if row.before_store else _socket_of_the_sandbox(settings)
        if socket is None:
            raise
    return control.ask(socket, verb, args, deadline_s=deadline_s)


def ask_store(settings: Settings, verb: str, args: Mapping[str, Any]) -> Any:
    """Do without a gateway what it would do.

    Raises:
        StoreUnavailable: the store does not open, or there is none: in a wrong folder nothing
            would be found, and a halt would stop nobody.
    """
    row = VERBS[verb]
    left = row.part.file is not None and (settings.data_dir / row.part.file).exists()
    if not (row.before_store or left or has_store(settings)):
        raise no_store(settings)
    return anyio.run(_from_store, settings, verb, args)


async def _from_store(settings: Settings, verb: str, args: Mapping[str, Any]) -> Any:
    from mcp_gateway.transports.asker import account_name

    row = VERBS[verb]
    if row.part.stored is None:
        raise ValueError(f"{verb} needs a running gateway")
    async with row.part.stored(settings) as part:
        return await row.work(part, args, account_name(os.getuid()))


def _socket_of_the_sandbox(settings: Settings) -> Path | None:
    sandbox = sandbox_meant_by(settings)
    if sandbox is None:
        return None
    _say_once("(of the running sandbox)")
    return Path(sandbox["data_dir"]) / "control.sock"


def _say_once(text: str) -> None:
    said = click.get_current_context().meta.setdefault(__name__, set())
    if text not in said:
        said.add(text)
        click.echo(text, err=True)
