"""``mcp-gateway bridge``: a stdio server that is a gateway elsewhere, for desktop apps."""

from typing import TYPE_CHECKING

import click

from mcp_gateway.errors import ConfigurationError

if TYPE_CHECKING:
    from pathlib import Path

    from pydantic import SecretStr

    from mcp_gateway.client.signing import GatewayAuth
    from mcp_gateway.client.tokens import TokenSource
    from mcp_gateway.settings import Settings

TOKENS = (
    "MCP_GATEWAY_TOKEN: set it, or MCP_GATEWAY_TOKEN_FILE, or MCP_GATEWAY_CLIENT_ID with its secret"
)

TOKEN_SETTINGS = ("MCP_GATEWAY_TOKEN", "MCP_GATEWAY_TOKEN_FILE", "MCP_GATEWAY_CLIENT_ID")


@click.command()
@click.option("--url", required=True, help="The gateway's address; https, unless it is loopback.")
def bridge(url: str) -> int:
    """Serve one desktop app over standard input and output, with the tools of a gateway elsewhere.

    Token and key come from the environment or from files of mode 0600, never from arguments.
    The bridge renews the token, signs what it sends, and waits for a gateway that restarts.

    Example: mcp-gateway bridge --url https://gateway.example
    """
    import anyio

    from mcp_gateway.client import addresses
    from mcp_gateway.settings import Settings

    try:
        base = addresses.base(url)
    except ValueError as error:
        raise click.UsageError(f"--url: {error}") from None
    auth = _auth(Settings.load(), base)
    try:
        anyio.run(_relayed, base + addresses.MCP_PATH, auth)
    except* BrokenPipeError:
        tell("The app has gone.")
    return 0


def _auth(settings: "Settings", base: str) -> "GatewayAuth":
    """Return what the bridge shows: the token's source, and the key where there is one.

    Raises:
        ConfigurationError: no token, two of them, a key without its id, or a file that others
            can read.
    """
    from mcp_gateway.client.renewing import RenewingAuth

    key = _secret(settings.hmac_secret, settings.signing_key_file, "MCP_GATEWAY_SIGNING_KEY_FILE")
    key_id = settings.key_id or settings.subject
    if key is not None and key_id is None:
        raise ConfigurationError(["MCP_GATEWAY_KEY_ID: set it, or MCP_GATEWAY_SUBJECT"])
    try:
        return RenewingAuth(
            _source(settings, base), key=key, key_id=None if key is None else key_id
        )
    except ValueError as error:
        raise ConfigurationError([f"MCP_GATEWAY_SIGNING_KEY_FILE: {error}"]) from None


def _source(settings: "Settings", base: str) -> "TokenSource":
    from mcp_gateway.client.tokens import FixedToken, TokenFile

    given = [settings.token, settings.token_file, settings.client_id]
    names = [name for name, one in zip(TOKEN_SETTINGS, given, strict=True) if one is not None]
    if not names:
        raise ConfigurationError([TOKENS])
    if len(names) > 1:
        raise ConfigurationError([f"{names[0]}: only one of {', '.join(names)}; unset the others"])
    if settings.token is not None:
        try:
            return FixedToken(settings.token.get_secret_value())
        except ValueError as error:
            raise ConfigurationError([f"MCP_GATEWAY_TOKEN: {error}"]) from None
    if settings.token_file is not None:
        _secret(None, settings.token_file, "MCP_GATEWAY_TOKEN_FILE")  # told now, not at each call
        return TokenFile(settings.token_file, tell)
    return _client(settings, base)


def _client(settings: "Settings", base: str) -> "TokenSource":
    from mcp_gateway.client.tokens import ClientCredentials

    name = "MCP_GATEWAY_CLIENT_SECRET_FILE"
    secret = _secret(settings.client_secret, settings.client_secret_file, name)
    if secret is None or settings.client_id is None:
        raise ConfigurationError([f"MCP_GATEWAY_CLIENT_SECRET: set it, or {name}"])
    token_url = settings.token_url or f"{base}/auth/token"
    try:
        return ClientCredentials(token_url, settings.client_id, secret)
    except ValueError as error:
        raise ConfigurationError([f"MCP_GATEWAY_TOKEN_URL: {error}"]) from None


def _secret(given: "SecretStr | None", path: "Path | None", name: str) -> str | None:
    """Return a secret of the environment or of a file; the file counts where both are set."""
    from mcp_gateway.client.secret_files import SecretFileRefused, read_secret

    if path is None:
        return None if given is None else given.get_secret_value()
    try:
        return read_secret(path)
    except SecretFileRefused as error:
        raise ConfigurationError([f"{name}: {error.message} {error.hint}"]) from None


async def _relayed(url: str, auth: "GatewayAuth") -> None:
    from mcp_gateway.client.bridge import Delivery, Relay
    from mcp_gateway.client.bridge.pipe import LONGEST_LINE_BYTES, Pipe

    pipe = Pipe.standard()
    delivery = Delivery(url, auth, tell=tell)
    try:
        relay = Relay(delivery, pipe.write, longest_line_bytes=LONGEST_LINE_BYTES)
        await relay.run(pipe.lines())
    finally:
        await delivery.close()


def tell(notice: str) -> None:
    """Tell the person at the app's log; never a secret, and never on the wire."""
    click.echo(f"bridge: {notice}", err=True)
