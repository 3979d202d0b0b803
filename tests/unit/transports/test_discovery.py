"""Where tokens come from: RFC 9728 for the resource, RFC 8414 for the server, and the challenges."""

from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.shared.auth import OAuthMetadata, ProtectedResourceMetadata

from mcp_gateway.access.clients import Clients
from mcp_gateway.domain.operations import SCOPES
from tests.support.gateway import BASE_URL, CALL, Face, code_of, settings_for
from tests.support.issuers import DESK, FLOOR, VAULT, three_issuers

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

RESOURCE = "/.well-known/oauth-protected-resource"
SERVER = "/.well-known/oauth-authorization-server"
CANDLES = "/api/v1/candles?pair=BTC/USDT&timeframe=5m"
ORDERS = "/api/v1/orders"


def face_of(folder: Path, *, clients: bool = True, **settings: Any) -> Face:
    """Return a face, with clients that may fetch tokens or without any."""
    return Face(settings_for(folder, **settings), clients=Clients({}) if clients else None)


async def get(face: Face, path: str) -> httpx2.Response:
    transport = httpx2.ASGITransport(app=face.door)
    async with httpx2.AsyncClient(transport=transport, base_url=BASE_URL) as client:
        return await client.get(path)


@pytest.mark.parametrize("suffix", ["", "/mcp"])
async def test_the_resource_names_this_server_where_clients_can_log_in(
    tmp_path: Path, suffix: str
) -> None:
    """RFC 9728 section 2, read as the SDK's clients read it."""
    answer = await get(face_of(tmp_path), f"{RESOURCE}{suffix}")
    read = ProtectedResourceMetadata.model_validate_json(answer.content)
    assert str(read.resource) == f"{BASE_URL}/mcp"
    assert [str(one) for one in read.authorization_servers] == [BASE_URL]
    assert read.scopes_supported == list(SCOPES)
    assert answer.headers["content-type"] == "application/json"


async def test_the_issuers_of_the_file_are_named_where_they_are_urls(tmp_path: Path) -> None:
    """Those that nobody could ask are left out, and so is a list of none (section 3.2)."""
    face = face_of(tmp_path, issuers_file=three_issuers(tmp_path))
    told = (await get(face, RESOURCE)).json()
    asked = [one for one in (DESK, FLOOR, VAULT) if one.startswith("https://")]
    assert sorted(told["authorization_servers"]) == sorted([BASE_URL, *asked])
    assert (
        "authorization_servers"
        not in (await get(face_of(tmp_path, clients=False), RESOURCE)).json()
    )


@pytest.mark.parametrize(
    ("issuer", "told"),
    [("mcp-gateway", BASE_URL), (BASE_URL, BASE_URL), (f"{BASE_URL}/", f"{BASE_URL}/"),
     ("https://other.example", BASE_URL)],
)  # fmt: skip
async def test_the_server_is_found_under_its_own_issuer(
    tmp_path: Path, issuer: str, told: str
) -> None:
    """RFC 8414 section 3.3: clients refuse metadata that name another issuer than they asked."""
    face = face_of(tmp_path, issuer=issuer)
    read = OAuthMetadata.model_validate_json((await get(face, SERVER)).content)
    assert str(read.issuer) == told
    assert (await get(face, RESOURCE)).json()["authorization_servers"] == [told]


async def test_the_server_tells_what_it_can_do_and_no_more(tmp_path: Path) -> None:
    """One grant, two ways to show a secret, no browser, no registration, no refresh."""
    told = (await get(face_of(tmp_path), SERVER)).json()
    assert told["token_endpoint"] == f"{BASE_URL}/auth/token"
    assert told["grant_types_supported"] == ["client_credentials"]
    assert told["response_types_supported"] == []
    assert told["token_endpoint_auth_methods_supported"] == [
        "client_secret_basic", "client_secret_post",
    ]  # fmt: skip
    assert not {"registration_endpoint", "revocation_endpoint", "jwks_uri"} & told.keys()
    authorize = told["authorization_endpoint"].removeprefix(BASE_URL)
    assert code_of(await get(face_of(tmp_path), authorize)) == "route_unknown"


@pytest.mark.parametrize("settings", [{"clients": False}, {"jwt_secret": None}], ids=str)
async def test_without_clients_there_is_no_such_server(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    """Nobody is sent to an endpoint that is shut."""
    answer = await get(face_of(tmp_path, **settings), SERVER)
    assert (answer.status_code, code_of(answer)) == (404, "token_endpoint_off")


@pytest.mark.parametrize("public", [None, "https://gw.example.com"])
async def test_a_challenge_leads_to_the_metadata(tmp_path: Path, public: str | None) -> None:
    """RFC 9728 section 5.1, over MCP and REST alike; behind a proxy by the name that callers use."""
    face = face_of(tmp_path, public_url=public, allowed_hosts=("gw.example.com",))
    where = f'resource_metadata="{public or BASE_URL}{RESOURCE}/mcp"'
    async with face.client(auth=None) as client:
        answers = [
            await client.get(CANDLES),
            await client.post("/mcp", json=CALL),
            await client.get(CANDLES, headers={"authorization": "Bearer a.b.c"}),
            await client.post("/mcp", json=CALL, headers={"authorization": "Bearer a.b.c"}),
        ]
    for answer in answers:
        assert answer.status_code == 401
        assert where in answer.headers["www-authenticate"]
        assert "scope=" not in answer.headers["www-authenticate"]
    assert ["error=" in each.headers["www-authenticate"] for each in answers] == [
        False, False, True, True,
    ]  # fmt: skip


async def test_a_missing_scope_is_named_in_the_challenge(tmp_path: Path) -> None:
    """RFC 6750 section 3.1: which one, so that a client can ask for a token that has it."""
    face = face_of(tmp_path)
    async with face.client(auth=face.auth("positions:read")) as client:
        answer = await client.get(CANDLES)
    assert (answer.status_code, code_of(answer)) == (403, "scope_missing")
    challenge = answer.headers["www-authenticate"]
    assert 'error="insufficient_scope", scope="market:read"' in challenge
    assert f'resource_metadata="{BASE_URL}{RESOURCE}/mcp"' in challenge
