"""The bot's message websocket: it tells at once what polling would see later.

The connection is kept for ever and its loss is never an error of the caller's: events only
say when to look. What may have been missed is told too, as an event.
"""

import logging
import math
from collections import deque
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Final
from urllib.parse import quote

import anyio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException

from mcp_gateway.clock import Clock
from mcp_gateway.freqtrade import messages
from mcp_gateway.freqtrade.messages import BotEvent
from mcp_gateway.telemetry import logs, metrics

__all__ = ["BotEvent", "BotEvents"]

MOST_WAITING: Final = 1024
LARGEST_MESSAGE_BYTES: Final = 64 * 1024  # the largest about a trade has 1 kB
PATIENCE_S: Final = 10.0
CLOSE_S: Final = 1.0
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
REFUSED_PAUSE_S: Final = 60.0  # only an operator mends a wrong token
REFUSED: Final = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN)

_log = logs.get(__name__)
# The library writes the request line, which holds the token, at DEBUG; so it gets a logger
# that never goes as far down, whatever LOG_LEVEL says.
_wire_log = logging.getLogger(f"{__name__}.wire")
_wire_log.setLevel(logging.WARNING)


class _Straight(connect):
    """Connects where it is told to and nowhere else: the address holds the token."""

    def process_redirect(self, exc: Exception) -> Exception | str:
        """Take a redirect for the refusal that it is."""
        return exc


class BotEvents:
    """The bot's events in their order, for one listener; ``keep`` holds the connection.

        group.start_soon(events.keep)
        async for event in events: ...

    Args:
        url: the bot's base URL, without ``/api/v1``.
        token: ``api_server.ws_token`` of the bot's configuration.
        patience_s: how long the bot may take to connect, and to answer a ping.

    Source: Freqtrade 2026.9, /api/v1/message/ws.
    """

    def __init__(
        self, url: str, token: str, *, clock: Clock, patience_s: float = PATIENCE_S
    ) -> None:
        base = url.rstrip("/").replace("http", "ws", 1)
        self._address = f"{base}/api/v1/message/ws?token={quote(token, safe='')}"
        self._clock = clock
        self._patience_s = patience_s
        self._waiting: deque[BotEvent] = deque()
        self._missed = False
        self._news = anyio.Event()
        self._ended = False
        self._connected = False
        self._trouble: str | None = None
        self._saw_nonsense = False

    @property
    def connected(self) -> bool:
        """Whether the bot tells its events now: polling may take its time."""
        return self._connected

    def __aiter__(self) -> AsyncIterator[BotEvent]:
        """Iterate over what happens, until ``keep`` has ended."""
        return self

    async def __anext__(self) -> BotEvent:
        """Return the next event; ``missed`` first where some found no room to wait."""
        while True:
            if self._missed:
                self._missed = False
                return BotEvent("missed")
            if self._waiting:
                return self._waiting.popleft()
            if self._ended:
                raise StopAsyncIteration
            await self._news.wait()

    async def keep(self) -> None:
        """Connect, and connect again, until cancelled; whatever the bot does raises nothing."""
        failures = 0
        try:
            while True:
                began = self._clock.monotonic()
                least_pause_s = await self._hold_connection()
                # A connection that never lasts is as bad as none: the pauses grow.
                lasted = self._clock.monotonic() - began >= LONGEST_PAUSE_S
                failures = 0 if lasted else failures + 1
                grown_s = FIRST_PAUSE_S * math.pow(2, min(failures, 7) - 1)
                await self._clock.sleep(max(least_pause_s, min(grown_s, LONGEST_PAUSE_S)))
        finally:
            self._ended = True
            self._wake()

    async def _hold_connection(self) -> float:
        """Connect and listen until the connection ends; return the least pause after it."""
        try:
            wire = await self._connect()
            try:
                await self._listen(wire)
            finally:
                with anyio.CancelScope(shield=True):  # for CLOSE_S at most
                    await wire.close()
        except InvalidStatus as refusal:
            status = refusal.response.status_code
            if status in REFUSED:
                self._tell_token_refused(status)
                return REFUSED_PAUSE_S
            self._tell_trouble("refused", status=status)
        except (OSError, TimeoutError, WebSocketException) as error:
            # By its kind alone: its text may hold the address, and so the token.
            self._tell_trouble("lost", reason=type(error).__name__)
        except Exception as error:  # noqa: BLE001  (polling follows the orders without any of this)
            self._tell_trouble("failed", reason=type(error).__name__)
        finally:
            self._set_connected(False)
        return 0.0

    def _connect(self) -> connect:
        return _Straight(
            self._address,
            compression=None,
            proxy=None,
            open_timeout=self._patience_s,
            ping_interval=2 * self._patience_s,
            ping_timeout=self._patience_s,
            close_timeout=CLOSE_S,
            max_size=LARGEST_MESSAGE_BYTES,
            logger=_wire_log,
        )

    async def _listen(self, wire: ClientConnection) -> None:
        """Subscribe and hear; the bot has to answer the subscription, then may be silent."""
        with anyio.fail_after(self._patience_s) as patience:
            for line in messages.subscription():
                await wire.send(line)
            while True:
                event = messages.read(await wire.recv(decode=False))
                if event is None:
                    self._tell_nonsense()
                    continue
                if event.kind == "reconnected":
                    patience.deadline = math.inf
                    self._set_connected(True)
                self._take(event)

    def _take(self, event: BotEvent) -> None:
        """Let an event wait for the listener; a slow one learns that it missed some."""
        metrics.bot_events_total.labels(event.kind).inc()
        if len(self._waiting) < MOST_WAITING:
            self._waiting.append(event)
        else:
            self._missed = True
            metrics.bot_events_total.labels("missed").inc()
        self._wake()

    def _wake(self) -> None:
        self._news.set()
        self._news = anyio.Event()

    def _set_connected(self, connected: bool) -> None:
        if connected:
            self._trouble = None
            _log.info("Bot events connected")
        self._connected = connected
        metrics.bot_events_connected.set(connected)

    def _tell_token_refused(self, status: int) -> None:
        if self._trouble != "token":
            self._trouble = "token"
            _log.error(
                "The bot refuses FREQTRADE_WS_TOKEN; orders are followed by polling alone",
                status=status,
                hint="It must be api_server.ws_token of the bot's configuration.",
            )

    def _tell_trouble(self, kind: str, **facts: str | int) -> None:
        """Log a trouble when it begins, not again at each try."""
        if self._trouble != kind:
            self._trouble = kind
            _log.warning("No bot events; orders are followed by polling alone", **facts)

    def _tell_nonsense(self) -> None:
        metrics.bot_events_total.labels("nonsense").inc()
        if not self._saw_nonsense:
            self._saw_nonsense = True
            _log.warning("The bot told something that is no event of ours")
