"""How the gateway and the services behind it are: asked by anybody, looked at once for all."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

import anyio

from mcp_gateway.errors import GatewayError
from mcp_gateway.telemetry import logs

DEADLINE_S: Final = 2.0
KEPT_S: Final = 2.0
Ping = Callable[[], Awaitable[object]]
Word = Literal["healthy", "unhealthy", "embedded", "opening"]
_log = logs.get(__name__)


@dataclass(frozen=True, slots=True)
class Health:
    """How the gateway and the services behind it are; the predecessor's words."""

    status: Literal["healthy", "degraded", "unhealthy"]
    services: dict[str, Word]


async def asked(pings: Mapping[str, Ping]) -> dict[str, Word]:
    """Ask every service, all at once, in two seconds at most."""
    services: dict[str, Word] = {}
    async with anyio.create_task_group() as group:
        for name, ping in pings.items():
            group.start_soon(_ask, services, name, ping)
    return services


def judged(services: Mapping[str, Word]) -> Health:
    """Return the whole of its parts: unhealthy where neither the bot nor something else answers."""
    ailing = [name for name, word in services.items() if word == "unhealthy"]
    status: Literal["healthy", "degraded", "unhealthy"] = "healthy"
    if ailing:
        status = "unhealthy" if "freqtrade" in ailing and len(ailing) > 1 else "degraded"
    return Health(status, dict(sorted(services.items())))


async def _ask(services: dict[str, Word], name: str, ping: Ping) -> None:
    services[name] = "unhealthy"
    with anyio.move_on_after(DEADLINE_S):
        try:
            await ping()
            services[name] = "healthy"
        except GatewayError as error:
            _log.info("A service is unhealthy", service=name, code=error.code)
