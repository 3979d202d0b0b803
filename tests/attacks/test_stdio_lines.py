"""Hostile lines on the pipe of a real ``mcp-gateway stdio``: answered, bounded, and no end of it."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from tests.support.pipe import Pipe, piped
from tests.support.processes import environment

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

LONG = 10 * 1024 * 1024
CALL = b'{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"get_account"%s}}'
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
LINES: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"hello", "body_malformed"),
    "a batch": (b"[" + CALL % b"" + b"]", "body_not_an_object"),
    "a key twice": (CALL % b',"name":"create_order"', "body_duplicate_key"),
    "a key twice, deep": (CALL % b',"arguments":{"a":{"b":1,"b":2}}', "body_duplicate_key"),
    "NaN": (CALL % b',"arguments":{"limit":NaN}', "body_malformed"),
    "too deep": (CALL % (b',"arguments":' + b"[" * 9000 + b"]" * 9000), "body_too_deep"),
    "a byte order mark": (b"\xef\xbb\xbf" + CALL % b"", "body_malformed"),
    "no UTF-8": (CALL % b',"x":"\xff"', "body_malformed"),
    "UTF-16": ((CALL % b"").decode().encode("utf-16-le"), "body_malformed"),
    "half a pair": (CALL % b',"arguments":{"a":"\\ud800"}', "body_malformed"),
    "two messages": (CALL % b"" + CALL % b"", "body_malformed"),
    "no id": ((CALL % b"").replace(b'"id":"x",', b""), "id_missing"),
    "id null": ((CALL % b"").replace(b'"x"', b"null", 1), "id_malformed"),
    "id with a fraction": ((CALL % b"").replace(b'"x"', b"1.5", 1), "id_malformed"),
    "a member more": (CALL % b',"arguments":{}},"extra":{"a":1', "message_malformed"),
    "arguments misspelt": (CALL % b',"argument":{}', "request_invalid"),
    "arguments as text": (CALL % b',"arguments":"{}"', "request_invalid"),
    "just too long": (CALL % (b',"arguments":{"a":"' + b"a" * 65_536 + b'"}'), "request_too_large"),
}  # fmt: skip


@dataclass
class Era:
    """A pipe whose client speaks one era, and what each of its calls carries."""

    pipe: Pipe
    params: dict[str, Any]

    async def answered(self, line: bytes) -> Any:
        """Send a line as it is, then one that is good, and return the answer to the first."""
        seen = len(self.pipe.lines)
        await self.pipe.write(line)
        assert "tools" in await self.pipe.ask("tools/list", self.params)
        [told, _] = [orjson.loads(one) for one in self.pipe.lines[seen:]]
        return told

    @property
    def resident(self) -> int:
        """The bytes that the server's process holds in memory."""
        status = Path(f"/proc/{self.pipe.process.pid}/status").read_text()
        [line] = [line for line in status.splitlines() if line.startswith("VmRSS:")]
        return int(line.split()[1]) * 1024


@pytest.fixture(scope="module", params=["handshake", "modern"])
async def era(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Era]:
    """A running server, whose client speaks one era of the protocol."""
    folder = tmp_path_factory.mktemp("pipe")
    async with piped("stdio", folder=folder, env=environment(folder)) as pipe:
        if request.param == "handshake":
            await pipe.shake_hands()
        yield Era(pipe, {} if request.param == "handshake" else {"_meta": META})


@pytest.mark.parametrize("what", LINES)
async def test_a_bad_line_is_answered_and_the_next_is_served(era: Era, what: str) -> None:
    """The SDK alone would be silent, or do what it understood of it."""
    line, code = LINES[what]
    told = await era.answered(line)
    assert told["error"]["data"]["code"] == code
    assert told["error"]["data"].keys() >= {"message", "retryable", "hint"}
    assert told["id"] in {None, "x"}
    assert b"Traceback" not in era.pipe.stderr.encode()


async def test_lines_without_end_fill_no_memory(era: Era) -> None:
    """Ten megabytes five times over: one refusal each, and the process is as large as before."""
    await era.answered(b'{"x":"' + b"a" * LONG + b'"}')
    before = era.resident
    for _ in range(4):
        told = await era.answered(b'{"x":"' + b"a" * LONG + b'"}')
        assert (told["error"]["data"]["code"], told["id"]) == ("request_too_large", None)
    assert era.resident - before < LONG / 5


async def test_a_method_that_nobody_knows_has_a_code(era: Era) -> None:
    """The SDK's own refusal, with our code and hint laid into it on the way out."""
    line = {"jsonrpc": "2.0", "id": "x", "method": "tools/eat", "params": era.params}
    told = await era.answered(orjson.dumps(line))
    assert (told["id"], told["error"]["code"]) == ("x", -32601)
    assert told["error"]["data"]["code"] == "method_unknown"
