"""Where a token may be sent: https, or this machine."""

import pytest

from mcp_gateway.client import addresses

pytestmark = pytest.mark.unit

BASES = {
    "https://gateway.example": "https://gateway.example",
    "https://gateway.example/": "https://gateway.example",
    "https://gateway.example/mcp": "https://gateway.example",
    "https://gateway.example:8443/mcp/": "https://gateway.example:8443",
    "http://127.0.0.1:8000/mcp": "http://127.0.0.1:8000",
    "http://localhost:8000": "http://localhost:8000",
    "http://[::1]:8000": "http://[::1]:8000",
    "http://127.9.9.9": "http://127.9.9.9",
}


@pytest.mark.parametrize("url", BASES)
def test_a_gateway_s_address_is_its_origin(url: str) -> None:
    """With or without the path of MCP behind it."""
    assert addresses.base(url) == BASES[url]


@pytest.mark.parametrize(
    "url",
    [
        "http://gateway.example",
        "http://10.0.0.1:8000",
        "http://localhost.example",
        "http://127.0.0.1.example",
        "http://0.0.0.0:8000",
        "http://2130706433",
        "ftp://gateway.example",
        "gateway.example",
        "https://",
        "https://user:secret@gateway.example",
        "https://gateway.example?token=1",
        "https://gateway.example#x",
        "https://gateway.example:99999",
        "https://gateway.example/elsewhere",
        "",
    ],
)
def test_no_token_leaves_in_the_open_or_to_what_is_no_gateway(url: str) -> None:
    """Plain http beyond loopback, whatever looks like it, and secrets in addresses are refused."""
    with pytest.raises(ValueError, match=r"\S") as failed:
        addresses.base(url)
    assert "secret" not in str(failed.value)


def test_an_endpoint_keeps_its_path() -> None:
    """An issuer's token endpoint lies anywhere."""
    url = "https://issuer.example/realms/desk/token"
    assert addresses.endpoint(url) == url
