"""The door: what it lets through, what it refuses, and in whose language."""

import asyncio
import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest

from mcp_gateway.domain.principals import Signed, Unsigned
from mcp_gateway.telemetry import logs, metrics
from mcp_gateway.transports.faults import Explained
from tests.support.gateway import (
    CALL,
    HMAC_SECRET,
    JWT_SECRET,
    ORDER,
    TRADER,
    Face,
    code_of,
    settings_for,
)

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

# Every refusal of the door is asked for in both languages.
FACES = pytest.mark.parametrize(
    ("path", "body"), [("/mcp", CALL), ("/api/v1/orders/dry-run", ORDER)], ids=["mcp", "rest"]
)
JSON = {"content-type": "application/json"}


@pytest.fixture
def face(tmp_path: Path) -> Face:
    return Face(settings_for(tmp_path))


async def test_a_call_passes_with_its_bytes_and_its_caller(face: Face) -> None:
    """The body is replayed as it came, and ``caller`` holds what was shown."""
    body = orjson.dumps(CALL)
    async with face.client() as client:
        response = await client.post("/mcp", content=body, headers=JSON)
    assert response.status_code == 200
    assert face.mcp.bodies == [body]
    assert face.mcp.callers[0].channel == "http"
    assert face.mcp.callers[0].evidence == Unsigned("signature_missing")


async def test_a_signature_over_the_bytes_becomes_evidence(face: Face) -> None:
    """RFC 9421: the door judges the raw bytes, the gate spends the nonce."""
    async with face.client(auth=face.auth(signed=True)) as client:
        await client.post("/mcp", json=CALL)
    evidence = face.mcp.callers[0].evidence
    assert isinstance(evidence, Signed)
    assert evidence.key_id == TRADER


async def test_a_wrong_signature_is_evidence_and_no_refusal_at_the_door(face: Face) -> None:
    """Reads must not fail because of a signature that they do not need."""
    headers = JSON | {"signature-input": "gw=()", "signature": "gw=:AAAA:"}
    async with face.client() as client:
        response = await client.post("/mcp", json=CALL, headers=headers)
    assert response.status_code == 200
    assert face.mcp.callers[0].evidence == Unsigned("signature_invalid")


async def test_white_space_around_header_values_is_taken_off(face: Face) -> None:
    """RFC 9110 section 5.5; httptools leaves it there and the SDK then refuses the call."""
    async with face.client() as client:
        await client.post("/mcp", json=CALL, headers={"mcp-name": "get_candles \t"})
    assert (b"mcp-name", b"get_candles") in face.mcp.headers[0]


@FACES
async def test_a_call_without_a_token_is_challenged_without_an_error(
    face: Face, path: str, body: object
) -> None:
    """RFC 6750 section 3: no error word where no token was sent; RFC 9728 says where to go."""
    async with face.client(auth=None) as client:
        response = await client.post(path, json=body)
    assert (response.status_code, code_of(response)) == (401, "token_missing")
    challenge = response.headers["www-authenticate"]
    assert challenge.startswith('Bearer realm="')
    assert "error=" not in challenge
    assert "/.well-known/oauth-protected-resource/mcp" in challenge


@FACES
@pytest.mark.parametrize(
    "value", ["Basic dXNlcjpwYXNz", "Bearer", "Bearer a b", "Bearer a,b", "Bearer é", "xyz", ""]
)
async def test_a_malformed_authorization_header_is_an_invalid_token(
    face: Face, path: str, body: object, value: str
) -> None:
    """RFC 6750 section 2.1: one scheme, one token."""
    headers = {b"authorization": value.encode("latin-1")}
    async with face.client(auth=None) as client:
        response = await client.post(path, json=body, headers=headers)
    assert (response.status_code, code_of(response)) == (401, "token_invalid")
    assert 'error="invalid_token"' in response.headers["www-authenticate"]


@FACES
async def test_an_expired_token_says_so(face: Face, path: str, body: object) -> None:
    """The agent learns that a new token will do."""
    token = face.token(ttl_s=60)
    face.gateway.clock.advance(120)
    async with face.client(auth=None) as client:
        response = await client.post(path, json=body, headers={"authorization": f"Bearer {token}"})
    assert (response.status_code, code_of(response)) == (401, "token_expired")


