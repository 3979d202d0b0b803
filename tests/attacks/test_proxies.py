"""Threat: who is no proxy speaks for one, or a proxy's word is taken for more than it is."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2
import pytest

from mcp_gateway.client import GatewayAuth
from mcp_gateway.domain.principals import Signed
from tests.support.gateway import CALL, HMAC_SECRET, ORDER, TRADER, Face, code_of, settings_for
from tests.support.reverse import behind
from tests.support.wire import served

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

OUTSIDE = "gw.example"
PROXY = "10.0.0.1"
FORMS: dict[str, dict[str, str]] = {
    "X-Forwarded": {
        "X-Forwarded-Host": OUTSIDE, "X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9"
    },
    "Forwarded": {"Forwarded": f"for=203.0.113.9;host={OUTSIDE};proto=https"},
}  # fmt: skip
ORDERS, MCP = "/api/v1/orders", "/mcp"


def face_for(folder: Path, **settings: Any) -> Face:
    return Face(settings_for(folder, allowed_hosts=OUTSIDE, **settings))


async def sent(
    face: Face, headers: Mapping[str, str], *, signed_for: str, peer: str = PROXY,
    path: str = ORDERS, host: str = "127.0.0.1:8000",
) -> httpx2.Response:  # fmt: skip
    """Send an order that was signed for one URL, as a connection from ``peer`` brings it."""
    auth = GatewayAuth(face.token(), key=HMAC_SECRET, key_id=TRADER, clock=face.gateway.clock)
    request = httpx2.Request("POST", f"{signed_for}{path}", json=ORDER if path == ORDERS else CALL)
    flow = auth.auth_flow(request)
    kept = {name: value for name, value in next(flow).headers.items() if name != "host"}
    transport = httpx2.ASGITransport(app=face.door, client=(peer, 4711))
    async with httpx2.AsyncClient(transport=transport) as client:
        return await client.post(
            f"http://{host}{path}", content=request.content, headers=kept | dict(headers)
        )


@pytest.mark.parametrize("headers", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("path", [ORDERS, MCP], ids=["rest", "mcp"])
@pytest.mark.parametrize("port", ["", ":443"], ids=["no port", "its port"])
async def test_an_order_signed_for_the_outside_fits_behind_a_proxy(
    tmp_path: Path, headers: dict[str, str], path: str, port: str
) -> None:
    """The caller knows the outer name alone, over REST and MCP alike."""
    face = face_for(tmp_path, trusted_proxies=PROXY)
    answer = await sent(face, headers, signed_for=f"https://{OUTSIDE}{port}", path=path)
    assert answer.status_code in {200, 201}, answer.text
    if path == MCP:
        assert isinstance(face.mcp.callers[0].evidence, Signed)


@pytest.mark.parametrize("headers", FORMS.values(), ids=FORMS.keys())
@pytest.mark.parametrize("peer", ["203.0.113.9", "10.0.0.2", "127.0.0.1", "::1"])
async def test_who_is_no_proxy_of_ours_speaks_for_none(
    tmp_path: Path, headers: dict[str, str], peer: str
) -> None:
    """A signature for one host must not fit another because the sender says so."""
    face = face_for(tmp_path, trusted_proxies=PROXY)
    answer = await sent(face, headers, signed_for=f"https://{OUTSIDE}", peer=peer)
    assert code_of(answer) == "signature_invalid"
    own = await sent(face, headers, signed_for="http://127.0.0.1:8000", peer=peer)
    assert own.is_success


async def test_without_a_named_proxy_nobody_is_believed(tmp_path: Path) -> None:
    """The default trusts no header, from this machine neither."""
    answer = await sent(
        face_for(tmp_path), FORMS["Forwarded"], signed_for=f"https://{OUTSIDE}", peer="127.0.0.1"
    )
    assert code_of(answer) == "signature_invalid"


async def test_a_signature_for_another_gateway_does_not_fit_behind_the_proxy(
    tmp_path: Path,
) -> None:
    """Recorded at one installation, sent to another with the same key."""
    face = face_for(tmp_path, trusted_proxies=PROXY)
    for other in ("https://other.example", f"http://{OUTSIDE}:8443", "http://127.0.0.1:8000"):
        answer = await sent(face, FORMS["X-Forwarded"], signed_for=other)
        assert code_of(answer) == "signature_invalid"


@pytest.mark.parametrize(
    "host", ["evil.example", "gw.example.evil.example", "127.0.0.1.evil.example"]
)
async def test_a_forwarded_host_is_answered_only_where_it_is_allowed(
    tmp_path: Path, host: str
) -> None:
    """DNS rebinding through a proxy: its word is no way around the list of hosts."""
    face = face_for(tmp_path, trusted_proxies=PROXY)
    answer = await sent(face, {"X-Forwarded-Host": host}, signed_for=f"http://{host}")
    assert (answer.status_code, code_of(answer)) == (421, "host_not_allowed")


async def test_a_good_forwarded_host_does_not_excuse_a_bad_host(tmp_path: Path) -> None:
    """A page on the proxy's own machine can set the header, not the Host that its name gave."""
    face = face_for(tmp_path, trusted_proxies=PROXY)
    answer = await sent(
        face, {"X-Forwarded-Host": OUTSIDE}, signed_for=f"http://{OUTSIDE}", host="evil.example"
    )
    assert code_of(answer) == "host_not_allowed"


