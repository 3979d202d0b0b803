"""The same documents as lines of a real ``mcp-gateway stdio``, whose bot does not answer."""

import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

import orjson

from tests.proofs.access.fuzz.bending import bent
from tests.proofs.access.fuzz.calls import HANDSHAKE, META, over_mcp
from tests.proofs.access.fuzz.verdict import SLIPS, message
from tests.support.gateway import TRADER_SCOPES
from tests.support.processes import environment

DEADLINE_S: Final = 30.0
NO_LIMIT: Final = "1000000"
CLOSED: Final = "http://127.0.0.1:9"  # the port that discards; nobody listens


@dataclass
class Pipe:
    """A running server; ``ask`` sends one bent line and tells what was wrong with the answers."""

    process: "subprocess.Popen[bytes]"
    errors: Path
    modern: bool
    sent: int = 0

    def ask(self, rng: Random) -> list[str]:
        """Send one line, then a good one, and judge every answer until that one's."""
        call = over_mcp(rng)
        while (call.language == "modern") is not self.modern:
            call = over_mcp(rng)
        line, must_refuse = bent(call, rng)
        is_one = b"\n" not in line and b"\r" not in line
        told = self._answers(line)
        if told is None:
            return [f"VIOLATION hangs or ends on the line {line[:600]!r}: {self._last_words()}"]
        found = [
            fault for one in told for fault in _faults(one, must_refuse=must_refuse and is_one)
        ]
        if must_refuse and is_one and not told:
            found.append("no word on what it had to refuse")
        return [f"VIOLATION line {one}: {line[:600]!r} -> {told!r:.500}" for one in found]

    def _answers(self, line: bytes) -> list[bytes] | None:
        self.sent += 1
        mark = f"mark-{self.sent}"
        wanted = "tools/list" if self.modern else "ping"
        params: dict[str, Any] = {"_meta": META} if self.modern else {}
        after = {"jsonrpc": "2.0", "id": mark, "method": wanted, "params": params}
        assert self.process.stdin is not None
        try:
            self.process.stdin.write(line + b"\n" + orjson.dumps(after) + b"\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            return None
        told: list[bytes] = []
        while (answer := self._line()) is not None:
            if b'"id":"' + mark.encode() in answer[:100]:
                return told
            told.append(answer)
        return None

    def _line(self) -> bytes | None:
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], DEADLINE_S)[0]:
            return None
        return self.process.stdout.readline() or None

    def _last_words(self) -> str:
        return self.errors.read_text()[-600:]


def _faults(answer: bytes, *, must_refuse: bool) -> list[str]:
    """Return what is wrong with one line of the server's; calls of its own there are none."""
    found = [f"tells {slip[0]!r}"] if (slip := SLIPS.search(answer)) else []
    try:
        return found + message(orjson.loads(answer), must_refuse=must_refuse)
    except (orjson.JSONDecodeError, KeyError, TypeError, AttributeError) as error:
        return [*found, f"is no JSON-RPC ({error!r})"]


@contextmanager
def piped(folder: Path, *, modern: bool) -> Iterator[Pipe]:
    """Run a server in one era for as long as the block lasts."""
    env = environment(
        folder, FREQTRADE_URL=CLOSED, LOG_LEVEL="ERROR", RATE_LIMIT_PER_MINUTE=NO_LIMIT,
        MCP_GATEWAY_CALLER_RATE_LIMIT_PER_MINUTE=NO_LIMIT,
        MCP_GATEWAY_SERVER_RATE_LIMIT_PER_MINUTE=NO_LIMIT,
        MCP_GATEWAY_SCOPES=" ".join(TRADER_SCOPES),
    )  # fmt: skip
    errors = folder / "stderr.log"
    with errors.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "mcp_gateway", "stdio"], cwd=folder, env=env, bufsize=0,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=stderr,
        )  # fmt: skip
    try:
        pipe = Pipe(process, errors, modern)
        if not modern:
            _shake_hands(pipe)
        yield pipe
    finally:
        process.kill()
        process.wait()
        for end in (process.stdin, process.stdout):
            if end is not None:
                end.close()


def _shake_hands(pipe: Pipe) -> None:
    hello = {
        "jsonrpc": "2.0", "id": "hello", "method": "initialize",
        "params": {
            "protocolVersion": HANDSHAKE, "capabilities": {},
            "clientInfo": {"name": "fuzzer", "version": "1"},
        },
    }  # fmt: skip
    assert pipe._answers(orjson.dumps(hello)) is not None
