"""Faults that a test asks the simulated exchange for."""

from dataclasses import dataclass
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field


class Fault(BaseModel):
    """What to do to the next calls whose path contains ``match``.

    With ``status`` the call is refused so, with ``drop`` its connection is reset, both
    after ``delay_s``; with a delay alone it is answered late. ``count`` -1 lasts until reset.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    match: str = ""
    status: Annotated[int, Field(ge=400, le=599)] | None = None
    delay_s: Annotated[float, Field(ge=0, le=300)] = 0.0
    drop: bool = False
    count: Annotated[int, Field(ge=-1)] = 1


class Shock(BaseModel):
    """Multiply the price of a symbol (``BTCUSDT``) from the running minute on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    symbol: str
    factor: Annotated[float, Field(gt=0, le=1000)]


@dataclass(slots=True)
class _Pending:
    fault: Fault
    left: int


class Faults:
    """The faults still to come, oldest first."""

    def __init__(self) -> None:
        self._pending: list[_Pending] = []

    def add(self, fault: Fault) -> None:
        """Let the next matching calls fail."""
        self._pending.append(_Pending(fault, fault.count))

    def reset(self) -> None:
        """Forget every fault."""
        self._pending.clear()

    def take(self, path: str) -> Fault | None:
        """Return the fault for a call to ``path`` and count it as used."""
        for pending in self._pending:
            if pending.fault.match in path and pending.left != 0:
                pending.left -= 1
                return pending.fault
        return None

    def left(self) -> list[dict[str, object]]:
        """Return what is still to come, JSON-ready; a count below zero has no end."""
        return [
            {**pending.fault.model_dump(), "count": pending.left}
            for pending in self._pending
            if pending.left != 0
        ]
