"""A typed client for people who write agents.

    async with GatewayClient("https://gateway.example", auth) as gw:
        order = Order("BTC/USDT", "buy", Decimal("0.001"))
        match await gw.create_order(order):
            case Placed() as placed: ...

It speaks REST: a refusal is a problem document with a status of its own there, and no SDK is
needed. Money is Decimal, moments are aware.
"""

from types import TracebackType
from typing import Final, Self, TypeVar
from uuid import UUID

import httpx2
import orjson
from pydantic import ValidationError

from mcp_gateway.client.addresses import base
from mcp_gateway.client.calls import Call, Calls, Reply, Undelivered
from mcp_gateway.client.failures import GatewayRefused
from mcp_gateway.client.orders import (
    Answer,
    Denied,
    NeedsReview,
    Order,
    OrderState,
    Outcome,
    PendingApproval,
    Placed,
    Rejected,
    Unknown,
)
from mcp_gateway.client.reads import Account, Candles, DryRun, Positions
from mcp_gateway.client.signing import GatewayAuth
from mcp_gateway.clock import Clock

READ_DEADLINE_S: Final = 30.0
ORDER_DEADLINE_S: Final = 120.0  # the gateway gives the bot 45 s, and a restart takes its time
ASK_EVERY_S: Final = 1.0
DEFAULT_CANDLES: Final = 100
_STILL_OPEN: Final = "outcome_unknown"
_ASK: Final = (
    "Place nothing instead of it. Ask get_order with this request_id; if it knows no such order "
    "(order_unknown), send the same Order again."
)
Told = TypeVar("Told", bound=Answer)


class GatewayClient:
    """One agent's connection to a gateway, for as long as the block lasts.

    Args:
        url: the gateway's address; https, unless it is loopback.
        auth: a GatewayAuth, or a RenewingAuth; with a key where orders are placed.
        transport: stands in for the network in tests.

    Raises:
        ValueError: an address that no token may be sent to.
    """

    def __init__(
        self,
        url: str,
        auth: GatewayAuth,
        *,
        clock: Clock | None = None,
        transport: httpx2.AsyncBaseTransport | None = None,
    ) -> None:
        self._clock = clock or Clock()
        self._http = httpx2.AsyncClient(
            base_url=f"{base(url)}/api/v1", auth=auth, trust_env=False, transport=transport
        )
        self._calls = Calls(self._http, self._clock)

    async def __aenter__(self) -> Self:
        """Open it; the first call connects."""
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close its connections; orders under way go on at the gateway."""
        await self._http.__aexit__(kind, error, trace)

    async def get_candles(
        self, pair: str, timeframe: str, *, limit: int = DEFAULT_CANDLES, use_cache: bool = True
    ) -> Candles:
        """Return the latest closed candles, oldest first.

        Raises:
            GatewayRefused: with the gateway's code, hint and retry_after_s.
            GatewayUnreachable: nobody answered in time.
        """
        asked = {"pair": pair, "timeframe": timeframe, "limit": str(limit)}
        asked["use_cache"] = "true" if use_cache else "false"
        return await self._read(Call("GET", "/candles", asked), Candles)

    async def positions(self, pair: str | None = None) -> Positions:
        """Return the bot's open positions; raises as ``get_candles``."""
        asked = None if pair is None else {"pair": pair}
        return await self._read(Call("GET", "/positions/open", asked), Positions)

    async def account(self) -> Account:
        """Return balance, mode, and what is left of every limit; raises as ``get_candles``."""
        return await self._read(Call("GET", "/account"), Account)

    async def dry_run(self, order: Order) -> DryRun:
        """Tell what an order would do now; sends nothing. Raises as ``get_candles``."""
        return await self._read(Call("POST", "/orders/dry-run", None, order.document()), DryRun)

    async def create_order(
        self,
        order: Order,
        *,
        preview_id: str | None = None,
        deadline_s: float = ORDER_DEADLINE_S,
    ) -> Outcome:
        """Place an order, at most once however often it is sent, and return what became of it.

        A lost answer, a gateway that restarts and a spent quota are met by sending the same
        order, under the same request_id, until the deadline.

        Args:
            preview_id: of a dry run, to be held to what was seen there.

        Returns:
            An outcome to match on; ``Unknown`` where even the deadline brought no answer.

        Raises:
            GatewayRefused: it was no order yet (token, signature, arguments); nothing was done.
            GatewayUnreachable: nothing was sent.
        """
        document = order.document() | ({} if preview_id is None else {"preview_id": preview_id})
        try:
            reply = await self._calls.make(Call("POST", "/orders", None, document), deadline_s)
        except Undelivered as failed:
            if failed.in_doubt:
                return _lost(order)
            raise failed.refusal() from None
        return _outcome(order, reply)

    async def get_order(self, request_id: UUID) -> OrderState:
        """Tell where an order stands; raises as ``get_candles`` (``order_unknown``: never came)."""
        return await self._read(Call("GET", f"/orders/{request_id}"), OrderState)

    async def cancel_order(self, request_id: UUID) -> OrderState:
        """Take back what still rests, or waits for a person; again is safe.

        Raises:
            GatewayRefused: ``order_not_resting``, or another code of docs/orders.md.
            GatewayUnreachable: nobody answered in time; it may have been cancelled.
        """
        return await self._read(Call("DELETE", f"/orders/{request_id}"), OrderState)

    async def wait_until_final(self, request_id: UUID, *, deadline_s: float) -> OrderState:
        """Ask until the order's outcome is final, or the deadline has passed; ``final`` tells."""
        ends_at = self._clock.monotonic() + deadline_s
        while True:
            state = await self.get_order(request_id)
            if state.final or self._clock.monotonic() + ASK_EVERY_S > ends_at:
                return state
            await self._clock.sleep(ASK_EVERY_S)

    async def _read(self, call: Call, shape: type[Told]) -> Told:
        try:
            reply = await self._calls.make(call, READ_DEADLINE_S)
        except Undelivered as failed:
            raise failed.refusal() from None
        if not reply.ok:
            raise reply.refusal()
        try:
            return shape.model_validate_json(reply.body)
        except ValidationError:
            raise _unreadable() from None


