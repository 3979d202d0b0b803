"""One question to the bot for many who ask at once."""

from collections.abc import Awaitable, Callable, Hashable
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from typing import Generic, Literal, TypeVar

import anyio

from mcp_gateway.clock import Clock
from mcp_gateway.errors import GatewayError

FAILURE_KEPT_S = 2.0

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Told(Generic[T]):
    """A value with the moment at which it was asked for, and whether this call asked."""

    value: T
    as_of: datetime
    source: Literal["live", "cache"]


@dataclass(slots=True)
class _Flight(Generic[T]):
    landed: anyio.Event = field(default_factory=anyio.Event)
    result: Told[T] | GatewayError | None = None


@dataclass(frozen=True, slots=True)
class _Kept(Generic[T]):
    result: Told[T] | GatewayError
    until: float


class Flights(Generic[K, T]):
    """Answers kept for a moment, and asked for once however many wait.

    Whoever asks first asks for all; the others get the same answer or the same refusal. When
    the first is cancelled, one of those who wait asks in its place. Failures are kept for two
    seconds, so that a bot that is down is not asked by everybody in turn.

    Args:
        keep_s: seconds an answer is kept; 0 keeps none.
    """

    def __init__(self, clock: Clock, keep_s: float) -> None:
        self._clock = clock
        self._keep_s = keep_s
        self._flights: dict[K, _Flight[T]] = {}
        self._kept: dict[K, _Kept[T]] = {}

    async def ask(
        self, key: K, question: Callable[[], Awaitable[T]], *, anew: bool = False
    ) -> Told[T]:
        """Return the answer that is kept or on its way, else ask.

        Args:
            anew: take no kept answer and no kept failure; one on its way still serves.
        """
        while True:
            if not anew and (kept := self._still_kept(key)) is not None:
                return _out(kept, "cache")
            flight = self._flights.get(key)
            if flight is None:
                return await self._fly(key, question)
            await flight.landed.wait()
            if flight.result is not None:
                return _out(flight.result, "live")

    def forget(self, key: K) -> None:
        """Let the next one ask anew: what is kept, or on its way, is older than a change."""
        self._kept.pop(key, None)
        self._flights.pop(key, None)

    async def _fly(self, key: K, question: Callable[[], Awaitable[T]]) -> Told[T]:
        flight = self._flights[key] = _Flight[T]()
        asked_at = self._clock.now()
        try:
            flight.result = told = Told(await question(), asked_at, "live")
        except GatewayError as error:
            flight.result = error
            self._keep(key, error, FAILURE_KEPT_S)
            raise
        finally:
            is_current = self._flights.get(key) is flight
            if is_current:
                del self._flights[key]
            flight.landed.set()
        if is_current:
            self._keep(key, told, self._keep_s)
        return told

    def _keep(self, key: K, result: Told[T] | GatewayError, seconds: float) -> None:
        now = self._clock.monotonic()
        # Swept here, so that what nobody asks for again is forgotten too.
        self._kept = {each: kept for each, kept in self._kept.items() if kept.until > now}
        self._kept.pop(key, None)
        if seconds > 0:
            self._kept[key] = _Kept(result, now + seconds)

    def _still_kept(self, key: K) -> Told[T] | GatewayError | None:
        kept = self._kept.get(key)
        return kept.result if kept and kept.until > self._clock.monotonic() else None


def _out(result: Told[T] | GatewayError, source: Literal["live", "cache"]) -> Told[T]:
    if isinstance(result, GatewayError):
        # Each waiter raises its own: one exception shared by tasks mixes their tracebacks.
        raise copy(result)
    return Told(result.value, result.as_of, source)