async def test_both_kinds_at_once_are_refused_by_name(tmp_path: Path) -> None:
    """One may be the caller's own that the proxy passed on; which, nobody knows."""
    face = face_for(tmp_path, trusted_proxies=PROXY)
    both = FORMS["X-Forwarded"] | FORMS["Forwarded"]
    for path in (ORDERS, MCP):
        answer = await sent(face, both, signed_for=f"https://{OUTSIDE}", path=path)
        assert (answer.status_code, code_of(answer)) == (400, "forwarded_malformed")


async def test_a_caller_cannot_hide_behind_an_address_of_its_own_making(tmp_path: Path) -> None:
    """What counts by address counts the one that our proxy saw, leftmost claims aside."""
    face = face_for(tmp_path, trusted_proxies=PROXY)
    told = {"X-Forwarded-For": "10.0.0.1, 127.0.0.1, 203.0.113.9", "X-Forwarded-Host": OUTSIDE}
    answer = await sent(face, told, signed_for=f"http://{OUTSIDE}", path=MCP)
    assert answer.status_code == 200


async def test_with_a_public_url_no_proxy_changes_the_name(tmp_path: Path) -> None:
    """Host and scheme stand fixed, whatever a proxy says that was named."""
    face = Face(settings_for(tmp_path, public_url=f"https://{OUTSIDE}", trusted_proxies=PROXY))
    lie = {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"}
    for headers in ({}, lie, FORMS["Forwarded"]):
        assert (await sent(face, headers, signed_for=f"https://{OUTSIDE}")).is_success
        inner = await sent(face, headers, signed_for="http://127.0.0.1:8000")
        assert code_of(inner) == "signature_invalid"
        other = await sent(face, headers, signed_for="https://evil.example")
        assert code_of(other) == "signature_invalid"


async def test_with_a_public_url_a_proxy_that_nobody_named_may_rewrite_the_host(
    tmp_path: Path,
) -> None:
    """The public name fits, and so does the allowed one that a caller inside used; no other."""
    face = Face(settings_for(tmp_path, public_url=f"https://{OUTSIDE}"))
    for own in (f"https://{OUTSIDE}", "http://127.0.0.1:8000"):
        assert (await sent(face, FORMS["Forwarded"], signed_for=own)).is_success
    for other in ("https://evil.example", "http://127.0.0.1:8001", f"https://{OUTSIDE}:8443"):
        assert code_of(await sent(face, {}, signed_for=other)) == "signature_invalid"
    foreign = await sent(face, {}, signed_for="https://evil.example", host="evil.example")
    assert code_of(foreign) == "host_not_allowed"


@pytest.mark.parametrize("headers", FORMS.values(), ids=FORMS.keys())
async def test_a_real_proxy_before_a_real_gateway(tmp_path: Path, headers: dict[str, str]) -> None:
    """Over two sockets: the caller's name outside, the proxy's own inside."""
    face = face_for(tmp_path, trusted_proxies="127.0.0.0/8")
    auth = GatewayAuth(face.token(), key=HMAC_SECRET, key_id=TRADER, clock=face.gateway.clock)
    request = httpx2.Request("POST", f"https://{OUTSIDE}{ORDERS}", json=ORDER)
    signed_request = next(auth.auth_flow(request))
    spoofed = {"X-Forwarded-Host": "evil.example"} if "Forwarded" not in headers else {}
    kept = {k: v for k, v in signed_request.headers.items() if k not in {"host", "content-length"}}
    async with (
        served(face.door) as gateway,
        behind(gateway, headers) as front,
        httpx2.AsyncClient(trust_env=False) as client,
    ):
        url = f"http://127.0.0.1:{front.port}{ORDERS}"
        answer = await client.post(url, content=request.content, headers=kept | spoofed)
        altered = await client.post(url, content=request.content + b" ", headers=kept | spoofed)
    assert answer.is_success
    assert code_of(altered) == "signature_invalid"
