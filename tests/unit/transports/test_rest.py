"""The predecessor's endpoints: its shapes, the gate before them, and every refusal a problem."""

import hashlib
import hmac
from pathlib import Path

import orjson
import pytest

from mcp_gateway.errors import (
    BotUnavailable,
    Draining,
    IdempotencyConflict,
    OrderDenied,
    OrderNotResting,
    OutcomeUnknown,
    PreviewRefused,
    QuotaExceeded,
    StoreUnavailable,
)
from mcp_gateway.health import Health
from mcp_gateway.transports.rest import shapes
from tests.support.gateway import CALL, HMAC_SECRET, ORDER, Face, code_of, settings_for

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

CANDLES = "/api/v1/candles?pair=BTC/USDT&timeframe=15m"


@pytest.fixture
def face(tmp_path: Path) -> Face:
    return Face(settings_for(tmp_path))


async def test_candles_have_the_predecessor_s_shape_and_ours_behind_it(face: Face) -> None:
    """A list of objects with Unix seconds; then how old they are and where they are from."""
    async with face.client() as client:
        response = await client.get(CANDLES)
    assert response.status_code == 200
    told = response.json()
    assert list(told) == [
        "pair", "timeframe", "count", "candles", "as_of", "age_s", "source", "resampled_from",
    ]  # fmt: skip
    assert told["count"] == 2
    assert told["candles"][0] == {
        "timestamp": 1_700_000_000, "open": 50000.0, "high": 51000.0, "low": 49000.0,
        "close": 50500.0, "volume": 100.0,
    }  # fmt: skip
    assert told["candles"][1]["volume"] is None
    shapes.Candles.model_validate_json(response.content, strict=True)


async def test_candles_default_to_five_hundred_from_the_cache(face: Face) -> None:
    """The predecessor's defaults."""
    async with face.client() as client:
        await client.get(CANDLES)
        await client.get(CANDLES + "&limit=1000&use_cache=false")
    assert face.gateway.market.asked == [
        ("get_candles", "BTC/USDT", "15m", 500, None, True),
        ("get_candles", "BTC/USDT", "15m", 1000, None, False),
    ]


@pytest.mark.parametrize(
    "query",
    [
        "", "pair=BTC/USDT", "timeframe=5m", "pair=btc&timeframe=5m",
        "pair=BTC/USDT&timeframe=5m&limit=0", "pair=BTC/USDT&timeframe=5m&limit=1001",
        "pair=BTC/USDT&timeframe=5m&limit=1000000000", "pair=BTC/USDT&timeframe=5m&limit=-1",
        "pair=BTC/USDT&timeframe=5m&limit=1.0", "pair=BTC/USDT&timeframe=5m&limit=%201",
        "pair=BTC/USDT&timeframe=5m&limit=1_0", "pair=BTC/USDT&timeframe=5m&limit=%D9%A1",
        "pair=BTC/USDT&timeframe=5m&limit=", "pair=BTC/USDT&timeframe=5m&limit=1&limit=2",
        "pair=BTC/USDT&timeframe=5m&limt=5", "pair=BTC/USDT&timeframe=5m&use_cache=maybe",
        "pair=BTC/USDT&timeframe=7x", "pair=BTC/USDT&timeframe=%ff", "pair=BTC/USDT&timeframe=" + "5" * 5000,
        "&".join(f"a{number}=1" for number in range(50)),
    ],
)  # fmt: skip
async def test_a_wrong_query_is_refused_and_reaches_no_market(face: Face, query: str) -> None:
    """Unknown, doubled, missing and wrong parameters alike; a typing error is no default."""
    async with face.client() as client:
        response = await client.get(f"/api/v1/candles?{query}")
    assert (response.status_code, code_of(response)) == (422, "request_invalid")
    assert face.gateway.market.asked == []


async def test_open_positions_have_the_predecessor_s_shape(face: Face) -> None:
    """total_count and positions first, then as_of, age_s, mode and source."""
    async with face.client() as client:
        response = await client.get("/api/v1/positions/open?pair=BTC/USDT")
    told = response.json()
    assert list(told) == ["total_count", "positions", "as_of", "age_s", "mode", "source"]
    shapes.OpenPositions.model_validate_json(response.content, strict=True)
    assert told["positions"] == [
        {
            "pair": "BTC/USDT", "side": "buy", "amount": 0.01, "entry_price": 50000.0,
            "current_price": 51000.0, "unrealized_pnl": 10.0, "unrealized_pnl_pct": 2.0,
            "stop_loss": 49000.0, "take_profit": None, "open_date": "2025-11-18T10:00:00Z",
        }
    ]  # fmt: skip
    assert face.gateway.market.asked == [("get_open_positions", "BTC/USDT")]


