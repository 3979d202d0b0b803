"""POST /auth/token: two forms of one login, and one answer for every wrong one."""

import base64
from pathlib import Path

import anyio
import httpx2
import pytest

from mcp_gateway.access.clients import Clients, hash_password
from mcp_gateway.access.logins import FAILURE_DELAY_S
from mcp_gateway.domain.operations import SCOPES
from tests.support.gateway import BASE_URL, Face, code_of, settings_for

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

PASSWORD = "correct-horse"
GRANT = {"grant_type": "client_credentials"}


@pytest.fixture(scope="module")
def clients(tmp_path_factory: pytest.TempPathFactory) -> Clients:
    path = tmp_path_factory.mktemp("clients") / "clients.toml"
    path.write_text(
        f'[clients.admin]\npassword = "{hash_password(PASSWORD)}"\n'
        'scopes = ["market:read", "orders:preview"]\nttl_s = 600\n'
    )
    path.chmod(0o600)
    return Clients.load(path, 86400)


@pytest.fixture
def face(tmp_path: Path, clients: Clients) -> Face:
    return Face(settings_for(tmp_path), clients=clients)


async def refused(face: Face, **request: object) -> httpx2.Response:
    """Send a login that fails, letting the delay of a failure pass in virtual time."""
    answers: list[httpx2.Response] = []
    async with face.client(auth=None) as client, anyio.create_task_group() as group:

        async def post() -> None:
            answers.append(await client.post("/auth/token", **request))  # type: ignore[arg-type]  # whatever a test sends

        group.start_soon(post)
        await face.gateway.clock.sleeping()
        assert not answers
        face.gateway.clock.advance(FAILURE_DELAY_S)
    return answers[0]


async def test_the_predecessor_s_login_gives_a_token_that_works(face: Face) -> None:
    """JSON username and password; RFC 6749 section 5.1 for the answer."""
    async with face.client(auth=None) as client:
        login = {"username": "admin", "password": PASSWORD}
        response = await client.post("/auth/token", json=login)
        told = response.json()
        headers = {"authorization": f"Bearer {told['access_token']}"}
        used = await client.get("/api/v1/candles?pair=BTC/USDT&timeframe=5m", headers=headers)
    assert response.status_code == 200
    assert list(told) == ["access_token", "token_type", "expires_in", "scope"]
    assert (told["token_type"], told["expires_in"]) == ("bearer", 600)
    assert told["scope"] == "market:read orders:preview"
    assert response.headers["cache-control"] == "no-store"
    assert used.status_code == 200


@pytest.mark.parametrize("method", ["basic", "post"])
async def test_the_oauth_form_gives_the_same(face: Face, method: str) -> None:
    """RFC 6749 section 2.3.1: the client's secret by HTTP Basic or in the body."""
    form = GRANT | {"scope": "market:read"}
    auth = ("admin", PASSWORD) if method == "basic" else None
    if auth is None:
        form |= {"client_id": "admin", "client_secret": PASSWORD}
    async with face.client(auth=auth) as client:
        response = await client.post("/auth/token", data=form)
    assert (response.status_code, response.json()["scope"]) == (200, "market:read")


@pytest.mark.parametrize("name", ["admin", "nobody"])
async def test_a_wrong_password_and_an_unknown_name_are_told_alike(face: Face, name: str) -> None:
    """Nobody learns which names there are; and guessing is slow."""
    response = await refused(face, json={"username": name, "password": "wrong-horse"})
    assert (response.status_code, code_of(response)) == (401, "client_invalid")
    assert response.headers["www-authenticate"].startswith("Basic ")
    told = response.json()
    assert told.pop("call_id")
    assert told == {
        "type": "urn:mcp-gateway:problem:client_invalid", "title": "Client invalid",
        "status": 401, "detail": "Unknown client or wrong password.", "code": "client_invalid",
        "retryable": False, "hint": "Check name and password.", "error": "invalid_client",
    }  # fmt: skip


