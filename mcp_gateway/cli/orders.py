"""``mcp-gateway orders``: what the ledger holds."""

import json
from typing import Any

import click

from mcp_gateway.cli.records import ask_records
from mcp_gateway.settings import Settings


@click.group()
def orders() -> None:
    """Show the orders in the ledger.

    Example: mcp-gateway orders list --state unknown
    """


@orders.command("list")
@click.option("--limit", default=20, show_default=True, help="At most this many, newest first.")
@click.option("--agent", help="Of this agent only.")
@click.option("--state", help="In this state only, e.g. unknown.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_orders(limit: int, agent: str | None, state: str | None, as_json: bool) -> None:
    """List the newest orders.

    Example: mcp-gateway orders list --agent signal-agent --json
    """
    args = {"limit": limit, "agent": agent, "state": state}
    rows = ask_records(Settings.load(), "orders.list", args)
    if as_json:
        click.echo(json.dumps(rows))
        return
    for row in rows:
        click.echo(
            f"{row['created_at']}  {row['state']:<16} {row['side']:<4} {row['pair']:<12} "
            f"{row['requested_amount']:<12g} {row['agent']}  {row['request_id']}"
            + (f"  {row['code']}" if row["code"] else "")
        )
    if not rows:
        click.echo("No orders.")


@orders.command("show")
@click.argument("order_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def show_order(order_id: str, as_json: bool) -> None:
    """Show one order by its order id or request id, with its history.

    Example: mcp-gateway orders show 550e8400-e29b-41d4-a716-446655440000
    """
    shown: Any = ask_records(Settings.load(), "orders.show", {"id": order_id})
    click.echo(json.dumps(shown, indent=None if as_json else 2))
