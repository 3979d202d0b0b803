"""The routes of the HTTP face, as the door sees them: one table, no patterns."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from mcp_gateway.transports.requests import JSON

Guard = Literal["open", "token"]


@dataclass(frozen=True, slots=True)
class Place:
    """What the door asks of a caller at one path, whatever the operation.

    ``path`` is the template and the label in metrics; a ``{name}`` stands for one segment.
    ``media_types`` are those of a POST's body. ``probe`` marks what an orchestrator asks by
    address: no Host check, and no log line above DEBUG.
    """

    path: str
    methods: tuple[str, ...]
    guard: Guard = "token"
    media_types: tuple[str, ...] = (JSON,)
    probe: bool = False
    signable: bool = False


MCP = Place("/mcp", ("POST",), signable=True)


class Places:
    """All places, found by raw path."""

    def __init__(self, places: Iterable[Place]) -> None:
        self._fixed: dict[str, Place] = {}
        self._open_ended: list[tuple[str, str, Place]] = []
        for place in places:
            stem, brace, name = place.path.partition("{")
            if brace:
                self._open_ended.append((stem, name.removesuffix("}"), place))
            else:
                self._fixed[place.path] = place

    def find(self, path: str) -> tuple[Place, Mapping[str, str]] | None:
        """Return the place at ``path`` and what its template captures, None where none is.

        Fixed paths win over templates. The raw path counts: ``%2F`` is no way around a table.
        """
        if path in self._fixed:
            return self._fixed[path], {}
        for stem, name, place in self._open_ended:
            rest = path.removeprefix(stem)
            if rest != path and rest and "/" not in rest:
                return place, {name: rest}
        return None
