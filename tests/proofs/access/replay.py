"""Proof: a recorded order is never taken a second time, by whichever process, whatever happens.

    python -m tests.proofs.access.replay --size 1000000

Two real gateway processes, each with a ledger of its own, share nothing but one Valkey. An agent
makes signed calls over REST and MCP, both eras; each is taken once. Then they are sent again and
again, to both processes: as they were, and altered in every place. In between the store is
stopped (orders are refused, reads are served) and comes back empty, and later it is flushed
under way. A replay that is not refused is printed and makes the exit code 1; a proof that broke
down ends with 3.
"""

import itertools
import random
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread
import redis.asyncio

from mcp_gateway.client import GatewayAuth
from tests.proofs.access.concluding import conclude
from tests.proofs.access.signed_calls import Line, Sent, line_to, signed_call
from tests.proofs.access.stage import PROCESSES, gateways
from tests.support.gateway import HMAC_SECRET, TRADER
from tests.support.processes import token
from tests.support.servers import Valkey, own
from tests.support.standin import stand_in

CONNECTIONS: Final = 4  # to each process
BATCH: Final = 32  # calls recorded at a time
ROUND: Final = 10_000  # replays of a batch, well within the window of its signatures
LONGEST_ROUND_S: Final = 20.0
BETWEEN_ACCIDENTS: Final = 20
OLD: Final = 400  # calls of earlier rounds that are kept to be sent again
ALTERED: Final = 4  # of each recorded call
BACK_WITHIN_S: Final = 10.0
MOST_ANEW: Final = 3
MOST_TOLD: Final = 10
READ: Final = "/api/v1/candles?pair=BTC/USDT&timeframe=1d&limit=1"
Alter = Callable[[Sent], Sent]


def _flipped(text: str, place: int) -> str:
    """Return a text with one of its letters exchanged."""
    place %= len(text)
    other = "A" if text[place] != "A" else "B"
    return text[:place] + other + text[place + 1 :]


def _within(sent: Sent, kind: str, name: str, old: str, new: str) -> Sent:
    """Return it with something replaced within one header."""
    return sent.altered(kind, headers={name: sent.headers[name].replace(old, new)})


def _parameter(sent: Sent, name: str) -> str:
    return sent.headers["signature-input"].partition(f";{name}=")[2].partition(";")[0].strip('"')


ALTERATIONS: Final[tuple[Alter, ...]] = (
    lambda one: one.altered("body", body=one.body.replace(b'"0.00', b'"9.00') or b" "),
    lambda one: one.altered("space", body=one.body + b" "),
    lambda one: one.altered("path", path=one.path + "/"),
    lambda one: one.altered("query", path=one.path + "?again=1"),
    lambda one: one.altered("escape", path=one.path.replace("o", "%6f").replace("m", "%6d")),
    lambda one: one.altered("host", headers={"host": "localhost"}),
    lambda one: _within(one, "nonce", "signature-input", (n := _parameter(one, "nonce")), n[::-1]),
    lambda one: _within(one, "time", "signature-input", (c := _parameter(one, "created")), str(int(c) + 1)),
    lambda one: _within(one, "key", "signature-input", f'keyid="{TRADER}"', 'keyid="other"'),
    lambda one: _within(one, "algorithm", "signature-input", "hmac-sha256", "ed25519"),
    lambda one: _within(one, "label", "signature-input", "gw=", "gx="),
    lambda one: _within(one, "tag", "signature-input", ";tag=", ";tig="),
    lambda one: _within(one, "cover", "signature-input", '"@path" ', ""),
    lambda one: one.altered("signature", headers={"signature": _flipped(one.headers["signature"], 9)}),
    lambda one: one.altered("digest", headers={"content-digest": _flipped(one.headers["content-digest"], 14)}),
    lambda one: one.altered("unsigned", headers={"signature": None, "signature-input": None}),
    lambda one: one.altered("twice", headers={"signature-input": ", ".join([one.headers["signature-input"]] * 2)}),
    lambda one: one.altered("spaces", headers={"signature": f'  {one.headers["signature"]}\t'}),
    lambda one: one.altered("capitals", headers={"Signature": one.headers["signature"], "signature": None}),
)  # fmt: skip


