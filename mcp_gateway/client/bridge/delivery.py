"""Messages to the gateway over HTTP, and whatever it answers; sent again only where that is safe.

A call that could not be sent waits for the gateway a while. A call whose answer was lost is
repeated once, the same bytes signed anew: reads change nothing, and an order bears the
request_id by which the gateway knows it again. What is no such call is not repeated.
"""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

import httpx2
import orjson

from mcp_gateway.client.bodies import LARGEST_ANSWER_BYTES, bounded
from mcp_gateway.client.bridge import failures
from mcp_gateway.client.bridge.frames import Frame, answer_to, is_answer, settles_an_order
from mcp_gateway.client.signing import GatewayAuth
from mcp_gateway.client.tokens import Tell
from mcp_gateway.clock import Clock
from mcp_gateway.errors import GatewayError

PATIENCE_S: Final = 10.0  # a restart of the gateway takes less
FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.25, 2.0
# Longer than the gateway's own deadlines: an order has the bot's own retries behind it.
TIMEOUT: Final = httpx2.Timeout(150.0, connect=5.0, pool=5.0)
CONNECTIONS: Final = httpx2.Limits(max_connections=80, max_keepalive_connections=8)
SESSION: Final = "Mcp-Session-Id"
_NEVER_SENT: Final = (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout)
# As every 5xx: a proxy's own words about a call that it may have handed on.
_GAVE_UP: Final = frozenset({408, 499})
_SHORTEST_TOKEN: Final = 16  # a shorter text may stand in an answer by chance
STRUCK: Final = b"[redacted]"

PassOn = Callable[[bytes], Awaitable[None]]


class _NoAnswer(Exception):
    """The conversation ended without an answer; ``begun`` where something was passed on before."""

    def __init__(self, *, begun: bool = False) -> None:
        super().__init__()
        self.begun = begun


