"""Proof: while keys are made, retire and are revoked, no agent's signed call fails.

    python -m tests.proofs.access.key_rotation --size 100000

Two real gateway processes follow one keys file. Agents make signed calls without a pause, over
REST and MCP, each with the newest key that it was handed: HMAC secrets and Ed25519 pairs by
turns. Every half second keys are rotated; once the calls signed with an old key are over, it is
revoked. A call that is refused for its signature is printed and makes the exit code 1, as does a
revoked key that is believed a second later; a proof that broke down ends with 3.
"""

import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from mcp_gateway.access.keyring import Algorithm
from mcp_gateway.access.keys import file, making
from mcp_gateway.access.keys.making import Made
from mcp_gateway.client import GatewayAuth
from mcp_gateway.clock import Clock
from tests.proofs.access.concluding import conclude
from tests.proofs.access.signed_calls import line_to, signed_call
from tests.proofs.access.stage import PROCESSES, gateways
from tests.support.processes import token
from tests.support.standin import stand_in
from tests.support.tokens import ISSUER

AGENTS: Final = ("scout", "mover", "closer", "signal-agent")
CONNECTIONS: Final = 1  # of each agent to each process
EVERY_S: Final = 0.5
OVERLAP: Final = timedelta(hours=1)
REVOKED_WITHIN_S: Final = 1.0
MOST_TOLD: Final = 10
ALGORITHMS: Final[tuple[Algorithm, ...]] = ("hmac-sha256", "ed25519")


@dataclass
class Agent:
    """An agent with the key that it was handed last; ``under_way`` counts calls by key."""

    name: str
    token: str
    made: Made
    auth: GatewayAuth
    under_way: Counter[str] = field(default_factory=Counter)
    ended: anyio.Event = field(default_factory=anyio.Event)

    @classmethod
    def of(cls, name: str, made: Made) -> "Agent":
        shown = token(subject=name, ttl_s=86_400)
        return cls(name, shown, made, _auth(shown, made))

    def take(self, made: Made) -> None:
        """Sign with another key from now on."""
        self.made, self.auth = made, _auth(self.token, made)

    async def done_with(self, key_id: str) -> None:
        """Wait until no call signed by a key is under way."""
        while self.under_way[key_id]:
            self.ended = anyio.Event()
            await self.ended.wait()


def _auth(shown: str, made: Made) -> GatewayAuth:
    return GatewayAuth(shown, key=made.handed_over, key_id=made.record.key_id)


@dataclass
class Found:
    """What the calls came to; ``believed`` are revoked keys that still open a door."""

    words: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    believed: list[str] = field(default_factory=list)
    seconds: float = 0.0
    rotations: int = 0
    revoked: int = 0
    longest_s: float = 0.0

    @property
    def calls(self) -> int:
        """How many there were."""
        return self.words.total()


class Keys:
    """The operator: makes keys, hands them over, and revokes them; ``careless`` revokes at once."""

    def __init__(self, path: Path, careless: bool) -> None:
        self._path = path
        self._careless = careless
        self._clock = Clock()
        self._made = 0

    def new(self, name: str) -> Made:
        """Make an agent's first key."""
        made = self._next(name)
        now = self._clock.now()
        file.change(self._path, lambda keys: keys.with_new(made.record, now), lambda: None)
        return made

    async def rotate(self, agent: Agent, urls: list[str], found: Found) -> None:
        """Rotate one agent's key, wait for its calls, and revoke the old one."""
        old, made, now = agent.made, self._next(agent.name), self._clock.now()
        await self._change(lambda keys: keys.rotated(old.record.key_id, made.record, now, OVERLAP))
        if self._careless:
            await self._revoke(old)
            await anyio.sleep(EVERY_S)
        agent.take(made)
        found.rotations += 1
        await agent.done_with(old.record.key_id)
        if not self._careless:
            await self._revoke(old)
        await _refused_within(urls, agent, old, found)

    async def _revoke(self, old: Made) -> None:
        at = self._clock.now()
        await self._change(lambda keys: keys.revoked(old.record.key_id, at, "rotated"))

    async def _change(self, make: file.Change) -> None:
        await anyio.to_thread.run_sync(file.change, self._path, make, lambda: None)

    def _next(self, name: str) -> Made:
        self._made += 1
        algorithm = ALGORITHMS[self._made % len(ALGORITHMS)]
        return making.make(ISSUER, name, algorithm, self._clock.now())


