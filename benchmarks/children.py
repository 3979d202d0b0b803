"""The processes under measurement: how they are started, asked and weighed.

They run as from an installed package: their compiled modules are kept in a folder of this
run, whatever the shell says, and nothing of the developer's settings reaches them.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mcp_gateway.settings import child_environment

ROOT = Path(__file__).resolve().parents[1]
PATIENCE_S = 15.0
TICKS = os.sysconf("SC_CLK_TCK")
INITIALIZE = {
    "jsonrpc": "2.0", "id": 1, "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25", "capabilities": {},
        "clientInfo": {"name": "benchmark", "version": "1"},
    },
}  # fmt: skip
INITIALIZED = {"jsonrpc": "2.0", "method": "notifications/initialized"}
LIST_TOOLS = {"jsonrpc": "2.0", "id": 2, "method": "tools/list", "params": {}}


@dataclass(frozen=True)
class Bench:
    """One run's folder and the environment of its children."""

    folder: Path

    def environment(self, settings: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return what a child sees."""
        compiled = {"PYTHONPYCACHEPREFIX": str(self.folder / "compiled")}
        return child_environment() | compiled | dict(settings or {})

    @property
    def log(self) -> Path:
        """Where the children write their errors."""
        return self.folder / "log"

    @contextmanager
    def started(
        self, *command: str, settings: Mapping[str, str] | None = None
    ) -> Iterator[subprocess.Popen[bytes]]:
        """Run ``python COMMAND`` and end it with the block; its errors go to the log."""
        with self.log.open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, *command], cwd=ROOT, env=self.environment(settings),
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log,
            )  # fmt: skip
        try:
            yield child
        finally:
            if child.stdin is not None:
                child.stdin.close()
            child.terminate()
            try:
                child.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            if child.stdout is not None:
                child.stdout.close()

    @contextmanager
    def server(self, *command: str) -> Iterator[tuple[int, str]]:
        """Run one of our own servers and yield its process id and URL."""
        with self.started("-m", *command) as child:
            yield child.pid, line_of(child).decode().strip()

    @contextmanager
    def gateway(self, settings: Mapping[str, str]) -> Iterator[tuple[int, str]]:
        """Run ``mcp-gateway serve`` and yield its process id and URL when it listens."""
        self.log.write_bytes(b"")
        with self.started("-m", "mcp_gateway", "serve", settings=settings) as child:
            give_up_at = time.monotonic() + PATIENCE_S
            while (url := self._listening()) is None:
                if child.poll() is not None or time.monotonic() > give_up_at:
                    raise RuntimeError(f"the gateway does not start: {self.log.read_text()}")
                time.sleep(0.05)
            yield child.pid, url

    def _listening(self) -> str | None:
        for line in self.log.read_text(encoding="utf-8").splitlines():
            if '"Listening"' in line:
                return str(json.loads(line)["url"])
        return None


def line_of(child: subprocess.Popen[bytes]) -> bytes:
    """Return the next line that a child writes.

    Raises:
        RuntimeError: it ended first.
    """
    assert child.stdout is not None
    if line := child.stdout.readline():
        return line
    raise RuntimeError(f"{child.args!r} ended with {child.wait()}; see its log")


def say(child: subprocess.Popen[bytes], message: Mapping[str, Any]) -> None:
    """Write one JSON-RPC message to a stdio server."""
    assert child.stdin is not None
    child.stdin.write(json.dumps(message).encode() + b"\n")
    child.stdin.flush()


def listed_tools(child: subprocess.Popen[bytes]) -> list[dict[str, Any]]:
    """Shake hands with a stdio server and return its tool list."""
    say(child, INITIALIZE)
    line_of(child)
    say(child, INITIALIZED)
    say(child, LIST_TOOLS)
    answer = json.loads(line_of(child))
    tools: list[dict[str, Any]] = answer["result"]["tools"]
    return tools


def resident_mb(pid: int) -> float:
    """Return the memory of a process that lies in RAM, in MB of 10^6 bytes (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    raise RuntimeError(f"process {pid} is gone")


def cpu_s(pid: int) -> float:
    """Return the processor seconds that a process has used (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS
