"""Halts as values: what is asked for, what is in force, and who said so."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    WithJsonSchema,
    model_validator,
)

from mcp_gateway.access.tokens.claims import acceptable_subject
from mcp_gateway.clock import iso
from mcp_gateway.domain.orders import AgentName, PairName
from mcp_gateway.domain.text import one_line
from mcp_gateway.errors import NotFound, Refusal, RequestInvalid, StoreUnavailable
from mcp_gateway.orders.book.actor import LONGEST_REASON, Actor
from mcp_gateway.risk.facts import Halt, HaltScope

OPERATOR: Final = "operator"
FILE: Final = "file"
SIGNAL: Final = "signal"
Says = tuple[HaltScope, str, str, str]  # scope, name, code and reason


def _printable(name: str) -> str:
    if not acceptable_subject(name):
        raise ValueError("printable text of 1 to 128 characters")
    return name


Reason = Annotated[
    str,
    BeforeValidator(
        lambda text: one_line(text, LONGEST_REASON + 1) if isinstance(text, str) else text
    ),
    StringConstraints(min_length=1, max_length=LONGEST_REASON),
    WithJsonSchema({"type": "string", "minLength": 1, "maxLength": LONGEST_REASON}),
]


class HaltRequest(BaseModel):
    """A halt as a person asks for it: of all trading, or of one agent, or of one pair."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    agent: Annotated[AgentName, AfterValidator(_printable)] | None = None
    pair: PairName | None = None
    reason: Reason

    @model_validator(mode="after")
    def _names_one_thing(self) -> Self:
        if self.agent is not None and self.pair is not None:
            raise ValueError("agent, pair: one of them, or neither to halt all trading")
        return self

    @property
    def scope(self) -> HaltScope:
        """What it stops."""
        if self.agent is not None:
            return "agent"
        return "all" if self.pair is None else "pair"

    @property
    def name(self) -> str:
        """The agent or the pair; empty where it stops everything."""
        return self.agent or self.pair or ""


class ReleaseRequest(BaseModel):
    """Why a halt is released."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: Reason = Field(description="For the audit log.")


@dataclass(frozen=True, slots=True)
class NewHalt:
    """A halt that is to be put in force.

    Args:
        code: ``operator``, ``file``, ``signal``, or the watch that found something.
        unless_since: it is the same episode, and no new halt, if one of the same scope, name,
            code and reason was put in force since then, released by now or not.
        bot_paused: the bot was paused for it already.
    """

    scope: HaltScope
    name: str
    code: str
    reason: str
    who: Actor
    at: datetime
    unless_since: datetime | None = None
    bot_paused: bool = False

    @classmethod
    def anew(cls, lost: "HaltRecord") -> "NewHalt":
        """Return a halt in force whose row the store has lost, to be written down again.

        It stays away where another gateway did that, and a person has released it since.
        """
        by = Actor(lost.by, Actor.watching("restored").origin)
        return cls(
            lost.scope, lost.name, lost.code, lost.reason, by, lost.at,
            unless_since=lost.at, bot_paused=lost.bot_paused,
        )  # fmt: skip

    @property
    def halt(self) -> Halt:
        """It as the rules see it."""
        return Halt(self.scope, self.name, self.code, self.at)

    @property
    def says(self) -> Says:
        """What makes two halts one."""
        return self.scope, self.name, self.code, self.reason

    @property
    def by(self) -> str:
        """Who asked for it."""
        return self.who.name


@dataclass(frozen=True, slots=True)
class HaltRecord:
    """One halt as it is written down; one that nobody could write down yet has no ``id``.

    ``bot_paused`` says that this gateway paused the bot for it.
    """

    id: int | None
    scope: HaltScope
    name: str
    code: str
    at: datetime
    by: str
    reason: str
    bot_paused: bool = False
    released_at: datetime | None = None
    released_by: str | None = None
    release_reason: str | None = None

    @classmethod
    def unwritten(cls, new: NewHalt) -> "HaltRecord":
        """Return a halt that is in force in this process and waits for the store."""
        return cls(None, new.scope, new.name, new.code, new.at, new.who.name, new.reason)

    @property
    def halt(self) -> Halt:
        """It as the rules see it."""
        return Halt(self.scope, self.name, self.code, self.at)

    @property
    def says(self) -> Says:
        """What makes two halts one."""
        return self.scope, self.name, self.code, self.reason

    @property
    def row(self) -> tuple[int | None, Says, datetime]:
        """What tells its row from every other: a restored database gives ids a second time."""
        return self.id, self.says, self.at


Wanted = Callable[[HaltRecord], bool]


def by_id(halt_id: str) -> Wanted:
    """Return what picks the halt of this id."""
    if not (halt_id.isascii() and halt_id.isdigit()):
        raise RequestInvalid("id is the number of a halt.", detail={"field": "id"})
    return lambda one: str(one.id) == str(int(halt_id))


class TradingHalted(Refusal):
    """A halt is in force that would stop the order; it still waits (409)."""

    status = 409
    default_code = "trading_halted"
    default_hint = (
        "Nothing was changed. Release the halt first (`mcp-gateway halt list`), or decline."
    )


def no_such_halt() -> NotFound:
    """Return the refusal to release what is not in force."""
    return NotFound(
        "No such halt is in force.",
        code="halt_unknown",
        hint="`mcp-gateway halt list` shows those that are.",
    )


def file_stays() -> StoreUnavailable:
    """Return the error of a release that left the file HALT behind."""
    return StoreUnavailable(
        "The file HALT is still in the data folder: everything is halted still.",
        code="halt_file_stays",
        hint="Remove the file by hand; nothing else is left to be released of it.",
    )


def as_json(record: HaltRecord) -> dict[str, Any]:
    """Return what operators are told of a halt."""
    return {
        "id": record.id,
        "scope": record.scope,
        "name": record.name or None,
        "code": record.code,
        "at": iso(record.at),
        "by": record.by,
        "reason": record.reason,
        "bot_paused": record.bot_paused,
        "released_at": record.released_at and iso(record.released_at),
        "released_by": record.released_by,
        "release_reason": record.release_reason,
    }
