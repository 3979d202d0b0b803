"""What every test may ask for: the event loop, an order floor, real servers, a real bot."""

import importlib.util

import pytest

from mcp_gateway.settings import known_names

pytest_plugins = [
    "tests.support.servers",
    "tests.support.orderfloor",
    *(["tests.support.bot"] if importlib.util.find_spec("tests.support.bot") else []),
]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Run every async test on asyncio, as the gateway does."""
    return "asyncio"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what the developer's shell sets for a gateway out of every test."""
    for name in known_names():
        monkeypatch.delenv(name, raising=False)
