"""Between a route and its work: the gate, then the parameters."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
from pydantic import BaseModel

from mcp_gateway.domain.operations import OPERATIONS
from mcp_gateway.domain.principals import Admission, Credentials
from mcp_gateway.gateway import Gateway
from mcp_gateway.transports.admission import admitted
from mcp_gateway.transports.requests import Answer, Request
from mcp_gateway.transports.rest import queries
from mcp_gateway.transports.routes import Handler

Query = TypeVar("Query", bound=BaseModel)
Work = Callable[[Gateway, Admission, Request, Query], Awaitable[Answer]]

LOGGED = ("pair", "timeframe")  # the predecessor's keys


def guarded(operation: str, query: type[Query], work: Work[Query]) -> Handler:
    """Return a handler that asks the gate before it looks at any argument.

    So a malformed call counts against the caller's quota as any other does.
    """
    row = OPERATIONS[operation]

    async def handle(gateway: Gateway, request: Request, credentials: Credentials) -> Answer:
        async with admitted(gateway.gate, credentials, row) as admission:
            read = queries.read(query, request.query)
            _note({name: getattr(read, name, None) for name in LOGGED})
            return await work(gateway, admission, request, read)

    return handle


def _note(keys: dict[str, str | None]) -> None:
    """Let the door's line tell what was asked for."""
    structlog.contextvars.bind_contextvars(**{name: told for name, told in keys.items() if told})