async def test_a_dry_run_has_the_predecessor_s_shape(face: Face) -> None:
    """valid, estimates, warnings and errors first; unsigned, for nothing is sent."""
    async with face.client() as client:
        response = await client.post("/api/v1/orders/dry-run", json=ORDER)
    told = response.json()
    assert response.status_code == 200
    assert list(told)[:5] == ["valid", "estimated_cost", "estimated_fee", "warnings", "errors"]
    assert told["estimated_cost"] == 50.5
    shapes.DryRun.model_validate_json(response.content, strict=True)


async def test_an_order_s_amount_keeps_every_digit(face: Face) -> None:
    """A float would make 0.1 of what was written as 0.1000000000000000055."""
    text = orjson.dumps(ORDER).replace(b"0.001", b"0.100000000000000001")
    async with face.client() as client:
        await client.post(
            "/api/v1/orders/dry-run", content=text, headers={"content-type": "application/json"}
        )
    assert str(face.gateway.order_service.seen[0].amount) == "0.100000000000000001"


async def test_a_signed_order_is_placed_and_its_repetition_replayed(face: Face) -> None:
    """The same bytes again, marked by a header; the predecessor's fields first."""
    async with face.client(auth=face.auth(signed=True)) as client:
        first = await client.post("/api/v1/orders", json=ORDER)
        again = await client.post("/api/v1/orders", json=ORDER)
    assert (first.status_code, again.status_code) == (200, 200)
    assert list(first.json())[:9] == [
        "order_id", "request_id", "status", "pair", "side", "amount", "filled_amount",
        "timestamp", "message",
    ]  # fmt: skip
    assert again.content == first.content
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    shapes.Order.model_validate_json(first.content, strict=True)


async def test_an_order_brings_its_preview_along(face: Face) -> None:
    """An optional text of at most 512 characters; the dry run itself takes none."""
    async with face.client(auth=face.auth(signed=True)) as client:
        shown = await client.post("/api/v1/orders", json={**ORDER, "preview_id": "seen"})
        await client.post("/api/v1/orders", json=ORDER)
        for wrong in ("", 7, "x" * 513, ["x"]):
            refused = await client.post("/api/v1/orders", json={**ORDER, "preview_id": wrong})
            assert (refused.status_code, code_of(refused)) == (422, "request_invalid")
            assert refused.json()["field"] == "preview_id"
        dry = await client.post("/api/v1/orders/dry-run", json={**ORDER, "preview_id": "seen"})
    assert shown.status_code == 200
    assert (dry.status_code, dry.json()["field"]) == (422, "preview_id")
    assert face.gateway.order_service.previews == ["seen", None]


async def test_a_preview_that_does_not_fit_is_a_problem_of_its_own(face: Face) -> None:
    """422 with the code, and a row in the audit log: no order tells of it."""
    face.gateway.order_service.trouble = PreviewRefused("No.", code="preview_expired")
    async with face.client(auth=face.auth(signed=True)) as client:
        response = await client.post("/api/v1/orders", json={**ORDER, "preview_id": "old"})
    assert (response.status_code, code_of(response)) == (422, "preview_expired")
    assert [row.code for row in face.noted()] == ["preview_expired"]


async def test_over_rest_real_money_wants_its_own_scope(tmp_path: Path) -> None:
    """403, and the challenge names what is missing (RFC 6750)."""
    face = Face(settings_for(tmp_path, mode="live"))
    async with face.client(auth=face.auth(signed=True)) as client:
        for method, path in (
            ("POST", "/api/v1/orders"),
            ("DELETE", f"/api/v1/orders/{ORDER['request_id']}"),
        ):
            response = await client.request(method, path, json=ORDER if method == "POST" else None)
            assert (response.status_code, code_of(response)) == (403, "scope_missing")
            assert 'scope="orders:live"' in response.headers["www-authenticate"]
    assert face.gateway.order_service.seen == []


