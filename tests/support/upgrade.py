"""A database brought to this version's schema, as an operator does it."""

from pathlib import Path

from mcp_gateway.storage.sql import Revisions, Store


async def upgrade(url: str, *, data_dir: Path) -> Revisions:
    """Run what is missing, and return what was found before."""
    store = Store(url, data_dir=data_dir)
    try:
        return await store.open(migrates=True)
    finally:
        await store.close()
