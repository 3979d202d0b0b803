"""The settings of the bridge: what a desktop app shows to a gateway elsewhere."""

from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import BaseSettings

from mcp_gateway.settings.people import env


class ForBridge(BaseSettings):
    """Where the bridge has its token and its key from; a part of the settings."""

    token_file: Path | None = env(
        "MCP_GATEWAY_TOKEN_FILE", None,
        "File (0600) with the bridge's token, read anew when it changes.",
    )  # fmt: skip
    client_id: str | None = env(
        "MCP_GATEWAY_CLIENT_ID", None, "Name of the client for which the bridge fetches tokens."
    )
    client_secret: SecretStr | None = env(
        "MCP_GATEWAY_CLIENT_SECRET", None, "That client's password or secret."
    )
    client_secret_file: Path | None = env(
        "MCP_GATEWAY_CLIENT_SECRET_FILE", None, "File (0600) with it, in place of the variable."
    )
    token_url: str | None = env(
        "MCP_GATEWAY_TOKEN_URL", None,
        "Where the bridge fetches tokens; unset: /auth/token of the gateway.",
    )  # fmt: skip
    key_id: str | None = env(
        "MCP_GATEWAY_KEY_ID", None, "Id of the bridge's signing key; unset: MCP_GATEWAY_SUBJECT."
    )
    signing_key_file: Path | None = env(
        "MCP_GATEWAY_SIGNING_KEY_FILE", None,
        "File (0600) with the bridge's key, HMAC text or Ed25519 PEM; unset: HMAC_SECRET.",
    )  # fmt: skip