async def _refused_within(urls: list[str], agent: Agent, old: Made, found: Found) -> None:
    """Sign with a revoked key at every process until it is refused; a second is allowed."""
    auth, began = _auth(agent.token, old), time.monotonic()
    found.revoked += 1
    for url in urls:
        async with line_to(url) as line:
            while True:
                told = await line.call(signed_call(auth, url, 2).raw())
                elapsed_s = time.monotonic() - began
                if told.code == "signature_invalid":
                    break
                if elapsed_s > REVOKED_WITHIN_S:
                    found.believed.append(f"{old.record.key_id} after {elapsed_s:.2f} s")
                    break
                await anyio.sleep(0.02)
        found.longest_s = max(found.longest_s, time.monotonic() - began)


async def _calling(agent: Agent, url: str, many: int, found: Found) -> None:
    """Call so often, with whatever key the agent has just then."""
    async with line_to(url) as line:
        for number in range(many):
            key_id, auth = agent.made.record.key_id, agent.auth
            # An order that goes all the way to the bot takes its time; a cancel is signed, too.
            sent = signed_call(auth, url, number if number % 200 < 4 else 2)
            agent.under_way[key_id] += 1
            told = await line.call(sent.raw())
            agent.under_way[key_id] -= 1
            agent.ended.set()
            found.words[told.code or str(told.status)] += 1
            if told.code.startswith(("signature", "token", "internal")):
                found.failures.append(f"{told.code}: {sent.method} {sent.path} by {key_id}")


async def rotate_keys(keys: Keys, agents: list[Agent], urls: list[str], found: Found) -> None:
    """Rotate one agent's key after another for ever; cancel it when the calls are made."""
    while True:
        for agent in agents:
            await anyio.sleep(EVERY_S)
            await keys.rotate(agent, urls, found)


async def prove(folder: Path, size: int, *, careless: bool = False) -> Found:
    """Run the whole proof; ``careless`` plants the mistake that it must find."""
    found = Found()
    path = folder / "keys" / "keys.json"
    keys = Keys(path, careless)
    agents = [Agent.of(name, keys.new(name)) for name in AGENTS]
    async with stand_in() as bot:
        settings = {
            "MCP_GATEWAY_KEYS_FILE": str(path), "FREQTRADE_URL": bot.url, "HMAC_SECRET": ""
        }  # fmt: skip
        async with gateways(folder, settings) as urls:
            started = time.monotonic()
            async with anyio.create_task_group() as rotation:
                rotation.start_soon(rotate_keys, keys, agents, urls, found)
                async with anyio.create_task_group() as calls:
                    for agent in agents:
                        for url in urls * CONNECTIONS:
                            many = size // (len(AGENTS) * PROCESSES * CONNECTIONS)
                            calls.start_soon(_calling, agent, url, many, found)
                rotation.cancel_scope.cancel()
            found.seconds = time.monotonic() - started
    return found


def report(found: Found) -> int:
    """Print what was found; return the exit code."""
    for failure in found.failures[:MOST_TOLD]:
        print(f"FAILED    {failure}")
    for key in found.believed[:MOST_TOLD]:
        print(f"BELIEVED  {key}")
    print(
        f"key rotation: {found.calls:,} signed calls in {found.seconds:.0f} s over {PROCESSES}"
        f" processes, {found.rotations} rotations; failed {len(found.failures)}; {found.revoked}"
        f" keys revoked, refused after {found.longest_s:.2f} s at most"
    )
    if found.failures or found.believed:
        return 1
    if not found.revoked:
        print("broke down: too short for a key to be revoked")
        return 3
    return 0


if __name__ == "__main__":
    sys.exit(conclude(__doc__, prove, report, size=100_000, counts="signed calls to make"))