async def test_a_wrong_secret_in_the_form_is_told_in_oauth_s_word_too(face: Face) -> None:
    """RFC 6749 section 5.2: error is invalid_client."""
    response = await refused(
        face, data=GRANT | {"client_id": "admin", "client_secret": "wrong-horse"}
    )
    assert (response.status_code, response.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize(
    ("form", "word"),
    [
        ({}, "invalid_request"),
        ({"grant_type": "password"}, "unsupported_grant_type"),
        ({"client_id": "admin", "client_secret": PASSWORD}, "invalid_request"),
        (GRANT, "invalid_request"),
        (GRANT | {"client_secret": PASSWORD}, "invalid_request"),
        (GRANT | {"client_id": "admin"}, "invalid_request"),
        (GRANT | {"client_id": "a" * 200, "client_secret": PASSWORD}, "invalid_request"),
    ],
)
async def test_a_malformed_form_is_refused_in_oauth_s_words(
    face: Face, form: dict[str, str], word: str
) -> None:
    """RFC 6749 section 5.2."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    async with face.client(auth=None) as client:
        response = await client.post("/auth/token", data=form, headers=headers)
    assert (response.status_code, response.json()["error"]) == (400, word)
    assert code_of(response) == word


@pytest.mark.parametrize("scope", ["orders:create", "orders:live x", "", "x"])
async def test_no_scope_beyond_the_client_s_is_granted(face: Face, scope: str) -> None:
    """RFC 6749 section 3.3."""
    form = GRANT | {"client_id": "admin", "client_secret": PASSWORD, "scope": scope}
    async with face.client(auth=None) as client:
        response = await client.post("/auth/token", data=form)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_scope")
    assert "Leave scope out" in response.json()["hint"]


async def test_of_the_scopes_that_are_wanted_those_of_the_client_are_granted(face: Face) -> None:
    """RFC 6749 section 3.3: the answer says which; MCP clients ask for all that are listed."""
    form = GRANT | {"client_id": "admin", "client_secret": PASSWORD, "scope": " ".join(SCOPES)}
    async with face.client(auth=None) as client:
        response = await client.post("/auth/token", data=form)
    assert (response.status_code, response.json()["scope"]) == (200, "market:read orders:preview")


@pytest.mark.parametrize(
    "wanted",
    [[f"{BASE_URL}/mcp"], [BASE_URL], [f"{BASE_URL}/"], ["mcp-gateway"], [BASE_URL, "mcp-gateway"]],
)
async def test_a_token_for_this_resource_is_given(face: Face, wanted: list[str]) -> None:
    """RFC 8707 section 2: the parameter may be repeated."""
    form = GRANT | {"client_id": "admin", "client_secret": PASSWORD, "resource": wanted}
    async with face.client(auth=None) as client:
        assert (await client.post("/auth/token", data=form)).status_code == 200


@pytest.mark.parametrize(
    "wanted",
    [["https://other.example/mcp"], [f"{BASE_URL}/mcp", "https://other.example"], [""],
     [f"{BASE_URL}/mcp/.."], [f"{BASE_URL}.other.example"], [BASE_URL.upper()]],
)  # fmt: skip
async def test_no_token_is_given_for_another_resource(face: Face, wanted: list[str]) -> None:
    """A client that was sent here from elsewhere learns so before it shows its token there."""
    form = GRANT | {"client_id": "admin", "client_secret": PASSWORD, "resource": wanted}
    async with face.client(auth=None) as client:
        response = await client.post("/auth/token", data=form)
    assert (response.status_code, response.json()["error"]) == (400, "invalid_target")
    assert f"{BASE_URL}/mcp" in response.json()["hint"]


@pytest.mark.parametrize(
    "body",
    ["grant_type=client_credentials&grant_type=client_credentials", "grant_type=%ff", "\u00e9=1",
     "&".join(f"a{number}=1" for number in range(50)), "novalue"],
)  # fmt: skip
async def test_an_ambiguous_form_is_refused(face: Face, body: str) -> None:
    """RFC 6749 section 3.2: no parameter more than once."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    async with face.client(auth=None) as client:
        response = await client.post("/auth/token", content=body.encode(), headers=headers)
    assert (response.status_code, code_of(response)) == (400, "invalid_request")


@pytest.mark.parametrize(
    "value", ["Bearer abc", "Basic !!!", "Basic " + base64.b64encode(b"nocolon").decode(), "Basic"]
)
async def test_a_malformed_basic_header_is_refused(face: Face, value: str) -> None:
    """It proves nothing, and is not taken for absent either."""
    async with face.client(auth=None) as client:
        response = await client.post("/auth/token", data=GRANT, headers={"authorization": value})
    assert (response.status_code, code_of(response)) == (400, "invalid_request")


@pytest.mark.parametrize(
    "login",
    [{}, {"username": "admin"}, {"username": "admin", "password": 1},
     {"username": ["admin"], "password": PASSWORD},
     {"username": "admin", "password": PASSWORD, "scope": "x"}],
)  # fmt: skip
async def test_a_malformed_login_is_refused(face: Face, login: dict[str, object]) -> None:
    """Two texts and nothing else."""
    async with face.client(auth=None) as client:
        response = await client.post("/auth/token", json=login)
    assert (response.status_code, code_of(response)) == (400, "invalid_request")


async def test_without_clients_the_endpoint_is_off(tmp_path: Path) -> None:
    """A clear word, so that nobody guesses passwords against nothing."""
    face = Face(settings_for(tmp_path))
    async with face.client(auth=None) as client:
        login = {"username": "admin", "password": PASSWORD}
        response = await client.post("/auth/token", json=login)
    assert (response.status_code, code_of(response)) == (404, "token_endpoint_off")
