"""The OpenAPI page, made of the same table and shapes that the routes are made of."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Final, Literal

import orjson
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from mcp_gateway import __version__
from mcp_gateway.domain.operations import OPERATIONS
from mcp_gateway.transports.refusals import PROBLEM
from mcp_gateway.transports.rest.shapes import Problem
from mcp_gateway.transports.routes import Route

_REF: Final = "#/components/schemas/{model}"
_ABOUT: Final = (
    "The REST face of MCP Gateway. Every refusal is a problem document (RFC 9457) with a "
    "stable code. Whatever trades or decides must be signed by RFC 9421 (label gw, tag "
    "mcp-gateway)."
)
_SIGNATURE_HEADERS: Final = {
    "Signature-Input": "RFC 9421: label gw over @method @authority @path content-digest.",
    "Signature": "RFC 9421: the signature itself.",
    "Content-Digest": "RFC 9530: the digest of the body, an empty one too.",
}
# It signs the body alone: where there is none it would prove nothing.
_BODY_SIGNATURE_HEADERS: Final = {
    "X-Signature": "The predecessor's form, where the operator allows it.",
}


def document(routes: Sequence[Route], base_url: str) -> bytes:
    """Return the OpenAPI 3.1 document of these routes, as JSON."""
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    bearer = {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    page = {
        "openapi": "3.1.0",
        "info": {"title": "MCP Gateway", "version": __version__, "description": _ABOUT},
        "servers": [{"url": base_url}],
        "paths": paths,
        "components": {
            "schemas": _schemas(routes),
            "securitySchemes": {"token": bearer},
        },
    }
    return orjson.dumps(page)


def _schemas(routes: Sequence[Route]) -> dict[str, Any]:
    shapes: set[type[BaseModel]] = {Problem}
    for route in routes:
        shapes |= {shape for shape in (route.answer, route.body, *route.also.values()) if shape}
    wanted: list[tuple[Any, Literal["validation"]]] = [
        (shape, "validation") for shape in sorted(shapes, key=lambda shape: shape.__name__)
    ]
    _, schemas = models_json_schema(wanted, ref_template=_REF)
    return dict(schemas["$defs"])


def _operation(route: Route) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "responses": _responses(route),
    }
    if parameters := _parameters(route):
        told["parameters"] = parameters
    if route.body is not None:
        told["requestBody"] = {"required": True, "content": _bodies(route, route.body)}
    if route.guarded:
        told["security"] = [{"token": []}]
    if route.operation is not None:
        row = OPERATIONS[route.operation]
        live = f" On a live bot {row.live_scope} too." if row.live_scope else ""
        told["description"] = f"Needs one of the scopes: {', '.join(sorted(row.scopes))}.{live}"
    return told


def _operation_id(route: Route) -> str:
    words = route.path.strip("/").replace(".", "").replace("{", "").replace("}", "")
    return f"{route.method.lower()}_{words.replace('/', '_').replace('-', '_')}"


def _responses(route: Route) -> dict[str, Any]:
    content = {"text/plain": {"schema": {"type": "string"}}}
    if route.answer is not None:
        content = _json(route.answer)
    told: dict[str, Any] = {"200": {"description": "Done.", "content": content}}
    if route.operation == "create_order":
        replayed = {"description": "true on a recorded answer.", "schema": {"type": "string"}}
        told["200"]["headers"] = {"Idempotent-Replayed": replayed}
    for status, shape in route.also.items():
        told[str(status)] = {"description": HTTPStatus(status).phrase, "content": _json(shape)}
    for status in route.refused_with:
        told[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {PROBLEM: {"schema": {"$ref": _REF.format(model="Problem")}}},
        }
    return dict(sorted(told.items()))


def _json(shape: type[BaseModel]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REF.format(model=shape.__name__)}}}


def _bodies(route: Route, shape: type[BaseModel]) -> dict[str, Any]:
    """Describe the JSON body, and OAuth's form of it where the route takes one."""
    text = {"type": "string"}
    form = {
        "type": "object",
        "required": ["grant_type"],
        "properties": {
            "grant_type": {"const": "client_credentials"},
            "client_id": text,
            "client_secret": text,
            "scope": text,
            "resource": text,
        },
    }
    bodies = _json(shape)
    for kind in route.media_types:
        bodies.setdefault(kind, {"schema": form})
    return bodies


def _parameters(route: Route) -> list[dict[str, Any]]:
    told = []
    if "{" in route.path:
        name = route.path.partition("{")[2].partition("}")[0]
        schema = {"type": "string"} | ({"format": "uuid"} if name == "request_id" else {})
        told.append({"name": name, "in": "path", "required": True, "schema": schema})
    if route.query is not None:
        shape = route.query.model_json_schema(ref_template=_REF)
        told += [
            {"name": name, "in": "query", "required": name in shape.get("required", []),
             "schema": schema}
            for name, schema in shape["properties"].items()
        ]  # fmt: skip
    if route.operation is not None and OPERATIONS[route.operation].signed:
        headers = _SIGNATURE_HEADERS | (_BODY_SIGNATURE_HEADERS if route.plainly_signable else {})
        told += [
            {"name": name, "in": "header", "description": about, "schema": {"type": "string"}}
            for name, about in headers.items()
        ]
    return told
