"""`mcp-gateway bridge` before it starts: what it is given, and what it refuses."""

from pathlib import Path

import pytest

from tests.support.commands import command
from tests.support.gateway import HMAC_SECRET

pytestmark = pytest.mark.unit

URL = "https://gateway.example"
TOKEN = "canary-token"
PEM = "-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----\n"


@pytest.mark.parametrize("url", ["http://gateway.example", "gateway.example", "https://u:canary@g"])
def test_an_address_that_no_token_may_go_to_is_misuse(tmp_path: Path, url: str) -> None:
    """Told before anything is read, and without what stood in it."""
    told = command(tmp_path, "bridge", "--url", url, MCP_GATEWAY_TOKEN=TOKEN)
    assert (told.code, told.out) == (2, "")
    assert "--url" in told.err
    assert "canary" not in told.err


FAULTS: dict[str, tuple[dict[str, str], str]] = {
    "no token": ({}, "MCP_GATEWAY_TOKEN"),
    "two tokens": (
        {"MCP_GATEWAY_TOKEN": TOKEN, "MCP_GATEWAY_TOKEN_FILE": "token"},
        "MCP_GATEWAY_TOKEN",
    ),
    "a token that is none": ({"MCP_GATEWAY_TOKEN": "canary two"}, "MCP_GATEWAY_TOKEN"),
    "an open token file": ({"MCP_GATEWAY_TOKEN_FILE": "open"}, "MCP_GATEWAY_TOKEN_FILE"),
    "no token file": ({"MCP_GATEWAY_TOKEN_FILE": "nowhere"}, "MCP_GATEWAY_TOKEN_FILE"),
    "a client without its secret": ({"MCP_GATEWAY_CLIENT_ID": "a"}, "MCP_GATEWAY_CLIENT_SECRET"),
    "an open secret file": (
        {"MCP_GATEWAY_CLIENT_ID": "a", "MCP_GATEWAY_CLIENT_SECRET_FILE": "open"},
        "MCP_GATEWAY_CLIENT_SECRET_FILE",
    ),
    "an open wire to the tokens": (
        {
            "MCP_GATEWAY_CLIENT_ID": "a",
            "MCP_GATEWAY_CLIENT_SECRET": "canary",
            "MCP_GATEWAY_TOKEN_URL": "http://issuer.example/token",
        },
        "MCP_GATEWAY_TOKEN_URL",
    ),
    "a key without its id": (
        {"MCP_GATEWAY_TOKEN": TOKEN, "MCP_GATEWAY_SIGNING_KEY_FILE": "key"},
        "MCP_GATEWAY_KEY_ID",
    ),
    "an open key file": (
        {"MCP_GATEWAY_TOKEN": TOKEN, "MCP_GATEWAY_SIGNING_KEY_FILE": "open"},
        "MCP_GATEWAY_SIGNING_KEY_FILE",
    ),
    "a key that is none": (
        {
            "MCP_GATEWAY_TOKEN": TOKEN,
            "MCP_GATEWAY_SIGNING_KEY_FILE": "pem",
            "MCP_GATEWAY_KEY_ID": "a",
        },
        "MCP_GATEWAY_SIGNING_KEY_FILE",
    ),
}


@pytest.mark.parametrize("what", FAULTS)
def test_what_the_bridge_lacks_is_told_by_name_at_the_start(tmp_path: Path, what: str) -> None:
    """An app shows its log at best: one line with the setting, and no secret."""
    for name, text, mode in (
        ("open", "canary", 0o644),
        ("token", "canary", 0o600),
        ("key", HMAC_SECRET, 0o600),
        ("pem", PEM, 0o600),
    ):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(mode)
    env, setting = FAULTS[what]
    told = command(tmp_path, "bridge", "--url", URL, **env)
    assert (told.code, told.out) == (2, "")
    [_, line] = told.err.splitlines()
    assert line.strip().startswith(f"{setting}: ")
    assert "canary" not in told.err


def test_two_tokens_are_told_as_two(tmp_path: Path) -> None:
    """Which of them to take out is the person's choice."""
    env = {"MCP_GATEWAY_TOKEN": TOKEN, "MCP_GATEWAY_TOKEN_FILE": "token"}
    told = command(tmp_path, "bridge", "--url", URL, **env)
    assert "only one of MCP_GATEWAY_TOKEN, MCP_GATEWAY_TOKEN_FILE;" in told.err


@pytest.mark.parametrize("word", ["--token", "--key", "--client-secret"])
def test_no_secret_is_taken_from_the_command_line(tmp_path: Path, word: str) -> None:
    """Everybody on the machine reads the command lines of everybody."""
    told = command(tmp_path, "bridge", "--url", URL, word, "canary")
    assert told.code == 2
    assert "No such option" in told.err
