"""The gateway's own commands as processes: started, listened to, ended, and counted."""

import json
import os
import queue
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mcp_gateway.access.tokens.issuing import TokenIssuer
from mcp_gateway.clock import Clock
from mcp_gateway.sandbox.bot import Sandbox
from mcp_gateway.settings import Settings, child_environment
from tests.support.gateway import HMAC_SECRET, JWT_SECRET, TRADER, TRADER_SCOPES, settings_for
from tests.support.policy import POLICY_FILE

START_S = 60.0
END_S = 30.0


def environment(folder: Path, **settings: str) -> dict[str, str]:
    """Return what a gateway process is given: a trader's secrets, and a data folder of its own."""
    told = {
        "JWT_SECRET": JWT_SECRET,
        "HMAC_SECRET": HMAC_SECRET,
        "MCP_GATEWAY_SUBJECT": TRADER,
        "MCP_GATEWAY_DATA_DIR": str(folder / "data"),
        "MCP_GATEWAY_POLICY": str(POLICY_FILE),
        "RATE_LIMIT_PER_MINUTE": "1000",
        "FREQTRADE_URL": "http://127.0.0.1:9",  # nobody: a test names the bot it means
        "MCP_GATEWAY_SINGLE_PROCESS": "true",  # PostgreSQL alone will do: no nonce is sent twice
    }
    return child_environment() | told | settings


def settings_before(bot: Sandbox, folder: Path) -> Settings:
    """Return settings of a one-box server in ``folder`` before a real bot, with its policy."""
    return settings_for(
        folder, freqtrade_url=bot.freqtrade_url, freqtrade_username=bot.freqtrade_username,
        freqtrade_password=bot.freqtrade_password, policy=bot.policy,
    )  # fmt: skip


def before(bot: Sandbox) -> dict[str, str]:
    """Return the settings of a gateway before the real bot."""
    return {
        "FREQTRADE_URL": bot.freqtrade_url,
        "FREQTRADE_USERNAME": bot.freqtrade_username,
        "FREQTRADE_PASSWORD": bot.freqtrade_password,
        "FREQTRADE_WS_TOKEN": bot.ws_token,
        "MCP_GATEWAY_POLICY": str(bot.policy),
    }


def token(
    *scopes: str, subject: str = TRADER, ttl_s: int = 3600, act_for: Collection[str] = ()
) -> str:
    """Return a token of these processes; all of a trader's scopes where none is named."""
    issuing = TokenIssuer(JWT_SECRET.encode(), "mcp-gateway", "mcp-gateway", 86_400, Clock())
    return issuing.issue(subject, scopes or TRADER_SCOPES, ttl_s, act_for)


class Running:
    """A command whose stderr is read as it comes; its stdout is kept or thrown away.

    Args:
        command: the words after ``mcp-gateway``.
    """

    program = "mcp_gateway"  # a proof runs it behind a module of its own

    def __init__(self, *command: str, folder: Path, env: Mapping[str, str]) -> None:
        self.log: list[str] = []
        self.signalled: signal.Signals | None = None
        self._lines: queue.Queue[str | None] = queue.Queue()
        self.process = subprocess.Popen(
            [sys.executable, "-m", self.program, *command],
            cwd=folder, env=dict(env), text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log.append(line.rstrip("\n"))
            self._lines.put(line)
        self._lines.put(None)

    def said(self) -> Iterator[str]:
        """Yield what it says on stderr from now on, until it ends."""
        while (line := self._lines.get(timeout=START_S)) is not None:
            yield line

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.signalled = number
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end and return the exit code."""
        code = self.process.wait(END_S)
        self._reader.join(END_S)
        return code

    def close(self) -> None:
        """End it by force where it has not ended."""
        self.process.kill()
        self.wait()
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()


@contextmanager
def running(*command: str, folder: Path, env: Mapping[str, str]) -> Iterator[Running]:
    """Run a command of ``mcp-gateway`` for as long as the block lasts."""
    started = Running(*command, folder=folder, env=env)
    try:
        yield started
    finally:
        started.close()


class Serving(Running):
    """``mcp-gateway serve`` on a free port, or on the one it had; there once it listens."""

    def __init__(self, folder: Path, env: Mapping[str, str], port: int = 0) -> None:
        super().__init__("serve", "--port", str(port), folder=folder, env=env)
        self.data_dir = Path(env["MCP_GATEWAY_DATA_DIR"])
        self.url = self._listening()
        self.mcp_url = f"{self.url}/mcp"
        self.rest_url = f"{self.url}/api/v1"

    def _listening(self) -> str:
        for line in self.said():
            if '"Listening"' in line:
                return str(json.loads(line)["url"])
        raise AssertionError("serve ended before it listened:\n" + "\n".join(self.log))


@contextmanager
def serving(folder: Path, port: int = 0, /, **settings: str) -> Iterator[Serving]:
    """Serve HTTP with these settings, and end in order what the block has not ended itself."""
    served = Serving(folder, environment(folder, **settings), port)
    try:
        yield served
        if served.signalled is None:
            served.signal(signal.SIGTERM)
            assert served.wait() == 0, served.log
    finally:
        served.close()


def run(*command: str, folder: Path, env: Mapping[str, str], text: str = "") -> Any:
    """Run a command to its end and return it with what it said."""
    return subprocess.run(
        [sys.executable, "-m", "mcp_gateway", *command],
        cwd=folder, env=dict(env), input=text, text=True, capture_output=True,
        timeout=START_S, check=False,
    )  # fmt: skip


def descendants(pid: int) -> list[int]:
    """Return every process that descends from one, by /proc."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                stat = (entry / "stat").read_text()
            except OSError:  # it ended while we looked
                continue
            parents.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(entry.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        children = parents.get(waiting.pop(), [])
        found += children
        waiting += children
    return found


class Ends:
    """The ends of processes, seen through descriptors: no other process can take their place."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._waiting = [os.pidfd_open(pid) for pid in pids]

    def __len__(self) -> int:
        return len(self._waiting)

    def wait(self, patience_s: float = 20.0) -> int:
        """Wait until all have ended; return how many have not."""
        while self._waiting:
            ended, _, _ = select.select(self._waiting, [], [], patience_s)
            if not ended:
                break
            for descriptor in ended:
                self._waiting.remove(descriptor)
                os.close(descriptor)
        return len(self._waiting)

    def close(self) -> None:
        """Forget those that are still waited for."""
        while self._waiting:
            os.close(self._waiting.pop())
