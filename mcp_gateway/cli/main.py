"""The command line: arguments and exit codes, nothing else.

Exit codes: 0 done, 1 failed, 2 misuse or configuration.
"""

import importlib
import sys
from typing import Any, Final

import click

from mcp_gateway import __version__
from mcp_gateway.errors import ConfigurationError, GatewayError, failures_in

FAILED: Final = 1
MISUSED: Final = 2
_COMMANDS: Final = {
    "serve": "Serve MCP and REST over HTTP.",
    "stdio": "Serve one desktop app over standard input and output.",
    "sandbox": "Run a real Freqtrade on a simulated exchange, and the gateway before it.",
    "bridge": "Let a desktop app speak to a gateway elsewhere.",
    "call": "Call a tool of a running gateway.",
    "token": "Issue, inspect and revoke tokens.",
    "keys": "Make, list, rotate and revoke the keys that sign orders.",
    "hash-password": "Hash a password for the clients file.",
    "orders": "Show the orders, compare them with the bot, cancel and settle them.",
    "approvals": "Approve or decline the orders that wait for you.",
    "policy": "Check the policy, show what is in force, try an order on it.",
    "halt": "Stop every entry at once; list halts; close all positions.",
    "resume": "Release a halt.",
    "audit": "Show the audit log.",
    "db": "Upgrade or check the database.",
    "doctor": "Say what is wrong before the first order does.",
}
_PLACES: Final = {"resume": ("halt", "resume"), "hash-password": ("token", "hash_password")}


class Commands(click.Group):
    """Imports a command when it runs, so that ``--help`` and errors are quick."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands in the order of a first day."""
        return list(_COMMANDS)

    def get_command(
        self,
        ctx: click.Context,
        cmd_name: str,
    ) -> click.Command | None:
        """Import and return one command."""
        if cmd_name not in _COMMANDS:
            return None
        module, name = _PLACES.get(cmd_name, (cmd_name, cmd_name))
        command: click.Command = getattr(importlib.import_module(f"mcp_gateway.cli.{module}"), name)
        return command

    def format_commands(
        self,
        ctx: click.Context,
        formatter: click.HelpFormatter,
    ) -> None:
        """Write the list from the table above, importing nothing."""
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="mcp-gateway")
def cli() -> None:
    """The MCP server between LLM trading agents and the Freqtrade bot.

    Example: mcp-gateway sandbox --tour
    """
    from mcp_gateway.telemetry import logs

    # Standard output is the command's answer; what serves configures its own logs after this.
    logs.configure("ERROR", "console")


def main(arguments: list[str] | None = None) -> None:
    """Run one command and leave with its exit code."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """Run one command; every anticipated failure becomes a sentence and an exit code."""
    words = sys.argv[1:] if arguments is None else arguments
    try:
        _must_be_text(words)
        result: Any = cli.main(words, prog_name="mcp-gateway", standalone_mode=False)
    except (GatewayError, ExceptionGroup) as error:
        return _told(next(failures_in(error)))
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.exceptions.Abort, KeyboardInterrupt):
        click.echo("Interrupted.", err=True)
        return FAILED
    return result if isinstance(result, int) else 0


def _must_be_text(words: list[str]) -> None:
    """Refuse what is not UTF-8: it could be neither sent to a gateway nor written down."""
    for place, word in enumerate(words, 1):
        try:
            word.encode()
        except UnicodeEncodeError:
            raise click.UsageError(f"Argument {place} is not UTF-8.") from None


def _told(error: Exception) -> int:
    """Print a failure; whatever is not ours is a bug and keeps its traceback."""
    if isinstance(error, ConfigurationError):
        click.echo("The configuration has faults:", err=True)
        for fault in error.faults:
            click.echo(f"  {fault}", err=True)
        return MISUSED
    if not isinstance(error, GatewayError):
        raise error
    for line in error.detail.get("log_tail", ()):
        click.echo(f"  | {line}", err=True)
    click.echo(f"{error.code}: {error.message}", err=True)
    for fault in error.detail.get("faults", ())[1:]:  # the message tells the first
        click.echo(f"  {fault['field']}: {fault['expected']}", err=True)
    click.echo(f"  {error.hint}", err=True)
    return FAILED


if __name__ == "__main__":
    main()
