"""The keys that an issuer publishes at a URL, kept fresh without a call having to wait.

They are renewed in the background. A token of an unknown key has them fetched at once, by one
fetch for all who wait, and not again before a cooldown is over: a flood of made-up key ids
costs one fetch in that time. While the issuer is down the last keys hold, but not for ever.
"""

from pathlib import Path
from typing import Final

import anyio

from mcp_gateway.access.tokens import fetching
from mcp_gateway.access.tokens.compact import strict_object
from mcp_gateway.access.tokens.fetching import FetchFailed
from mcp_gateway.access.tokens.issuers import CALL_AGAIN_S
from mcp_gateway.access.tokens.publickeys import Asymmetric, KeySet, read_jwks
from mcp_gateway.clock import Clock
from mcp_gateway.errors import IssuerUnavailable
from mcp_gateway.telemetry import logs, metrics

SOONEST_S: Final = 300.0  # bounds of the issuer's own max-age
LATEST_S: Final = 3600.0
USUAL_S: Final = 900.0  # where it names none
FIRST_RETRY_S: Final = 5.0  # doubled with every failure, up to SOONEST_S
COOLDOWN_S: Final = 5.0
MOST_WAITING: Final = 64  # callers with unknown keys, who hold a connection each
# A day: as long as tokens live at most by default. Withdrawn keys are believed no longer than
# that, even by one who keeps us from their issuer.
LONGEST_KEPT_S: Final = 86_400.0
NO_KEYS: Final = KeySet()

_log = logs.get(__name__)


class JwksKeys:
    """The keys of one issuer by its JWKS URL.

    Args:
        name: the issuer's in the issuers file, for logs and metrics.
        url: https, or of this machine (``fetching.unfit_url``).
        cooldown_s: least time between two fetches for unknown keys.
    """

    def __init__(
        self,
        name: str,
        url: str,
        algorithm: Asymmetric,
        clock: Clock,
        *,
        ca_file: Path | None = None,
        cooldown_s: float = COOLDOWN_S,
    ) -> None:
        self.url: Final = url
        self._name = name
        self._algorithm: Asymmetric = algorithm
        self._clock = clock
        self._ca_file = ca_file
        self._cooldown_s = cooldown_s
        self._keys = NO_KEYS
        self._renewed_at: float | None = None
        self._sought_at: float | None = None
        self._fresh_s = USUAL_S
        self._failures = 0
        self._trouble: str | None = "not fetched yet"
        self._flight: anyio.Event | None = None
        self._waiting = 0

    def __repr__(self) -> str:
        return f"JwksKeys({self._name!r}, {self.url!r})"

    @property
    def keys(self) -> KeySet:
        """The keys believed at present; the same object until others are published."""
        return NO_KEYS if self._too_old() else self._keys

    @property
    def trouble(self) -> str | None:
        """Why the last fetch brought no key, None where it brought some."""
        return self._trouble

    async def seek(self, key_id: str | None) -> None:
        """Fetch the keys now, unless that was done for an unknown key a moment ago.

        Raises:
            IssuerUnavailable: too many wait for them already.
        """
        if self._waiting >= MOST_WAITING:
            raise IssuerUnavailable(
                "Too many callers wait for the keys of the token's issuer.",
                retry_after_s=CALL_AGAIN_S,
            )
        self._waiting += 1
        try:
            # Shielded: whoever asks and hangs up must not stop the fetch that others wait for.
            with anyio.CancelScope(shield=True):
                await self._look_for(key_id)
        finally:
            self._waiting -= 1

    async def _look_for(self, key_id: str | None) -> None:
        if self._flight is not None:  # begun before the key was published, perhaps
            await self._flight.wait()
        if self.keys.find(key_id) is not None:
            return
        if self._flight is not None:  # begun since
            await self._flight.wait()
        elif not self._is_cooling():
            await self._renew()
            self._sought_at = self._clock.monotonic()

    async def keep(self) -> None:
        """Renew the keys for ever: when they are no longer fresh, and soon after a failure."""
        while True:
            await self._renew()
            if self._too_old():
                _log.error("The issuer's keys are too old to be believed", issuer=self._name)
            await self._clock.sleep(self._wait_s())

    def _is_cooling(self) -> bool:
        sought_at = self._sought_at
        return sought_at is not None and self._clock.monotonic() - sought_at < self._cooldown_s

    def _too_old(self) -> bool:
        renewed_at = self._renewed_at
        return renewed_at is not None and self._clock.monotonic() - renewed_at > LONGEST_KEPT_S

    def _wait_s(self) -> float:
        if self._failures:
            return min(FIRST_RETRY_S * 2.0 ** min(self._failures - 1, 10), SOONEST_S)
        return min(max(self._fresh_s, SOONEST_S), LATEST_S)

    async def _renew(self) -> None:
        """Fetch once, or wait for the fetch that is under way."""
        if self._flight is not None:
            await self._flight.wait()
            return
        self._flight = landed = anyio.Event()
        try:
            fetched = await fetching.fetch(self.url, self._ca_file)
            keys, faults = _published(fetched.body, self._algorithm)
        except FetchFailed as failure:
            self._failed(str(failure))
        else:
            self._take(keys, faults, fetched.fresh_s)
        finally:
            self._flight = None
            landed.set()

    def _take(self, keys: KeySet, faults: list[str], fresh_s: int | None) -> None:
        metrics.issuer_fetches_total.labels(self._name, "ok").inc()
        metrics.issuer_keys_trouble.labels(self._name).set(0 if keys else 1)
        if keys and (self._trouble is not None or keys != self._keys):
            _log.info(
                "The issuer's keys are here",
                issuer=self._name, keys=len(keys), left_out=len(faults),
            )  # fmt: skip
        for fault in faults if keys and keys != self._keys else ():
            _log.warning("A key of the issuer is left out", issuer=self._name, reason=fault)
        # An issuer that publishes no key any more has withdrawn those it had: stolen, perhaps.
        trouble = None if keys else f"no usable key: {'; '.join(faults)}"
        if trouble is not None and trouble != self._trouble:
            _log.error("The issuer publishes no usable key", issuer=self._name, reason=trouble)
        # An equal set stays the same object: tokens checked by it stay checked.
        self._keys = self.keys if keys == self.keys else keys
        self._fresh_s = USUAL_S if fresh_s is None else float(fresh_s)
        self._renewed_at, self._failures, self._trouble = self._clock.monotonic(), 0, trouble

    def _failed(self, reason: str) -> None:
        self._failures += 1
        self._trouble = reason
        metrics.issuer_fetches_total.labels(self._name, "failed").inc()
        metrics.issuer_keys_trouble.labels(self._name).set(1)
        _log.warning("The issuer's keys could not be fetched", issuer=self._name, reason=reason)


def _published(body: bytes, algorithm: Asymmetric) -> tuple[KeySet, list[str]]:
    try:
        document = strict_object(body)
    except (ValueError, RecursionError):
        raise FetchFailed("not a JSON object") from None
    try:
        return read_jwks(document, algorithm)
    except ValueError as fault:
        raise FetchFailed(f"no usable JWKS: {fault}") from None