@FACES
async def test_a_token_twice_is_refused_even_when_both_are_good(
    face: Face, path: str, body: object
) -> None:
    """A proxy and the gateway might believe different ones."""
    value = f"Bearer {face.token()}"
    headers = [("authorization", value), ("authorization", value)]
    async with face.client(auth=None) as client:
        response = await client.post(path, json=body, headers=headers)
    assert (response.status_code, code_of(response)) == (401, "token_invalid")


@FACES
@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "user@localhost", "localhost:80:80", "[::2]"]
)
async def test_a_foreign_host_is_refused(face: Face, path: str, body: object, host: str) -> None:
    """DNS rebinding: the name in Host gives the page away."""
    async with face.client() as client:
        response = await client.post(path, json=body, headers={"host": host})
    assert (response.status_code, code_of(response)) == (421, "host_not_allowed")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:8000", "[::1]:1", "LOCALHOST:9"])
async def test_loopback_is_always_a_known_host(face: Face, host: str) -> None:
    """Whatever the port: a tunnel may change it."""
    async with face.client() as client:
        response = await client.post("/mcp", json=CALL, headers={"host": host})
    assert response.status_code == 200


async def test_configured_hosts_and_origins_are_known_and_no_others(tmp_path: Path) -> None:
    """MCP_GATEWAY_ALLOWED_HOSTS and _ORIGINS; an entry with a port means that port."""
    face = Face(
        settings_for(
            tmp_path,
            allowed_hosts=("gw.example", "other.example:444"),
            allowed_origins=("https://desk.example",),
        )
    )
    expected = {
        ("gw.example", None): 200,
        ("gw.example:8443", None): 200,
        ("other.example:444", None): 200,
        ("other.example", None): 421,
        ("gw.example", "https://desk.example"): 200,
        ("gw.example", "http://desk.example"): 403,
        ("gw.example", "https://desk.example.evil.example"): 403,
    }
    told = {}
    async with face.client() as client:
        for host, origin in expected:
            headers = {"host": host} | ({"origin": origin} if origin else {})
            told[host, origin] = (await client.post("/mcp", json=CALL, headers=headers)).status_code
    assert told == expected


@FACES
@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://localhost.evil.example"]
)
async def test_a_foreign_origin_is_refused(
    face: Face, path: str, body: object, origin: str
) -> None:
    """A page of another site may not call, even under the right host name."""
    async with face.client() as client:
        response = await client.post(path, json=body, headers={"origin": origin})
    assert (response.status_code, code_of(response)) == (403, "origin_not_allowed")


PREFLIGHT = {
    "access-control-request-method": "POST",
    "access-control-request-headers": "Authorization, content-type,mcp-protocol-version, "
    "signature-input, Signature, content-digest, x-signature, x-evil, cookie",
}
LOCAL_PAGE = "http://localhost:6274"


@FACES
@pytest.mark.parametrize("origin", [LOCAL_PAGE, "https://desk.example"])
async def test_a_welcome_page_may_ask_before_it_calls(
    tmp_path: Path, path: str, body: object, origin: str
) -> None:
    """Fetch, CORS: a browser asks first, without a token, and names what it wants to send."""
    face = Face(settings_for(tmp_path, allowed_origins=("https://desk.example",)))
    async with face.client(auth=None) as client:
        response = await client.options(path, headers={"origin": origin} | PREFLIGHT)
    assert (response.status_code, response.content) == (204, b"")
    assert response.headers["access-control-allow-origin"] == origin
    assert response.headers["access-control-allow-methods"] == "GET, POST, DELETE"
    assert response.headers["access-control-allow-headers"].split(", ") == [
        "authorization", "content-type", "mcp-protocol-version", "signature-input", "signature",
        "content-digest", "x-signature",
    ]  # fmt: skip
    assert response.headers["vary"] == "Origin"
    assert "content-length" not in response.headers
    assert "access-control-allow-credentials" not in response.headers


@FACES
async def test_a_welcome_page_may_read_answers_and_refusals(
    face: Face, path: str, body: object
) -> None:
    """A refusal that the page cannot read would be a riddle to it."""
    async with face.client() as client:
        good = await client.post(path, json=body, headers={"origin": LOCAL_PAGE})
        bad = await client.post(path, content=b"{", headers=JSON | {"origin": LOCAL_PAGE})
    assert (good.status_code, bad.status_code) == (200, 400)
    for response in (good, bad):
        assert response.headers["access-control-allow-origin"] == LOCAL_PAGE
        assert response.headers["vary"] == "Origin"
        exposed = response.headers["access-control-expose-headers"].split(", ")
        assert {"Mcp-Session-Id", "WWW-Authenticate", "Retry-After"} <= set(exposed)


