"""How the benchmarks' own servers are served: as the gateway is, on a port that they tell."""

import sys
import threading
from typing import Any

import uvicorn

from mcp_gateway.transports.http import bound


def serve(app: Any, *, lifespan: bool = False) -> None:
    """Serve ``app`` on loopback, print its URL, end when standard input ends."""
    listening = bound("127.0.0.1", 0)
    config = uvicorn.Config(
        app, http="httptools", loop="asyncio", ws="none", access_log=False, log_config=None,
        lifespan="on" if lifespan else "off", timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)

    def end_with_parent() -> None:
        sys.stdin.read()
        server.should_exit = True

    threading.Thread(target=end_with_parent, daemon=True).start()
    print(f"http://127.0.0.1:{listening.getsockname()[1]}", flush=True)
    server.run(sockets=[listening])