class Delivery:
    """Carries frames to one gateway.

    Args:
        url: where the gateway answers MCP.
        tell: is told, for a person, when the gateway goes and comes back.
        transport: stands in for the network in tests.
    """

    def __init__(
        self,
        url: str,
        auth: GatewayAuth,
        *,
        tell: Tell,
        clock: Clock | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = url
        self._tell = tell
        self._clock = clock or Clock()
        self._http = httpx2.AsyncClient(
            auth=auth, timeout=TIMEOUT, limits=CONNECTIONS, trust_env=False, transport=transport
        )
        self._agreed_version: str | None = None
        self._session: str | None = None
        self._away = False

    async def close(self) -> None:
        """End the session, where the server keeps one, and the connections."""
        if self._session is not None:
            with suppress(httpx2.RequestError, GatewayError):
                await self._http.delete(self._url, headers={SESSION: self._session}, timeout=2.0)
        await self._http.aclose()

    async def notify(self, frame: Frame) -> None:
        """Send what awaits no answer; it is said once, and a failure is told to the person."""
        try:
            await self._once(frame, _into_nothing)
        except (httpx2.RequestError, _NoAnswer, GatewayError):
            self._tell(f"Not delivered: {frame.method or 'an answer'}.")

    async def ask(self, frame: Frame, pass_on: PassOn) -> None:
        """Send a request and pass on all that comes in answer, line by line.

        Raises:
            GatewayError: no answer came; what to tell instead.
        """
        away_since, pause_s, in_doubt = None, FIRST_PAUSE_S, False
        while True:
            try:
                await self._once(frame, _in_doubt(frame, pass_on) if in_doubt else pass_on)
            except _NEVER_SENT:
                now = self._clock.monotonic()
                away_since = now if away_since is None else away_since
                if now - away_since >= PATIENCE_S or (self._away and not in_doubt):
                    self._missed()
                    raise failures.lost(frame) if in_doubt else failures.away(frame) from None
            except (httpx2.RequestError, _NoAnswer) as error:
                if in_doubt or not _may_repeat(frame, error):
                    raise failures.lost(frame) from None
                in_doubt = True
            except GatewayError:  # that nothing was sent is true of this time alone
                if in_doubt:
                    raise failures.lost(frame) from None
                raise
            else:
                self._heard()
                return
            await self._clock.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    def _missed(self) -> None:
        """Note that it is away: one call waits for it, the next ones are answered at once."""
        if not self._away:
            self._tell("The gateway does not answer; calls are refused until it does.")
        self._away = True

    def _heard(self) -> None:
        if self._away:
            self._tell("The gateway answers again.")
        self._away = False

    async def _once(self, frame: Frame, pass_on: PassOn) -> None:
        headers = frame.headers(self._agreed_version)
        if self._session is not None and frame.method != "initialize":
            headers[SESSION] = self._session
        async with self._http.stream(
            "POST", self._url, content=frame.raw, headers=headers
        ) as answer:
            kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
            if kind == "text/event-stream":
                await self._events(frame, answer, pass_on)
            else:
                await self._document(frame, answer, pass_on)

    async def _document(self, frame: Frame, answer: httpx2.Response, pass_on: PassOn) -> None:
        line = _message(frame, answer, await bounded(answer))
        if line is not None and is_answer(line):
            self._note(frame, answer, line)
            await pass_on(line)
        elif _may_hide_a_call(answer) or (answer.is_success and frame.is_order):
            raise _NoAnswer  # something stands between, and the gateway may have heard it
        elif frame.awaits_answer or not answer.is_success:
            raise failures.foreign(answer.status_code)

    async def _events(self, frame: Frame, answer: httpx2.Response, pass_on: PassOn) -> None:
        """Pass on every message of a stream, until the one that answers the request."""
        begun = False
        try:
            async for event in httpx2.EventSource(answer, LARGEST_ANSWER_BYTES):
                line = _message(frame, answer, event.data.encode())
                if line is None:
                    continue  # what keeps the stream alive, is no message, or answers another call
                self._note(frame, answer, line)
                await pass_on(line)
                begun = True
                if is_answer(line):
                    return
        except httpx2.RequestError as error:
            raise _NoAnswer(begun=begun) from error
        raise _NoAnswer(begun=begun)

    def _note(self, frame: Frame, answer: httpx2.Response, line: bytes) -> None:
        """Keep what a handshake agrees on: the calls after it have to say it in headers."""
        if frame.method != "initialize":
            return
        result = orjson.loads(line).get("result")
        if isinstance(result, dict) and isinstance(result.get("protocolVersion"), str):
            self._agreed_version = result["protocolVersion"]
            self._session = answer.headers.get(SESSION)


def _may_repeat(frame: Frame, error: Exception) -> bool:
    """Tell whether to send it a second time; who is merely slow is not asked again."""
    if isinstance(error, httpx2.ReadTimeout) or (isinstance(error, _NoAnswer) and error.begun):
        return False
    return frame.repeatable


def _in_doubt(frame: Frame, pass_on: PassOn) -> PassOn:
    """Pass on only what settles an order that was sent before.

    The repetition may be refused by itself, for its quota, say: "nothing was done" would be
    true of it alone.
    """
    if not frame.is_order:
        return pass_on

    async def passed(line: bytes) -> None:
        if is_answer(line) and not settles_an_order(line):
            raise failures.lost(frame)
        await pass_on(line)

    return passed


def _may_hide_a_call(answer: httpx2.Response) -> bool:
    return answer.is_server_error or answer.status_code in _GAVE_UP


def _message(frame: Frame, answer: httpx2.Response, body: bytes) -> bytes | None:
    """Return a message of an answer as one line, without the token where it is echoed.

    A model reads the line, and what a model has read is no secret.
    """
    line = answer_to(frame.request_id, body)
    token = answer.request.headers.get("Authorization", "").removeprefix("Bearer ").encode()
    if line is None or len(token) < _SHORTEST_TOKEN:
        return line
    return line.replace(token, STRUCK)


async def _into_nothing(_line: bytes) -> None:
    """Drop what is answered to something that awaits no answer."""
