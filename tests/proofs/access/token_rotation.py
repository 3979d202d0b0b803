"""Proof: while an issuer exchanges its keys again and again, no call of its agents fails.

    python -m tests.proofs.access.token_rotation --size 100000

Two real gateway processes know an issuer by its JWKS URL. Agents call them without a pause,
over REST and MCP, with tokens of the key that is the issuer's just then. Every few seconds it
publishes the next key, signs with it soon after, and withdraws the one before the last. A call
that is not answered with 200 is printed and makes the exit code 1, as does a withdrawn key that
is believed in the end; a proof that broke down ends with 3.
"""

import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final, Literal
from urllib.parse import urlsplit

import anyio
import orjson
from anyio.streams.buffered import BufferedByteStream

from mcp_gateway.access.tokens.jwks import COOLDOWN_S
from mcp_gateway.transports.routes import MCP
from tests.proofs.access.concluding import conclude
from tests.proofs.access.stage import PROCESSES, gateways
from tests.proofs.access.wire import request
from tests.support.gateway import TRADER
from tests.support.issuers import DESK, Publisher, Signing, ed25519, issuers_file, published
from tests.support.standin import stand_in

CONNECTIONS: Final = 4  # to each process
EVERY_S: Final = COOLDOWN_S + 1.0  # sooner, a new key would meet the cooldown of the last
AHEAD_S: Final = 0.1  # a key is published before it signs
LIFE_S: Final = 600
LONGEST_HEAD: Final = 65536
LEAST_ROTATIONS: Final = 2  # until then no key is withdrawn
MOST_TOLD: Final = 10
CALL: Final = orjson.dumps(
    {
        "jsonrpc": "2.0", "id": 1, "method": "tools/call",
        "params": {"name": "get_candles", "arguments": {"pair": "BTC/USDT", "timeframe": "1d"}},
    }
)  # fmt: skip
Face = Literal["rest", "mcp"]
CANDLES: Final = "/api/v1/candles?pair=BTC/USDT&timeframe=1d&limit=1"


@dataclass
class Rotating:
    """An issuer that exchanges its keys; ``careless`` signs with keys it has not published."""

    publisher: Publisher
    careless: bool = False
    rotations: int = 0
    withdrawn: list[Signing] = field(default_factory=list)
    _keys: list[Signing] = field(default_factory=lambda: [ed25519("key-0", "key-0")])
    _token: tuple[Signing, float, str] | None = None

    def __post_init__(self) -> None:
        self._publish()

    def token(self) -> str:
        """Return a token of the key that signs just now, at most a minute old."""
        key = self._keys[-1]
        if self._token is None or self._token[0] is not key or time.time() > self._token[1] + 60:
            self._token = (key, time.time(), token_of(key))
        return self._token[2]

    async def rotate(self) -> None:
        """Publish the next key, sign with it, and withdraw the one before the last."""
        name = f"key-{self.rotations + 1}"
        key, kept = ed25519(name, name), self._keys[-1]
        self.withdrawn += self._keys[:-1]
        self._keys = [kept]
        if not self.careless:
            self._publish(key)
            await anyio.sleep(AHEAD_S)
        self._keys.append(key)
        self.rotations += 1

    def _publish(self, *more: Signing) -> None:
        self.publisher.keys = (*self._keys, *more)


def token_of(key: Signing) -> str:
    """Return a token by one key, good from now on."""
    now = int(time.time())
    return key.token(iss=DESK, sub=TRADER, scope="market:read", iat=now, exp=now + LIFE_S)


async def rotate_tokens(issuer: Rotating, every_s: float = EVERY_S) -> None:
    """Let an issuer exchange its keys for ever; cancel it when the calls are made."""
    while True:
        await anyio.sleep(every_s)
        await issuer.rotate()


@dataclass
class Found:
    """What the calls came to; ``believed`` counts withdrawn keys that still open a door."""

    words: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    seconds: float = 0.0
    rotations: int = 0
    fetches: int = 0
    withdrawn: int = 0
    believed: int = 0

    @property
    def calls(self) -> int:
        """How many there were."""
        return self.words.total()

    def note(self, word: str, face: Face, issuer: Rotating) -> None:
        """Count one call; whatever is not ``200`` is a failure."""
        self.words[word] += 1
        if word != "200":
            self.failures.append(f"{face}: {word} after {issuer.rotations} rotations")


