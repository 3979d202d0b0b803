"""The one owner of environment variables."""

from mcp_gateway.settings import names
from mcp_gateway.settings.folders import (
    child_environment,
    default_cache_dir,
    default_data_dir,
    sandbox_file,
)
from mcp_gateway.settings.model import Settings
from mcp_gateway.settings.safety import SHORTEST_SECRET_BYTES, Purpose

__all__ = [
    "SHORTEST_SECRET_BYTES",
    "Purpose",
    "Settings",
    "child_environment",
    "default_cache_dir",
    "default_data_dir",
    "environment_name",
    "known_names",
    "sandbox_file",
]


def environment_name(field: str) -> str:
    """Return the environment variable that fills a field of Settings."""
    return names.environment_name(Settings, field)


def known_names() -> dict[str, str]:
    """Return every environment variable with the field of Settings that it fills."""
    return names.known_names(Settings)
