"""The httpx2 authentication of a client whose token is renewed while it works."""

from collections.abc import AsyncGenerator

import httpx2

from mcp_gateway.client.signing import GatewayAuth, SigningKey
from mcp_gateway.client.tokens import TokenSource
from mcp_gateway.clock import Clock


class RenewingAuth(GatewayAuth):
    """A GatewayAuth that takes its token from a source, and another one once where it is refused.

    A request that is refused for its token was not carried out, so sending it once more with
    another token, signed anew, is safe. For async clients alone.

    Args:
        source: where the token comes from, e.g. ``ClientCredentials``.
        key: as for GatewayAuth; None where the caller places no orders.
    """

    def __init__(
        self,
        source: TokenSource,
        *,
        key: SigningKey | None = None,
        key_id: str | None = None,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(self._shown, key=key, key_id=key_id, clock=clock)
        self._source = source
        self._latest = ""

    def _shown(self) -> str:
        if not self._latest:
            raise RuntimeError("RenewingAuth is for async clients alone")
        return self._latest

    async def async_auth_flow(
        self, request: httpx2.Request
    ) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """Add the headers; httpx2 calls this before sending a request.

        Raises:
            TokenUnavailable: there is no token to show.
        """
        await request.aread()
        token = await self._source.current()
        answer = yield self._with(token, request)
        if answer.status_code == httpx2.codes.UNAUTHORIZED:
            another = await self._source.after_refusal(token)
            if another != token:
                yield self._with(another, request)

    def _with(self, token: str, request: httpx2.Request) -> httpx2.Request:
        self._latest = token
        return next(self.auth_flow(request))
