"""``mcp-gateway policy``: whether the file is sound, what is in force, and what it would do."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from mcp_gateway.cli.control.reach import ask
from mcp_gateway.cli.strangers import warn_of_strangers
from mcp_gateway.errors import ConfigurationError
from mcp_gateway.settings import Settings, environment_name

FAULTY: Final = 1
WAITING: Final = 1
DENIED: Final = 1
_MARKS: Final = {"passed": "✓", "failed": "✗", "idle": " ", "unset": " "}
_ROW: Final = "{} {:<22} {:<17} {:<26} {}"
_OUTCOMES: Final = {
    "placed": "It would be sent to the bot.",
    "pending_approval": "It would wait for a person to approve it.",
}


@click.group()
def policy() -> None:
    """Check the policy file, show what is in force, try an order on it, agree to a change.

    Example: mcp-gateway policy show
    """


@policy.command("check")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def check_policy(file: Path | None, as_json: bool) -> int:
    """Read FILE (default: that of MCP_GATEWAY_POLICY) and name its faults, with their lines.

    Warnings tell what is allowed and may not be meant. Exit code 1 on a fault, 2 without a file.

    Example: mcp-gateway policy check policy.example.toml
    """
    from mcp_gateway.risk.document import load_policy
    from mcp_gateway.risk.inspection import described

    path = file or Settings.load().policy
    if path is None:
        raise click.UsageError(f"Name a FILE, or set {environment_name('policy')}.")
    if path.is_dir():
        raise click.UsageError(f"{path} is a folder.")
    if not path.is_file():
        raise click.UsageError(f"There is no file {path}.")
    told: dict[str, Any] = {"file": str(path), "faults": []}
    try:
        told |= described(load_policy(path))
    except ConfigurationError as error:
        told["faults"] = [
            one.removeprefix(f"{environment_name('policy')}: ") for one in error.faults
        ]
    if as_json:
        click.echo(json.dumps(told))
    else:
        _print_check(told)
    return FAULTY if told["faults"] else 0


@policy.command("show")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def show_policy(as_json: bool) -> int:
    """Show the policy that the running gateway decides by; without a gateway, the file's.

    Exit code 1 where the file says something else: a change waits, or it has faults.

    Example: mcp-gateway policy show --json
    """
    from mcp_gateway.risk.document import load_policy
    from mcp_gateway.risk.inspection import shown
    from mcp_gateway.risk.keeper import PolicyKeeper
    from mcp_gateway.transports.control import GatewayNotRunning

    settings = Settings.load()
    try:
        told = ask(settings, "policy.show", {}) | {"running": True}
    except GatewayNotRunning:
        keeper = PolicyKeeper(load_policy(settings.policy), settings.policy)
        told = shown(keeper) | {"running": False}
    if as_json:
        click.echo(json.dumps(told))
    else:
        _print_policy(told)
    return WAITING if told["pending"] or told["faults"] else 0


@policy.command("explain")
@click.argument("agent")
@click.argument("pair")
@click.argument("side", type=click.Choice(["buy", "sell"]))
@click.argument("amount")
@click.option("--price", metavar="PRICE", help="The limit of a limit order, in quote per base.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def explain_policy(
    agent: str, pair: str, side: str, amount: str, price: str | None, as_json: bool
) -> int:
    """Tell rule by rule what would happen to an order now. Nothing is sent.

    Asks the running gateway, with the bot as it is at this moment. AMOUNT is in base. Exit code
    1 where the order would be denied.

    Example: mcp-gateway policy explain signal-agent BTC/USDT buy 0.001 --price 60000
    """
    args = {"agent": agent, "pair": pair, "side": side, "amount": amount, "price": price}
    settings = Settings.load()
    told = ask(settings, "policy.explain", args)
    warn_of_strangers(settings, agent, pair)
    if as_json:
        click.echo(json.dumps(told))
    else:
        _print_rules(told)
    return DENIED if told["outcome"] == "denied" else 0


@policy.command("accept")
@click.argument("wanted", metavar="HASH")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def accept_policy(wanted: str, as_json: bool) -> None:
    """Agree to what the new file loosens; HASH is the one that `policy show` tells.

    It holds from then on, in the gateway of this data folder. The audit log keeps who agreed.

    Example: mcp-gateway policy accept 0123456789ab
    """
    told = ask(Settings.load(), "policy.accept", {"hash": wanted})
    if as_json:
        click.echo(json.dumps(told))
        return
    for line in told["accepted"]:
        click.echo(f"  {line}")
    click.echo(f"Policy {told['hash']} is in force, accepted by {told['operator']}.")


def _print_check(told: dict[str, Any]) -> None:
    faults = told["faults"]
    for one in faults:
        click.echo(f"✗ {one}")
    for one in told.get("warnings", ()):
        click.echo(f"! {one}")
    if not faults:
        click.echo(f"✓ {told['file']} has no faults; policy {told['hash']}")


def _print_policy(told: dict[str, Any]) -> None:
    where = told["file"] or "the built-in policy, for no file is set"
    how = "in force" if told["running"] else "not in force: no gateway runs here"
    click.echo(f"# Policy {told['hash']}, {how}.\n# From {where}.\n")
    click.echo(told["policy"])
    for one in told["warnings"]:
        click.echo(f"! {one}")
    if told["faults"]:
        click.echo("✗ The file has faults and was not read; what is above stays in force:")
        _print_lines(told["faults"])
    if (waits := told["pending"]) is not None:
        click.echo("✗ The file says more than is in force. It would loosen:")
        _print_lines(waits["loosens"])
        click.echo(f"  To agree: mcp-gateway policy accept {waits['hash']}")


def _print_lines(lines: Sequence[str]) -> None:
    for line in lines:
        click.echo(f"    {line}")


def _print_rules(told: dict[str, Any]) -> None:
    kind = f"at {told['price']}" if told["order_type"] == "limit" else "at the market"
    click.echo(
        f"{told['side']} {told['amount']} {told['pair']} {kind} for {told['agent']}, "
        f"{told['mode']}, by policy {told['policy']}:\n"
    )
    click.echo(_ROW.format(" ", "rule", "value", "limit", "left").rstrip())
    for rule in told["rules"]:
        click.echo(_row(rule))
    if told["outcome"] == "denied":
        says = {rule["rule"]: rule["says"] for rule in told["rules"]}
        click.echo("\nIt would be denied:")
        _print_lines([f"{code}: {says[code]}" for code in told["codes"]])
    else:
        click.echo(f"\n{_OUTCOMES[told['outcome']]}")


def _row(rule: dict[str, Any]) -> str:
    words = [rule[name] or "" for name in ("value", "limit", "left")]
    if rule["result"] == "unset":
        words = [f"{rule['setting']} is not set", "", ""]
    elif rule["result"] == "idle":
        words = ["not about this order", "", ""]
    return _ROW.format(_MARKS[rule["result"]], rule["rule"], *words).rstrip()