@FACES
async def test_a_foreign_page_and_no_page_get_nothing_of_it(
    face: Face, path: str, body: object
) -> None:
    """No header of CORS: the browser keeps the answer from the page."""
    foreign = {"origin": "https://evil.example"}
    async with face.client() as client:
        responses = [
            await client.options(path, headers=foreign | PREFLIGHT),
            await client.post(path, json=body, headers=foreign),
            await client.post(path, json=body),
        ]
        twice = [("origin", LOCAL_PAGE), *[("access-control-request-method", "POST")] * 2]
        doubled = await client.options(path, headers=twice)
    assert [one.status_code for one in responses] == [403, 403, 200]
    for response in responses:
        assert not [name for name in response.headers if name.startswith("access-control")]
    assert code_of(doubled) == "request_malformed"


async def test_probes_answer_under_any_host(face: Face) -> None:
    """Orchestrators ask by address."""
    async with face.client(auth=None) as client:
        for path in ("/health/live", "/health/ready", "/metrics"):
            assert (await client.get(path, headers={"host": "10.0.0.7"})).status_code == 200
        assert (await client.get("/health", headers={"host": "10.0.0.7"})).status_code == 421


@FACES
async def test_an_announced_oversize_is_refused_unread(face: Face, path: str, body: object) -> None:
    """Content-Length over the limit: not a byte of it is taken."""
    async with face.client() as client:
        response = await client.post(path, content=b"{" * 70_000, headers=JSON)
    assert (response.status_code, code_of(response)) == (413, "request_too_large")
    assert response.headers["connection"] == "close"


@FACES
@pytest.mark.parametrize(
    "kind",
    ["text/plain", "application/x-www-form-urlencoded", "", "application/json; charset=utf-16",
     "application/jsonp"],
)  # fmt: skip
async def test_another_media_type_is_refused(
    face: Face, path: str, body: object, kind: str
) -> None:
    """A browser sends text/plain across origins without asking; JSON it may not."""
    async with face.client() as client:
        response = await client.post(
            path, content=orjson.dumps(body), headers={"content-type": kind}
        )
    assert (response.status_code, code_of(response)) == (415, "media_type_not_supported")


@FACES
async def test_a_compressed_body_is_refused(face: Face, path: str, body: object) -> None:
    """A few bytes could unpack to many."""
    headers = JSON | {"content-encoding": "gzip"}
    async with face.client() as client:
        response = await client.post(path, content=b"\x1f\x8b", headers=headers)
    assert (response.status_code, code_of(response)) == (415, "media_type_not_supported")


@FACES
@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"id": 7, "id": 8}', "body_duplicate_key"),
        ('{"id": 7, "amount": NaN}', "body_malformed"),
        ('{"id": 7, "amount": -Infinity}', "body_malformed"),
        ('{"id": 7', "body_malformed"),
        ("", "body_malformed"),
        ("[]", "body_not_an_object"),
        ('[{"jsonrpc": "2.0", "id": 1}]', "body_not_an_object"),
        ("null", "body_not_an_object"),
        ('{"a":' * 40 + "1" + "}" * 40, "body_too_deep"),
        ('{"a":"\\ud800"}', "body_malformed"),
        ("\ufeff{}", "body_malformed"),
        ('{"a":' + "9" * 5000 + "}", "body_malformed"),
    ],
)
async def test_json_that_parsers_disagree_on_is_refused(
    face: Face, path: str, body: object, text: str, code: str
) -> None:
    """RFC 7493: what two parsers read differently is a way around a check."""
    async with face.client() as client:
        response = await client.post(path, content=text.encode(), headers=JSON)
    assert (response.status_code, code_of(response)) == (400, code)
    assert face.mcp.bodies == []


async def test_the_jsonrpc_codes_are_those_of_the_protocol(face: Face) -> None:
    """JSON-RPC 2.0 section 5.1: parse error, and invalid request for a batch."""
    told = {}
    async with face.client() as client:
        for text in ("{", "[]"):
            response = await client.post("/mcp", content=text, headers=JSON)
            told[text] = (response.json()["error"]["code"], response.json()["id"])
    assert told == {"{": (-32700, None), "[]": (-32600, None)}