def _outcome(order: Order, reply: Reply) -> Outcome:
    """Read what became of an order.

    Raises:
        GatewayRefused: it was no order yet, and no earlier sending of it may have been one.
    """
    if not _is_of(order, reply):
        return _lost(order)
    # A refusal need not say whose it is; a receipt does.
    told = {} if reply.ok else {"request_id": str(order.request_id)}
    told |= reply.told | {"replayed": reply.replayed}
    kind = _kind(reply)
    if kind is None:
        if reply.in_doubt:
            return _lost(order)
        raise reply.refusal()
    try:
        return kind.model_validate_json(orjson.dumps(told))
    except ValidationError:
        return _lost(order)


def _is_of(order: Order, reply: Reply) -> bool:
    """Tell whether a reply is of this order, as far as it says of which it is."""
    ordered = {"request_id": str(order.request_id), "pair": order.pair, "side": order.side}
    return all(reply.told.get(name, value) == value for name, value in ordered.items())


def _kind(reply: Reply) -> type[Outcome] | None:
    """Return the kind of outcome that a reply tells, None where it tells of no order."""
    word = reply.told.get("outcome")
    if reply.ok:
        return PendingApproval if word == "pending_approval" else Placed
    if word == "unknown":
        return Unknown if reply.code == _STILL_OPEN else NeedsReview
    if word == "denied":
        return Denied
    return Rejected if word == "rejected" else None


def _lost(order: Order) -> Unknown:
    told = {
        "request_id": order.request_id,
        "code": _STILL_OPEN,
        "detail": "The gateway did not say what became of the order.",
        "hint": _ASK,
    }
    return Unknown.model_validate(told)


def _unreadable() -> GatewayRefused:
    return GatewayRefused(
        "The gateway's answer can't be read; it may be of another version.",
        code="answer_unreadable",
        hint="Use the client of the gateway's own version.",
    )
