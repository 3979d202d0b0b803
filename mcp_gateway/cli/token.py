"""`mcp-gateway token` and `mcp-gateway hash-password`: what an operator hands to an agent."""

import json
import sys
from typing import Final

import click

from mcp_gateway.clock import Clock, iso
from mcp_gateway.domain.operations import DEFAULT_LOCAL_SCOPES, SCOPES
from mcp_gateway.domain.principals import Principal
from mcp_gateway.errors import ConfigurationError
from mcp_gateway.settings import Settings

DEFAULT_TTL_S: Final = 3600
LONGEST_READ: Final = 65_536
NOT_BELIEVED: Final = 1
SCHEME: Final = "bearer "


class IssuesByDefault(click.Group):
    """Takes ``token --subject NAME`` for ``token issue --subject NAME``."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Read the arguments; options without a word before them are those of ``issue``."""
        if args and args[0].startswith("-") and args[0] not in ctx.help_option_names:
            args = ["issue", *args]
        return super().parse_args(ctx, args)


@click.group(cls=IssuesByDefault)
def token() -> None:
    """Issue, inspect and revoke tokens. Without a word of these it issues one.

    Example: mcp-gateway token --subject signal-agent --scope market:read
    """


@token.command("issue")
@click.option("--subject", required=True, help="Who the token speaks for: the agent's name.")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(list(SCOPES)),
    help="What it allows; repeat for more. Without one: reading and previews.",
)  # fmt: skip
@click.option(
    "--ttl", "ttl_s", default=DEFAULT_TTL_S, show_default=True, help="Its lifetime in seconds."
)
@click.option("--act-for", multiple=True, help="Another agent that its orders may name; repeat.")
def issue(subject: str, scopes: tuple[str, ...], ttl_s: int, act_for: tuple[str, ...]) -> None:
    """Print a new access token and nothing else.

    Who got it, for what and until when becomes an audit row first; no row, no token.

    Example: mcp-gateway token issue --subject signal-agent --scope market:read
    """
    from mcp_gateway.cli.control.reach import ask

    settings = Settings.load()
    clock = Clock()
    scopes = scopes or DEFAULT_LOCAL_SCOPES
    text, proves = issued(
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


@token.command("inspect")
@click.argument("source", default="-", metavar="[-]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def inspect(source: str, as_json: bool) -> int | None:
    """Tell what stands in a token, read from standard input, and whether it is believed here.

    Ends with 1 where it is not. Nothing of the signature is printed.

    Example: mcp-gateway token inspect < token.txt
    """
    from mcp_gateway.cli.token_report import report, shown

    if source != "-":  # other users of the machine see the arguments of a command
        raise click.UsageError("The token comes on standard input, not as an argument.")
    text = sys.stdin.read(LONGEST_READ).strip()
    if text[: len(SCHEME)].lower() == SCHEME:  # copied with the header that it stood in
        text = text[len(SCHEME) :].lstrip()
    told = report(Settings.load(), text)
    click.echo(json.dumps(told) if as_json else shown(told))
    return None if told["believed"] else NOT_BELIEVED


@token.command("revoke")
@click.option("--jti", help="This one token: the jti that `inspect` tells.")
@click.option("--subject", help="Every token that this subject was given before now.")
@click.option("--issuer", help="Whose tokens; without it those of this gateway.")
@click.option("--reason", required=True, help="Why, for the audit log; at most 1000 characters.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def revoke(
    jti: str | None, subject: str | None, issuer: str | None, reason: str, as_json: bool
) -> None:
    """Believe a token no longer, on every gateway of the same store, within two seconds.

    A running gateway does it, or the store alone. A token that the subject is given afterwards is
    good: take its name from the clients file too, where it can fetch one there.

    Example: mcp-gateway token revoke --subject signal-agent --reason "its laptop was stolen"
    """
    from mcp_gateway.cli.control.reach import ask
    from mcp_gateway.cli.token_report import doubt_unseen

    if (jti is None) == (subject is None):
        raise click.UsageError("--jti or --subject, one of them.")
    named = {"jti": jti, "subject": subject, "issuer": issuer}
    args = {name: value for name, value in named.items() if value is not None}
    settings = Settings.load()
    told = ask(settings, "token.revoke", args | {"reason": reason})
    doubt_unseen(settings, subject)
    if as_json:
        click.echo(json.dumps(told))
        return
    what = "Token" if subject is None else "Every token of"
    name = ascii(jti or subject)  # letters of other scripts that look alike are told apart
    click.echo(f"{what} {name} of {told['issuer']!a} is revoked.")
    if subject is not None:
        click.echo(f"Tokens issued from {told['issued_before']} on are good.")


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


def issued(
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
