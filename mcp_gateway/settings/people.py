"""The settings of the people behind the agents: whose word counts, and how long it is awaited."""

from typing import Any

from pydantic import AliasChoices, Field, SecretStr
from pydantic_settings import BaseSettings


def env(name: str, default: Any, about: str, **bounds: Any) -> Any:
    """Return a field that one environment variable fills, with its default and meaning."""
    return Field(default, validation_alias=AliasChoices(name), description=about, **bounds)


class ForPeople(BaseSettings):
    """What a person needs who decides about orders; a part of the settings."""

    operator: str | None = env(
        "MCP_GATEWAY_OPERATOR", None,
        "Names the person who approves over REST, and whose OPERATOR_HMAC_SECRET is.",
    )  # fmt: skip
    operator_hmac_secret: SecretStr | None = env(
        "OPERATOR_HMAC_SECRET", None,
        "Key that signs the calls of MCP_GATEWAY_OPERATOR, at least 32 bytes.",
    )  # fmt: skip
    approval_wait_s: int = env(
        "MCP_GATEWAY_APPROVAL_WAIT_S", 900,
        "How long an order above the policy's line waits for a person, in seconds.",
        ge=10, le=86_400,
    )  # fmt: skip
    unknown_halt_s: int = env(
        "MCP_GATEWAY_UNKNOWN_HALT_S", 900,
        "How long an order may be unknown before all entries are halted, in seconds.",
        ge=60, le=86_400,
    )  # fmt: skip
