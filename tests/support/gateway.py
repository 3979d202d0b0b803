"""A gateway for the HTTP face: the real gate and door, before a market and orders that are told.

What stands in is what lies behind the protocol: candles, positions and receipts. Tokens,
scopes, signatures, nonces and quotas are the real thing, in memory.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import httpx2
import orjson

from mcp_gateway.access.clients import Clients
from mcp_gateway.access.gate import build_gate
from mcp_gateway.access.tokens.revocations import Revocations
from mcp_gateway.audit.events import AuditEvent
from mcp_gateway.audit.trail import Trail
from mcp_gateway.client.signing import GatewayAuth
from mcp_gateway.domain.market import Candle, CandleSeries
from mcp_gateway.domain.orders import Check, OrderRequest, Preview
from mcp_gateway.domain.positions import Balance, BotState, Position, Positions
from mcp_gateway.domain.principals import Admission, Credentials
from mcp_gateway.errors import NotFound, OrderNotResting
from mcp_gateway.gateway import Gateway
from mcp_gateway.health import Health
from mcp_gateway.orders.account import Account
from mcp_gateway.orders.service import Created
from mcp_gateway.risk.allowance import Allowance, Left
from mcp_gateway.risk.facts import Halt
from mcp_gateway.risk.policy import Limits
from mcp_gateway.settings import Settings
from mcp_gateway.storage.kv import open_kv
from mcp_gateway.transports.credentials import caller
from mcp_gateway.transports.door import Door
from mcp_gateway.transports.requests import Receive, Scope, Send
from mcp_gateway.transports.rest.routes import rest_routes
from tests.support.clock import START, ManualClock
from tests.support.policy import POLICY_FILE

JWT_SECRET = "jwt-canary-" + "a" * 32
HMAC_SECRET = "hmac-canary-" + "b" * 32
TRADER = "signal-agent"
TRADER_SCOPES = (
    "market:read",
    "positions:read",
    "orders:preview",
    "orders:create",
)
BASE_URL = "http://127.0.0.1:8000"
ORDER = {
    "request_id": "550e8400-e29b-41d4-a716-446655440000",
    "agent": TRADER,
    "pair": "BTC/USDT",
    "side": "buy",
    "amount": 0.001,
    "order_type": "market",
}
CALL = {"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": {"name": "get_candles"}}


@dataclass
class ToldMarket:
    """Answers candles and positions, or raises what a test put into ``trouble``."""

    trouble: Exception | None = None
    asked: list[tuple[Any, ...]] = field(default_factory=list)

    async def candles(
        self, admission: Admission, pair: str, timeframe: str, *, limit: int,
        before: datetime | None = None, use_cache: bool = True,
    ) -> CandleSeries:  # fmt: skip
        self.asked.append((admission.operation.name, pair, timeframe, limit, before, use_cache))
        if self.trouble:
            raise self.trouble
        rows = (
            Candle(1_700_000_000, 50000.0, 51000.0, 49000.0, 50500.0, 100.0),
            Candle(1_700_000_900, 50500.0, None, None, None, None),
        )
        return CandleSeries(pair, timeframe, rows, START, "cache", "5m")

    async def positions(self, admission: Admission, pair: str | None = None) -> Positions:
        self.asked.append((admission.operation.name, pair))
        if self.trouble:
            raise self.trouble
        held = Position(
            trade_id=1, pair="BTC/USDT", side="buy", amount=Decimal("0.01"),
            entry_price=Decimal(50000), current_price=Decimal(51000),
            unrealized_pnl=Decimal(10), unrealized_pnl_pct=Decimal(2),
            stop_loss=Decimal(49000), take_profit=None, open_at=START, tag=None,
        )  # fmt: skip
        return Positions((held,), START, "dry-run", "live")


@dataclass
class ToldOrders:
    """Previews every order, places and cancels it once, and remembers what it was given."""

    trouble: Exception | None = None
    seen: list[OrderRequest] = field(default_factory=list)
    receipts: dict[UUID, dict[str, Any]] = field(default_factory=dict)
    cancels: list[tuple[str, UUID]] = field(default_factory=list)
    previews: list[str | None] = field(default_factory=list)

    async def preview(self, _admission: Admission, order: OrderRequest) -> Preview:
        self.seen.append(order)
        if self.trouble:
            raise self.trouble
        check = Check("notional", passed=True, message="Within the limit.", limit="1000")
        return Preview(
            valid=True, estimated_cost=Decimal("50.5"), estimated_fee=Decimal("0.0505"),
            price=Decimal(50500), price_age_s=12.0, mode="dry-run", checks=(check,),
            warnings=("A market order may fill at another price.",), errors=(),
        )  # fmt: skip

    async def create(
        self, _admission: Admission, order: OrderRequest, preview_id: str | None = None
    ) -> Created:
        self.seen.append(order)
        self.previews.append(preview_id)
        if self.trouble:
            raise self.trouble
        replayed = order.request_id in self.receipts
        return Created(self.receipts.setdefault(order.request_id, receipt(order)), replayed)

    async def get(self, _admission: Admission, request_id: UUID) -> dict[str, Any]:
        return self._state(request_id)

    async def cancel(self, admission: Admission, request_id: UUID) -> dict[str, Any]:
        self.cancels.append((admission.operation.name, request_id))
        if self.trouble:
            raise self.trouble
        state = self._state(request_id)
        if state["status"] == "filled":
            raise OrderNotResting("The order has ended.", detail={"order_status": "filled"})
        self.receipts[request_id]["status"] = "cancelled"
        return self._state(request_id)

    def _state(self, request_id: UUID) -> dict[str, Any]:
        if request_id not in self.receipts:
            raise NotFound("No order of yours has this request_id.", code="order_unknown")
        step = {"state": "placed", "at": "2025-11-18T10:00:00Z", "code": None}
        return self.receipts[request_id] | {
            "order_type": "market", "price": None, "code": None, "final": True, "history": [step],
        }  # fmt: skip


def receipt(order: OrderRequest) -> dict[str, Any]:
    """Return what the order service answers for a placed order."""
    return {
        "order_id": "abc123", "request_id": str(order.request_id), "status": "submitted",
        "pair": order.pair, "side": order.side, "amount": float(order.amount),
        "filled_amount": 0.0, "timestamp": "2025-11-18T10:00:00Z",
        "message": "Order submitted successfully", "outcome": "placed", "mode": "dry-run",
        "agent": order.agent, "requested_amount": float(order.amount), "average_price": None,
        "fee": None, "trade_id": 1, "bot_order_id": None,
    }  # fmt: skip


@dataclass
class RecordingApp:
    """Stands where the MCP SDK's app stands: keeps what the door let through."""

    callers: list[Credentials] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    headers: list[list[tuple[bytes, bytes]]] = field(default_factory=list)
    trouble: Exception | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.callers.append(caller.get())
        self.headers.append(scope["headers"])
        message = await receive()
        assert not message["more_body"]
        self.bodies.append(message["body"])
        if self.trouble:
            raise self.trouble
        body = b'{"jsonrpc":"2.0","id":7,"result":{}}'
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


