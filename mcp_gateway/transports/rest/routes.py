"""The one table of REST routes: what the door, the dispatch and the OpenAPI page read."""

from collections.abc import Sequence

from mcp_gateway.access.clients import Clients
from mcp_gateway.domain.orders import OrderRequest
from mcp_gateway.domain.principals import Credentials
from mcp_gateway.gateway import Gateway
from mcp_gateway.settings import Settings
from mcp_gateway.transports.places import Guard, Place
from mcp_gateway.transports.requests import FORM, JSON, Answer, Request
from mcp_gateway.transports.rest import market, openapi, orders, service, shapes
from mcp_gateway.transports.rest.guard import guarded
from mcp_gateway.transports.rest.queries import CandlesQuery, NoQuery, PositionsQuery
from mcp_gateway.transports.rest.route import Route
from mcp_gateway.transports.rest.tokens import TokenDesk

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
            operation="create_order", body=OrderRequest, refusals=_ORDERS,
        ),
        Route(
            "GET", "/api/v1/orders/{request_id}", "Where an order of the caller's stands",
            guarded("get_order", NoQuery, orders.present_state), shapes.OrderState,
            operation="get_order", refusals=_READS,
        ),
    )  # fmt: skip


def _service_routes(settings: Settings, desk: TokenDesk) -> tuple[Route, ...]:
    # What the metrics tell is nobody else's business: beyond loopback they need a token.
    metrics_guard: Guard = "open" if settings.on_loopback else "token"
    well_known = "/.well-known/oauth-protected-resource"
    return (
        Route(
            "POST", "/auth/token", "A bearer token for a configured client",
            desk.issue, shapes.Token, body=openapi.Login,
            media_types=(JSON, FORM), refusals=(401, 404, 429),
        ),
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
        Route(
            "GET", well_known, "Where tokens come from", service.resource_metadata,
            shapes.ResourceMetadata,
        ),
        Route(
            "GET", f"{well_known}/mcp", "The same, for /mcp", service.resource_metadata,
            shapes.ResourceMetadata,
        ),
    )  # fmt: skip


class Rest:
    """The REST language: a request that passed the door in, its answer out."""

    def __init__(self, gateway: Gateway, clients: Clients | None) -> None:
        self._gateway = gateway
        settings = gateway.settings
        described = (
            *_market_routes(), *_order_routes(), *_service_routes(settings, TokenDesk(clients)),
        )  # fmt: skip
        page = Route("GET", "/openapi.json", "This document", self._openapi, shapes.Document)
        self.routes: Sequence[Route] = (*described, page)
        self._document = openapi.document(self.routes, settings.base_url)
        self._handlers = {(route.method, route.path): route.handler for route in self.routes}

    @property
    def places(self) -> tuple[Place, ...]:
        """The routes as the door sees them."""
        return tuple(route.place for route in self.routes)

    async def __call__(self, request: Request, credentials: Credentials) -> Answer:
        """Answer one request; every refusal is raised."""
        handler = self._handlers[request.method, request.template]
        return await handler(self._gateway, request, credentials)

    async def _openapi(self, _gateway: Gateway, _request: Request, _shown: Credentials) -> Answer:
        return Answer(200, self._document)
