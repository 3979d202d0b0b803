"""``mcp-gateway halt`` and ``resume``: the kill switch, and the way back."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID, uuid4

import click

from mcp_gateway.cli.control.reach import (
    ask,
    ask_otherwise,
    ask_running,
    ask_store,
)
from mcp_gateway.cli.halt_words import AGAIN, flattened, halt_line, planned, said
from mcp_gateway.cli.strangers import warn_of_strangers
from mcp_gateway.errors import GatewayError
from mcp_gateway.settings import Settings

if TYPE_CHECKING:
    from mcp_gateway.transports.control import NoAnswer

NOT_DONE: Final = 1
RELEASED_SHOWN: Final = 5
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")
_AGENT = click.option("--agent", help="Of this agent only.")
_PAIR = click.option("--pair", help="Of this pair only, e.g. BTC/USDT.")


@click.group(invoke_without_command=True)
@_AGENT
@_PAIR
@click.option("--reason", help="Why, for the audit log; at most 1000 characters.")
@_JSON
@click.pass_context
def halt(
    ctx: click.Context, agent: str | None, pair: str | None, reason: str | None, as_json: bool
) -> int | None:
    """Stop every entry at once, or those of one agent or in one pair. Exits go on.

    A halt of everything pauses the bot, too. It stays in force until `mcp-gateway resume`, over
    restarts and for every gateway on the same database. Where no gateway answers, the file HALT
    in the data folder stops them all the same. Exit code 1 where nobody is known to have heard it.

    Example: mcp-gateway halt --reason "the agent buys tops"
    """
    if ctx.invoked_subcommand is not None:
        if agent or pair or reason or as_json:
            raise click.UsageError(f"Give the options behind {ctx.invoked_subcommand}.")
        return None
    if not (reason or "").strip():
        raise click.UsageError("--reason is missing: it is all that is known tomorrow.")
    if agent and pair:
        raise click.UsageError("--agent or --pair, not both.")
    settings = Settings.load()
    told = _halt(settings, {"agent": agent, "pair": pair, "reason": reason})
    if told["heard"] and (agent or pair):
        warn_of_strangers(settings, agent, pair)
    told["open_entries"] = _may_still_fill(settings, agent, pair)
    click.echo(json.dumps(told) if as_json else said(told))
    return 0 if told["heard"] or told["stored"] or told["gateway_was_here"] else NOT_DONE


def _halt(settings: Settings, args: dict[str, Any]) -> dict[str, Any]:
    """Halt by the gateway; where none answers by the file, or by the store alone."""
    from mcp_gateway.transports.control import GatewaySilent, NoAnswer

    # Asked before anything is written: whether a gateway has been in this folder.
    was_here = (settings.data_dir / "gateway.sqlite").exists()
    try:
        told = ask_running(settings, "halt.set", args)
    except NoAnswer as error:
        was_here = was_here or isinstance(error, GatewaySilent)
        told = _unheard(settings, args, error) | {"gateway": error.code}
        return {**told, "heard": False, "gateway_was_here": was_here}
    return {**told, "heard": True, "gateway_was_here": True}


def _unheard(settings: Settings, args: dict[str, Any], error: "NoAnswer") -> dict[str, Any]:
    told: dict[str, Any]
    if not (args["agent"] or args["pair"]):
        return _by_file(settings, args)
    try:  # the file halts everything, and nothing less
        told = ask_otherwise(settings, "halt.set", args, error)
    except GatewayError as refusal:
        raise refusal if refusal.code == "outcome_unknown" else _nothing(refusal) from None
    return told


def _by_file(settings: Settings, args: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any]
    try:
        path = _written(settings, args["reason"])
    except OSError as error:
        why = f"The file HALT can't be written: {error.strerror}."
        try:
            told = ask_store(settings, "halt.set", args)
        except GatewayError as refusal:
            raise _nothing(refusal, why) from None
        click.echo(why, err=True)
        return told
    told = {"id": None, "scope": "all", "code": "file", "file": str(path), "stored": False}
    if settings.embedded_store:  # a gateway that starts, or hangs, finds the file there
        return told
    try:  # gateways elsewhere share the database, and not the folder
        return {**ask_store(settings, "halt.set", args), "file": str(path)}
    except GatewayError as refusal:
        return told | {"store": refusal.code}


def _nothing(refusal: GatewayError, why: str = "") -> GatewayError:
    """Return a refusal in words that nobody takes for a halt."""
    message = " ".join(part for part in ("NOTHING IS HALTED:", why, refusal.message) if part)
    return GatewayError(message, code=refusal.code, hint=refusal.hint, detail=refusal.detail)


def _may_still_fill(
    settings: Settings, agent: str | None, pair: str | None
) -> list[dict[str, Any]] | None:
    """Return the entries that a halt does not call back; None where nobody can tell."""
    try:
        rows: list[dict[str, Any]] = ask(settings, "orders.open", {"agent": agent, "pair": pair})
    except GatewayError:
        return None
    return rows


def _written(settings: Settings, reason: str) -> Path:
    """Write the file that halts everything; raises OSError where the folder can't be written."""
    from mcp_gateway.orders.halts.file import NAME, HaltFile
    from mcp_gateway.transports.asker import account_name

    HaltFile(settings.data_dir).write(f"{account_name(os.getuid())}: {reason}")
    return settings.data_dir / NAME


