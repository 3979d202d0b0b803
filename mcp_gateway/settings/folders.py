"""Where things lie unless told otherwise, and what a child process inherits."""

import os
from pathlib import Path

INHERITED = ("HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "PATH", "PYTHONPATH", "TMPDIR")


def default_data_dir() -> Path:
    """Return where the embedded store lies unless told otherwise (XDG base directories)."""
    home = os.environ.get("XDG_DATA_HOME")
    return (Path(home) if home else Path.home() / ".local" / "share") / "mcp-gateway"


def default_cache_dir() -> Path:
    """Return where what can be made anew lies (XDG base directories)."""
    home = os.environ.get("XDG_CACHE_HOME")
    return (Path(home) if home else Path.home() / ".cache") / "mcp-gateway"


def child_environment() -> dict[str, str]:
    """Return what a foreign program inherits: enough to run, no secret and no setting."""
    return {name: os.environ[name] for name in INHERITED if name in os.environ}


def sandbox_file() -> Path:
    """Return where a running sandbox tells the command line its address and keys."""
    return default_data_dir() / "sandbox.json"
