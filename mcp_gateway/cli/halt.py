"""``mcp-gateway halt`` and ``resume``: the kill switch, and the way back."""

import json
import os
from pathlib import Path
from typing import Any, Final
from uuid import UUID, uuid4

import click

from mcp_gateway.cli.control.places import has_store
from mcp_gateway.cli.control.reach import ask, ask_running, ask_store
from mcp_gateway.errors import GatewayError
from mcp_gateway.settings import Settings

NOT_DONE: Final = 1
AGAIN: Final = 'mcp-gateway halt flatten --confirmation {} --reason "…"'
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
    in the data folder stops them all the same.

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
    told = _halt(Settings.load(), {"agent": agent, "pair": pair, "reason": reason})
    click.echo(json.dumps(told) if as_json else _said(told))
    return None


def _halt(settings: Settings, args: dict[str, Any]) -> dict[str, Any]:
    """Halt by the gateway; where none answers by the file, or by the store alone."""
    from mcp_gateway.transports.control import GatewayNotRunning

    told: dict[str, Any]
    if args["agent"] or args["pair"]:  # the file halts everything, and nothing less
        told = ask(settings, "halt.set", args)
        return told
    try:
        told = ask_running(settings, "halt.set", args)
    except GatewayNotRunning:
        told = _by_file(settings, args)
    return told


def _by_file(settings: Settings, args: dict[str, Any]) -> dict[str, Any]:
    try:
        path = _written(settings, args["reason"])
    except OSError as error:
        told: dict[str, Any] = ask_store(settings, "halt.set", args)
        click.echo(f"The file HALT can't be written: {error.strerror}.", err=True)
        return told
    told = {"id": None, "scope": "all", "code": "file", "file": str(path), "stored": False}
    if not has_store(settings):
        click.echo("No gateway has been in this folder yet. Check MCP_GATEWAY_DATA_DIR.", err=True)
    if settings.embedded_store:  # a gateway that starts, or hangs, finds the file there
        return told
    try:  # gateways elsewhere share the database, and not the folder
        return {**ask_store(settings, "halt.set", args), "file": str(path)}
    except GatewayError as error:
        return told | {"store": error.code}


def _written(settings: Settings, reason: str) -> Path:
    """Write the file that halts everything; raises OSError where the folder can't be written."""
    from mcp_gateway.orders.halts.file import NAME, HaltFile
    from mcp_gateway.transports.control import account_name

    HaltFile(settings.data_dir).write(f"{account_name(os.getuid())}: {reason}")
    return settings.data_dir / NAME


@halt.command("list")
@_JSON
def list_halts(as_json: bool) -> None:
    """List the halts in force, and the last that were released.

    Example: mcp-gateway halt list --json
    """
    told = ask(Settings.load(), "halt.list", {})
    if as_json:
        click.echo(json.dumps(told))
        return
    for one in told["in_force"]:
        click.echo(_line(one))
    if not told["in_force"]:
        click.echo("No halt is in force.")
    if not told["stored"]:
        click.echo(f"The store does not answer ({told['code']}): there may be others.")
    for one in told["released"]:
        click.echo(f"{_line(one)}\n     released {one['released_at']} by {one['released_by']}: "
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
    from mcp_gateway.transports.control import GatewayNotRunning

    if as_json and not yes:
        raise click.UsageError("--json needs --yes: nobody could be asked.")
    settings = Settings.load()
    args = {"confirmation": str(confirmation or uuid4()), "reason": reason}
    if not yes:
        plan = ask(settings, "halt.plan", args)
        click.echo(_planned(plan))
        if not click.confirm("Halt everything and close these?", default=False):
            click.echo("Nothing was changed.")
            return NOT_DONE
    try:
        told = ask(settings, "halt.flatten", args)
    except GatewayNotRunning:
        click.echo(
            f"To go on, selling nothing twice: {AGAIN.format(args['confirmation'])}", err=True
        )
        raise
    click.echo(json.dumps(told) if as_json else _flattened(told))
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
        click.echo(f"Released by {one['released_by']}: {_line(one)}")


def _said(told: dict[str, Any]) -> str:
    if told.get("file") and told["id"] is None:
        return (
            f"No gateway answered, so the file {told['file']} stands for the halt.\n"
            "A gateway that uses this folder sends no entry while it is there, and writes the halt\n"
            "down. Others on the same database hear of it from that one only. `mcp-gateway resume`\n"
            "ends it; removing the file alone does not, once a gateway has seen it."
        )
    line = f"Halted: {_line(told)}"
    if not told["stored"]:
        return (
            f"{line}\nThe store does not answer: this gateway keeps it by itself until it does, "
            "and others do not know of it yet."
        )
    return line


def _line(one: dict[str, Any]) -> str:
    what = {"all": "everything"}.get(one["scope"], f"{one['scope']} {one['name']}")
    number = "-" if one["id"] is None else one["id"]
    return f"{number:>3}  {what}  {one['code']}  {one['at']}  {one['by']}: {one['reason']}"


def _planned(plan: dict[str, Any]) -> str:
    lines = [f"sell    {one['amount']} {one['pair']} of {one['agent']}" for one in plan["sells"]]
    lines += [f"cancel  {one['amount']} {one['pair']} of {one['agent']}" for one in plan["cancels"]]
    lines += [f"wait    {one['pair']}: order {one['order_id']} is unsettled"
              for one in plan["unsettled"]]  # fmt: skip
    lines += [f"leave   {one['amount']} {one['pair']}: trade {one['trade_id']} is not this gateway's"
              for one in plan["others"]]  # fmt: skip
    return "\n".join(lines or ["There is nothing open."])


def _flattened(told: dict[str, Any]) -> str:
    lines = [
        f"{one['what']:<6}  {one['pair']}  of {one['agent']}: {one['outcome']}"
        + (f" ({one['code']})" if one["code"] else "")
        for one in told["orders"]
    ]
    lines.append("Left:" if told["left"]["others"] or not told["flat"] else "Nothing is left.")
    if told["left"]["others"] or not told["flat"]:
        lines.append(_planned(told["left"]))
    if not told["flat"]:
        lines.append(f"To go on, selling nothing twice: {AGAIN.format(told['confirmation'])}")
    return "\n".join(lines)
