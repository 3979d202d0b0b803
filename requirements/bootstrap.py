"""Build the virtual environment from the hash-pinned requirements; needs Python alone.

usage: python requirements/bootstrap.py VENV_FOLDER
"""

import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
OLDEST = (3, 11)


def main() -> int:
    """Create the environment, bring uv by pip, let uv install everything else."""
    if sys.version_info < OLDEST:
        found = ".".join(map(str, sys.version_info[:3]))
        print(
            f"Python 3.11 or newer is needed, this is {found} ({sys.executable}).\n"
            "Name another one: make PYTHON=python3.12 …",
            file=sys.stderr,
        )
        return 2
    folder = Path(sys.argv[1])
    python = folder / "bin" / "python"
    try:
        if not python.exists():
            print(f"Creating {folder} …", flush=True)
            venv.create(folder, with_pip=True)
        if not has_pip(python):  # an environment that uv or Debian made may come without
            run(python, "-m", "ensurepip")
        print("Installing the pinned requirements …", flush=True)
        run(python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check",
            "--require-hashes", "-r", HERE / "bootstrap.txt")  # fmt: skip
        uv = folder / "bin" / "uv"
        run(uv, "pip", "install", "--quiet", "--python", python, "--require-hashes",
            "-r", HERE / "dev.txt")  # fmt: skip
        run(uv, "pip", "install", "--quiet", "--python", python, "--no-deps",
            "--no-build-isolation", "-e", HERE.parent)  # fmt: skip
    except subprocess.CalledProcessError as error:
        print(
            f"\nThe set-up stopped at: {' '.join(map(str, error.cmd))}\n"
            "It needs a Python package index: check the network (or PIP_INDEX_URL and "
            "UV_INDEX_URL), then run the same command again; what is done stays done.",
            file=sys.stderr,
        )
        return 1
    return 0


def has_pip(python: Path) -> bool:
    """Tell whether the environment has pip."""
    found = subprocess.run([python, "-m", "pip", "--version"], capture_output=True, check=False)
    return found.returncode == 0


def run(*command: object) -> None:
    """Run a command, failing loudly."""
    subprocess.run([str(part) for part in command], check=True)


if __name__ == "__main__":
    sys.exit(main())
