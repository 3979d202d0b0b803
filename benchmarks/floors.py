"""What the gateway is held against: the least that a server of its kind can do.

usage: python -m benchmarks.floors stdio        the SDK's server with one trivial tool
       python -m benchmarks.floors sdk FILE     the same over HTTP, its answer ready in FILE
       python -m benchmarks.floors asgi FILE    no SDK at all: the bytes of FILE for every call
"""

import sys
from pathlib import Path
from typing import Any


def sdk_server(document: bytes | None = None) -> Any:
    """Return an SDK server with one tool, which answers with a document made beforehand."""
    from mcp.server import MCPServer  # noqa: PLC0415 - the import is part of what is measured
    from mcp.types import CallToolResult, TextContent  # noqa: PLC0415 - the same

    server = MCPServer("floor", version="1", log_level="WARNING")

    @server.tool()
    async def get_candles(pair: str, timeframe: str, limit: int) -> CallToolResult:  # noqa: ARG001 - they are sent
        """Return candles."""
        import orjson  # noqa: PLC0415 - the stdio floor does without

        text = (document or b"{}").decode()
        return CallToolResult(
            content=[TextContent(type="text", text=text)], structured_content=orjson.loads(text)
        )

    return server


def raw_app(body: bytes) -> Any:
    """Return an ASGI app that reads a request and answers ready bytes."""

    async def app(_scope: Any, receive: Any, send: Any) -> None:
        while (await receive()).get("more_body"):
            pass
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return app


def main(kind: str, path: str = "") -> None:
    """Serve one floor."""
    if kind == "stdio":
        sdk_server().run("stdio")
        return
    from benchmarks.served import serve  # noqa: PLC0415 - the stdio floor does without

    if kind == "asgi":
        serve(raw_app(Path(path).read_bytes()))
        return
    server = sdk_server(Path(path).read_bytes())
    serve(server.streamable_http_app(json_response=True, stateless_http=True), lifespan=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
