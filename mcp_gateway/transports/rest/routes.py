"""The one list of REST routes: what the door and the OpenAPI page read."""

from mcp_gateway.access.clients import Clients
from mcp_gateway.domain.orders import OrderRequest
from mcp_gateway.domain.principals import Credentials
from mcp_gateway.gateway import Gateway
from mcp_gateway.orders.halts.records import HaltRequest, ReleaseRequest
from mcp_gateway.settings import Settings
from mcp_gateway.transports.requests import FORM, JSON, Answer, Request
from mcp_gateway.transports.rest import (
    account,
    approvals,
    halt_shapes,
    halts,
    market,
    openapi,
    orders,
    service,
    shapes,
)
from mcp_gateway.transports.rest.discovery import (
    RESOURCE_PATH,
    SERVER_PATH,
    TOKEN_PATH,
    Discovery,
)
from mcp_gateway.transports.rest.guard import guarded
from mcp_gateway.transports.rest.queries import CandlesQuery, NoQuery, PositionsQuery
from mcp_gateway.transports.rest.tokens import TokenDesk
from mcp_gateway.transports.routes import Guard, Route

# What the services behind an operation may refuse beside what every guarded route does.
_READS = (404, 502, 503)
_ORDERS = (404, 409, 422, 502, 503, 504)


def _market_routes() -> tuple[Route, ...]:
    return (
        Route(
            "GET", "/api/v1/candles", "Closed candles of a pair",
            guarded("get_candles", CandlesQuery, market.candles), shapes.Candles,
            operation="get_candles", query=CandlesQuery, refusals=_READS,
        ),
        Route(
            "GET", "/api/v1/positions/open", "Open positions",
            guarded("get_open_positions", PositionsQuery, market.open_positions),
            shapes.OpenPositions,
            operation="get_open_positions", query=PositionsQuery, refusals=_READS,
        ),
        Route(
            "GET", "/api/v1/account", "Balance, mode, and limits with what is left of them",
            guarded("get_account", NoQuery, account.present), account.AccountState,
            operation="get_account", refusals=(502, 503),
        ),
    )  # fmt: skip


def _order_routes() -> tuple[Route, ...]:
    return (
        Route(
            "POST", "/api/v1/orders/dry-run", "What an order would do now; sends nothing",
            guarded("dry_run_order", NoQuery, orders.dry_run), shapes.DryRun,
            operation="dry_run_order", body=OrderRequest, refusals=_READS,
        ),
        Route(
            "POST", "/api/v1/orders", "Place an order, at most once for a request_id",
            guarded("create_order", NoQuery, orders.create), shapes.Order,
            operation="create_order", body=shapes.NewOrder, also={202: shapes.Order},
            refusals=_ORDERS,
        ),
        Route(
            "GET", "/api/v1/orders/{request_id}", "Where an order of the caller's stands",
            guarded("get_order", NoQuery, orders.present_state), shapes.OrderState,
            operation="get_order", refusals=_READS,
        ),
        Route(
            "DELETE", "/api/v1/orders/{request_id}", "Cancel an order of the caller's that rests",
            guarded("cancel_order", NoQuery, orders.cancel), shapes.OrderState,
            operation="cancel_order", refusals=_ORDERS,
        ),
    )  # fmt: skip


def _approval_routes() -> tuple[Route, ...]:
    one = "/api/v1/approvals/{order_id}"
    return (
        Route(
            "GET", "/api/v1/approvals", "The orders that wait for a person",
            guarded("list_approvals", NoQuery, approvals.pending), shapes.Pending,
            operation="list_approvals",
        ),
        Route(
            "POST", f"{one}/approve", "Approve an order of another caller's; it is sent at once",
            guarded("approve_order", NoQuery, approvals.approve), shapes.OrderState,
            operation="approve_order", body=shapes.Approval, refusals=(404, 409),
        ),
        Route(
            "POST", f"{one}/decline", "Decline an order of another caller's",
            guarded("decline_order", NoQuery, approvals.decline), shapes.OrderState,
            operation="decline_order", body=shapes.Decline, refusals=(404, 409),
        ),
    )  # fmt: skip


def _halt_routes() -> tuple[Route, ...]:
    return (
        Route(
            "POST", "/api/v1/halts", "Stop all entries, or those of an agent or in a pair",
            guarded("halt", NoQuery, halts.create), halt_shapes.HaltSet,
            operation="halt", body=HaltRequest, also={202: halt_shapes.HaltSet},
        ),
        Route(
            "GET", "/api/v1/halts", "The halts in force, and the last that were released",
            guarded("list_halts", NoQuery, halts.present), halt_shapes.Halts,
            operation="list_halts",
        ),
        Route(
            "POST", "/api/v1/halts/{halt_id}/release", "Release a halt: for people alone",
            guarded("release_halt", NoQuery, halts.release), halt_shapes.HaltSet,
            operation="release_halt", body=ReleaseRequest, refusals=(404,),
        ),
    )  # fmt: skip


def _token_routes(clients: Clients | None) -> tuple[Route, ...]:
    there = Discovery(has_clients=clients is not None)
    return (
        Route(
            "POST", TOKEN_PATH, "A bearer token for a configured client",
            TokenDesk(clients).issue, shapes.Token, body=shapes.Login,
            media_types=(JSON, FORM), refusals=(401, 404, 429),
        ),
        Route(
            "GET", RESOURCE_PATH, "Where tokens come from", there.resource,
            shapes.ResourceMetadata,
        ),
        Route(
            "GET", f"{RESOURCE_PATH}/mcp", "The same, for /mcp", there.resource,
            shapes.ResourceMetadata,
        ),
        Route(
            "GET", SERVER_PATH, "How clients fetch tokens here", there.server,
            shapes.ServerMetadata, refusals=(404,),
        ),
    )  # fmt: skip


def _service_routes(settings: Settings) -> tuple[Route, ...]:
    # What the metrics tell is nobody else's business: beyond loopback they need a token.
    metrics_guard: Guard = "open" if settings.on_loopback else "token"
    return (
        Route(
            "GET", "/health", "The gateway and what it stands on", service.health,
            shapes.Health, also={503: shapes.Health},
        ),
        Route("GET", "/health/live", "The process answers", service.live, shapes.Probe, probe=True),
        Route(
            "GET", "/health/ready", "Calls may be sent here", service.ready, shapes.Probe,
            also={503: shapes.Probe}, probe=True,
        ),
        Route(
            "GET", "/metrics", "Prometheus metrics", service.exposition, None,
            guard=metrics_guard, probe=settings.on_loopback,
        ),
    )  # fmt: skip


def rest_routes(settings: Settings, clients: Clients | None) -> tuple[Route, ...]:
    """Return every route of the REST face; the last one tells of them all."""

    async def page(_gateway: Gateway, _request: Request, _shown: Credentials) -> Answer:
        return Answer(200, document)

    routes = (
        *_market_routes(), *_order_routes(), *_approval_routes(), *_halt_routes(),
        *_token_routes(clients), *_service_routes(settings),
        Route("GET", "/openapi.json", "This document", page, shapes.Document),
    )  # fmt: skip
    document = openapi.document(routes, settings.base_url)
    return routes
