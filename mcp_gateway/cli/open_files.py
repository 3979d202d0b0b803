"""Files with secrets in them that others can read."""

import stat
from pathlib import Path

from mcp_gateway.settings.names import ENV_FILE


def open_env_file() -> str | None:
    """Return what there is to be told of a ``.env`` that others can read; None: nothing."""
    try:
        mode = Path(ENV_FILE).stat().st_mode
    except OSError:
        return None  # none is read, then
    if not mode & (stat.S_IRWXG | stat.S_IRWXO):
        return None
    return f"others can read {Path(ENV_FILE).absolute()}, where secrets stand"
