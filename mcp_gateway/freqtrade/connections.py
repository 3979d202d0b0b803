"""The connections to the bot: what may be repeated, and what goes out once.

Reads share a pool and are repeated when a connection breaks. An order or a cancel goes out
once, on a connection of its own, and its answer is a value that says what was proven. Every
call has a deadline by the wall clock, since the HTTP library's time-outs start anew with
each byte.
"""

from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any, Literal, NamedTuple, TypeVar

import anyio
import httpx2
import orjson
import stamina

from mcp_gateway.clock import Clock
from mcp_gateway.domain.answers import Accepted, Answer, NotSent, Unanswered
from mcp_gateway.errors import BotUnavailable, GatewayError
from mcp_gateway.freqtrade import wire
from mcp_gateway.freqtrade.answers import failed_read
from mcp_gateway.telemetry import logs, metrics

# Asked right before the first byte of an order leaves: None, or why it must not. It may wait,
# not for long: what it says has to be true when it says so.
Unless = Callable[[], Awaitable[str | None]]
LARGEST_ANSWER_BYTES = 8 * 1024 * 1024
CONNECT_TIMEOUT_S = 5.0
LONGEST_REASON = 200
# Below the 5 s after which the bot's server (uvicorn) closes an idle connection itself.
IDLE_CONNECTION_S = 4.0

T = TypeVar("T")
Method = Literal["GET", "POST", "DELETE"]


class Withheld(Exception):
    """What was about to be sent must not be; nothing of it was."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Answered(NamedTuple):
    """What came back; ``at`` is the bot's own clock, to the second."""

    status: int
    body: bytes
    at: datetime | None


# After each 500 the bot drops the kept connection, and a reload refuses new ones for half a
# second: both pass by trying again. A 500 itself is not repeated, it is the exchange's trouble.
_repeat = stamina.AsyncRetryingCaller(
    attempts=3, timeout=None, wait_initial=0.1, wait_max=0.4, wait_jitter=0.1
).on((httpx2.NetworkError, httpx2.RemoteProtocolError))

_log = logs.get(__name__)


