"""The tool list as an agent gets it, and the pinned copy that a review compares it with.

``python -m tests.support.tool_list`` writes the pinned copy anew.
"""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
import orjson
from mcp import Client
from mcp.types import Tool

from mcp_gateway.gateway import open_gateway
from mcp_gateway.transports.mcp.server import GatedServer
from tests.support.gateway import settings_for
from tests.support.processes import token
from tests.support.wires import shown_locally

PINNED = Path(__file__).parents[1] / "recorded/tool-list.json"


async def listed(folder: Path) -> list[Tool]:
    """Return every tool that a trader sees."""
    async with open_gateway(settings_for(folder)) as gateway:
        with shown_locally(token()):
            async with Client(GatedServer(gateway)) as client:
                return (await client.list_tools()).tools


def as_sent(tools: list[Tool]) -> list[dict[str, Any]]:
    """Return the tools as they stand on the wire."""
    return [tool.model_dump(mode="json", by_alias=True, exclude_none=True) for tool in tools]


def main() -> None:
    """Write the pinned copy."""
    with TemporaryDirectory() as folder:
        tools = anyio.run(listed, Path(folder))
    PINNED.write_bytes(orjson.dumps(as_sent(tools), option=orjson.OPT_INDENT_2) + b"\n")


if __name__ == "__main__":
    main()
