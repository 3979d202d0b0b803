"""An open store on each engine in turn."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from mcp_gateway.storage.sql import Store


@pytest.fixture
async def store(database_url: str, tmp_path: Path) -> AsyncIterator[Store]:
    """A migrated, open store; the folder of an embedded one is ``tmp_path``."""
    opened = Store(database_url, data_dir=tmp_path)
    await opened.open(migrates=True)
    yield opened
    await opened.close()
