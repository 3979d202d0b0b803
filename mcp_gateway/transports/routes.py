"""The routes of the HTTP face as values, and how the door finds one: a table, no patterns."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from pydantic import BaseModel

from mcp_gateway.domain.principals import Credentials
from mcp_gateway.gateway import Gateway
from mcp_gateway.transports.requests import JSON, Answer, Request

Guard = Literal["open", "token"]
Handler = Callable[[Gateway, Request, Credentials], Awaitable[Answer]]


@dataclass(frozen=True, slots=True)
class Route:
    """A method at a path: who answers it, what the door asks for, and how it may refuse.

    ``path`` is the template and the label in metrics; a ``{name}`` in it stands for one
    segment. ``handler`` is None where the MCP SDK's app answers. ``answer`` is the shape of a
    200, None for what is no JSON; ``also`` has the shapes of other statuses that are no
    refusals; ``refusals`` are the statuses of its own, beside those that ``refused_with`` adds
    for every route of its kind. ``probe`` marks what an orchestrator asks by address: no Host
    check, and no log line above DEBUG.
    """

    method: str
    path: str
    summary: str
    handler: Handler | None
    answer: type[BaseModel] | None = None
    operation: str | None = None
    guard: Guard = "open"
    query: type[BaseModel] | None = None
    body: type[BaseModel] | None = None
    media_types: tuple[str, ...] = (JSON,)
    also: Mapping[int, type[BaseModel]] = field(default_factory=dict)
    refusals: tuple[int, ...] = ()
    probe: bool = False

    @property
    def guarded(self) -> bool:
        """Whether a token is asked for."""
        return self.operation is not None or self.guard == "token"

    @property
    def signable(self) -> bool:
        """Whether a signature over its bytes may matter to the gate."""
        return self.guarded and self.method != "GET"

    @property
    def plainly_signable(self) -> bool:
        """Whether the predecessor's signature may count: it covers a REST body, nothing else.

        Without a body it would be the same for every request, so whoever has seen one could
        make any other; and what the path names, it does not cover.
        """
        return self.signable and self.body is not None and "{" not in self.path

    @property
    def refused_with(self) -> tuple[int, ...]:
        """Every status of a problem that this route can answer, ascending."""
        told = {*self.refusals, 400, 431, 500}
        if not self.probe:
            told |= {403, 421, 429}  # origin, host, a flood from the address
        if self.guarded:
            told |= {401, 403}
        if self.method == "POST":
            told |= {408, 413, 415}
        if self.operation is not None:
            told |= {422, 503}
        return tuple(sorted(told - self.also.keys()))


MCP: Final = Route("POST", "/mcp", "MCP, streamable HTTP", None, guard="token")

Table = Mapping[str, Mapping[str, Route]]


def table(routes: Iterable[Route]) -> Table:
    """Return the routes by path, then by method.

    Raises:
        ValueError: two routes for one method at one path; one of them would never be asked.
    """
    told: dict[str, dict[str, Route]] = {}
    for route in routes:
        methods = told.setdefault(route.path, {})
        if route.method in methods:
            raise ValueError(f"{route.method} {route.path} stands twice in the table")
        methods[route.method] = route
    return told


def find(routes: Table, path: str) -> tuple[Mapping[str, Route], Mapping[str, str]]:
    """Return the routes at a raw path by method, and what their template captures.

    Fixed paths win over templates. The raw path counts: ``%2F`` is no way around a table. Both
    are empty where there is nothing.
    """
    if path in routes and "{" not in path:
        return routes[path], {}
    for template, methods in routes.items():
        stem, brace, behind = template.partition("{")
        name, _, tail = behind.partition("}")
        if not brace or not path.startswith(stem) or not path.endswith(tail):
            continue
        value = path[len(stem) : len(path) - len(tail)]
        if value and "/" not in value:
            return methods, {name: value}
    return {}, {}
