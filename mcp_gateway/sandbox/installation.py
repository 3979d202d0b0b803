"""The real bot's own virtual environment: made on first use, pinned by hash, never imported.

It is Freqtrade with what it needs (GPLv3, other versions than ours), so it lives beside the
gateway and is spoken to over HTTP.
"""

import hashlib
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from mcp_gateway.clock import Clock
from mcp_gateway.sandbox.children import start_child
from mcp_gateway.sandbox.failures import SandboxFailed, last_lines
from mcp_gateway.sandbox.locks import held
from mcp_gateway.settings import default_cache_dir

FREQTRADE_VERSION = "2026.9"
SIZE = "about 600 MB"
BUILT_HERE = "sdnotify"  # the one package without a wheel
BUILD_TOOL = "setuptools"
LOOK_S = 0.5
WIDEST = 100  # pip names all packages in one line
SAFELY = (
    "--require-hashes", "--no-build-isolation", "--only-binary", ":all:", "--no-binary", BUILT_HERE,
)  # fmt: skip

Progress = Callable[[str], None]


def silent(_: str) -> None:
    """Tell nobody of any progress."""


def lock_text() -> str:
    """Return the pinned requirements of the bot, hashes and all."""
    return (resources.files("mcp_gateway.sandbox") / "freqtrade.lock").read_text()


def default_folder() -> Path:
    """Return where the environment for these very pins lies, made or not."""
    digest = hashlib.sha256(lock_text().encode()).hexdigest()[:12]
    return default_cache_dir() / f"freqtrade-{FREQTRADE_VERSION}-{digest}"


def find_uv() -> Path | None:
    """Return uv from beside this interpreter or from PATH, None where there is none."""
    beside = shutil.which("uv", path=str(Path(sys.executable).parent))
    found = beside or shutil.which("uv")
    return Path(found) if found else None


@dataclass(frozen=True)
class Installation:
    """The environment in one folder.

    Args:
        uv: makes it in seconds; None: ``venv`` and pip, in a minute or two.
        environment: what the installer is given (mirrors, proxies); None: all that we have.
    """

    folder: Path = field(default_factory=default_folder)
    uv: Path | None = field(default_factory=find_uv)
    environment: Mapping[str, str] | None = field(default=None, repr=False)

    @property
    def python(self) -> Path:
        """The interpreter that runs Freqtrade."""
        return self.folder / "bin" / "python"

    def installed(self) -> bool:
        """Tell whether it is complete and its interpreter still there."""
        return self._marker.is_file() and self.python.exists()

    async def install(self, progress: Progress, clock: Clock) -> None:
        """Make it unless it is there; a second process waits for the first.

        Raises:
            SandboxFailed: install_failed; what was begun is made anew next time.
        """
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            while not await self._made(progress):
                progress("Another process is installing Freqtrade; waiting for it …")
                progress = silent  # once is enough
                await clock.sleep(LOOK_S)
        except OSError as error:
            raise _failed(last_lines([str(error)])) from error

    async def _made(self, progress: Progress) -> bool:
        """Make it unless it is there, and return True; False where another process makes it."""
        if self.installed():
            return True
        with held(self._beside(".lock")) as ours:
            if ours and not self.installed():
                await self._make(progress)
        return ours

    @property
    def _marker(self) -> Path:
        return self.folder / ".complete"

    def _beside(self, ending: str) -> Path:
        return self.folder.with_name(self.folder.name + ending)

    async def _make(self, progress: Progress) -> None:
        way = "uv" if self.uv else "pip, which takes longer than uv"
        progress(f"Installing Freqtrade {FREQTRADE_VERSION} (once, {SIZE}) by {way} …")
        if self.folder.exists():  # begun and never ended
            shutil.rmtree(self.folder)
        await self._run(progress, *self._create())
        pins, first = self.folder / "freqtrade.lock", self.folder / "build.lock"
        pins.write_text(lock_text())
        first.write_text(stanza(lock_text(), BUILD_TOOL))
        # The one source archive is built by the pinned tool: nothing unpinned is fetched.
        await self._run(progress, *self._add(first))
        await self._run(progress, *self._add(pins))
        self._marker.touch()
        progress(f"Freqtrade {FREQTRADE_VERSION} is installed in {self.folder}.")

    def _create(self) -> list[str | Path]:
        if self.uv:
            return [self.uv, "venv", "--quiet", "--python", sys.executable, self.folder]
        return [sys.executable, "-m", "venv", self.folder]

    def _add(self, pins: Path) -> list[str | Path]:
        # Not compiled here: Freqtrade's first start compiles the tenth that it uses.
        tool: list[str | Path]
        if self.uv:
            tool = [self.uv, "pip", "install", "--python", self.python]
        else:
            tool = [self.python, "-m", "pip", "install", "--no-compile"]
        return [*tool, *SAFELY, "-r", pins]

    async def _run(self, progress: Progress, *command: str | Path) -> None:
        """Run one step of the installer; what it says, less the details, is progress."""
        child = await start_child(
            command, folder=self.folder.parent, environment=self.environment, talks=True
        )
        said: list[str] = []
        try:
            while (line := await child.line()) is not None:
                said.append(line)
                if line[:1].isalpha():
                    progress(line.rstrip()[:WIDEST])
            exit_code = await child.wait()
        finally:
            await child.stop()
        if exit_code != 0:
            raise _failed(last_lines(said))


def _failed(log_tail: list[str]) -> SandboxFailed:
    return SandboxFailed(
        "Freqtrade could not be installed for the sandbox.",
        code="install_failed",
        hint="Check the network and the disk, or name a package mirror (UV_DEFAULT_INDEX for uv, "
        "PIP_INDEX_URL for pip), then start again.",
        detail={"log_tail": log_tail},
    )


def stanza(lock: str, name: str) -> str:
    """Return the lines of one package, its hashes included, out of pinned requirements."""
    lines = lock.splitlines()
    start = next(place for place, line in enumerate(lines) if line.startswith(f"{name}=="))
    rest = lines[start + 1 :]
    count = next((n for n, line in enumerate(rest) if not line.startswith(" ")), len(rest))
    return "\n".join(lines[start : start + 1 + count]) + "\n"
