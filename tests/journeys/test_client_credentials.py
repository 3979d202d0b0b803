"""The MCP SDK's own client-credentials provider, unchanged, before a served gateway."""

import json
from collections.abc import Iterator

import httpx2
import pytest
from mcp import Client
from mcp.client.auth import OAuthFlowError, OAuthTokenError
from mcp.client.auth.extensions.client_credentials import ClientCredentialsOAuthProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import OAuthClientInformationFull, OAuthToken

from mcp_gateway.access.clients import hash_password
from mcp_gateway.errors import failures_in
from tests.support.processes import Serving, serving

pytestmark = [pytest.mark.integration, pytest.mark.anyio]

PASSWORD = "correct horse: battery & staple"  # what form encoding could break
NAME = "signal agent"
SCOPES = ["market:read", "positions:read"]


class Memory:
    """Where the provider keeps its tokens."""

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return None

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        raise AssertionError(f"a client that is known registers nowhere: {client_info.client_id}")


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server with one client in its clients file."""
    folder = tmp_path_factory.mktemp("clients")
    path = folder / "clients.toml"
    path.write_text(
        f'[clients."{NAME}"]\npassword = "{hash_password(PASSWORD)}"\n'
        f"scopes = {json.dumps(SCOPES)}\nttl_s = 600\n"
    )
    path.chmod(0o600)
    with serving(folder, MCP_GATEWAY_CLIENTS_FILE=str(path)) as served:
        yield served


def provider(gateway: Serving, memory: Memory, **changes: str) -> ClientCredentialsOAuthProvider:
    told = {"client_id": NAME, "client_secret": PASSWORD, "issuer": gateway.url} | changes
    return ClientCredentialsOAuthProvider(gateway.mcp_url, memory, **told)  # type: ignore[arg-type]  # words as they are


async def tools_of(
    gateway: Serving, auth: ClientCredentialsOAuthProvider, mode: str = "auto"
) -> set[str]:
    """Return the tools that the SDK's client is shown."""
    async with (
        httpx2.AsyncClient(auth=auth, timeout=30, trust_env=False) as http,
        Client(streamable_http_client(gateway.mcp_url, http_client=http), mode=mode) as client,
    ):
        return {tool.name for tool in (await client.list_tools()).tools}


@pytest.mark.parametrize("method", ["client_secret_basic", "client_secret_post"])
@pytest.mark.parametrize("mode", ["2026-07-28", "auto", "legacy"])
async def test_the_sdk_s_provider_finds_its_token_by_itself(
    gateway: Serving, method: str, mode: str
) -> None:
    """401, RFC 9728, RFC 8414, RFC 6749 section 4.4 with RFC 8707, and the call again: both eras."""
    memory = Memory()
    auth = provider(gateway, memory, token_endpoint_auth_method=method)
    tools = await tools_of(gateway, auth, mode)
    assert {"get_candles", "get_open_positions"} <= tools
    assert "create_order" not in tools
    assert memory.tokens is not None
    assert memory.tokens.scope == " ".join(SCOPES)


async def test_the_provider_replaces_a_token_that_is_not_believed(gateway: Serving) -> None:
    """RFC 6750 section 3.1: 401 invalid_token sends the client back to the token endpoint."""
    memory = Memory()
    memory.tokens = OAuthToken(access_token="a.b.c", expires_in=600, scope="market:read")
    assert "get_candles" in await tools_of(gateway, provider(gateway, memory))
    assert memory.tokens.access_token != "a.b.c"


async def test_a_wrong_password_ends_the_provider_s_flow(gateway: Serving) -> None:
    """The client is told so, and does not ask again and again."""
    memory = Memory()
    auth = provider(gateway, memory, client_secret="wrong horse")
    with pytest.raises(ExceptionGroup) as caught:
        await tools_of(gateway, auth)
    [failure] = failures_in(caught.value)
    assert isinstance(failure, OAuthTokenError)
    assert "401" in str(failure)
    assert memory.tokens is None


async def test_a_provider_of_another_issuer_shows_its_secret_to_nobody(gateway: Serving) -> None:
    """The issuer in the metadata is the one it is found under, and no other (RFC 8414, 3.3)."""
    auth = provider(gateway, Memory(), issuer="https://issuer.example")
    with pytest.raises(ExceptionGroup) as caught:
        await tools_of(gateway, auth)
    [failure] = failures_in(caught.value)
    assert isinstance(failure, OAuthFlowError)
    assert "issuer mismatch" in str(failure)
