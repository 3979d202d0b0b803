"""Write the hash-pinned requirements anew; they name no host, so any mirror serves them."""

import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
COMMON = ("--universal", "--python-version", "3.11", "--generate-hashes", "--quiet",
          "--no-emit-index-url", "--no-header", "--no-annotate")  # fmt: skip
LOCKS = {
    HERE / "runtime.txt": ("--all-extras", "pyproject.toml"),
    HERE / "dev.txt": ("--all-extras", "--group", "dev", "pyproject.toml"),
    HERE / "bootstrap.txt": (HERE / "bootstrap.in",),
    PROJECT / "mcp_gateway/sandbox/freqtrade.lock": (HERE / "freqtrade.in",),
}


def main() -> int:
    """Resolve every lock file with uv."""
    uv = shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv"
    for target, sources in LOCKS.items():
        command = [uv, "pip", "compile", *COMMON, *map(str, sources), "-o", str(target)]
        subprocess.run(command, check=True, cwd=PROJECT)
        print(target.relative_to(PROJECT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
