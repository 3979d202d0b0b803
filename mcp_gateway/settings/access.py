"""The settings of access: who is believed, for how long, signed how, and how often."""

from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any

from pydantic import SecretStr, field_validator
from pydantic_settings import BaseSettings, NoDecode

from mcp_gateway.domain.operations import DEFAULT_LOCAL_SCOPES, SCOPES
from mcp_gateway.settings.people import env

Words = Annotated[tuple[str, ...], NoDecode]


def words(value: Any) -> Any:
    """Return text as its words, which commas or spaces part; anything else as it is."""
    if isinstance(value, str):
        return tuple(word for word in value.replace(",", " ").split() if word)
    return value


class ForAccess(BaseSettings):
    """Who may call, and by which proof; a part of the settings."""

    issuer: str = env("MCP_GATEWAY_ISSUER", "mcp-gateway", "iss of the one-box tokens.")
    audience: str = env("MCP_GATEWAY_AUDIENCE", "mcp-gateway", "aud that tokens must carry.")
    token_longest_s: int = env(
        "MCP_GATEWAY_TOKEN_LONGEST_S", 86400, "The longest lifetime of a token, in seconds.",
        ge=60, le=31_536_000,
    )  # fmt: skip
    issuers_file: Path | None = env(
        "MCP_GATEWAY_ISSUERS_FILE", None,
        "TOML file of the issuers whose tokens are believed; unset: JWT_SECRET's alone.",
    )  # fmt: skip
    clients_file: Path | None = env(
        "MCP_GATEWAY_CLIENTS_FILE", None,
        "TOML file of the clients that POST /auth/token serves; unset: it is off.",
    )  # fmt: skip
    token: SecretStr | None = env(
        "MCP_GATEWAY_TOKEN", None, "The token of the stdio server's caller and of `call`."
    )
    subject: str | None = env(
        "MCP_GATEWAY_SUBJECT", None, "Names the local caller of stdio, and whose HMAC_SECRET is."
    )
    scopes: Words = env(
        "MCP_GATEWAY_SCOPES", DEFAULT_LOCAL_SCOPES, "What the local caller of stdio may do."
    )
    signature_window_s: int = env(
        "MCP_GATEWAY_SIGNATURE_WINDOW_S", 30, "How far a signature's time may be off, in seconds.",
        ge=1, le=300,
    )  # fmt: skip
    keys_file_given: Path | None = env(
        "MCP_GATEWAY_KEYS_FILE", None,
        "The file of `mcp-gateway keys`; unset: keys.json in the data folder.",
    )  # fmt: skip
    trusted_proxies: Words = env(
        "MCP_GATEWAY_TRUSTED_PROXIES", (),
        "Addresses or networks of proxies whose Forwarded or X-Forwarded-* count, by comma.",
    )  # fmt: skip
    legacy_signature: bool = env(
        "MCP_GATEWAY_LEGACY_SIGNATURE", False,
        "Accept X-Signature over the body on REST; it can be replayed.",
    )  # fmt: skip
    single_process: bool = env(
        "MCP_GATEWAY_SINGLE_PROCESS", False,
        "Serve on PostgreSQL without Redis: no other gateway ever runs beside this one.",
    )  # fmt: skip
    rate_limit_per_minute: int = env(
        "RATE_LIMIT_PER_MINUTE", 60, "Calls a minute for each caller and operation.",
        ge=1, le=1_000_000,
    )  # fmt: skip
    caller_rate_limit_per_minute: int | None = env(
        "MCP_GATEWAY_CALLER_RATE_LIMIT_PER_MINUTE", None,
        "Calls a minute for each caller in all; unset: five times RATE_LIMIT_PER_MINUTE.",
        ge=1, le=10_000_000,
    )  # fmt: skip
    server_rate_limit_per_minute: int = env(
        "MCP_GATEWAY_SERVER_RATE_LIMIT_PER_MINUTE", 6000,
        "Calls a minute for all callers together.", ge=1, le=10_000_000,
    )  # fmt: skip
    door_rate_limit_per_minute: int = env(
        "MCP_GATEWAY_DOOR_RATE_LIMIT_PER_MINUTE", 600,
        "Requests a minute of one address or caller that never become a call.",
        ge=1, le=10_000_000,
    )  # fmt: skip

    @field_validator("scopes", "trusted_proxies", mode="before")
    @classmethod
    def _split_scopes(cls, value: Any) -> Any:
        return words(value)

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for word in value:
            try:
                ip_network(word)
            except ValueError:
                raise ValueError(f"{word} is no address and no network (10.0.0.0/8)") from None
        return value

    @field_validator("scopes")
    @classmethod
    def _known_scopes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := [scope for scope in value if scope not in SCOPES]:
            raise ValueError(f"unknown scope {' '.join(unknown)}; known: {' '.join(SCOPES)}")
        return value

    @property
    def calls_per_minute_in_all(self) -> int:
        """Calls a minute that one caller has for everything together."""
        return self.caller_rate_limit_per_minute or 5 * self.rate_limit_per_minute