async def test_an_unsigned_order_is_refused(face: Face) -> None:
    """A stolen token alone cannot trade."""
    async with face.client() as client:
        response = await client.post("/api/v1/orders", json=ORDER)
    assert (response.status_code, code_of(response)) == (403, "signature_missing")
    assert face.gateway.order_service.seen == []


@pytest.mark.parametrize(
    ("allowed", "status", "code"), [(True, 200, ""), (False, 403, "signature_missing")]
)
async def test_the_predecessor_s_signature_counts_where_it_is_allowed(
    tmp_path: Path, allowed: bool, status: int, code: str
) -> None:
    """X-Signature: hex HMAC-SHA256 of the body, with MCP_GATEWAY_LEGACY_SIGNATURE only."""
    face = Face(settings_for(tmp_path, legacy_signature=allowed))
    body = orjson.dumps(ORDER)
    signature = hmac.new(HMAC_SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {"content-type": "application/json", "x-signature": signature}
    async with face.client() as client:
        response = await client.post("/api/v1/orders", content=body, headers=headers)
        over_mcp = await client.post("/mcp", json=CALL, headers={"x-signature": signature})
    assert response.status_code == status
    assert over_mcp.status_code == 200
    assert type(face.mcp.callers[0].evidence).__name__ == "Unsigned"
    if code:
        assert code_of(response) == code


async def test_an_order_is_found_again_by_its_request_id(face: Face) -> None:
    """GET /api/v1/orders/{request_id}."""
    async with face.client(auth=face.auth(signed=True)) as client:
        await client.post("/api/v1/orders", json=ORDER)
        found = await client.get(f"/api/v1/orders/{ORDER['request_id']}")
        missing = await client.get("/api/v1/orders/00000000-0000-0000-0000-000000000000")
        wrong = await client.get("/api/v1/orders/abc")
    assert found.status_code == 200
    shapes.OrderState.model_validate_json(found.content, strict=True)
    assert (missing.status_code, code_of(missing)) == (404, "order_unknown")
    assert (wrong.status_code, code_of(wrong)) == (422, "request_invalid")


ONE_ORDER = f"/api/v1/orders/{ORDER['request_id']}"


async def test_a_resting_order_is_cancelled_by_a_signed_call(face: Face) -> None:
    """DELETE /api/v1/orders/{request_id}: the state after the cancel; the same again."""
    async with face.client(auth=face.auth(signed=True)) as client:
        await client.post("/api/v1/orders", json=ORDER)
        gone = await client.delete(ONE_ORDER)
        again = await client.delete(ONE_ORDER)
        seen = await client.get(ONE_ORDER)
        missing = await client.delete("/api/v1/orders/00000000-0000-0000-0000-000000000000")
        wrong = await client.delete("/api/v1/orders/abc")
    assert (gone.status_code, gone.json()["status"]) == (200, "cancelled")
    shapes.OrderState.model_validate_json(gone.content, strict=True)
    assert seen.json() == again.json() == gone.json()
    assert (missing.status_code, code_of(missing)) == (404, "order_unknown")
    assert (wrong.status_code, code_of(wrong)) == (422, "request_invalid")


async def test_an_unsigned_or_replayed_cancel_is_refused(face: Face) -> None:
    """A stolen token alone, or a recorded call, takes no order back."""
    async with face.client(auth=face.auth(signed=True)) as client:
        signed = await client.delete(ONE_ORDER)
        sent = signed.request.headers
        bare = await client.delete(ONE_ORDER, auth=face.auth())
    async with face.client(auth=None) as client:
        replayed = await client.delete(ONE_ORDER, headers=sent)
        moved = await client.delete("/api/v1/orders/abc", headers=sent)
    told = [(one.status_code, code_of(one)) for one in (replayed, bare, moved)]
    assert told == [
        (403, "signature_replayed"), (403, "signature_missing"), (403, "signature_invalid"),
    ]  # fmt: skip
    assert len(face.gateway.order_service.cancels) == 1


@pytest.mark.parametrize("word", ["approve", "decline"])
async def test_the_predecessor_s_signature_decides_nothing(tmp_path: Path, word: str) -> None:
    """It covers the body and not the order that the path names: it would fit every other."""
    face = Face(settings_for(tmp_path, legacy_signature=True))
    body = b'{"reason":"fine"}'
    signature = hmac.new(HMAC_SECRET.encode(), body, hashlib.sha256).hexdigest()
    headers = {"content-type": "application/json", "x-signature": signature}
    path = f"/api/v1/approvals/{'0' * 32}/{word}"
    async with face.client(auth=face.auth("orders:approve")) as client:
        response = await client.post(path, content=body, headers=headers)
    assert (response.status_code, code_of(response)) == (403, "signature_missing")


async def test_the_predecessor_s_signature_cancels_nothing(tmp_path: Path) -> None:
    """It covers the body: over none it is the same for every order, and for ever."""
    face = Face(settings_for(tmp_path, legacy_signature=True))
    signature = hmac.new(HMAC_SECRET.encode(), b"", hashlib.sha256).hexdigest()
    async with face.client() as client:
        response = await client.delete(ONE_ORDER, headers={"x-signature": signature})
    assert (response.status_code, code_of(response)) == (403, "signature_missing")
    assert face.gateway.order_service.cancels == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OrderNotResting("Ended.", detail={"order_status": "filled"}), 409),
        (OutcomeUnknown("Unknown."), 504),
        (BotUnavailable("Down."), 503),
    ],
    ids=lambda value: getattr(value, "code", None),
)
async def test_a_refused_cancel_keeps_its_status_and_code(
    face: Face, error: Exception, status: int
) -> None:
    """What the core says is what the caller reads."""
    face.gateway.order_service.trouble = error
    async with face.client(auth=face.auth(signed=True)) as client:
        response = await client.delete(ONE_ORDER)
    assert (response.status_code, code_of(response)) == (status, getattr(error, "code", ""))
    if status == 409:
        assert response.json()["order_status"] == "filled"