class ToldGateway:
    """Has the attributes of a Gateway that the HTTP face uses."""

    def __init__(self, settings: Settings, revocations: Revocations | None = None) -> None:
        self.settings = settings
        self.clock = ManualClock()
        self.trail = Trail()
        self.revocations = Revocations() if revocations is None else revocations
        kv = open_kv(None, self.clock)
        self.gate = build_gate(settings, kv, self.trail, self.clock, self.revocations)
        self.market = ToldMarket()
        self.order_service = ToldOrders()
        self.told_health = Health("healthy", {"redis": "embedded", "freqtrade": "healthy"})
        self.ready = True

    async def orders(self) -> ToldOrders:
        return self.order_service

    async def health(self) -> Health:
        return self.told_health

    async def account(self, admission: Admission) -> Account:
        if self.market.trouble:
            raise self.market.trouble
        allowance = Allowance(
            Limits(), "abc", (Left("daily_orders", "9", "7"),), known=True,
            halts=(Halt("pair", "ETH/USDT", "operator", START),),
        )  # fmt: skip
        bot = BotState(
            mode="dry-run", state="running", spot=True, quote_currency="USDT", timeframe="5m",
            max_open_positions=3, entries_enabled=True, name="bot", version="2026.9",
        )  # fmt: skip
        return Account(
            mode="dry-run", declared_mode="dry-run", bot=bot,
            balance=Balance("USDT", Decimal(1000), Decimal("900.5"), simulated=True),
            open_positions=1, as_of=START, allowance=allowance, calls_per_minute=60,
            scopes=tuple(sorted(admission.principal.scopes)),
        )  # fmt: skip


