"""Where a client's bearer token comes from, and how it stays fresh.

A source keeps the token to itself: neither its errors nor its representation show it.

Source: RFC 6749 sections 2.3.1 (client authentication), 4.4 (client credentials), 5.1, 5.2.
"""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import quote_plus

import anyio
import httpx2

from mcp_gateway.client.addresses import endpoint
from mcp_gateway.client.bodies import bounded
from mcp_gateway.client.secret_files import SecretFileRefused, read_secret
from mcp_gateway.clock import Clock
from mcp_gateway.errors import GatewayError

LARGEST_ANSWER_BYTES: Final = 65_536
FETCH_TIMEOUT_S: Final = 10.0
DEFAULT_LIFETIME_S: Final = 300.0  # where the endpoint names none
LONGEST_MARGIN_S: Final = 60.0
MARGIN: Final = 0.1  # of the lifetime: renewed that long before the end
# The endpoint's no to this client (RFC 6749 section 5.2); other failures say nothing about it.
REFUSALS: Final = frozenset({400, 401, 403})
BUSY: Final = frozenset({408, 429})  # as every 5xx
COOLDOWN_S: Final = 1.0  # a refused token is not fetched anew for each call that met it
OAUTH_ERRORS: Final = (
    "invalid_request", "invalid_client", "invalid_grant", "unauthorized_client",
    "unsupported_grant_type", "invalid_scope", "invalid_target",
)  # fmt: skip

Tell = Callable[[str], None]


class TokenUnavailable(GatewayError):
    """There is no token to show just now; nothing was sent."""

    default_code = "token_unavailable"
    retryable = True
    default_hint = "Nothing was sent. Call again in a little while; the operator may have to look."


class TokenEndpointAway(TokenUnavailable):
    """The token endpoint does not answer, or is busy: the same call may find it back."""


class TokenSource(Protocol):
    """Has the current token, and another one when the gateway refuses it."""

    async def current(self) -> str:
        """Return the token to show now.

        Raises:
            TokenUnavailable: there is none.
        """

    async def after_refusal(self, refused: str) -> str:
        """Return the token to try once more; the refused one where there is no other."""


class FixedToken:
    """The one token that was given."""

    def __init__(self, token: str) -> None:
        self._token = sendable(token)

    async def current(self) -> str:
        """Return it."""
        return self._token

    async def after_refusal(self, refused: str) -> str:
        """Return the refused one: there is no other."""
        return refused


class TokenFile:
    """A token in a file of its own (mode 0600), read anew when the file changes.

    Args:
        tell: is told, without the token, why a changed file was not taken.
    """

    def __init__(self, path: Path, tell: Tell) -> None:
        self._path = path
        self._tell = tell
        self._seen: tuple[int, ...] | None = None
        self._token: str | None = None

    async def current(self) -> str:
        """Return what the file holds; while it can't be read, what it held last."""
        seen = self._stamp()
        if seen is None or seen != self._seen:
            self._seen = seen
            self._read()
        if self._token is None:
            raise TokenUnavailable("The bridge's token file can't be read.")
        return self._token

    async def after_refusal(self, refused: str) -> str:
        """Read the file again: it may have been written in that moment."""
        self._read()
        return self._token or refused

    def _stamp(self) -> tuple[int, ...] | None:
        try:
            told = self._path.stat()
        except OSError:
            return None
        return told.st_mtime_ns, told.st_ctime_ns, told.st_size, told.st_ino

    def _read(self) -> None:
        try:
            self._token = sendable(read_secret(self._path))
        except (SecretFileRefused, ValueError) as error:
            self._tell(f"The token file was not taken: {error}")