@pytest.mark.parametrize(
    "change",
    [
        {"amount": 0}, {"amount": -1}, {"amount": "1e999"}, {"amount": "NaN"}, {"amount": True},
        {"amount": None}, {"amount": []}, {"request_id": "abc"}, {"pair": "btcusdt"},
        {"side": "long"}, {"order_type": "stop"}, {"order_type": "limit"}, {"price": 1},
        {"surprise": 1}, {"agent": ""}, {"agent": 7},
    ],
)  # fmt: skip
async def test_a_wrong_order_is_refused_and_reaches_no_service(
    face: Face, change: dict[str, object]
) -> None:
    """The same model as over MCP."""
    async with face.client() as client:
        response = await client.post("/api/v1/orders/dry-run", json=ORDER | change)
    assert (response.status_code, code_of(response)) == (422, "request_invalid")
    assert face.gateway.order_service.seen == []


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (OrderDenied("No.", code="price_collar", detail={"limit": "1"}), 422),
        (IdempotencyConflict("Used."), 409),
        (OutcomeUnknown("Unknown.", detail={"outcome": "unknown"}), 504),
        (StoreUnavailable("Down."), 503),
        (Draining("Stopping.", retry_after_s=2.2), 503),
        (QuotaExceeded("Slow down.", retry_after_s=0.2), 429),
        (BotUnavailable("Down.", code="bot_timeout"), 503),
    ],
    ids=lambda value: getattr(value, "code", None),
)
async def test_a_refusal_keeps_its_status_code_and_detail(
    face: Face, error: Exception, status: int
) -> None:
    """RFC 9457, with Retry-After in whole seconds where waiting helps."""
    face.gateway.order_service.trouble = error
    async with face.client() as client:
        response = await client.post("/api/v1/orders/dry-run", json=ORDER)
    assert (response.status_code, code_of(response)) == (status, getattr(error, "code", ""))
    expected = {"draining": "3", "quota_exceeded": "1", "store_unavailable": "5"}
    assert response.headers.get("retry-after") == expected.get(
        code_of(response), "5" if status == 503 else None
    )


