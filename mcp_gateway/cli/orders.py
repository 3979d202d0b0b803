"""``mcp-gateway orders``: what the ledger holds, whether the bot agrees, and what a person decides."""

import json
from typing import Any, Final

import click

from mcp_gateway.cli.control.reach import ROWS, ask
from mcp_gateway.settings import Settings

DIFFERENT: Final = 1
REVIEW: Final = "needs_review"
HOW_TO_SETTLE: Final = (
    'mcp-gateway orders settle {} --as placed|not-placed --reason "WHAT YOU FOUND"'
)


@click.group()
def orders() -> None:
    """Show the orders in the ledger, compare them with the bot, settle what only you can.

    Example: mcp-gateway orders list --state unknown
    """


@orders.command("list")
@click.option(
    "--limit", type=ROWS, default=20, show_default=True, help="At most this many, newest first."
)
@click.option("--agent", help="Of this agent only.")
@click.option("--state", help="In this state only, e.g. unknown.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_orders(limit: int, agent: str | None, state: str | None, as_json: bool) -> None:
    """List the newest orders; what waits for you stands before them.

    Example: mcp-gateway orders list --agent signal-agent --json
    """
    settings = Settings.load()
    args = {"limit": limit, "agent": agent, "state": state}
    rows = ask(settings, "orders.list", args)
    if as_json:
        click.echo(json.dumps(rows))
        return
    waiting = []
    if state in {None, REVIEW}:
        waiting = ask(settings, "orders.list", args | {"state": REVIEW})
    for row in [*waiting, *(row for row in rows if row["state"] != REVIEW)]:
        click.echo(_line(row))
    if not rows:
        click.echo("No orders.")
    if waiting:
        click.echo(f"\n{len(waiting)} wait for review: {HOW_TO_SETTLE.format('ID')}")


@orders.command("show")
@click.argument("order_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def show_order(order_id: str, as_json: bool) -> None:
    """Show one order by its order id or request id, with its history.

    Example: mcp-gateway orders show 550e8400-e29b-41d4-a716-446655440000
    """
    shown: Any = ask(Settings.load(), "orders.show", {"id": order_id})
    click.echo(json.dumps(shown, indent=None if as_json else 2))
    if shown["state"] == REVIEW and not as_json:
        how = HOW_TO_SETTLE.format(shown["order_id"])
        click.echo(f"It waits for review: {how}", err=True)


@orders.command("settle")
@click.argument("order_id", metavar="ID")
@click.option(
    "--as", "finding", required=True, type=click.Choice(["placed", "not-placed"]),
    help="Whether the exchange carried it out.",
)  # fmt: skip
@click.option(
    "--reason", required=True, help="How you know, for the audit log; 10 to 1000 characters."
)
@click.option("--filled", metavar="AMOUNT", help="What was carried out, in base.")
@click.option("--price", metavar="PRICE", help="At what, in quote per base.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def settle_order(
    order_id: str,
    finding: str,
    reason: str,
    filled: str | None,
    price: str | None,
    as_json: bool,
) -> None:
    """Decide an order that waits for review. It is written down with your account's name.

    Where the bot shows the order, its numbers are taken. Else give what you found at the exchange.

    Example: mcp-gateway orders settle ID --as placed --filled 0.5 --price 61000
    --reason "order 4711 at the exchange"
    """
    decision = {
        "finding": finding, "reason": reason, "filled": filled, "average_price": price,
    }  # fmt: skip
    args = {"id": order_id, "decision": decision}
    settled = ask(Settings.load(), "orders.settle", args)
    if as_json:
        click.echo(json.dumps(settled))
        return
    click.echo(_line(settled))
    click.echo(f"Settled as {finding} by {settled['operator']}.")


@orders.command("cancel")
@click.argument("order_id", metavar="ID")
@click.option("--reason", required=True, help="Why, for the audit log; at most 1000 characters.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def cancel_order(order_id: str, reason: str, as_json: bool) -> None:
    """Take back what still rests of an order, in its agent's place; asks the running gateway.

    The audit log keeps your account's name and the reason. What was filled before stays.

    Example: mcp-gateway orders cancel ID --reason "trading is halted"
    """
    told = ask(Settings.load(), "orders.cancel", {"id": order_id, "reason": reason})
    if as_json:
        click.echo(json.dumps(told))
        return
    click.echo(_line(told))
    click.echo(f"Taken back by {told['operator']}; {told['filled_amount']:g} was filled before.")


@orders.command("reconcile")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def reconcile_orders(as_json: bool) -> int:
    """Compare ledger and bot, order by order; exit code 1 if they differ. Changes nothing.

    Example: mcp-gateway orders reconcile --json
    """
    told = ask(Settings.load(), "orders.reconcile", {})
    found = told["differences"]
    if as_json:
        click.echo(json.dumps(told))
    else:
        _print_comparison(told)
    return DIFFERENT if found else 0


def _line(row: dict[str, Any]) -> str:
    state = f"{row['state']} (rests)" if row["resting"] else row["state"]
    line = (
        f"{row['created_at']}  {state:<16} {row['side']:<4} {row['pair']:<12} "
        f"{row['requested_amount']:<12g} {row['agent']}  {row['request_id']}"
    )
    return f"{line}  {row['code']}" if row["code"] else line


def _print_comparison(told: dict[str, Any]) -> None:
    found = told["differences"]
    if not found:
        click.echo(f"Ledger and bot agree: {told['orders']} orders.")
    for one in found:
        click.echo(
            f"{one['kind']:<19} {one['pair']:<12} order {one['order_id'] or '-'}  "
            f"trade {one['trade_id'] or '-'}  ledger: {_said(one['ledger'])}  "
            f"bot: {_said(one['bot'])}"
        )
    meanings = {one["kind"]: one["meaning"] for one in found}
    if meanings:
        click.echo()
    for kind, meaning in meanings.items():
        click.echo(f"{kind}: {meaning}")
    if told["moving"]:
        click.echo(f"{told['moving']} moved on meanwhile and were not compared; ask again.")


def _said(said: dict[str, Any] | None) -> str:
    """Return what one side says of an order, in a few words."""
    if said is None:
        return "nothing"
    words = [said["state"]] if "state" in said else []
    words += ["resting"] if said["resting"] else []
    if said["amount"] is not None:
        words.append(f"{said['filled_amount']:g} of {said['amount']:g}")
    if said["average_price"] is not None:
        words.append(f"at {said['average_price']:g}")
    if said["bot_order_id"] is not None:
        words.append(f"({said['bot_order_id']})")
    return " ".join(words)
