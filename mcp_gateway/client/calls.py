"""One call over REST until it is answered or its deadline has passed.

What is repeated here may be repeated: reads, dry runs, cancels, and orders, which the gateway
knows again by their request_id. Each repetition is signed anew.
"""

from dataclasses import dataclass
from typing import Any, Final

import httpx2
import orjson

from mcp_gateway.client.bodies import bounded
from mcp_gateway.client.failures import GatewayRefused, GatewayUnreachable
from mcp_gateway.client.tokens import TokenEndpointAway
from mcp_gateway.clock import Clock
from mcp_gateway.errors import GatewayError

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 5.0
CONNECT_TIMEOUT_S: Final = 5.0
REPLAYED: Final = "Idempotent-Replayed"
# By these a refusal is the gateway's own, and no word of a proxy's before it (RFC 9457).
PROBLEM: Final = "application/problem+json"
PROBLEM_TYPE: Final = "urn:mcp-gateway:problem:"
_NEVER_SENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
# The gateway itself says of these that the same call may succeed later.
_LATER: Final = frozenset({429, 503})
# After these the call may have been carried out: a fault of the gateway's, or it was stopped.
_IN_DOUBT: Final = frozenset({"internal_error", "cut_off"})
# As every 5xx: a proxy's own words about a call that it may have handed on.
_GAVE_UP: Final = frozenset({408, 499})
_UNDER_WAY: Final = "order_in_progress"  # an earlier sending of the same order is being checked


@dataclass(frozen=True, slots=True)
class Call:
    """One request; ``path`` stands behind the gateway's address."""

    method: str
    path: str
    params: dict[str, str] | None = None
    document: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """What the gateway answered: its document's bytes, and the same read.

    ``in_doubt``: an earlier sending of the same call may have been carried out.
    """

    status: int
    body: bytes
    told: dict[str, Any]
    replayed: bool = False
    in_doubt: bool = False

    @property
    def ok(self) -> bool:
        """Whether it is what was asked for, and no problem."""
        return httpx2.codes.is_success(self.status)

    @property
    def code(self) -> str:
        """The problem's code."""
        return str(self.told.get("code", ""))

    @property
    def retry_after_s(self) -> float:
        """How long the gateway wants to be left alone, in seconds."""
        after = self.told.get("retry_after_s")
        return float(after) if isinstance(after, int | float) else 0.0

    def refusal(self) -> GatewayRefused:
        """Return a problem as an error with code, hint and retry_after_s."""
        return GatewayRefused(
            str(self.told.get("detail", "")),
            code=self.code,
            hint=str(self.told.get("hint", "")),
            retry_after_s=self.retry_after_s or None,
            detail={"status": self.status, "retryable": self.told.get("retryable", False)},
        )


# The last that was heard before the deadline: the gateway's own no, or the token endpoint's.
_No = Reply | TokenEndpointAway


class Undelivered(Exception):
    """The deadline has passed without an answer that would stand.

    Attributes:
        in_doubt: the call may have been carried out.
    """

    def __init__(self, *, in_doubt: bool, last: _No | None, address: str) -> None:
        super().__init__()
        self.in_doubt = in_doubt
        self._last = last
        self._address = address

    def refusal(self) -> GatewayRefused | GatewayUnreachable:
        """Return what to raise of a call that has changed nothing."""
        if isinstance(self._last, Reply):
            return self._last.refusal()
        if self._last is not None:
            return GatewayUnreachable(self._last.message, hint=self._last.hint)
        return GatewayUnreachable(f"No gateway answers at {self._address}.")


class Calls:
    """Makes calls to one gateway."""

    def __init__(self, http: httpx2.AsyncClient, clock: Clock) -> None:
        self._http = http
        self._clock = clock

    async def make(self, call: Call, deadline_s: float) -> Reply:
        """Return the gateway's answer, waiting and asking again within the deadline.

        Raises:
            Undelivered: there was none in time.
            GatewayError: what answers is no gateway, there is no token to show, or the request
                can't be sent.
        """
        ends_at = self._clock.monotonic() + deadline_s
        pause_s, in_doubt = FIRST_PAUSE_S, False
        last: _No | None = None
        while True:
            wait_s = pause_s
            try:
                reply = await self._once(call, ends_at - self._clock.monotonic())
            except _NEVER_SENT:
                pass
            except TokenEndpointAway as error:
                last = error
            except httpx2.RequestError:
                in_doubt = True
            except GatewayError:  # that nothing was done is true of this time alone
                if in_doubt:
                    raise self._undelivered(last, in_doubt=True) from None
                raise
            else:
                if reply is not None and not _asks_again(reply):
                    return _doubted(reply) if in_doubt else reply
                in_doubt = in_doubt or reply is None or reply.code in _IN_DOUBT
                last = reply or last
                wait_s = max(pause_s, reply.retry_after_s if reply else 0.0)
            if self._clock.monotonic() + wait_s >= ends_at:
                raise self._undelivered(last, in_doubt=in_doubt)
            await self._clock.sleep(wait_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _undelivered(self, last: _No | None, *, in_doubt: bool) -> Undelivered:
        return Undelivered(in_doubt=in_doubt, last=last, address=str(self._http.base_url))

    async def _once(self, call: Call, left_s: float) -> Reply | None:
        """Send it once; None where what answers may stand before a gateway that carried it out."""
        timeout = httpx2.Timeout(max(left_s, 1.0), connect=CONNECT_TIMEOUT_S)
        try:
            async with self._http.stream(
                call.method, call.path, params=call.params, json=call.document, timeout=timeout
            ) as answer:
                body = await bounded(answer)
        except httpx2.LocalProtocolError:  # it would say the same the next time
            raise _not_sendable() from None
        told = _document(answer, body)
        if told is None:
            gave_up = answer.is_server_error or answer.status_code in _GAVE_UP
            if gave_up or (answer.is_success and call.method != "GET"):
                return None
            raise GatewayRefused(
                f"What answers is no gateway (status {answer.status_code}).",
                code="no_gateway_there",
                hint="Look at the address.",
            )
        replayed = answer.headers.get(REPLAYED) == "true"
        return Reply(answer.status_code, body, told, replayed)


def _not_sendable() -> GatewayRefused:
    return GatewayRefused(
        "The request can't be sent as it is: a header holds what no header may.",
        code="request_not_sendable",
        hint="Nothing was sent. Look at the token and at the key's id.",
    )


def _asks_again(reply: Reply) -> bool:
    if reply.code in _IN_DOUBT or reply.code == _UNDER_WAY:
        return True
    return reply.status in _LATER and reply.told.get("retryable") is True


def _doubted(reply: Reply) -> Reply:
    return Reply(reply.status, reply.body, reply.told, reply.replayed, in_doubt=True)


def _document(answer: httpx2.Response, body: bytes) -> dict[str, Any] | None:
    """Return the JSON object of an answer or of a gateway's problem; None where it is neither."""
    try:
        told = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    if not isinstance(told, dict) or not (answer.is_success or _is_problem(answer, told)):
        return None
    return told


def _is_problem(answer: httpx2.Response, told: dict[str, Any]) -> bool:
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    ours = str(told.get("type", "")).startswith(PROBLEM_TYPE)
    return kind == PROBLEM and ours and isinstance(told.get("code"), str)