async def test_a_replayed_refusal_is_marked_as_one(face: Face) -> None:
    """An error that an earlier call got is told again, and says so."""
    error = OrderDenied("No.")
    error.replayed = True
    face.gateway.order_service.trouble = error
    async with face.client(auth=face.auth(signed=True)) as client:
        response = await client.post("/api/v1/orders", json=ORDER)
    assert (response.status_code, code_of(response)) == (422, "order_denied")
    assert response.headers["idempotent-replayed"] == "true"


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("GET", CANDLES, "positions:read"),
        ("GET", "/api/v1/positions/open", "market:read"),
        ("POST", "/api/v1/orders/dry-run", "market:read"),
        ("POST", "/api/v1/orders", "orders:preview"),
        ("GET", "/api/v1/orders/abc", "market:read"),
        ("DELETE", "/api/v1/orders/abc", "orders:preview"),
    ],
)
async def test_each_route_asks_for_its_scope_before_it_looks_at_arguments(
    face: Face, method: str, path: str, scope: str
) -> None:
    """RFC 6750 section 3.1: the challenge names the scope that is missing."""
    async with face.client(auth=face.auth(scope, signed=True)) as client:
        response = await client.request(method, path, json={} if method == "POST" else None)
    assert (response.status_code, code_of(response)) == (403, "scope_missing")
    assert response.json()["scope"] in response.headers["www-authenticate"]
    assert 'error="insufficient_scope"' in response.headers["www-authenticate"]


async def test_malformed_calls_spend_the_caller_s_quota(tmp_path: Path) -> None:
    """The gate stands before the arguments, so nonsense is not free."""
    face = Face(settings_for(tmp_path, rate_limit_per_minute=2))
    async with face.client() as client:
        told = [(await client.get("/api/v1/candles?x=1")).status_code for _ in range(4)]
        response = await client.get(CANDLES)
    assert told[0] == 422
    assert told[-1] == 429
    assert code_of(response) == "quota_exceeded"
    assert int(response.headers["retry-after"]) >= 1


async def test_a_refusal_behind_the_gate_is_an_audit_row(face: Face) -> None:
    """A known caller's refusal leaves its mark, and its answer none."""
    async with face.client() as client:
        await client.get(CANDLES)
        await client.get("/api/v1/candles?x=1")
        await client.get("/api/v1/orders/00000000-0000-0000-0000-000000000000")
    assert [(row.event, row.operation, row.code) for row in face.noted()] == [
        ("call.refused", "get_candles", "request_invalid"),
        ("call.refused", "get_order", "order_unknown"),
    ]


async def test_health_has_the_predecessor_s_shape(face: Face) -> None:
    """status, timestamp, version, services; an embedded part says so."""
    async with face.client(auth=None) as client:
        response = await client.get("/health")
    told = response.json()
    assert list(told) == ["status", "timestamp", "version", "services"]
    assert told["timestamp"] == "2025-11-18T10:00:00Z"
    assert told["services"] == {"redis": "embedded", "freqtrade": "healthy"}


async def test_probes_tell_orchestrators_by_status(face: Face) -> None:
    """Degraded still serves reads; not ready and unhealthy do not."""
    face.gateway.told_health = Health("degraded", {"freqtrade": "unhealthy"})
    face.gateway.ready = False
    async with face.client(auth=None) as client:
        assert (await client.get("/health")).status_code == 200
        assert (await client.get("/health/live")).status_code == 200
        assert (await client.get("/health/ready")).status_code == 503
        face.gateway.told_health = Health("unhealthy", {})
        face.gateway.ready = True
        assert (await client.get("/health")).status_code == 503
        assert (await client.get("/health/ready")).status_code == 200


async def test_metrics_are_open_on_loopback_and_guarded_elsewhere(tmp_path: Path) -> None:
    """Beyond loopback a token of any scope is asked for."""
    abroad = settings_for(
        tmp_path, host="0.0.0.0", allowed_hosts=("gw",), allowed_origins=("https://gw",)
    )
    here, there = Face(settings_for(tmp_path)), Face(abroad)
    async with here.client(auth=None) as client:
        told = await client.get("/metrics")
        assert told.status_code == 200
        assert b"http_requests_total" in told.content
        assert told.headers["content-type"].startswith("text/plain; version=")
    async with there.client(auth=None) as client:
        response = await client.get("/metrics")
        assert (response.status_code, code_of(response)) == (401, "token_missing")
    async with there.client(auth=there.auth("market:read")) as client:
        assert (await client.get("/metrics")).status_code == 200


@pytest.mark.parametrize("suffix", ["", "/mcp"])
async def test_the_resource_tells_its_scopes(face: Face, suffix: str) -> None:
    """RFC 9728 section 2: resource is the identifier that callers use."""
    async with face.client(auth=None) as client:
        response = await client.get(f"/.well-known/oauth-protected-resource{suffix}")
    assert response.json()["resource"] == "http://127.0.0.1:8000/mcp"
    assert "market:read" in response.json()["scopes_supported"]
