"""``mcp-gateway approvals``: what waits for a person, and that person's word."""

import json
from typing import Any, Final

import click

from mcp_gateway.cli.control.reach import ask
from mcp_gateway.errors import GatewayError
from mcp_gateway.settings import Settings

NOT_PLACED: Final = 1
_JSON = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group()
def approvals() -> None:
    """Show the orders that wait for a person, and approve or decline them.

    Example: mcp-gateway approvals list
    """


@approvals.command("list")
@_JSON
def list_approvals(as_json: bool) -> None:
    """List what waits, oldest first, each as you will be asked.

    Example: mcp-gateway approvals list --json
    """
    rows = ask(Settings.load(), "approvals.list", {})
    if as_json:
        click.echo(json.dumps(rows))
        return
    click.echo("\n\n".join(_text(row) for row in rows) or "Nothing waits for approval.")


@approvals.command("approve")
@click.argument("order_id", metavar="ID")
@click.option("--reason", help="Why, for the audit log; at most 1000 characters.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_JSON
def approve_order(order_id: str, reason: str | None, yes: bool, as_json: bool) -> int:
    """Approve an order by its order id or request id: it is checked again and sent at once.

    It is written down with your account's name. Exit code 1 if the order was not placed.

    Example: mcp-gateway approvals approve 3f2a9c0e5b7d4e6f8a1b2c3d4e5f6a7b
    """
    if as_json and not yes:
        raise click.UsageError("--json needs --yes: nobody could be asked.")
    settings = Settings.load()
    try:
        return _approve(settings, order_id, reason, yes, as_json)
    except GatewayError as error:
        if as_json:
            click.echo(json.dumps(error.public()))
        raise


def _approve(
    settings: Settings, order_id: str, reason: str | None, yes: bool, as_json: bool
) -> int:
    shown = ask(settings, "approvals.show", {"id": order_id})
    if not yes:
        click.echo(_text(shown))
        if not click.confirm("Approve it?", default=False):
            click.echo("Nothing was changed.")
            return NOT_PLACED
    args = {"id": shown["order_id"], "reason": reason}
    told = _decided(settings, "approvals.approve", args)
    click.echo(json.dumps(told) if as_json else _end(told))
    return 0 if told["outcome"] in {"placed", "pending_approval"} else NOT_PLACED


@approvals.command("decline")
@click.argument("order_id", metavar="ID")
@click.option(
    "--reason", required=True, help="Why, for the audit log; the agent is not told. 1 to 1000."
)
@_JSON
def decline_order(order_id: str, reason: str, as_json: bool) -> None:
    """Decline an order by its order id or request id; it is denied for good.

    Example: mcp-gateway approvals decline ID --reason "too much before the weekend"
    """
    settings = Settings.load()
    try:
        shown = ask(settings, "approvals.show", {"id": order_id})
        if not as_json:
            click.echo(f"{shown['text']}\n")
        args = {"id": shown["order_id"], "reason": reason}
        told = _decided(settings, "approvals.decline", args)
    except GatewayError as error:
        if as_json:
            click.echo(json.dumps(error.public()))
        raise
    click.echo(json.dumps(told) if as_json else _end(told))


def _decided(settings: Settings, verb: str, args: dict[str, Any]) -> dict[str, Any]:
    """Return what the gateway says of a yes or a no; of one that went away, what the ledger does.

    Raises:
        NoAnswer: with the order's state, and whose yes it was, where that can be told.
    """
    from mcp_gateway.transports.control import NoAnswer

    try:
        told: dict[str, Any] = ask(settings, verb, args)
    except NoAnswer as lost:
        if not lost.is_sent:
            raise
        try:
            shown = ask(settings, "orders.show", {"id": args["id"]})
        except GatewayError:
            raise lost from None
        raise NoAnswer(
            f"The gateway did not answer. The order is {shown['state']}{_by(shown)}.",
            code=lost.code,
            is_sent=True,
            hint=f"`mcp-gateway orders show {args['id']}` tells what becomes of it.",
            detail={"order_id": shown["order_id"], "state": shown["state"]},
        ) from None
    return told


def _text(shown: dict[str, Any]) -> str:
    """Return what a person is asked, and that a yes would be refused now."""
    halt = shown["halted"]
    if halt is None:
        return str(shown["text"])
    what = "everything" if halt["scope"] == "all" else f"{halt['scope']} {halt['name']}"
    return f"{shown['text']}\n! Halted: {what} ({halt['code']}). A yes is refused until that is released."


def _by(shown: dict[str, Any]) -> str:
    """Say who approved an order, where somebody has."""
    yes = [step for step in shown["history"] if step["state"] == "approved"]
    return f"; {yes[0]['detail']['by']} approved it" if yes else ""


def _end(told: dict[str, Any]) -> str:
    """Say what became of an order, in one line."""
    line = f"Order {told['order_id']}: {told['state']}"
    if told["code"]:
        line = f"{line} ({told['code']})"
    if told["state"] == "approved":
        return f"{line}. A gateway takes it up within seconds, or it expires in a minute."
    return f"{line}. {told['message']}"
