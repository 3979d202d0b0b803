"""Values that would be unsafe together, or could not work: refused before a start."""

import ipaddress
from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

from pydantic import SecretStr

if TYPE_CHECKING:  # the model asks this module
    from mcp_gateway.settings.model import Settings

SHORTEST_SECRET_BYTES = 32  # RFC 7518 section 3.2: an HS256 key is at least as long as its hash
Purpose = Literal["serve", "stdio", "command"]


def unsafe(settings: "Settings", purpose: Purpose) -> list[str]:
    """Return the combinations that would be unsafe, or could not work, for ``purpose``."""
    faults = weak_keys(settings.jwt_secret, settings.hmac_secret, settings.subject)
    faults += operators_key(settings)
    faults += half_logins(
        settings.freqtrade_username, settings.freqtrade_password,
        settings.postgres_host, settings.postgres_password,
    )  # fmt: skip
    if purpose != "command" and settings.mode == "live" and settings.policy is None:
        faults.append("MCP_GATEWAY_POLICY: MCP_GATEWAY_MODE=live needs a policy file of yours")
    if purpose == "serve":
        if not _takes_tokens(settings):
            told = "serving HTTP needs tokens (openssl rand -hex 32), or MCP_GATEWAY_ISSUERS_FILE"
            faults.append(f"JWT_SECRET: {told}")
        if settings.clients_file and settings.jwt_secret is None:
            faults.append("JWT_SECRET: signs the tokens of MCP_GATEWAY_CLIENTS_FILE's clients")
        faults += exposed(settings.host, settings.allowed_hosts, settings.allowed_origins)
        faults += replayed_elsewhere(settings)
    if purpose == "stdio" and settings.token and not _takes_tokens(settings):
        faults.append("JWT_SECRET: needed to check MCP_GATEWAY_TOKEN")
    return faults


def _takes_tokens(settings: "Settings") -> bool:
    return settings.jwt_secret is not None or settings.issuers_file is not None


def weak_keys(
    jwt_secret: SecretStr | None, hmac_secret: SecretStr | None, subject: str | None
) -> list[str]:
    """Return what is wrong with the two keys: too short, the same, or of nobody."""
    faults = []
    for name, secret in (("JWT_SECRET", jwt_secret), ("HMAC_SECRET", hmac_secret)):
        if secret and len(secret.get_secret_value().encode()) < SHORTEST_SECRET_BYTES:
            faults.append(f"{name}: at least {SHORTEST_SECRET_BYTES} bytes (openssl rand -hex 32)")
    if jwt_secret and hmac_secret == jwt_secret:
        faults.append("HMAC_SECRET: must differ from JWT_SECRET")
    if hmac_secret and not subject:
        faults.append("MCP_GATEWAY_SUBJECT: HMAC_SECRET needs it, to know whose key it is")
    return faults


def operators_key(settings: "Settings") -> list[str]:
    """Return what is wrong with the operator's key: too short, another's, or of nobody."""
    secret, operator = settings.operator_hmac_secret, settings.operator
    if secret is None:
        return []
    faults = []
    if len(secret.get_secret_value().encode()) < SHORTEST_SECRET_BYTES:
        least = f"at least {SHORTEST_SECRET_BYTES} bytes (openssl rand -hex 32)"
        faults.append(f"OPERATOR_HMAC_SECRET: {least}")
    if secret in {settings.jwt_secret, settings.hmac_secret}:
        faults.append("OPERATOR_HMAC_SECRET: must differ from JWT_SECRET and HMAC_SECRET")
    if not operator or operator == settings.subject:
        faults.append("MCP_GATEWAY_OPERATOR: OPERATOR_HMAC_SECRET needs it, and no agent's name")
    return faults


def half_logins(
    freqtrade_username: str | None,
    freqtrade_password: SecretStr | None,
    postgres_host: str | None,
    postgres_password: SecretStr | None,
) -> list[str]:
    """Return the passwords that are missing beside what they belong to, or stand alone."""
    faults = []
    if bool(freqtrade_username) != bool(freqtrade_password):
        faults.append("FREQTRADE_PASSWORD: user name and password go together")
    if postgres_host and not postgres_password:
        faults.append("POSTGRES_PASSWORD: missing beside POSTGRES_HOST")
    return faults


def replayed_elsewhere(settings: "Settings") -> list[str]:
    """Return what is missing where a second gateway could take a signed order once more.

    PostgreSQL lets several processes serve; nonces that each keeps for itself stop no replay at
    the next one. Nobody can see from here whether there is a next one: the operator says so.
    """
    if settings.embedded_store or settings.redis_url is not None or settings.single_process:
        return []
    told = "gateways on one PostgreSQL need it, or a signed order can be replayed at the next one"
    return [f"REDIS_URL: {told}; MCP_GATEWAY_SINGLE_PROCESS=true where only one ever runs"]


def exposed(host: str, allowed_hosts: Sequence[str], allowed_origins: Sequence[str]) -> list[str]:
    """Return what must be named before anything but this machine may connect."""
    if is_loopback(host):
        return []
    faults = []
    if not allowed_hosts:
        faults.append("MCP_GATEWAY_ALLOWED_HOSTS: needed to listen beyond loopback")
    if not allowed_origins:
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