@dataclass
class Found:
    """What became of the replays; ``taken`` must stay empty."""

    words: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    taken: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    recorded: int = 0
    anew: int = 0
    accidents: list[str] = field(default_factory=list)
    reads_without_store: int = 0
    seconds: float = 0.0

    @property
    def replays(self) -> int:
        """How many there were."""
        return self.words.total()

    def judge(self, sent: Sent, word: str) -> None:
        """Count one replay; whatever is not refused for its signature was taken."""
        self.words[word] += 1
        self.kinds[sent.kind] += 1
        if not word.startswith("signature_") and word not in REFUSED:
            self.taken.append(f"{word}: {sent.kind} {sent.method} {sent.path}")


# The store is down; or it is no call any more, which the wire or the SDK says.
REFUSED: Final = frozenset(
    {"redis_unavailable", "route_unknown", "body_not_expected", "request_malformed"}
)


@dataclass
class Stage:
    """The agent, the processes, and what was recorded."""

    urls: list[str]
    valkey: Valkey
    found: Found
    auth: GatewayAuth
    recorded: list[Sent] = field(default_factory=list)
    old: list[Sent] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(5))

    async def record(self) -> None:
        """Make new calls, each taken once; they are what an eavesdropper has."""
        self.old = [*self.recorded, *self.old][:OLD]
        self.recorded = []
        async with line_to(self.urls[0]) as one, line_to(self.urls[1]) as other:
            for number in range(BATCH):
                line, url = ((one, self.urls[0]), (other, self.urls[1]))[number % 2]
                self.recorded.append(await self._taken_once(line, url, number))
                self.found.recorded += 1

    async def _taken_once(self, line: Line, url: str, number: int) -> Sent:
        """Make one call that is taken; a store that is new to a gateway may ask for another."""
        for _ in range(MOST_ANEW):
            sent = signed_call(self.auth, url, number)
            told = await line.call(sent.raw())
            if not told.code.startswith("signature_") and told.code not in REFUSED:
                return sent
            if told.code != "signature_expired":
                break
            self.found.anew += 1
            await anyio.sleep(1.0)
        self.found.wrong.append(f"{told.code}: the first {sent.method} {sent.path}")
        return sent

    def variants(self) -> Iterator[Sent]:
        """Yield for ever what is sent again: as it was, altered, and of earlier rounds."""
        alterations = cycle(ALTERATIONS)
        pool = list(self.recorded)
        for sent in self.recorded:
            pool += [alter(sent) for alter in islice(alterations, ALTERED)]
            pool += [sent] * ALTERED * 2
        pool += [
            one.altered("old") for one in self.chance.sample(self.old, min(len(self.old), BATCH))
        ]
        self.chance.shuffle(pool)
        return cycle(pool)

    async def replay(self, count: int) -> None:
        """Send so many again, over every connection to both, while the signatures are fresh."""
        left, variants = iter(range(count)), self.variants()
        ends_at = time.monotonic() + LONGEST_ROUND_S

        async def send(line: Line) -> None:
            for _ in left:
                if time.monotonic() > ends_at:
                    return
                sent = next(variants)
                told = await line.call(sent.raw())
                self.found.judge(sent, told.code or str(told.status))

        async def connection(url: str) -> None:
            async with line_to(url) as line:
                await send(line)

        async with anyio.create_task_group() as group:
            for url in self.urls * CONNECTIONS:
                group.start_soon(connection, url)

    async def stopped_store(self, count: int) -> None:
        """Stop the store: orders are refused, reads are served. Let it come back, empty."""
        self.found.accidents.append("store stopped")
        await anyio.to_thread.run_sync(self.valkey.stop)
        await self.replay(max(count // 4, 50))
        for url in self.urls:
            async with line_to(url) as line:
                await self._served_without_store(line, url)
        await anyio.to_thread.run_sync(self.valkey.start)
        await self.replay(count)
        await self.taken_again()

    async def _served_without_store(self, line: Line, url: str) -> None:
        new = await line.call(signed_call(self.auth, url, 0).raw())
        if new.code != "redis_unavailable":
            self.found.wrong.append(f"an order without the store: {new.status} {new.code}")
        headers = {"host": url.partition("//")[2], "authorization": f"Bearer {token()}"}
        read = await line.call(Sent("GET", READ, headers, b"").raw())
        health = await line.call(Sent("GET", "/health", headers, b"").raw())
        if (read.status, health.status) != (200, 200):
            self.found.wrong.append(f"a read without the store: {read.status} {read.code}")
        self.found.reads_without_store += 1

    async def flushed_store(self, count: int) -> None:
        """Empty the store while replays are under way."""
        self.found.accidents.append("store flushed")
        admin = redis.asyncio.Redis.from_url(self.valkey.url)
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self.replay, count)
                await anyio.sleep(0.2)
                await admin.flushall()
        finally:
            await admin.aclose()
        await self.taken_again()

    async def taken_again(self) -> None:
        """Hold that a new order is taken again, soon after."""
        async with line_to(self.urls[0]) as line:
            with anyio.move_on_after(BACK_WITHIN_S):
                while True:
                    told = await line.call(signed_call(self.auth, self.urls[0], 2).raw())
                    if not told.code.startswith(("signature_", "redis_")):
                        return
                    await anyio.sleep(0.2)
        self.found.wrong.append("no order was taken after the accident")


async def prove(folder: Path, size: int, *, shared: bool = True) -> Found:
    """Run the whole proof; not ``shared`` plants the mistake that it must find."""
    found = Found()
    with own(Valkey) as valkey:
        async with stand_in() as bot:
            settings = {"FREQTRADE_URL": bot.url} | ({"REDIS_URL": valkey.url} if shared else {})
            async with gateways(folder, settings) as urls:
                auth = GatewayAuth(_fresh_token(), key=HMAC_SECRET, key_id=TRADER)
                stage = Stage(urls, valkey, found, auth)
                started = time.monotonic()
                await _through(stage, size, accidents=shared)
                found.seconds = time.monotonic() - started
    return found


async def _through(stage: Stage, size: int, *, accidents: bool) -> None:
    """Record and replay, round by round; now and then there is an accident."""
    count = min(ROUND, size // 4)
    for number in itertools.count():
        if stage.found.replays >= size:
            return
        await stage.record()
        if accidents and number % BETWEEN_ACCIDENTS == 1:
            await stage.stopped_store(count)
        elif accidents and number % BETWEEN_ACCIDENTS == 2:
            await stage.flushed_store(count)
        else:
            await stage.replay(count)


def _fresh_token() -> Callable[[], str]:
    """Return what gives a token that never ends under way."""
    made: list[tuple[float, str]] = []

    def current() -> str:
        if not made or time.monotonic() > made[-1][0] + 600:
            made.append((time.monotonic(), token(ttl_s=7200)))
        return made[-1][1]

    return current


def report(found: Found) -> int:
    """Print what was found; return the exit code."""
    for one in found.taken[:MOST_TOLD]:
        print(f"TAKEN     {one}")
    for one in found.wrong[:MOST_TOLD]:
        print(f"WRONG     {one}")
    told = ", ".join(f"{count:,} {word}" for word, count in found.words.most_common())
    rate = found.replays / max(found.seconds, 0.001)
    print(
        f"replay: {found.replays:,} replays of {found.recorded:,} recorded calls ({found.anew} signed anew) over {PROCESSES}"
        f" processes in {found.seconds:.0f} s ({rate:,.0f}/s), accidents:"
        f" {', '.join(found.accidents) or 'none'}; taken {len(found.taken)}; {told}"
    )
    return 1 if found.taken or found.wrong else 0


if __name__ == "__main__":
    sys.exit(conclude(__doc__, prove, report, size=1_000_000, counts="replays to send"))
