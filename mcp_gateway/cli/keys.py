"""``mcp-gateway keys``: the keys that agents sign their orders with, over their whole life."""

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from mcp_gateway.cli.key_changes import (
    audit_row,
    begun,
    change,
    kept,
    own_keys,
    require_believed,
)

if TYPE_CHECKING:  # the library of the keys takes its time, which --help should not
    from mcp_gateway.access.keys.making import Made

ALGORITHMS: Final = ("hmac-sha256", "ed25519")
LONGEST_DAYS: Final = 3660
UNITS_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_ROW: Final = "{:<10} {:<44} {:<20} {:<12} {:<21} {}"


class Span(click.ParamType[timedelta]):
    """A length of time as people write it: 45s, 30m, 12h, 7d; 0 for at once."""

    name = "span"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Read it, or say what it should look like."""
        if isinstance(value, timedelta):
            return value
        found = re.fullmatch(r"(0|[1-9][0-9]{0,8})([smhd]?)", value)
        if found is None or (found[2] == "" and found[1] != "0"):
            self.fail("a number with a unit: 45s, 30m, 12h or 7d", param, ctx)
        span = timedelta(seconds=int(found[1]) * UNITS_S.get(found[2], 1))
        if span > timedelta(days=LONGEST_DAYS):
            self.fail(f"at most {LONGEST_DAYS}d", param, ctx)
        return span


_json = click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
_out = click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False),
    help="Write the secret into this new file (mode 0600) instead of printing it.",
)  # fmt: skip
_public_key = click.option(
    "--public-key", type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="PEM file of the public key of a pair that the agent has made (Ed25519).",
)  # fmt: skip
_issuer = click.option(
    "--issuer", help="Who issues the subject's tokens; without it MCP_GATEWAY_ISSUER."
)


@click.group()
def keys() -> None:
    """Make, list, rotate and revoke the keys that sign orders.

    They stand in keys.json in the data folder, or in MCP_GATEWAY_KEYS_FILE. A running gateway
    follows that file within a second.

    Example: mcp-gateway keys new --subject signal-agent
    """


@keys.command("new")
@click.option("--subject", required=True, help="Whose key it is: the subject of its tokens.")
@_issuer
@click.option(
    "--alg", "algorithm", type=click.Choice(ALGORITHMS), default=ALGORITHMS[0], show_default=True,
    help="A secret that both sides know, or a pair of which the gateway keeps the public half.",
)  # fmt: skip
@_public_key
@click.option("--valid-for", type=Span(), help="How long it serves (90d); without it, for ever.")
@_out
@_json
def new_key(
    subject: str, issuer: str | None, algorithm: Any, public_key: Path | None,
    valid_for: timedelta | None, out: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """Make a key, and print its secret this one time.

    Of an Ed25519 key the private half is printed, unless the agent made the pair and hands over
    its public half.

    Example: mcp-gateway keys new --subject signal-agent --alg ed25519 --out agent.pem
    """
    if valid_for == timedelta():
        raise click.UsageError("--valid-for 0 would make a key that never serves")
    settings, now = begun()
    issuer = settings.issuer if issuer is None else issuer
    made = _made(
        issuer, subject, algorithm, now, public_key,
        None if valid_for is None else now + valid_for,
    )  # fmt: skip
    require_believed(settings, issuer)
    with _reserved(out, made):
        change(
            settings, lambda found: found.with_new(made.record, now, own_keys(settings)),
            audit_row("created", made.record, now),
        )  # fmt: skip
    _hand_over(made, now, out, as_json)


@keys.command("list")
@click.option("--subject", help="Only this one's.")
@_json
def list_keys(subject: str | None, as_json: bool) -> None:
    """List the keys with their states; never a secret.

    Live are those that wait for their day, the active, and the retiring. HMAC_SECRET and
    OPERATOR_HMAC_SECRET stand first, as of the environment.

    Example: mcp-gateway keys list --json
    """
    from mcp_gateway.access.keys import file

    settings, now = begun()
    shown = [
        {
            "key_id": key.key_id, "state": "active", "issuer": key.issuer, "subject": key.subject,
            "algorithm": key.algorithm, "source": "environment",
        }
        for key in own_keys(settings)
    ]  # fmt: skip
    shown += [one.shown(now) | {"source": "file"} for one in file.read(settings.keys_file).records]
    shown = [one for one in shown if subject in {None, one["subject"]}]
    if as_json:
        click.echo(json.dumps(shown))
        return
    if not shown:
        click.echo("There are no keys. Make one: mcp-gateway keys new --subject NAME")
        return
    click.echo(_ROW.format("state", "key id", "subject", "algorithm", "until", "issuer or reason"))
    for one in shown:
        until = one.get("revoked_at") or one.get("not_after") or ""
        told = one.get("reason") or (
            "(environment)" if one["source"] == "environment" else one["issuer"]
        )
        words = [one[name] for name in ("state", "key_id", "subject", "algorithm")]
        click.echo(_ROW.format(*words, _day(until), told).rstrip())


@keys.command("rotate")
@click.argument("key_id", metavar="KEYID")
@click.option(
    "--overlap", type=Span(), default="7d", show_default=True,
    help="How long the old key serves beside the new one.",
)  # fmt: skip
@_public_key
@_out
@_json
def rotate_key(
    key_id: str, overlap: timedelta, public_key: Path | None, out: Path | None, as_json: bool
) -> None:
    """Make the key that takes another's place; the old one retires.

    Both serve until the overlap is over, so nothing fails while the agent changes over. The new
    key is of the same kind and subject.

    Example: mcp-gateway keys rotate signal-agent-0123456789 --overlap 12h --out new.key
    """
    settings, now = begun()
    old = kept(settings, key_id)
    made = _made(old.issuer, old.subject, old.algorithm, now, public_key)
    with _reserved(out, made):
        change(
            settings,
            lambda found: found.rotated(key_id, made.record, now, overlap, own_keys(settings)),
            audit_row("rotated", made.record, now) | {"replaces": key_id},
        )
    _hand_over(made, now, out, as_json, replaces=key_id)


@keys.command("revoke")
@click.argument("key_id", metavar="KEYID")
@click.option("--reason", required=True, help="Why, for the audit log.")
@_json
def revoke_key(key_id: str, reason: str, as_json: bool) -> None:
    """Refuse a key from now on; a running gateway does within a second.

    The key is revoked even where the audit row cannot be written; then the exit code is 1.

    Example: mcp-gateway keys revoke signal-agent-0123456789 --reason "laptop lost"
    """
    from mcp_gateway.access.keys import file
    from mcp_gateway.access.keys.records import LONGEST_REASON
    from mcp_gateway.cli.control.reach import ask

    if not reason.strip() or len(reason) > LONGEST_REASON or not reason.isprintable():
        raise click.UsageError(f"--reason is printable text of 1 to {LONGEST_REASON} characters")
    settings, now = begun()
    path = settings.keys_file
    record = kept(settings, key_id)
    news = record.revoked_at is None
    after = file.change(path, lambda found: found.revoked(key_id, now, reason), lambda: None)
    if as_json:
        click.echo(json.dumps(after.named(key_id).shown(now)))
    else:
        click.echo(f"{key_id} is revoked." if news else f"{key_id} was revoked before.")
    if news:
        ask(settings, "audit.key", audit_row("revoked", record, now) | {"reason": reason})


def _made(
    issuer: str, subject: str, algorithm: Any, now: datetime, public_key: Path | None,
    not_after: datetime | None = None,
) -> "Made":  # fmt: skip
    from mcp_gateway.access.keys import making
    from mcp_gateway.access.tokens.claims import acceptable_subject

    if not acceptable_subject(subject):
        raise click.UsageError("--subject is printable text of 1 to 128 characters")
    if not acceptable_subject(issuer):
        raise click.UsageError("--issuer is printable text of 1 to 128 characters")
    if algorithm == "hmac-sha256" and public_key is not None:
        raise click.UsageError("--public-key goes with --alg ed25519")
    pem = None if public_key is None else public_key.read_bytes()
    return making.make(issuer, subject, algorithm, now, public_key=pem, not_after=not_after)


def _hand_over(made: "Made", now: datetime, out: Path | None, as_json: bool, **more: str) -> None:
    """Give the secret out, once: into a file of its own, or to stdout."""
    shown = made.record.shown(now) | more
    secret = made.handed_over
    name = "secret" if made.record.algorithm == "hmac-sha256" else "private_key"
    if secret is not None and out is not None:
        shown["out"], secret = str(out), None
    if as_json:
        click.echo(json.dumps(shown | ({} if secret is None else {name: secret})))
        return
    for field in ("key_id", "subject", "issuer", "algorithm", "not_after", "replaces", "out"):
        if field in shown:
            click.echo(f"{field}: {shown[field]}")
    if secret is not None:
        click.echo(f"{name}: {secret.rstrip()}" if name == "secret" else secret.rstrip())
        click.echo("This is shown once: keep it where only the agent can read it.", err=True)


@contextmanager
def _reserved(out: Path | None, made: "Made") -> Iterator[None]:
    """Write the secret into a file of its own first: a key whose secret is lost is of no use.

    The file goes again where the key is not made after all.
    """
    if out is None:
        yield
        return
    if (secret := made.handed_over) is None:
        raise click.UsageError("--out has nothing to write: the agent keeps the private half")
    try:
        descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise click.UsageError(f"--out: {out} cannot be made ({error.strerror})") from None
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(secret if secret.endswith("\n") else f"{secret}\n")
        yield
    except BaseException:
        out.unlink(missing_ok=True)
        raise


def _day(at: str) -> str:
    return at[:19].replace("T", " ")