@halt.command("list")
@click.option("--all", "every", is_flag=True, help="More than the newest 5 that were released.")
@_JSON
def list_halts(every: bool, as_json: bool) -> None:
    """List the halts in force, and the last that were released.

    Example: mcp-gateway halt list --json
    """
    told = ask(Settings.load(), "halt.list", {})
    if not every:
        told["released"] = told["released"][:RELEASED_SHOWN]
    if as_json:
        click.echo(json.dumps(told))
        return
    for one in told["in_force"]:
        click.echo(halt_line(one))
    if not told["in_force"]:
        click.echo("No halt is in force.")
    if not told["stored"]:
        click.echo(f"The store does not answer ({told['code']}): there may be others.")
    for one in told["released"]:
        click.echo(f"{halt_line(one)}\n     released {one['released_at']} by {one['released_by']}: "
                   f"{one['release_reason']}")  # fmt: skip


@halt.command("flatten")
@click.option("--reason", required=True, help="Why, for the audit log.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--confirmation", type=click.UUID,
    help="Of an earlier try: what that one sold is not sold again.",
)  # fmt: skip
@_JSON
def flatten(reason: str, yes: bool, confirmation: UUID | None, as_json: bool) -> int:
    """Halt everything, take resting entries back, and sell all that this gateway bought.

    Each sell is an order in the ledger, of the agent that owns the position, with your account in
    the audit log. Positions of the bot's strategy or of a person are named and left alone.

    Example: mcp-gateway halt flatten --reason "leaving the market"
    """
    from mcp_gateway.transports.control import NoAnswer

    if as_json and not yes:
        raise click.UsageError("--json needs --yes: nobody could be asked.")
    settings = Settings.load()
    args = {"confirmation": str(confirmation or uuid4()), "reason": reason}
    if not yes:
        plan = ask(settings, "halt.plan", args)
        click.echo(planned(plan))
        if not click.confirm("Halt everything and close these?", default=False):
            click.echo("Nothing was changed.")
            return NOT_DONE
    try:
        told = ask(settings, "halt.flatten", args)
    except NoAnswer as error:
        if error.is_sent:  # it may be at it
            again = AGAIN.format(args["confirmation"])
            click.echo(f"To go on, selling nothing twice: {again}", err=True)
        raise
    click.echo(json.dumps(told) if as_json else flattened(told))
    return 0 if told["flat"] else NOT_DONE


@click.command()
@click.argument("halt_id", metavar="[ID]", required=False)
@_AGENT
@_PAIR
@click.option("--all", "every", is_flag=True, help="Every halt in force.")
@click.option("--reason", required=True, help="Why, for the audit log; at most 1000 characters.")
@_JSON
def resume(
    halt_id: str | None, agent: str | None, pair: str | None, every: bool, reason: str,
    as_json: bool,
) -> None:  # fmt: skip
    """Release a halt: by the id that `halt list` shows, of an agent, of a pair, or every one.

    The bot is started again when its last halt of everything goes, if it was paused for one.

    Example: mcp-gateway resume 3 --reason "it was the exchange; it is back"
    """
    named = {"id": halt_id, "agent": agent, "pair": pair, "all": every}
    if sum(1 for one in named.values() if one) != 1:
        raise click.UsageError("Name one: ID, --agent, --pair or --all.")
    released = ask(Settings.load(), "halt.release", {**named, "reason": reason})
    if as_json:
        click.echo(json.dumps(released))
        return
    for one in released:
        click.echo(f"Released by {one['released_by']}: {halt_line(one)}")
