"""The OpenAPI page: valid, complete, and true to what the routes answer."""

from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from mcp_gateway import errors
from tests.support.gateway import ORDER, Face, settings_for

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

CANDLES = "/api/v1/candles?pair=BTC/USDT&timeframe=15m"
DRY_RUN = "/api/v1/orders/dry-run"
ORDERS = "/api/v1/orders"
ONE_ORDER = "/api/v1/orders/{request_id}"
CANCEL = ONE_ORDER.format(request_id=ORDER["request_id"])


@pytest.fixture
def face(tmp_path: Path) -> Face:
    return Face(settings_for(tmp_path))


async def page_of(face: Face) -> dict[str, Any]:
    async with face.client(auth=None) as client:
        page: dict[str, Any] = (await client.get("/openapi.json")).json()
    return page


async def test_the_page_is_valid_openapi(face: Face) -> None:
    """OpenAPI 3.1, checked by the standard's own schema."""
    page = await page_of(face)
    assert page["openapi"].startswith("3.1")
    validate(page)


async def test_every_route_is_on_the_page_and_nothing_else(face: Face) -> None:
    """The page and the dispatch are made of one table."""
    page = await page_of(face)
    told = {(method.upper(), path) for path, item in page["paths"].items() for method in item}
    assert told == {(route.method, route.path) for route in face.routes}
    identifiers = [one["operationId"] for item in page["paths"].values() for one in item.values()]
    assert len(set(identifiers)) == len(identifiers)


async def test_the_predecessor_s_parameters_and_defaults_are_told(face: Face) -> None:
    """Pair and timeframe required, limit 500 up to 1000, use_cache true."""
    page = await page_of(face)
    told = {one["name"]: one for one in page["paths"]["/api/v1/candles"]["get"]["parameters"]}
    assert {name for name, one in told.items() if one["required"]} == {"pair", "timeframe"}
    assert told["limit"]["schema"]["default"] == 500
    assert told["limit"]["schema"]["maximum"] == 1000
    assert told["use_cache"]["schema"]["default"] is True


async def test_a_cancel_is_signed_by_the_standard_form_alone(face: Face) -> None:
    """The page offers no signature over a body where there is none."""
    paths = (await page_of(face))["paths"]
    told = {
        method: {one["name"] for one in paths[path][method]["parameters"] if one["in"] == "header"}
        for method, path in (("post", ORDERS), ("delete", ONE_ORDER))
    }
    assert told["delete"] == {"Signature-Input", "Signature", "Content-Digest"}
    assert told["post"] == told["delete"] | {"X-Signature"}


async def test_every_status_that_is_answered_is_documented(tmp_path: Path) -> None:
    """A sweep of good, bad and failing calls over every route, compared with the page."""
    face = Face(settings_for(tmp_path))
    answered = await _good_and_bad(face) | await _failing(face) | await _throttled(tmp_path)
    page = await page_of(face)
    undocumented = {
        (method, path, status)
        for method, path, status in answered
        if str(status) not in page["paths"][path][method]["responses"]
    }
    assert undocumented == set()
    statuses = {status for _, _, status in answered}
    assert statuses >= {200, 400, 401, 403, 404, 409, 413, 415, 421, 422, 429, 431, 500, 503, 504}


def test_every_refusal_of_the_tree_can_be_told_by_some_route(face: Face) -> None:
    """A status that errors.py knows and no route documents would be a surprise to a caller."""
    documented = {status for route in face.routes for status in route.refused_with}
    known = {kind.status for kind in _refusals(errors.GatewayError)}
    assert known - documented == {405}  # a method that is no operation has no place on the page


def test_each_guarded_route_names_one_operation_of_the_table(face: Face) -> None:
    """Who may what stands in one table, for this face too."""
    operations = [route.operation for route in face.routes if route.operation]
    assert sorted(operations) == [
        "approve_order", "cancel_order", "create_order", "decline_order", "dry_run_order",
        "get_account", "get_candles", "get_open_positions", "get_order", "halt", "list_approvals",
        "list_halts", "release_halt",
    ]  # fmt: skip


def _refusals(kind: type[errors.GatewayError]) -> set[type[errors.GatewayError]]:
    found = {kind}
    for child in kind.__subclasses__():
        if child.__module__ == errors.__name__ and child is not errors.ConfigurationError:
            found |= _refusals(child)
    return found


Answered = set[tuple[str, str, int]]


async def _good_and_bad(face: Face) -> Answered:
    answered: Answered = set()
    async with face.client(auth=face.auth(signed=True)) as client:
        for route in face.routes:
            path = route.path.replace("{request_id}", str(ORDER["request_id"]))
            query = "?pair=BTC/USDT&timeframe=5m" if route.query and "candles" in path else ""
            good = {"json": ORDER} if route.method == "POST" else {}
            calls: list[dict[str, Any]] = [
                good, {"headers": {"host": "evil"}}, {"headers": {"origin": "null"}},
                {"headers": {"x": "a" * 40_000}}, {"auth": None}, {"auth": face.auth("ops:halt")},
                {**good, "params": {"x": "1"}},
            ]  # fmt: skip
            if route.method == "POST":
                kind = {"content-type": "application/json"}
                calls += [
                    {"content": b"{", "headers": kind}, {"content": b"a" * 70_000, "headers": kind},
                    {"content": b"a"}, {"json": {}},
                ]  # fmt: skip
            for call in calls:
                target = path if "params" in call else path + query
                response = await client.request(route.method, target, **call)
                answered.add((route.method.lower(), route.path, response.status_code))
    return answered


async def _failing(face: Face) -> Answered:
    answered: Answered = set()
    kinds = _refusals(errors.GatewayError) - {errors.GatewayError, errors.InternalError}
    reads = (errors.NotFound, errors.BotRejected, errors.BotUnavailable)
    writes = (*reads, errors.OrderDenied, errors.IdempotencyConflict, errors.OutcomeUnknown,
              errors.StoreUnavailable, errors.Draining)  # fmt: skip
    table = [("GET", CANDLES, reads), ("GET", "/api/v1/positions/open", reads),
             ("POST", DRY_RUN, reads), ("POST", ORDERS, writes),
             ("DELETE", CANCEL, (*writes, errors.OrderNotResting))]  # fmt: skip
    async with face.client(auth=face.auth(signed=True)) as client:
        for method, path, refusals in table:
            assert set(refusals) <= kinds
            for trouble in [*(kind("No.") for kind in refusals), RuntimeError()]:
                face.gateway.market.trouble = face.gateway.order_service.trouble = trouble
                body = {"json": ORDER} if method == "POST" else {}
                response = await client.request(method, path, **body)  # type: ignore[arg-type]  # one table for all
                told = ONE_ORDER if path == CANCEL else path.partition("?")[0]
                answered.add((method.lower(), told, response.status_code))
    return answered


async def _throttled(folder: Path) -> Answered:
    face = Face(settings_for(folder, rate_limit_per_minute=1))
    answered: Answered = set()
    async with face.client() as client:
        for _ in range(3):
            response = await client.get(CANDLES)
            answered.add(("get", "/api/v1/candles", response.status_code))
    return answered
