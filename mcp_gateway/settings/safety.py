"""Combinations of settings that would be unsafe, or could not work: refused before a start."""

import ipaddress
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:  # the model imports this module
    from mcp_gateway.settings.model import Settings

SHORTEST_SECRET_BYTES = 32  # RFC 7518 section 3.2: an HS256 key is at least as long as its hash
Purpose = Literal["serve", "stdio", "command"]


def unsafe(settings: "Settings", purpose: Purpose) -> list[str]:
    """Return the combinations that would be unsafe, or could not work."""
    faults = []
    for name, secret in (
        ("JWT_SECRET", settings.jwt_secret),
        ("HMAC_SECRET", settings.hmac_secret),
    ):
        if secret and len(secret.get_secret_value().encode()) < SHORTEST_SECRET_BYTES:
            faults.append(f"{name}: at least {SHORTEST_SECRET_BYTES} bytes (openssl rand -hex 32)")
    if settings.jwt_secret and settings.hmac_secret == settings.jwt_secret:
        faults.append("HMAC_SECRET: must differ from JWT_SECRET")
    if settings.hmac_secret and not settings.subject:
        faults.append("MCP_GATEWAY_SUBJECT: HMAC_SECRET needs it, to know whose key it is")
    if bool(settings.freqtrade_username) != bool(settings.freqtrade_password):
        faults.append("FREQTRADE_PASSWORD: user name and password go together")
    if settings.postgres_host and not settings.postgres_password:
        faults.append("POSTGRES_PASSWORD: missing beside POSTGRES_HOST")
    if purpose == "serve":
        faults += _unsafe_to_serve(settings)
    if purpose == "stdio" and settings.token and not settings.jwt_secret:
        faults.append("JWT_SECRET: needed to check MCP_GATEWAY_TOKEN")
    return faults


def _unsafe_to_serve(settings: "Settings") -> list[str]:
    faults = []
    if settings.jwt_secret is None:
        faults.append("JWT_SECRET: serving HTTP needs tokens; set it (openssl rand -hex 32)")
    if not settings.on_loopback:
        if not settings.allowed_hosts:
            faults.append("MCP_GATEWAY_ALLOWED_HOSTS: needed to listen beyond loopback")
        if not settings.allowed_origins:
            faults.append("MCP_GATEWAY_ALLOWED_ORIGINS: needed to listen beyond loopback")
    return faults


def is_loopback(host: str) -> bool:
    """Tell whether only this machine can reach an address."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
