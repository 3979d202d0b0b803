"""What the commands about keys share: which file is meant, whose keys, and how it is changed."""

from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from mcp_gateway.cli.control.places import sandbox_meant_by
from mcp_gateway.clock import Clock
from mcp_gateway.errors import NotFound, RequestInvalid
from mcp_gateway.settings import Settings

if TYPE_CHECKING:  # the library of the keys takes its time, which --help should not
    from mcp_gateway.access.keyring import Key
    from mcp_gateway.access.keys.file import Change
    from mcp_gateway.access.keys.records import KeyRecord


def begun() -> tuple[Settings, datetime]:
    """Return the settings and the moment, having told on stderr which file is meant."""
    settings = Settings.load()
    click.echo(f"(keys file: {settings.keys_file})", err=True)
    if (sandbox := sandbox_meant_by(settings)) is not None:
        click.echo(
            "(not the running sandbox's: for its keys set "
            f"MCP_GATEWAY_DATA_DIR={sandbox['data_dir']})",
            err=True,
        )
    return settings, Clock().now()


def own_keys(settings: Settings) -> "tuple[Key, ...]":
    """Return the keys of the environment."""
    from mcp_gateway.access.keyring import Keyring

    return Keyring.from_settings(settings).own_keys()


def require_believed(settings: Settings, issuer: str) -> None:
    """Refuse a key that could never serve: it is used beside tokens of its issuer.

    Raises:
        RequestInvalid: ``issuer_unknown``: nobody here believes that issuer.
        ConfigurationError: every fault of the issuers file.
    """
    if issuer == settings.issuer:
        return
    from mcp_gateway.access.tokens.believed import others_from

    known = sorted({settings.issuer, *(one.issuer for one in others_from(settings, Clock()))})
    if issuer in known:
        return
    raise RequestInvalid(
        "This gateway believes no issuer of that name: the key would never serve.",
        code="issuer_unknown",
        hint=f"Name the issuer as it stands in the token's iss. Believed here: {', '.join(known)}.",
    )


def kept(settings: Settings, key_id: str) -> "KeyRecord":
    """Return a key of the file; those of the environment no command can change.

    Raises:
        NotFound: key_unknown.
        RequestInvalid: ``key_of_environment``.
    """
    from mcp_gateway.access.keys import file

    try:
        return file.read(settings.keys_file).named(key_id)
    except NotFound:
        found = [key for key in own_keys(settings) if key.key_id == key_id]
        if not found:
            raise
    name = _variable(settings, found[0])
    raise RequestInvalid(
        f"{name} is this key: it does not stand in the keys file.",
        code="key_of_environment",
        hint=f"Take {name} out of the environment and restart the gateway; "
        "`mcp-gateway keys new` makes the key that takes its place.",
    )


def change(settings: Settings, make: "Change", row: dict[str, Any]) -> None:
    """Change the file; no audit row, no key.

    Raises:
        RequestInvalid: as ``make``; a key of the environment that counts is named.
    """
    from mcp_gateway.access.keys import file
    from mcp_gateway.cli.control.reach import ask

    try:
        file.change(settings.keys_file, make, lambda: ask(settings, "audit.key", row))
    except RequestInvalid as error:
        counting = [
            _variable(settings, key) for key in own_keys(settings)
            if key.owner == (row["issuer"], row["subject"])
        ]  # fmt: skip
        if error.code != "keys_full" or not counting:
            raise
        raise RequestInvalid(
            error.message,
            code=error.code,
            hint=f"{counting[0]} counts as one; take it out of the environment and restart.",
        ) from None


def audit_row(done: str, record: "KeyRecord", now: datetime) -> dict[str, Any]:
    """Return what the audit log is told of a change."""
    row: dict[str, Any] = {
        "done": done, "at": now.isoformat(), "issuer": record.issuer, "subject": record.subject,
        "key_id": record.key_id, "algorithm": record.algorithm,
    }  # fmt: skip
    return row | ({"not_after": record.not_after.isoformat()} if record.not_after else {})


def _variable(settings: Settings, key: "Key") -> str:
    is_agents = settings.hmac_secret is not None and key.key_id == settings.subject
    return "HMAC_SECRET" if is_agents else "OPERATOR_HMAC_SECRET"