class Face:
    """The whole HTTP face in this process."""

    def __init__(
        self, settings: Settings, *, body_deadline_s: float = 5.0, clients: Clients | None = None
    ) -> None:
        self.gateway = ToldGateway(settings)
        self.mcp = RecordingApp()
        gateway = cast("Gateway", self.gateway)
        self.routes = rest_routes(settings, clients)
        self.door = Door(gateway, mcp=self.mcp, routes=self.routes, body_deadline_s=body_deadline_s)

    def noted(self) -> tuple[AuditEvent, ...]:
        """Return what the audit log would get."""
        return self.gateway.trail.oldest(1000)

    def token(self, *scopes: str, subject: str = TRADER, ttl_s: int = 3600) -> str:
        """Return a token of this server's; all of a trader's scopes where none is named."""
        issuing = self.gateway.gate.issuing
        assert issuing is not None
        return issuing.issue(subject, scopes or TRADER_SCOPES, ttl_s)

    def auth(self, *scopes: str, signed: bool = False) -> GatewayAuth:
        """Return what an agent's client has: a token, and a key where it trades."""
        key = {"key": HMAC_SECRET, "key_id": TRADER} if signed else {}
        return GatewayAuth(self.token(*scopes), clock=self.gateway.clock, **key)

    @asynccontextmanager
    async def client(self, **options: Any) -> AsyncIterator[httpx2.AsyncClient]:
        """Open a client of this face, with a trader's token unless ``auth`` says otherwise."""
        options = dict[str, Any](base_url=BASE_URL, auth=self.auth()) | options
        transport = httpx2.ASGITransport(app=self.door)
        async with httpx2.AsyncClient(transport=transport, **options) as client:
            yield client


def settings_for(folder: Path, **changes: Any) -> Settings:
    """Return settings of a one-box server in ``folder``, whatever the environment says."""
    values: dict[str, Any] = {
        "jwt_secret": JWT_SECRET, "hmac_secret": HMAC_SECRET, "subject": TRADER,
        "data_dir": folder, "rate_limit_per_minute": 1000, "policy": POLICY_FILE,
    }  # fmt: skip
    return Settings.apart(**(values | changes))


def code_of(response: httpx2.Response) -> str:
    """Return the code of a refusal in either language, and hold it to that language's form."""
    told = orjson.loads(response.content)
    if "jsonrpc" in told:
        assert response.headers["content-type"] == "application/json"
        assert told["jsonrpc"] == "2.0"
        error = told["error"]
        assert isinstance(error["code"], int)
        assert {"code", "message", "retryable", "hint", "call_id"} <= error["data"].keys()
        return str(error["data"]["code"])
    assert response.headers["content-type"] == "application/problem+json"
    assert {"type", "title", "detail", "retryable", "hint", "call_id"} <= told.keys()
    assert told["status"] == response.status_code
    return str(told["code"])