@pytest.mark.parametrize(
    ("shown", "told"),
    [(7, 7), ("abc", "abc"), (None, None), (1.5, None), (True, None), ("x" * 200, None),
     (2**60, None), ({}, None)],
)  # fmt: skip
async def test_a_refusal_carries_the_request_s_id_where_it_is_one(
    face: Face, shown: object, told: object
) -> None:
    """An SDK client shows the code only of an error that has its request's id."""
    async with face.client(auth=None) as client:
        response = await client.post("/mcp", json=CALL | {"id": shown})
    assert response.status_code == 401
    assert response.json()["id"] == told
    assert response.json()["error"]["code"] == -32001


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT", "OPTIONS", "HEAD"])
async def test_mcp_answers_post_alone(face: Face, method: str) -> None:
    """Stateless: there is no stream to GET and no session to DELETE."""
    async with face.client() as client:
        response = await client.request(method, "/mcp")
    assert (response.status_code, response.headers["allow"]) == (405, "POST")
    if method != "HEAD":
        assert code_of(response) == "method_not_allowed"


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [("POST", "/api/v1/candles", "GET"), ("GET", "/api/v1/orders", "POST"),
     ("GET", "/api/v1/orders/dry-run", "POST"), ("POST", "/health", "GET")],
)  # fmt: skip
async def test_a_wrong_method_names_the_right_one(
    face: Face, method: str, path: str, allow: str
) -> None:
    """RFC 9110 section 15.5.6."""
    async with face.client() as client:
        response = await client.request(method, path)
    assert (response.status_code, response.headers["allow"]) == (405, allow)
    assert code_of(response) == "method_not_allowed"


@pytest.mark.parametrize(
    "path", ["/", "/mcp/", "/MCP", "/api/v1", "/api/v1/orders/a/b", "/docs", "/%6dcp", "//mcp"]
)
async def test_an_unknown_path_is_a_404_and_one_label(face: Face, path: str) -> None:
    """Raw paths count, and nobody can grow the number of series."""
    before = _count("GET", "other", 404)
    async with face.client() as client:
        response = await client.get(path)
    assert (response.status_code, code_of(response)) == (404, "route_unknown")
    assert _count("GET", "other", 404) == before + 1


@FACES
async def test_a_token_that_allows_nothing_is_refused(
    tmp_path: Path, path: str, body: object
) -> None:
    """RFC 6750 section 3.1: insufficient_scope."""
    face = Face(settings_for(tmp_path))
    issuing = face.gateway.gate.issuing
    assert issuing is not None
    headers = {"authorization": f"Bearer {issuing.issue(TRADER, (), 60)}"}
    async with face.client(auth=None) as client:
        response = await client.post(path, json=body, headers=headers)
    assert (response.status_code, code_of(response)) == (403, "scope_missing")
    assert 'error="insufficient_scope"' in response.headers["www-authenticate"]


@FACES
async def test_the_door_s_refusals_of_a_known_caller_are_noted(
    tmp_path: Path, path: str, body: object
) -> None:
    """Behind a proven token every refusal is an audit row; strangers leave none."""
    face = Face(settings_for(tmp_path))
    issuing = face.gateway.gate.issuing
    assert issuing is not None
    powerless = {"authorization": f"Bearer {issuing.issue(TRADER, (), 60)}"}
    async with face.client() as client:
        await client.post(path, content=b"{", headers=JSON)
    async with face.client(auth=None) as client:
        await client.post(path, json=body, headers=powerless)
        await client.post(path, content=b"{", headers=JSON)
    channel = "http" if path == "/mcp" else "rest"
    assert [(row.event, row.subject, row.channel, row.code) for row in face.noted()] == [
        ("call.refused", TRADER, channel, "body_malformed"),
        ("call.refused", TRADER, channel, "scope_missing"),
    ]


@FACES
async def test_a_bug_is_told_in_one_word(face: Face, path: str, body: object) -> None:
    """Nothing of the exception leaves the house; the call id leads to the log."""
    trouble = RuntimeError(f"password {JWT_SECRET}")
    face.mcp.trouble = face.gateway.order_service.trouble = trouble
    async with face.client() as client:
        response = await client.post(path, json=body)
    assert (response.status_code, code_of(response)) == (500, "internal_error")
    assert JWT_SECRET not in response.text
    assert "RuntimeError" not in response.text


