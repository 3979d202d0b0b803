"""A reverse proxy as operators put before a gateway: another Host, and headers that tell of it."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

import httpx2

from mcp_gateway.transports.requests import ASGIApp, Receive, Scope, Send
from tests.support.wire import Wire, served

HOP_BY_HOP = {b"host", b"connection", b"transfer-encoding", b"content-length"}


def reverse_proxy(upstream: str, told: Mapping[str, str]) -> ASGIApp:
    """Return an app that passes every request on to ``upstream`` under the upstream's own name.

    Args:
        told: headers that it sets, in the place of whatever the caller sent under these names.
    """
    ours = {name.lower().encode() for name in told}

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        kept = [one for one in scope["headers"] if one[0] not in HOP_BY_HOP | ours]
        kept += [(name.encode(), value.encode()) for name, value in told.items()]
        async with httpx2.AsyncClient(trust_env=False) as client:
            answer = await client.request(
                scope["method"], f"{upstream}{scope['raw_path'].decode()}",
                headers=kept, content=body,
            )  # fmt: skip
        headers = [(name.lower(), value) for name, value in answer.headers.raw]
        await send(
            {"type": "http.response.start", "status": answer.status_code, "headers": headers}
        )
        await send({"type": "http.response.body", "body": answer.content})

    return app


@asynccontextmanager
async def behind(gateway: Wire, told: Mapping[str, str]) -> AsyncIterator[Wire]:
    """Serve a proxy before a gateway that listens, both over real sockets."""
    async with served(reverse_proxy(f"http://127.0.0.1:{gateway.port}", told)) as front:
        yield front
