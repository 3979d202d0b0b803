"""Gateway processes for proofs that make a million calls: no line of log for each of them."""

import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import anyio
import anyio.to_thread

from tests.support.processes import START_S, Running, environment

PROCESSES: Final = 2
# No quota matters here: what is proven stands before them all.
SETTINGS: Final = {
    "LOG_LEVEL": "ERROR", "RATE_LIMIT_PER_MINUTE": "1000000",
    "MCP_GATEWAY_CALLER_RATE_LIMIT_PER_MINUTE": "1000000",
    "MCP_GATEWAY_SERVER_RATE_LIMIT_PER_MINUTE": "10000000",
    "MCP_GATEWAY_DOOR_RATE_LIMIT_PER_MINUTE": "10000000",
}  # fmt: skip


class Quiet(Running):
    """``mcp-gateway serve`` on a port of its own, which says nothing while all is well."""

    def __init__(self, folder: Path, env: Mapping[str, str]) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        super().__init__("serve", "--port", str(self.port), folder=folder, env=env)
        self.url = f"http://127.0.0.1:{self.port}"

    async def listening(self) -> None:
        """Wait until it takes connections."""
        with anyio.fail_after(START_S):
            while self.process.poll() is None:
                try:
                    await (await anyio.connect_tcp("127.0.0.1", self.port)).aclose()
                except OSError:
                    await anyio.sleep(0.05)
                else:
                    return
        raise RuntimeError("serve ended before it listened:\n" + "\n".join(self.log))


@asynccontextmanager
async def gateways(folder: Path, settings: Mapping[str, str]) -> AsyncIterator[list[str]]:
    """Serve by two processes with data folders of their own; yield their URLs."""
    async with AsyncExitStack() as stack:
        served = []
        for number in range(PROCESSES):
            home = folder / str(number)
            home.mkdir()
            env = environment(home, **SETTINGS | dict(settings))
            one = await anyio.to_thread.run_sync(partial(Quiet, home, env))
            stack.push_async_callback(anyio.to_thread.run_sync, one.close)
            served.append(one)
        for one in served:
            await one.listening()
        yield [one.url for one in served]