@FACES
async def test_headers_beyond_the_bound_are_refused(face: Face, path: str, body: object) -> None:
    """RFC 6585 section 5."""
    async with face.client() as client:
        response = await client.post(path, json=body, headers={"x-filler": "a" * 40_000})
    assert (response.status_code, code_of(response)) == (431, "headers_too_large")


@FACES
async def test_every_answer_forbids_caching_and_sniffing(
    face: Face, path: str, body: object
) -> None:
    """Good or bad: an order's answer belongs in no cache."""
    async with face.client() as client:
        good, bad = await client.post(path, json=body), await client.post(path, content=b"{")
    for response in (good, bad):
        assert response.headers["cache-control"] == "no-store"
        assert response.headers["x-content-type-options"] == "nosniff"


async def test_requests_are_counted_by_method_route_and_status(face: Face) -> None:
    """The predecessor's metrics, with the route's template as the path."""
    before = _count("GET", "/api/v1/orders/{request_id}", 404)
    in_progress = metrics.REGISTRY.get_sample_value("http_requests_in_progress")
    async with face.client() as client:
        await client.get(f"/api/v1/orders/{ORDER['request_id']}")
    assert _count("GET", "/api/v1/orders/{request_id}", 404) == before + 1
    assert metrics.REGISTRY.get_sample_value("http_requests_in_progress") == in_progress


@contextmanager
def _written_logs() -> Iterator[io.StringIO]:
    """Configure logging as a server does, and give back what pytest had."""
    root, written = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers[:], root.level
    logs.configure("INFO", "json")
    own = root.handlers[0]
    assert isinstance(own, logging.StreamHandler)
    own.setStream(written)
    try:
        yield written
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


async def test_one_line_a_request_tells_who_asked_for_what(face: Face) -> None:
    """The predecessor's log keys; no token, no key and no body in it; probes only at DEBUG."""
    with _written_logs() as written:
        async with face.client(auth=face.auth(signed=True)) as client:
            await client.get("/api/v1/candles?pair=BTC/USDT&timeframe=15m")
            await client.get("/health/live")
    lines = [orjson.loads(line) for line in written.getvalue().splitlines()]
    [line] = [line for line in lines if line["message"] == "Request answered"]
    expected = {
        "level": "INFO", "user": TRADER, "pair": "BTC/USDT", "timeframe": "15m",
        "method": "GET", "path": "/api/v1/candles", "status": 200,
    }  # fmt: skip
    assert expected.items() <= line.items()
    assert {"timestamp", "name", "call_id", "duration_ms"} <= line.keys()
    for secret in (JWT_SECRET, HMAC_SECRET, "Bearer"):
        assert secret not in orjson.dumps(lines).decode()


def _count(method: str, path: str, status: int) -> float:
    labels = {"method": method, "path": path, "status": str(status)}
    return metrics.REGISTRY.get_sample_value("http_requests_total", labels) or 0.0


async def test_a_server_that_stops_tells_who_still_waits(face: Face) -> None:
    """A call that is cut off at the end gets a code and the next safe step, not a bare 500."""
    reached = anyio.Event()

    async def never(*_: object) -> None:
        reached.set()
        await anyio.sleep_forever()

    face.door._mcp = Explained(never)
    body = orjson.dumps(CALL)
    headers = [
        (b"host", b"127.0.0.1:8000"), (b"content-type", b"application/json"),
        (b"content-length", b"%d" % len(body)),
        (b"authorization", b"Bearer " + face.token().encode()),
    ]  # fmt: skip
    scope = {
        "type": "http", "method": "POST", "path": "/mcp", "raw_path": b"/mcp",
        "query_string": b"", "headers": headers, "http_version": "1.1", "scheme": "http",
    }  # fmt: skip
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    # As uvicorn cancels what still runs after its grace.
    task = asyncio.ensure_future(face.door(scope, receive, send))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert sent[0]["status"] == 503
    told = orjson.loads(sent[1]["body"])
    assert (told["id"], told["error"]["data"]["code"]) == (7, "cut_off")
    assert "get_order" in told["error"]["data"]["hint"]