def settings_for(folder: Path, issuer: Publisher, bot_url: str) -> dict[str, str]:
    """Return what the processes are told: nobody gives tokens but this issuer."""
    path = issuers_file(folder, desk={"issuer": DESK, "algorithm": "EdDSA", "jwks_url": issuer.url})
    return {
        "JWT_SECRET": "", "MCP_GATEWAY_ISSUERS_FILE": str(path), "FREQTRADE_URL": bot_url
    }  # fmt: skip


async def call(stream: BufferedByteStream, host: str, face: Face, token: str) -> str:
    """Make one call on a connection; return ``200``, or what came instead."""
    method, path, body = ("POST", MCP.path, CALL) if face == "mcp" else ("GET", CANDLES, None)
    await stream.send(request(method, path, host, f"Bearer {token}", body))
    told = (await stream.receive_until(b"\r\n\r\n", LONGEST_HEAD)).lower()
    length = int(told.partition(b"content-length: ")[2].split(b"\r\n", 1)[0])
    answer = await stream.receive_exactly(length)
    status = told.split(b" ", 2)[1].decode()
    if status != "200":
        return f"{status} {orjson.loads(answer).get('code', answer[:200])}"
    is_error = face == "mcp" and orjson.loads(answer)["result"].get("isError", False)
    return "an error in 200" if is_error else status


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[tuple[BufferedByteStream, str]]:
    """Open one connection; return it with the host to name on it."""
    where = urlsplit(url)
    async with await anyio.connect_tcp(str(where.hostname), where.port or 80) as stream:
        yield BufferedByteStream(stream), where.netloc


async def agent(url: str, issuer: Rotating, many: int, least: int, found: Found) -> None:
    """Call so often and through so many rotations, with the token that is given just then."""
    async with connected(url) as (stream, host):
        for number in count():
            if number >= many and issuer.rotations >= least:
                return
            face: Face = "mcp" if number % 2 else "rest"
            found.note(await call(stream, host, face, issuer.token()), face, issuer)


async def withdrawn_keys(urls: list[str], issuer: Rotating, found: Found) -> None:
    """Show a token of every key that was withdrawn; none may be believed any more."""
    for url in urls:
        async with connected(url) as (stream, host):
            # The newest key may be news to this process, and tell it what is withdrawn.
            found.note(await call(stream, host, "rest", issuer.token()), "rest", issuer)
            for key in issuer.withdrawn:
                word = await call(stream, host, "rest", token_of(key))
                found.withdrawn += 1
                found.believed += word == "200"


async def prove(
    folder: Path, size: int, *, rotations: int = LEAST_ROTATIONS, every_s: float = EVERY_S,
    careless: bool = False,
) -> Found:  # fmt: skip
    """Run the whole proof; ``careless`` plants the mistake that it must find."""
    found = Found()
    async with published() as publisher, stand_in() as bot:
        issuer = Rotating(publisher, careless)
        async with gateways(folder, settings_for(folder, publisher, bot.url)) as urls:
            started = time.monotonic()
            async with anyio.create_task_group() as rotation:
                rotation.start_soon(rotate_tokens, issuer, every_s)
                async with anyio.create_task_group() as agents:
                    for url in urls * CONNECTIONS:
                        many = size // (PROCESSES * CONNECTIONS)
                        agents.start_soon(agent, url, issuer, many, rotations, found)
                rotation.cancel_scope.cancel()
            found.seconds = time.monotonic() - started
            found.rotations, found.fetches = issuer.rotations, publisher.fetches
            await withdrawn_keys(urls, issuer, found)
    return found


def report(found: Found) -> int:
    """Print what was found; return the exit code."""
    for failure in found.failures[:MOST_TOLD]:
        print(f"FAILED    {failure}")
    if found.believed:
        print(f"BELIEVED  {found.believed} tokens of withdrawn keys")
    print(
        f"token rotation: {found.calls:,} calls in {found.seconds:.0f} s over {PROCESSES} processes,"
        f" {found.rotations} rotations, {found.fetches} fetches; failed {len(found.failures)};"
        f" of {found.withdrawn} tokens by withdrawn keys {found.believed} believed"
    )
    if found.failures or found.believed:
        return 1
    if not found.withdrawn:
        print("broke down: too short for a key to be withdrawn")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(conclude(__doc__, prove, report, size=100_000, counts="calls to make"))
