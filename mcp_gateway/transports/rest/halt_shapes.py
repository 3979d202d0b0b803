"""The shapes of what is told of halts."""

from typing import Literal

from mcp_gateway.transports.rest.shapes import Shape


class Halt(Shape):
    """One halt; ``bot_paused`` where the bot was paused for it."""

    id: int | None
    scope: Literal["all", "agent", "pair"]
    name: str | None
    code: str
    at: str
    by: str
    reason: str
    bot_paused: bool
    released_at: str | None
    released_by: str | None
    release_reason: str | None


class HaltSet(Halt):
    """A halt as it was set or released; not ``stored``: the gateway keeps it until it can be."""

    stored: bool


class Halts(Shape):
    """The halts in force, and the last that were released; not ``stored``: there may be others."""

    in_force: list[Halt]
    released: list[Halt]
    stored: bool
    code: str | None
