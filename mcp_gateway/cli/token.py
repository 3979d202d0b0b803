"""`mcp-gateway token` and `mcp-gateway hash-password`: what an operator hands to an agent."""

import sys

import click

from mcp_gateway.clock import Clock, iso
from mcp_gateway.domain.operations import DEFAULT_LOCAL_SCOPES, SCOPES
from mcp_gateway.domain.principals import Principal
from mcp_gateway.errors import ConfigurationError
from mcp_gateway.settings import Settings

DEFAULT_TTL_S = 3600


@click.command("token")
@click.option("--subject", required=True, help="Who the token speaks for: the agent's name.")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(list(SCOPES)),
    help="What it allows; repeat for more. Without one: reading and previews.",
)  # fmt: skip
@click.option(
    "--ttl", "ttl_s", default=DEFAULT_TTL_S, show_default=True, help="Its lifetime in seconds."
)
@click.option("--act-for", multiple=True, help="Another agent that its orders may name; repeat.")
def token(subject: str, scopes: tuple[str, ...], ttl_s: int, act_for: tuple[str, ...]) -> None:
    """Print a new access token and nothing else.

    Who got it, for what and until when becomes an audit row first; no row, no token.

    Example: mcp-gateway token --subject signal-agent --scope market:read --scope orders:create
    """
    from mcp_gateway.cli.control.reach import ask

    settings = Settings.load()
    clock = Clock()
    scopes = scopes or DEFAULT_LOCAL_SCOPES
    text, proves = issue(
        settings, clock, subject=subject, scopes=scopes, ttl_s=ttl_s, act_for=act_for
    )
    row = {
        "at": clock.now().isoformat(),
        "issuer": proves.issuer,
        "subject": subject,
        "scopes": sorted(proves.scopes),
        "act_for": sorted(proves.act_for),
        "jti": proves.token_id,
        "expires_at": proves.expires_at and iso(proves.expires_at),
    }
    ask(settings, "audit.token", row)
    click.echo(text)


@click.command("hash-password")
def hash_password() -> None:
    """Print what the clients file keeps instead of a password, asked for or read from stdin.

    Example: mcp-gateway hash-password < password.txt
    """
    from mcp_gateway.access import clients

    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    try:
        click.echo(clients.hash_password(password))
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def issue(
    settings: Settings,
    clock: Clock,
    *,
    subject: str,
    scopes: tuple[str, ...],
    ttl_s: int,
    act_for: tuple[str, ...],
) -> tuple[str, Principal]:
    """Return a new token, and the principal that it proves (with its id and its end).

    Raises:
        ConfigurationError: there is no JWT_SECRET.
        click.UsageError: a subject, scope or lifetime that the gateway would not accept.
    """
    from mcp_gateway.access.keyring import Keyring
    from mcp_gateway.access.tokens.believed import verifier_from
    from mcp_gateway.access.tokens.issuing import issuer_from

    keyring = Keyring.from_settings(settings)
    verifier = verifier_from(settings, keyring, clock)
    issuer = issuer_from(settings, keyring, clock)
    if verifier is None or issuer is None:
        raise ConfigurationError(["JWT_SECRET: needed to issue tokens (openssl rand -hex 32)"])
    try:
        text = issuer.issue(subject, scopes, ttl_s, act_for)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    return text, verifier.verify(text)
