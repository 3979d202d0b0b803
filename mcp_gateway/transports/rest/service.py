"""What operators and clients ask of the server itself: health and metrics."""

from prometheus_client import CONTENT_TYPE_LATEST

from mcp_gateway import __version__
from mcp_gateway.clock import iso
from mcp_gateway.domain.principals import Credentials
from mcp_gateway.gateway import Gateway
from mcp_gateway.telemetry import metrics
from mcp_gateway.transports.requests import Answer, Request
from mcp_gateway.transports.rest.shapes import Health, Probe


async def health(gateway: Gateway, _request: Request, _shown: Credentials) -> Answer:
    """Answer GET /health in the predecessor's shape; 503 only where nothing works."""
    told = await gateway.health()
    shape = Health(
        status=told.status,
        timestamp=iso(gateway.clock.now()),
        version=__version__,
        services=dict(told.services),
    )
    return Answer(503 if told.status == "unhealthy" else 200, shape.model_dump_json().encode())


async def live(_gateway: Gateway, _request: Request, _shown: Credentials) -> Answer:
    """Answer GET /health/live: the process answers; restarting it would help nobody."""
    return Answer(200, Probe(status="alive").model_dump_json().encode())


async def ready(gateway: Gateway, _request: Request, _shown: Credentials) -> Answer:
    """Answer GET /health/ready: 200 where calls may be sent here, else 503."""
    shape = Probe(status="ready" if gateway.ready else "not_ready")
    return Answer(200 if gateway.ready else 503, shape.model_dump_json().encode())


async def exposition(_gateway: Gateway, _request: Request, _shown: Credentials) -> Answer:
    """Answer GET /metrics in the Prometheus text format."""
    return Answer(200, metrics.exposition(), CONTENT_TYPE_LATEST)