class ClientCredentials:
    """Fetches tokens for a client by its name and secret, and renews them before they end.

    Args:
        token_url: the token endpoint, such as ``https://gateway.example/auth/token``.
        scope: what to ask for, separated by spaces; None: all that the client may have.
        transport: stands in for the network in tests.

    Raises:
        ValueError: the endpoint is one that no secret may be sent to.
    """

    def __init__(
        self,
        token_url: str,
        client_id: str,
        client_secret: str,
        *,
        scope: str | None = None,
        clock: Clock | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._url = endpoint(token_url)
        self._login = _basic(client_id, client_secret)
        self._form = {"grant_type": "client_credentials"} | ({"scope": scope} if scope else {})
        self._clock = clock or Clock()
        self._transport = transport
        self._one_at_a_time = anyio.Lock()
        self._token: str | None = None
        self._renew_at = self._ends_at = self._tried_at = float("-inf")

    async def current(self) -> str:
        """Return the token, renewed where its end is near."""
        if self._token is not None and self._clock.monotonic() < self._renew_at:
            return self._token
        async with self._one_at_a_time:
            now = self._clock.monotonic()
            if (self._token is None or now >= self._renew_at) and self._may_try(now):
                await self._renew()
            if self._token is None or now >= self._ends_at:
                raise TokenEndpointAway("The token endpoint gives no token just now.")
            return self._token

    async def after_refusal(self, refused: str) -> str:
        """Fetch another one, unless that was done a moment ago."""
        async with self._one_at_a_time:
            if self._token in {None, refused} and self._may_try(self._clock.monotonic()):
                self._token = None
                await self._renew()
            return self._token or refused

    def _may_try(self, now: float) -> bool:
        return now - self._tried_at >= COOLDOWN_S

    async def _renew(self) -> None:
        """Fetch a token; one that is still good outlives an endpoint that is away, or busy."""
        self._tried_at = now = self._clock.monotonic()
        try:
            status, told = await self._asked()
        except httpx2.TransportError:
            if self._token is None:
                raise TokenEndpointAway("The token endpoint does not answer.") from None
            return
        if status != httpx2.codes.OK:
            self._token = None if status in REFUSALS else self._token
            if self._token is None:
                raise _refused(status, told)
            return
        try:
            token, lifetime_s = _granted(told)
        except TokenUnavailable:
            if self._token is None:
                raise
            return
        self._token = token
        self._ends_at = now + lifetime_s
        self._renew_at = self._ends_at - min(LONGEST_MARGIN_S, MARGIN * lifetime_s)

    async def _asked(self) -> tuple[int, Any]:
        headers = {"Authorization": self._login, "Accept": "application/json"}
        async with (
            httpx2.AsyncClient(
                timeout=FETCH_TIMEOUT_S, trust_env=False, transport=self._transport
            ) as http,
            http.stream("POST", self._url, data=self._form, headers=headers) as answer,
        ):
            body = await bounded(answer, LARGEST_ANSWER_BYTES)
        try:
            return answer.status_code, json.loads(body)
        except ValueError:
            return answer.status_code, None


def sendable(token: str) -> str:
    """Return a token that fits into a header, without white space around it.

    Raises:
        ValueError: it holds what a header can't, or nothing.
    """
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ValueError("the token holds characters that no token has")
    return token


def _granted(told: Any) -> tuple[str, float]:
    """Return the token of an endpoint's answer, and its lifetime in seconds."""
    if not isinstance(told, dict):
        raise TokenUnavailable("The token endpoint's answer can't be read.")
    kind, lifetime_s = told.get("token_type"), told.get("expires_in", DEFAULT_LIFETIME_S)
    try:
        token = sendable(str(told["access_token"]))
        seconds = float(lifetime_s)
    except (KeyError, TypeError, ValueError):
        raise TokenUnavailable("The token endpoint's answer can't be read.") from None
    if not isinstance(kind, str) or kind.lower() != "bearer" or not seconds > 0:
        raise TokenUnavailable("The token endpoint gives tokens of another kind.")
    return token, seconds


def _refused(status: int, told: Any) -> TokenUnavailable:
    """Name the protocol's own word where there is one; an endpoint's sentences stay outside."""
    word = told.get("error") if isinstance(told, dict) else None
    why = f" ({word})" if word in OAUTH_ERRORS else ""
    busy = status in BUSY or httpx2.codes.is_server_error(status)
    kind = TokenEndpointAway if busy else TokenUnavailable
    return kind(f"The token endpoint refused with status {status}{why}.")


def _basic(client_id: str, client_secret: str) -> str:
    login = f"{quote_plus(client_id)}:{quote_plus(client_secret)}"
    return f"Basic {base64.b64encode(login.encode()).decode()}"
