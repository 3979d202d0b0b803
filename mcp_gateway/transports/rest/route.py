"""One REST route as a value."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import BaseModel

from mcp_gateway.transports.places import Guard, Place
from mcp_gateway.transports.requests import JSON
from mcp_gateway.transports.rest.guard import Handler


@dataclass(frozen=True, slots=True)
class Route:
    """A method at a path: who answers it, in which shape, and how it may refuse.

    ``answer`` is the shape of a 200, None for what is no JSON; ``also`` has the shapes of
    other statuses that are no refusals; ``refusals`` are the statuses of its own, beside those
    that ``statuses`` adds for every route of its kind.
    """

    method: str
    path: str
    summary: str
    handler: Handler
    answer: type[BaseModel] | None
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
    def place(self) -> Place:
        """What the door has to know of it."""
        return Place(
            self.path,
            (self.method,),
            guard="token" if self.guarded else "open",
            media_types=self.media_types,
            probe=self.probe,
            signable=self.operation is not None and self.method == "POST",
        )

    @property
    def refused_with(self) -> tuple[int, ...]:
        """Every status of a problem that this route can answer, ascending."""
        told = {*self.refusals, 431, 500}
        if not self.probe:
            told |= {403, 421}  # origin, host
        if self.guarded:
            told |= {401, 403}
        if self.method == "POST":
            told |= {400, 408, 413, 415}
        if self.operation is not None:
            told |= {422, 429, 503}
        return tuple(sorted(told - self.also.keys()))