class Connections:
    """Two pools to one bot, for reads and for orders; see ``FreqtradeClient`` for the arguments.

    Args:
        absence: why the bot can't be reached yet, where somebody knows.
    """

    def __init__(
        self,
        url: str,
        username: str | None,
        password: str | None,
        *,
        pool_size: int,
        read_timeout_s: float,
        order_timeout_s: float,
        clock: Clock,
        absence: Callable[[], BotUnavailable | None],
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._clock = clock
        self._absence = absence
        self._read_timeout_s = read_timeout_s
        self._order_timeout_s = order_timeout_s
        auth = httpx2.BasicAuth(username, password or "") if username else None

        def connect(timeout_s: float, limits: httpx2.Limits) -> httpx2.AsyncClient:
            return httpx2.AsyncClient(
                base_url=f"{url}/api/v1/",
                auth=auth,
                timeout=httpx2.Timeout(timeout_s, connect=min(timeout_s, CONNECT_TIMEOUT_S)),
                limits=limits,
                headers={"accept": "application/json", "accept-encoding": "identity"},
                follow_redirects=False,
                trust_env=False,
                transport=transport,
            )

        kept = httpx2.Limits(
            max_connections=pool_size,
            max_keepalive_connections=pool_size,
            keepalive_expiry=IDLE_CONNECTION_S,
        )
        self._reads = connect(read_timeout_s, kept)
        # No connection is kept here, so each order gets a fresh one.
        self._orders = connect(order_timeout_s, httpx2.Limits(max_keepalive_connections=0))

    async def aclose(self) -> None:
        """Close every connection."""
        await self._reads.aclose()
        await self._orders.aclose()

    async def read(
        self,
        endpoint: str,
        parse: Callable[[bytes], T],
        *,
        path: str | None = None,
        params: Mapping[str, str | int] | None = None,
    ) -> T:
        """Ask the bot and return what ``parse`` makes of its answer.

        Args:
            endpoint: the name under which the call is counted, and its path if it has no other.
        """
        return await self._read(endpoint, lambda answered: parse(answered.body), path, params)

    async def read_dated(self, endpoint: str, parse: Callable[[bytes, datetime | None], T]) -> T:
        """Ask as ``read`` does; ``parse`` is also told what the bot's own clock said."""
        return await self._read(endpoint, lambda answered: parse(answered.body, answered.at))

    async def _read(
        self,
        endpoint: str,
        parse: Callable[[Answered], T],
        path: str | None = None,
        params: Mapping[str, str | int] | None = None,
    ) -> T:
        started = self._clock.monotonic()
        result = "cancelled"
        try:
            answered = await self._get(path or endpoint, params)
            if answered.status != HTTPStatus.OK:
                _log_refusal(endpoint, answered.status, answered.body)
                raise failed_read(answered.status, answered.body)
            told = parse(answered)
            result = "ok"
        except GatewayError as error:
            result = error.code
            raise
        finally:
            self._count(endpoint, result, started)
        return told

    async def order(
        self,
        method: Literal["POST", "DELETE"],
        endpoint: str,
        understand: Callable[[int, bytes], Answer],
        *,
        path: str | None = None,
        told: Mapping[str, Any] | None = None,
        unless: Unless | None = None,
    ) -> Answer:
        """Send one request that changes something, once, and return what ``understand`` says.

        Args:
            endpoint: the name under which the call is counted, and its path if it has no other.
            told: the JSON object to send, None for no body.
            unless: keeps it back where it tells a code, as late as can be: connecting takes time.
        """
        started = self._clock.monotonic()
        result = "cancelled"
        try:
            content = None if told is None else orjson.dumps(told)
            answered = await self._send(method, path or endpoint, content, unless)
            if isinstance(answered, Answered):
                if answered.status != HTTPStatus.OK:
                    _log_refusal(endpoint, answered.status, answered.body)
                answer = understand(answered.status, answered.body)
            else:
                answer = answered
            result = "ok" if isinstance(answer, Accepted) else answer.code
        finally:
            self._count(endpoint, result, started)
        return answer

    async def _get(self, path: str, params: Mapping[str, str | int] | None) -> Answered:
        try:
            with anyio.fail_after(self._read_timeout_s):
                return await _repeat(_exchange, self._reads, "GET", path, params=params)
        except (TimeoutError, httpx2.TimeoutException):
            raise BotUnavailable(
                "The bot did not answer in time; nothing was changed.", code="bot_timeout"
            ) from None
        except httpx2.DecodingError:
            raise wire.nonsense() from None
        except httpx2.RequestError:
            raise self._absence() or BotUnavailable(
                "The bot cannot be reached; nothing was changed.", code="bot_unreachable"
            ) from None

    async def _send(
        self, method: Method, path: str, content: bytes | None, unless: Unless | None
    ) -> Answered | NotSent | Unanswered:
        if unless is not None and (code := await unless()) is not None:
            return NotSent(code)
        try:
            with anyio.fail_after(self._order_timeout_s):
                return await _exchange(self._orders, method, path, content=content, unless=unless)
        except Withheld as withheld:
            return NotSent(withheld.code)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout):
            return NotSent("bot_unreachable")
        except (TimeoutError, httpx2.TimeoutException):
            return Unanswered("bot_timeout")
        except httpx2.RequestError:
            return Unanswered("connection_lost")

    def _count(self, endpoint: str, result: str, started: float) -> None:
        metrics.bot_requests_total.labels(endpoint, result).inc()
        metrics.bot_request_seconds.labels(endpoint).observe(self._clock.monotonic() - started)


async def _exchange(
    client: httpx2.AsyncClient,
    method: Method,
    path: str,
    *,
    params: Mapping[str, str | int] | None = None,
    content: bytes | None = None,
    unless: Unless | None = None,
) -> Answered:
    """Send one request and read its answer; what is too long is cut, and then is no JSON."""
    headers = {"content-type": "application/json"} if content else None
    extensions = None if unless is None else {"trace": _asking(unless)}
    body = bytearray()
    async with client.stream(
        method, path, params=params, content=content, headers=headers, extensions=extensions
    ) as response:
        async for part in response.aiter_bytes():
            body += part
            if len(body) > LARGEST_ANSWER_BYTES:
                return Answered(response.status_code, bytes(body[:LARGEST_ANSWER_BYTES]), None)
    return Answered(response.status_code, bytes(body), _date_of(response))


def _asking(unless: Unless) -> Callable[[str, Any], Awaitable[None]]:
    """Return what the HTTP library calls at each step: at the first byte, ``unless`` is asked.

    Source: httpcore, the ``trace`` extension.
    """

    async def trace(event: str, _info: Any) -> None:
        if event.endswith("send_request_headers.started") and (code := await unless()) is not None:
            raise Withheld(code)

    return trace


def _date_of(response: httpx2.Response) -> datetime | None:
    try:
        at = parsedate_to_datetime(response.headers["date"])
    except (KeyError, ValueError):
        return None  # a proxy may have taken it out
    return at if at.tzinfo else None


def _log_refusal(endpoint: str, status: int, body: bytes) -> None:
    """Keep the bot's own words for the operator: no model ever sees them."""
    reason = (wire.reason(body) or "")[:LONGEST_REASON]
    _log.info("bot refused", endpoint=endpoint, status=status, reason=reason)
