"""``mcp-gateway audit``: what happened, who asked, and what became of it."""

import json

import click

from mcp_gateway.cli.control.reach import ROWS, ask
from mcp_gateway.clock import Clock
from mcp_gateway.settings import Settings

FOLLOW_EVERY_S = 1.0


@click.group()
def audit() -> None:
    """Show the audit log.

    Example: mcp-gateway audit tail --follow
    """


@audit.command("tail")
@click.option("--limit", type=ROWS, default=20, show_default=True, help="At most this many rows.")
@click.option("--event", help="Rows of this kind only, e.g. order.denied.")
@click.option("--subject", help="Rows of this caller only.")
@click.option("--request-id", help="Rows of this order only.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON for each row.")
def tail(
    limit: int,
    event: str | None,
    subject: str | None,
    request_id: str | None,
    follow: bool,
    as_json: bool,
) -> None:
    """Print the last rows, oldest first.

    Example: mcp-gateway audit tail --event call.refused --json
    """
    settings = Settings.load()
    args = {"limit": limit, "event": event, "subject": subject, "request_id": request_id}
    last = 0
    for row in ask(settings, "audit.tail", args):
        last = _print(row, as_json)
    while follow:
        _pause()
        for row in ask(settings, "audit.tail", args | {"limit": 1000, "after_id": last}):
            last = _print(row, as_json)


def _print(row: dict[str, object], as_json: bool) -> int:
    if as_json:
        click.echo(json.dumps(row))
    else:
        rest = {k: v for k, v in row.items() if k not in {"id", "at", "event", "subject", "code"}}
        detail = row.get("detail")
        operator = detail.get("operator") if isinstance(detail, dict) else None
        who = row.get("subject", "-")
        if operator is not None:
            who = f"{who} (by {operator})" if "subject" in row else operator
        code = row.get("code", "-")
        click.echo(f"{row['id']:>6} {row['at']} {row['event']:<16} {who} {code} {json.dumps(rest)}")
    return int(str(row["id"]))


def _pause() -> None:
    import anyio

    anyio.run(Clock().sleep, FOLLOW_EVERY_S)
