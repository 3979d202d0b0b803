"""What ``mcp-gateway token inspect`` tells: a running gateway's word, or this command's own."""

import json
from contextlib import suppress
from typing import Any, Final

import anyio
import click

from mcp_gateway.errors import GatewayError, StoreUnavailable
from mcp_gateway.settings import Settings

_TOLD: Final = (
    "issuer", "subject", "scopes", "jti", "issued_at", "expires_at", "algorithm", "kid",
)  # fmt: skip


def report(settings: Settings, token: str) -> dict[str, Any]:
    """Return what there is to be told of a token; where no store answers, all but revocations.

    Raises:
        ConfigurationError: whom this gateway believes cannot be read.
    """
    from mcp_gateway.cli.control.reach import ask
    from mcp_gateway.transports.control import ControlRefused

    try:
        told: dict[str, Any] = ask(settings, "token.inspect", {"token": token})
    except (StoreUnavailable, ControlRefused):  # its store is down, or there is none
        told = anyio.run(_without_a_store, settings, token)
    return told


def shown(told: dict[str, Any]) -> str:
    """Return it for a terminal; whatever the token says is written in ASCII."""
    revoked = told["revoked"]
    lines = ["believed   " + ("yes" if told["believed"] else f"no: {told['why_not']['message']}")]
    if "claims" not in told:  # nobody can tell what it was
        return lines[0]
    if revoked is None:
        lines.append("revoked    not known: no store answers here")
    elif revoked:
        lines.append(f"revoked    {revoked['at']} by {revoked['by']}: {_plain(revoked['reason'])}")
    else:
        lines.append("revoked    no")
    lines += [f"{name:<10} {_plain(told[name])}" for name in _TOLD if told.get(name) is not None]
    lines += [
        f"  {_plain(name)}: {_plain(value)}" for name, value in told.get("claims", {}).items()
    ]
    return "\n".join(lines)


def doubt_unseen(settings: Settings, subject: str | None) -> None:
    """Tell on stderr where what was revoked may be a typo; it is revoked all the same.

    Args:
        subject: None where one token was revoked; no table knows the jti of every token.
    """
    from mcp_gateway.cli.control.reach import ask

    if subject is None:
        note = "Whether there is a token of that jti is not known here: compare `token inspect`."
        click.echo(f"! {note}", err=True)
        return
    with suppress(GatewayError):
        rows = ask(settings, "audit.tail", {"subject": subject, "limit": 2})
        if len(rows) < 2:  # noqa: PLR2004 - the revocation itself is one
            click.echo("! Nobody has shown such a token here: is the name right?", err=True)


def _plain(value: Any) -> str:
    return json.dumps(value).strip('"') if isinstance(value, str) else json.dumps(value)


async def _without_a_store(settings: Settings, token: str) -> dict[str, Any]:
    from mcp_gateway.access.keyring import Keyring
    from mcp_gateway.access.tokens.believed import verifier_from
    from mcp_gateway.access.tokens.report import reported
    from mcp_gateway.clock import Clock

    verifier = verifier_from(settings, Keyring.from_settings(settings), Clock())
    return (await reported(token, verifier)).public(None, is_known=False)
