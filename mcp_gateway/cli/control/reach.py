"""The one way to an answer: the running gateway, else the sandbox that is meant, else the store."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import anyio
import click

from mcp_gateway.cli.control.places import has_store, no_store, sandbox_meant_by
from mcp_gateway.cli.control.verbs import VERBS
from mcp_gateway.settings import Settings

ROWS: Final = click.IntRange(1, 1000)  # of one answer


def ask(settings: Settings, verb: str, args: Mapping[str, Any]) -> Any:
    """Return a verb's answer, from whoever can give it.

    Raises:
        GatewayNotRunning: nobody answers, and the store alone can't; as ``AnswerLost``, the
            gateway took it, and it is not to be done a second time.
        GatewayError: the gateway, or the store, refuses.
    """
    from mcp_gateway.transports.control import AnswerLost, GatewayNotRunning

    row = VERBS[verb]
    try:
        return ask_running(settings, verb, args)
    except GatewayNotRunning as error:
        if row.part.stored is None or (row.once and isinstance(error, AnswerLost)):
            raise
    return ask_store(settings, verb, args)


def ask_running(settings: Settings, verb: str, args: Mapping[str, Any]) -> Any:
    """Return a running gateway's answer; a sandbox's where nothing else is set up.

    Raises:
        GatewayNotRunning: nobody answers in time.
        ControlRefused: the gateway refuses.
    """
    from mcp_gateway.transports import control

    row = VERBS[verb]
    deadline_s = row.deadline_s or control.ANSWER_DEADLINE_S
    try:
        return control.ask(settings.control_socket, verb, args, deadline_s=deadline_s)
    except control.AnswerLost:  # it is there, so no other is meant
        raise
    except control.GatewayNotRunning:
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
    from mcp_gateway.transports.control import account_name

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
