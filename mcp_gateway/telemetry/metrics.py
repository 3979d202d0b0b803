"""Prometheus metrics: the predecessor's three, and the gateway's own.

Label values come from fixed tables (routes, operations, codes), never from a caller, so
nobody can grow the number of series.
"""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

REGISTRY = CollectorRegistry()

http_requests_total = Counter(
    "http_requests_total", "HTTP requests answered.", ("method", "path", "status"),
    registry=REGISTRY,
)  # fmt: skip
http_request_duration_seconds = Histogram(
    "http_request_duration_seconds", "Seconds from request to answer.", ("method", "path"),
    registry=REGISTRY,
)  # fmt: skip
http_requests_in_progress = Gauge(
    "http_requests_in_progress", "HTTP requests being answered.", registry=REGISTRY
)

calls_total = Counter(
    "mcp_gateway_calls_total",
    "Operations called, by channel and result code (ok, or the refusal's code).",
    ("operation", "channel", "code"),
    registry=REGISTRY,
)
limiter_degraded = Gauge(
    "mcp_gateway_limiter_degraded",
    "1 while the shared store is down and reads are limited by this process alone.",
    registry=REGISTRY,
)
door_refusals_total = Counter(
    "mcp_gateway_door_refusals_total",
    "Requests sent away unread: too many of an address or a caller were no calls.",
    ("whose",), registry=REGISTRY,
)  # fmt: skip
issuer_fetches_total = Counter(
    "mcp_gateway_issuer_fetches_total", "Fetches of an issuer's keys, by issuer and result.",
    ("issuer", "result"), registry=REGISTRY,
)  # fmt: skip
issuer_keys_trouble = Gauge(
    "mcp_gateway_issuer_keys_trouble",
    "1 while the last fetch of an issuer's keys brought nothing.", ("issuer",),
    registry=REGISTRY,
)  # fmt: skip
revocations_stale = Gauge(
    "mcp_gateway_revocations_stale",
    "1 while the store does not tell which tokens were revoked; the last list holds.",
    registry=REGISTRY,
)
keys_faulty = Gauge(
    "mcp_gateway_keys_faulty",
    "1 while the keys file has faults and the keys read before it stay in force.",
    registry=REGISTRY,
)
orders_total = Counter(
    "mcp_gateway_orders_total", "Orders by side and outcome.", ("side", "outcome"),
    registry=REGISTRY,
)  # fmt: skip
orders_unresolved = Gauge(
    "mcp_gateway_orders_unresolved", "Orders whose outcome is not known.", registry=REGISTRY
)
orders_under_review = Gauge(
    "mcp_gateway_orders_under_review", "Orders that wait for the operator.", registry=REGISTRY
)
orders_contradicted_total = Counter(
    "mcp_gateway_orders_contradicted_total",
    "Orders told as rejected that the bot turned out to hold; each waits for a person.",
    registry=REGISTRY,
)
halts_total = Counter(
    "mcp_gateway_halts_total", "Halts put in force, by what did it.", ("code",), registry=REGISTRY
)
halts_in_force = Gauge(
    "mcp_gateway_halts_in_force", "Halts that nobody has released: all, agent or pair.",
    ("scope",), registry=REGISTRY,
)  # fmt: skip
bot_requests_total = Counter(
    "mcp_gateway_bot_requests_total", "Requests to the bot, by endpoint and result.",
    ("endpoint", "result"), registry=REGISTRY,
)  # fmt: skip
bot_request_seconds = Histogram(
    "mcp_gateway_bot_request_seconds", "Seconds the bot took to answer.", ("endpoint",),
    registry=REGISTRY,
)  # fmt: skip
bot_events_connected = Gauge(
    "mcp_gateway_bot_events_connected", "1 while the bot tells its events over its websocket.",
    registry=REGISTRY,
)  # fmt: skip
bot_events_total = Counter(
    "mcp_gateway_bot_events_total", "Events of the bot, by kind; nonsense and missed ones too.",
    ("kind",), registry=REGISTRY,
)  # fmt: skip
cache_reads_total = Counter(
    "mcp_gateway_cache_reads_total", "Reads answered from cache, live or stale.",
    ("kind", "source"), registry=REGISTRY,
)  # fmt: skip
audit_rows_total = Counter(
    "mcp_gateway_audit_rows_total", "Audit rows written, lost to a full queue, or suppressed in a flood.",
    ("result",), registry=REGISTRY,
)  # fmt: skip


def exposition() -> bytes:
    """Return every metric in the Prometheus text format."""
    return generate_latest(REGISTRY)
